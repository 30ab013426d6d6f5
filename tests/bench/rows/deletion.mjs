// The end of a large account among ten: what the others notice of it, and how long it takes.
import { appendFileSync, mkdirSync, openSync, writeSync, fsyncSync, closeSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../../deploy/demo/cluster.mjs';
import { Polder } from '../servers.mjs';
import { wrk } from '../load.mjs';
import { events, writeEvents } from '../events.mjs';
import { median, percentile } from '../machine.mjs';
import { row } from '../table.mjs';

export const title = 'deletion';
const OTHERS = 8; // with the large one, and the one that is watched: ten
const POOL_EVENTS = 20000;
const FILL_SECONDS = 10; // at a time
const LOAD_DELAY_MS = 250; // of each connection: some hundred events a second
const CONNECTIONS = 64;
const PROBE_EVERY_MS = 20;
const PIECE_BYTES = 64 << 20;

const asMs = (value) => `${value.toFixed(1)} ms`;
const asSeconds = (value) => `${value.toFixed(2)} s`;

function asker(polder) {
    const headers = { Authorization: `Bearer ${polder.cluster.token}` };
    return async (route, options = {}) => {
        const reply = await fetch(`${polder.cluster.url('origin')}/api/v1/${route}`, { ...options, headers });
        if (!reply.ok) throw new Error(`${route}: ${reply.status} ${await reply.text()}`);
        return reply.json();
    };
}

// Sends until the account holds so many bytes.
async function fill(polder, ask, bodies, bytes) {
    for (let tag = 20; ; tag++) {
        await wrk(`http://127.0.0.1:${polder.edgePort}`, { bodies, unique: String(tag), seconds: FILL_SECONDS, mayRefuse: true });
        await polder.settled(600000);
        const { held, held_bytes: have } = await ask(`accounts/${polder.account.id}/counts`);
        if (have >= bytes || tag === 99) return { held, bytes: have };
    }
}

// Single events for an account that nobody else sends to: how long from the edge's word that one
// is durable until the origin has it, a look of its API included.
async function watch(polder, ask, account, done) {
    const times = [];
    const stored = async () => (await ask(`accounts/${account.id}/counts`)).stored;
    for (let have = await stored(); !done(times.length);) {
        const next = performance.now() + PROBE_EVERY_MS;
        const reply = await fetch(`http://127.0.0.1:${polder.edgePort}/v1/track`, {
            method: 'POST',
            body: JSON.stringify({ writeKey: account.write_key, messageId: randomUUID(), anonymousId: 'probe', event: 'Probe' }),
        });
        const accepted = performance.now();
        await reply.arrayBuffer();
        if (!reply.ok) throw new Error(`a probe was refused with ${reply.status}`);
        have++;
        while ((await stored()) < have);
        times.push(performance.now() - accepted);
        await delay(Math.max(0, next - performance.now()));
    }
    return times;
}

// Seconds that rm -rf takes for as many bytes, until the file system has it on the disk.
function removeFiles(dir, bytes) {
    const times = [];
    for (let round = 0; round < 3; round++) {
        const at = `${dir}/removed`;
        mkdirSync(at);
        const piece = randomBytes(PIECE_BYTES);
        for (let left = bytes, n = 0; left > 0; left -= PIECE_BYTES, n++) {
            const fd = openSync(`${at}/${n}`, 'w');
            writeSync(fd, piece, 0, Math.min(left, PIECE_BYTES));
            fsyncSync(fd);
            closeSync(fd);
        }
        const began = performance.now();
        execFileSync('rm', ['-rf', at]);
        execFileSync('sync', ['-f', dir]);
        times.push((performance.now() - began) / 1000);
        rmSync(at, { recursive: true, force: true });
    }
    return median(times);
}

// Deletes the large account while the others are sent to; seconds to each step.
async function deleteAndWatch(polder, ask, watched) {
    let ended = null;
    const began = Date.now();
    const watching = watch(polder, ask, watched, () => ended !== null);
    await ask(`accounts/${polder.account.id}/deletion`, { method: 'POST', body: JSON.stringify({ now: true, reason: 'benchmark' }) });
    ended = await until('the account is physically gone', 600000, async () => {
        const { steps } = await ask(`accounts/${polder.account.id}/deletion`);
        return steps?.physically_gone && steps;
    }).catch((error) => (ended = {}, Promise.reject(error)));
    const seconds = (step) => (Date.parse(ended[step]) - began) / 1000;
    return { key: seconds('key_destroyed'), gone: seconds('physically_gone'), times: await watching };
}

export async function measure({ bin, dir, deletedBytes, sustainSeconds }) {
    const polder = await Polder.start(bin, `${dir}/polder`);
    try {
        const ask = asker(polder);
        const large = `${dir}/large.ndjson`;
        const others = `${dir}/others.ndjson`;
        await writeEvents(large, { count: POOL_EVENTS, writeKey: polder.account.write_key, seed: 5 });
        writeFileSync(others, '');
        for (let i = 0; i < OTHERS; i++) {
            const { write_key: writeKey } = await polder.createAccount(`other-${i}`);
            appendFileSync(others, `${[...events({ count: POOL_EVENTS / OTHERS, writeKey, seed: 6 + i })].join('\n')}\n`);
        }
        const watched = await polder.createAccount('watched');
        const load = (unique, seconds) => wrk(`http://127.0.0.1:${polder.edgePort}`, { connections: CONNECTIONS, bodies: others, unique, seconds, delayMs: LOAD_DELAY_MS });
        await load('10', 2); // something of theirs lies beside it
        const filled = await fill(polder, ask, large, deletedBytes);
        const removed = removeFiles(dir, filled.bytes);

        const calm = load('11', sustainSeconds + 2);
        await delay(1000);
        const end = performance.now() + sustainSeconds * 1000;
        const before = await watch(polder, ask, watched, () => performance.now() > end);
        await calm;
        await polder.settled(60000);
        const busy = load('12', 60);
        await delay(1000);
        const { key, gone, times } = await deleteAndWatch(polder, ask, watched);
        await busy;
        const what = `${(filled.bytes / 1e6).toFixed(0)} MB, ${filled.held} events, one account of ten`;
        const reference = 'rm -rf and sync of as many bytes';
        return [
            row({ what: `deleting ${what}: the others' p99, edge 2xx to stored, meanwhile`, measured: percentile(times, 0.99), as: asMs, reference: 'before', against: percentile(before, 0.99), most: 2, note: `${times.length} and ${before.length} probes` }),
            row({ what: 'their p50', measured: percentile(times, 0.5), as: asMs, reference: 'before', against: percentile(before, 0.5) }),
            row({ what: 'from the call to the point of no return (key destroyed)', measured: key, as: asSeconds, reference, against: removed }),
            row({ what: 'from the call to physically gone at the origin', measured: gone, as: asSeconds, reference, against: removed }),
        ];
    } finally {
        await polder.stop();
    }
}
