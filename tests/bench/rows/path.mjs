// The whole path on one machine, and what an edge needs when nothing happens.
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { Polder } from '../servers.mjs';
import { wrk } from '../load.mjs';
import { writeEvents } from '../events.mjs';
import { cpuSeconds, percentile, residentMiB } from '../machine.mjs';
import { row, rate, micros } from '../table.mjs';

const POOL_EVENTS = 40000;
const CONNECTIONS = 256;
const PROBES_EACH = 50; // events in an account, which is exported whole at every look
const PROBE_EVERY_MS = 50;

async function look(polder) {
    const { rows: [row] } = await polder.books();
    return { at: performance.now(), ...row, edgeCpu: cpuSeconds(polder.edgePids()), originCpu: cpuSeconds([polder.origin.pid]) };
}

// wrk, and the books a while after its start and shortly before its end.
async function sustain(polder, options) {
    const load = wrk(`http://127.0.0.1:${polder.edgePort}`, { connections: CONNECTIONS, ...options });
    await delay(2000);
    const before = await look(polder);
    await delay((options.seconds - 3) * 1000);
    const after = await look(polder);
    await load;
    const seconds = (after.at - before.at) / 1000;
    return {
        acceptedPerSecond: (after.accepted - before.accepted) / seconds,
        storedPerSecond: (after.stored - before.stored) / seconds,
        edgeMicroseconds: ((after.edgeCpu - before.edgeCpu) / (after.accepted - before.accepted)) * 1e6,
        originMicroseconds: ((after.originCpu - before.originCpu) / (after.stored - before.stored)) * 1e6,
        backlog: after.pending,
    };
}

// The connections' mean pause that makes them send `perSecond` together, found by trying.
async function paceFor(polder, perSecond, options) {
    let pause = (CONNECTIONS / perSecond) * 1000;
    for (let tries = 0; tries < 4; tries++) {
        const { requests, seconds } = await wrk(`http://127.0.0.1:${polder.edgePort}`, { connections: CONNECTIONS, ...options, unique: `9${tries}`, seconds: 4, delayMs: pause });
        const off = (requests / seconds) / perSecond;
        if (Math.abs(off - 1) < 0.05) break;
        // What a connection takes besides its pause stays as it was.
        const cycle = (CONNECTIONS / (requests / seconds)) * 1000;
        pause = Math.max(0.1, pause + (CONNECTIONS / perSecond) * 1000 - cycle);
    }
    await polder.settled(120000);
    return pause;
}

const probeAccounts = (seconds) => Math.ceil((seconds * 1000) / PROBE_EVERY_MS / PROBES_EACH);

// Sends events one by one, each to an account with few others, and asks for the account's export
// until the event is in it: what a customer would see. The time ends when that export has come.
async function probe(polder, accounts, until) {
    const times = [];
    const today = () => new Date().toISOString().slice(0, 10);
    const headers = { Authorization: `Bearer ${polder.cluster.token}` };
    for (let n = 0; performance.now() < until && n < accounts.length * PROBES_EACH; n++) {
        const next = performance.now() + PROBE_EVERY_MS;
        const account = accounts[Math.floor(n / PROBES_EACH)];
        const messageId = randomUUID();
        const reply = await fetch(`http://127.0.0.1:${polder.edgePort}/v1/track`, {
            method: 'POST',
            body: JSON.stringify({ writeKey: account.write_key, messageId, anonymousId: 'probe', event: 'Probe' }),
        });
        const accepted = performance.now();
        await reply.arrayBuffer();
        if (!reply.ok) throw new Error(`a probe was refused with ${reply.status}`);
        for (let there = false; !there;) {
            const exported = await fetch(`${polder.cluster.url('origin')}/api/v1/accounts/${account.id}/events?from=${today()}&to=${today()}`, { headers });
            there = (await exported.text()).includes(messageId);
        }
        times.push(performance.now() - accepted);
        await delay(Math.max(0, next - performance.now()));
    }
    return times;
}

// What the disk alone takes meanwhile, for 4 KiB at a time.
async function syncs(file, until) {
    const times = [];
    const handle = await open(file, 'w');
    for (const page = Buffer.alloc(4096, 1); performance.now() < until;) {
        const began = performance.now();
        await handle.write(page);
        await handle.datasync();
        times.push(performance.now() - began);
        await delay(PROBE_EVERY_MS);
    }
    await handle.close();
    return times;
}

export const endToEnd = {
    title: 'end to end',
    async measure({ bin, dir, sustainSeconds }) {
        const polder = await Polder.start(bin, `${dir}/polder`);
        try {
            const bodies = `${dir}/singles.ndjson`;
            await writeEvents(bodies, { count: POOL_EVENTS, writeKey: polder.account.write_key, seed: 4 });
            // What the origin keeps up with first, because a flood only grows the edge's spool.
            const flood = await sustain(polder, { bodies, unique: '10', seconds: Math.ceil(sustainSeconds / 3) });
            await polder.settled(600000);
            const full = Math.min(flood.storedPerSecond, flood.acceptedPerSecond);
            const whole = await sustain(polder, { bodies, unique: '11', seconds: sustainSeconds, delayMs: await paceFor(polder, full, { bodies }) });
            await polder.settled(600000);
            const accounts = [];
            for (let i = 0; i < probeAccounts(sustainSeconds); i++) accounts.push(await polder.createAccount(`probe-${i}`));
            const pause = await paceFor(polder, whole.storedPerSecond / 2, { bodies });
            const end = performance.now() + (sustainSeconds - 2) * 1000;
            const [half, times, disk] = await Promise.all([
                sustain(polder, { bodies, unique: '12', seconds: sustainSeconds, delayMs: pause }),
                delay(1000).then(() => probe(polder, accounts, end)),
                delay(1000).then(() => syncs(`${dir}/synced`, end)),
            ]);
            const as = (value) => `${value.toFixed(1)} ms`;
            const load = `at ${rate(half.storedPerSecond, 'events')}, ${times.length} probes`;
            return [
                row({ what: `end to end for ${sustainSeconds} s, both nodes and the load on this machine`, measured: whole.storedPerSecond, as: (v) => rate(v, 'events'), note: `${whole.backlog} pending at the end` }),
                row({ what: 'CPU per event, edge', measured: whole.edgeMicroseconds, as: micros }),
                row({ what: 'CPU per event, origin', measured: whole.originMicroseconds, as: micros }),
                row({ what: 'edge 2xx to exportable at half load, p50', measured: percentile(times, 0.5), as, note: load }),
                row({ what: 'p99', measured: percentile(times, 0.99), as, most: 100 }),
                row({ what: 'and of 4 KiB written and synced on that disk meanwhile, p99', measured: percentile(disk, 0.99), as }),
            ];
        } finally {
            await polder.stop();
        }
    },
};

export const idle = {
    title: 'idle edge',
    async measure({ bin, dir }) {
        const polder = await Polder.start(bin, `${dir}/polder`);
        try {
            await delay(3000);
            return [row({ what: 'memory of an idle edge, RSS', measured: residentMiB(polder.edge.pid), as: (v) => `${v.toFixed(1)} MiB`, most: 32 })];
        } finally {
            await polder.stop();
        }
    },
};
