// A thousand damaged requests a dialect, made from its golden ones: whatever comes, an edge answers
// with a code that README documents, goes on serving, and stays the same process.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { startCluster } from './lib/fixture.mjs';
import { dialects, goldenFiles, filledIn, send } from './lib/golden.mjs';

const CASES = 1000;
const AT_ONCE = 16;
const STATUSES = [200, 202, 204, 400, 401, 403, 404, 405, 413, 429];

// mulberry32: one seed, one sequence, so that a failure can be had again.
function generator(seed) {
    let state = seed >>> 0;
    const next = () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return (t ^ (t >>> 14)) >>> 0;
    };
    return { below: (limit) => next() % limit };
}

const SPICES = ['%00', '%', '%zz', '%ff%fe', '%F0%9F%98%80', '&', '=', '&&==', '{', '}', '"', '\\', '[', ']', ',', ':', 'null', '-1', '1e999',
    '99999999999999999999', '0x10', 'true', '\u0000', '\u202e', '😀', '../', '<script>', "'", ';', 'a'.repeat(300), 'A'.repeat(5000), '[[[[[[[[[[[[[[[[[[[[[[[[[[[['];

function mutated(text, random) {
    const chars = [...text];
    const at = random.below(chars.length + 1);
    const length = 1 + random.below(12);
    switch (random.below(7)) {
        case 0:
            return text.slice(0, at);
        case 1:
            chars.splice(at, length);
            return chars.join('');
        case 2:
            chars.splice(at, 0, SPICES[random.below(SPICES.length)]);
            return chars.join('');
        case 3:
            chars.splice(at, length, SPICES[random.below(SPICES.length)]);
            return chars.join('');
        case 4:
            chars.splice(random.below(chars.length + 1), 0, ...chars.slice(at, at + length * 4));
            return chars.join('');
        case 5:
            if (at < chars.length) chars[at] = String.fromCharCode(chars[at].charCodeAt(0) ^ (1 << random.below(7)));
            return chars.join('');
        default:
            return mutated(mutated(text, random), random);
    }
}

// What no request line or field may hold is escaped: the damage is for the dialects, not for the
// HTTP parser, whose own tests send raw bytes.
const asTarget = (text) => `/${text.replace(/[^\x21-\x7e]|#/gu, (char) => encodeURIComponent(char.isWellFormed?.() === false ? '?' : char)).replace(/^\/+/, '')}`;
const asField = (text) => text.replace(/[^\x20-\x7e]/g, '?');

function damaged(request, random) {
    const result = { ...request, headers: { ...request.headers } };
    const body = typeof request.body === 'object' ? JSON.stringify(request.body) : request.body;
    const fields = Object.keys(result.headers);
    const parts = ['path', ...(body !== undefined ? ['body', 'body', 'body'] : ['path', 'path']), ...(fields.length ? ['headers'] : [])];
    const part = parts[random.below(parts.length)];
    if (body !== undefined) result.body = body;
    if (part === 'path') {
        const [path, query = ''] = request.path.split(/\?(.*)/s);
        // The path itself is damaged now and then only: most such requests are for nobody.
        result.path = random.below(10) === 0 ? asTarget(mutated(request.path, random)) : `${path}?${asTarget(mutated(query, random)).slice(1)}`;
    } else if (part === 'body') {
        result.body = mutated(body, random);
    } else {
        const field = fields[random.below(fields.length)];
        result.headers[field] = asField(mutated(String(result.headers[field]), random));
    }
    return result;
}

for (const dialect of dialects) {
    test(`${CASES} damaged requests: ${dialect}`, { timeout: 300000 }, async (t) => {
        const random = generator(0x9017de2);
        const { cluster, account } = await startCluster(t);
        const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
        t.after(() => agent.destroy());
        const alias = 'mutation';
        const files = goldenFiles(dialect);
        if (JSON.stringify(files).includes('${ALIAS}')) await cluster.ctl('account', 'update', account.id, '--aliases', alias);
        const seeds = files.flatMap((file) => [filledIn(file.request, { KEY: account.write_key, ALIAS: alias })].flat());
        const pid = cluster.nodes.get('eu').child.pid;
        const counts = {};
        let left = CASES;
        const worker = async () => {
            while (left-- > 0) {
                const request = damaged(seeds[random.below(seeds.length)], random);
                const reply = await send(cluster.url('eu'), request, { agent }).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(request)}`));
                counts[reply.status] = (counts[reply.status] ?? 0) + 1;
                assert.ok(STATUSES.includes(reply.status), `${reply.status} ${reply.text.slice(0, 200)} to ${JSON.stringify(request)}`);
            }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
        t.diagnostic(`answers: ${JSON.stringify(counts)}`);
        assert.equal((await send(cluster.url('eu'), { path: '/health' })).status, 200);
        assert.equal(cluster.nodes.get('eu').child.pid, pid);
        assert.equal(cluster.nodes.get('eu').child.exitCode, null);
        await cluster.untilSettled(['eu'], 30000);
    });
}
