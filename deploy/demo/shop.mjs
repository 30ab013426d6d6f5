// Serves the demo shop: /eu, /us and /apac embed the snippet of that region's edge.
import http from 'node:http';
import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('shop.html', import.meta.url), 'utf8');

// edges: { eu: base URL, … }
export function serveShop({ port, edges, writeKey }) {
    const server = http.createServer((request, response) => {
        const region = request.url === '/' ? Object.keys(edges)[0] : request.url.slice(1).split('?')[0];
        if (!edges[region]) {
            response.writeHead(404, { 'Content-Type': 'text/plain' });
            response.end(`no such page; there are ${Object.keys(edges).map((name) => '/' + name).join(', ')}\n`);
            return;
        }
        response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
        response.end(page.replaceAll('__REGION__', region).replaceAll('__EDGE__', edges[region]).replaceAll('__KEY__', writeKey));
    });
    return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, '127.0.0.1', () => resolve(server));
    });
}
