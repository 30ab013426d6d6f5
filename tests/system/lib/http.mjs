// HTTP as a test needs it: replies as they are on the wire, nothing decoded or followed, and bytes
// that no client library would send.
import http from 'node:http';
import net from 'node:net';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

const PATIENCE_MS = 20000;

// One request; the body as it came. localPort tells whether a connection was used again.
export function ask(url, { method = 'GET', headers = {}, body, agent = false } = {}) {
    return new Promise((resolve, reject) => {
        let localPort;
        const call = http.request(url, { method, headers, agent, timeout: PATIENCE_MS }, (reply) => {
            const parts = [];
            reply.on('data', (part) => parts.push(part));
            reply.on('error', reject);
            reply.on('end', () => {
                const bytes = Buffer.concat(parts);
                resolve({ status: reply.statusCode, headers: reply.headers, bytes, text: bytes.toString(), localPort });
            });
        });
        call.on('socket', (socket) => {
            if (socket.localPort) localPort = socket.localPort;
            else socket.once('connect', () => (localPort = socket.localPort));
        });
        call.on('timeout', () => call.destroy(new Error(`no answer from ${url} within ${PATIENCE_MS} ms`)));
        call.on('error', reject);
        call.end(body);
    });
}

export function post(url, body, headers = {}) {
    return ask(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
    });
}

export function decoded(reply) {
    switch (reply.headers['content-encoding']) {
        case 'br':
            return brotliDecompressSync(reply.bytes).toString();
        case 'gzip':
            return gunzipSync(reply.bytes).toString();
        default:
            return reply.text;
    }
}

// Sends bytes as they are and listens until the server closes (or patience ends: then closed is
// false). It keeps its own side open, so that closing is the server's decision.
export function raw(port, bytes, { patienceMs = PATIENCE_MS } = {}) {
    return new Promise((resolve) => {
        const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
        const began = performance.now();
        let text = '';
        const finish = (closed) => {
            clearTimeout(timer);
            socket.destroy();
            const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
            resolve({ text, statuses, closed, ms: performance.now() - began });
        };
        const timer = setTimeout(() => finish(false), patienceMs);
        socket.setEncoding('latin1');
        socket.on('data', (chunk) => (text += chunk));
        socket.on('end', () => finish(true));
        socket.on('error', () => finish(true));
        socket.on('connect', () => socket.write(bytes));
    });
}
