// polderctl as a process, a scripted HTTP server in its origin's place, and looks at what it writes.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { bin } from './fixture.mjs';
import { root } from '../../../deploy/demo/cluster.mjs';

export const polderctl = path.join(bin, 'polderctl');
export const campaign = path.join(root, 'deploy/demo/campaign.json');

export function tempDir(t) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'polderctl-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    return dir;
}

// Runs polderctl; gives { code, signal, stdout, stderr }. Nothing of the caller's settings leaks in.
export function ctl(args, { env = {}, cwd, umask } = {}) {
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^POLDER_/.test(name)));
    return new Promise((resolve) => {
        const child = umask === undefined
            ? spawn(polderctl, args, { env: { ...clean, ...env }, cwd })
            : spawn('sh', ['-c', `umask ${umask}; exec "$0" "$@"`, polderctl, ...args], { env: { ...clean, ...env }, cwd });
        let stdout = '';
        let stderr = '';
        child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
        child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
        child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    });
}

export async function ok(args, options) {
    const run = await ctl(args, options);
    assert.equal(run.code, 0, `polderctl ${args.join(' ')}: ${run.stderr}`);
    return run.stdout;
}

// The call must fail with this exit code, say this, and nothing on standard output.
export async function fails(code, pattern, args, options) {
    const run = await ctl(args, options);
    assert.equal(run.code, code, `polderctl ${args.join(' ')}: exit ${run.code} ${run.signal}: ${run.stdout}${run.stderr}`);
    assert.match(run.stderr, pattern);
    assert.equal(run.stdout, '');
    return run.stderr;
}

// A server that answers as told and remembers what it was asked.
export async function scripted(t, answer, { tls } = {}) {
    const requests = [];
    const onRequest = (request, response) => {
        const chunks = [];
        request.on('data', (chunk) => chunks.push(chunk));
        request.on('end', () => {
            const body = Buffer.concat(chunks).toString();
            requests.push({ method: request.method, url: request.url, authorization: request.headers.authorization, body });
            answer({ method: request.method, url: request.url, body, json: body ? JSON.parse(body) : undefined }, response);
        });
    };
    const server = tls ? https.createServer(tls, onRequest) : http.createServer(onRequest);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return { url: `http${tls ? 's' : ''}://127.0.0.1:${server.address().port}`, requests };
}

export function send(response, status, body, headers = {}) {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

export const refuse = (response, status, code, message) => send(response, status, { error: { code, field: '', message } });

// A port that nobody listens on.
export async function closedPort() {
    const server = net.createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

export function tree(dir) {
    return fs.readdirSync(dir, { recursive: true }).map(String).sort();
}

export const mode = (file) => (fs.statSync(file).mode & 0o7777).toString(8);
export const openssl = (...args) => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

// Flat YAML as polderctl writes it: double-quoted values, which JSON reads but for \xNN.
export const unquote = (text) => JSON.parse(text.replace(/\\(.)/g, (escape, c) => (c === 'x' ? '\\u00' : escape)));

export function yaml(file) {
    const values = {};
    let list;
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        const item = /^ {2}- (".*")$/.exec(line);
        const pair = /^([a-z0-9_]+):(?: (".*"))?$/.exec(line);
        if (item) list.push(unquote(item[1]));
        else if (pair && pair[2] !== undefined) values[pair[1]] = unquote(pair[2]);
        else if (pair) values[pair[1]] = list = [];
        else assert.match(line, /^(#.*)?$/);
    }
    return values;
}

export const admitted = (request, response) => send(response, 201, { ...request.json, enrolled_at: '2026-11-22T13:00:00.000Z', revoked_at: null });

export const account = (id, name, more = {}) => ({ id, name, state: 'active', write_key: 'e'.repeat(32), created_at: '2026-11-22T13:03:33.123Z', expires_at: null, deletion_started_at: null, deleted_at: null, config_version: 3, regions: [], origins: [], honour_dnt: false, deletion_due_at: null, ...more });
