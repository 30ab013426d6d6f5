// HTTP as a test needs it: replies as they are on the wire, nothing decoded or followed, and bytes
// that no client library would send.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

const PATIENCE_MS = 20000;

// Where visitors of the tests' shop are.
export const PAGE = 'https://shop.example';

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

// What an error looks like, whoever answers: JSON that names itself and says a sentence.
export function assertError(reply, status, { field, says, cors = PAGE } = {}) {
    assert.equal(reply.status, status, reply.text);
    assert.equal(reply.headers['content-type'], 'application/json');
    assert.equal(reply.headers['cache-control'], 'no-store');
    const error = JSON.parse(reply.text);
    assert.match(error.error, /^[a-z-]+$/);
    assert.ok(error.message.length > 10, reply.text);
    if (field) assert.equal(error.field, field);
    if (says) assert.match(error.message, says);
    if (cors) assertCors(reply, cors);
    return error;
}

export function assertCors(reply, origin = PAGE) {
    assert.equal(reply.headers['access-control-allow-origin'], origin);
    assert.equal(reply.headers['access-control-allow-credentials'], 'true');
    assert.match(reply.headers.vary ?? '', /\borigin\b/i);
}
