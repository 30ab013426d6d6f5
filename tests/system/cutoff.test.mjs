// Cut-offs: an edge says where in the feed it is settled, and means it: nothing that it sealed
// before stands in any file of it. Sealing keys come and go by the same word, and lose nothing.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import path from 'node:path';
import { startCluster, postBatch, trackEvent, exportedIds, until } from './lib/fixture.mjs';
import { Relay } from './lib/relay.mjs';

const HEADER_BYTES = 144; // of a block; the sealed body follows
const NAME_BYTES = 24; // of a body: enough to know it again

function filesBelow(dir) {
    return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
        const file = path.join(dir, entry.name);
        if (entry.isDirectory()) return filesBelow(file);
        try {
            return [{ file, bytes: readFileSync(file) }];
        } catch {
            return []; // gone meanwhile
        }
    });
}

const edgeDir = (cluster, name) => path.join(cluster.dir, 'edges', name);

// A piece of every sealed body in an edge's files, as whoever steals the disk would find it.
function sealedBodies(cluster, name) {
    const names = new Map();
    for (const { bytes } of filesBelow(edgeDir(cluster, name))) {
        for (let at = bytes.indexOf('PLB1'); at >= 0; at = bytes.indexOf('PLB1', at + 1)) {
            const body = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + NAME_BYTES);
            if (body.length === NAME_BYTES) names.set(body.toString('hex'), Buffer.from(body));
        }
    }
    return [...names.values()];
}

function found(cluster, name, bodies) {
    const files = filesBelow(edgeDir(cluster, name));
    return bodies.filter((body) => files.some(({ bytes }) => bytes.includes(body))).length;
}

async function rotate(cluster) {
    return (await cluster.ctlJson('keyring', 'rotate')).position;
}

async function settledAt(cluster, name) {
    const { edges } = await cluster.replication('origin');
    return edges.find((edge) => edge.name === name).settled;
}

function untilSettledAt(cluster, name, position, timeoutMs = 20000) {
    return until(`${name} is settled at ${position}`, timeoutMs, async () => (await settledAt(cluster, name)) >= position);
}

const olderKeys = async (cluster) => (await cluster.replication('origin')).cutoffs.sealing_key.older_alive;

// Each edge's link goes through a relay of its own.
async function startBehindRelays(t, edges) {
    const relays = new Map();
    const { cluster, account } = await startCluster(t, {
        edges,
        start: [],
        linkUrl: (c) => {
            const name = edges[relays.size];
            relays.set(name, new Relay({ targetPort: c.port('link') }));
            return `tls+tcp://127.0.0.1:${c.port('link') + relays.size}`;
        },
    });
    for (const [index, name] of edges.entries()) {
        const relay = relays.get(name);
        await relay.listen(cluster.port('link') + 1 + index);
        t.after(() => relay.close());
        await cluster.startEdge(name);
    }
    return { cluster, account, relays };
}

const events = (count) => Array.from({ length: count }, () => trackEvent());

test('a healthy edge is settled within two seconds, and nothing from before is left in its files', { timeout: 120000 }, async (t) => {
    const { cluster, account, relays } = await startBehindRelays(t, ['eu']);
    const relay = relays.get('eu');
    relay.cut(); // so that the blocks can be looked at
    for (let i = 0; i < 5; i++) assert.equal(await postBatch(cluster.url('eu'), account.write_key, events(10)), 200);
    const before = sealedBodies(cluster, 'eu');
    assert.ok(before.length >= 5, `${before.length} blocks are in the spool's files`);
    relay.restore();
    await cluster.untilSettled(['eu'], 20000);
    assert.equal(found(cluster, 'eu', before), before.length, 'acked is not gone');

    const times = [];
    for (let i = 0; i < 3; i++) {
        const position = await rotate(cluster);
        const began = performance.now();
        await untilSettledAt(cluster, 'eu', position);
        times.push(performance.now() - began);
        assert.equal(found(cluster, 'eu', before), 0);
        await delay(3000); // it rests for a while
    }
    t.diagnostic(`settled after ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    assert.ok(Math.min(...times) < 2000 && Math.max(...times) < 6000, `${times}`);

    const { feed_position: feed, settled_position: settled, settling_seconds: seconds } = await cluster.replication('eu');
    assert.ok(settled === feed && seconds === 0);
    const metrics = await (await fetch(`${cluster.url('origin')}/metrics`)).text();
    assert.match(metrics, /polder_cutoff_edges_waiting 0\b/);
    // A new start has nothing to do: it was settled where the feed is.
    await cluster.nodes.get('eu').stop();
    await cluster.startEdge('eu');
    assert.equal((await cluster.replication('eu')).settled_position, settled);
});

test('an edge that is away holds a cut-off up until it is back and has delivered', { timeout: 180000 }, async (t) => {
    const { cluster, account, relays } = await startBehindRelays(t, ['eu', 'us']);
    const [kept, far] = [events(30), events(40)];
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, kept), 200);
    await cluster.untilSettled(['eu', 'us'], 20000);
    relays.get('us').cut();
    assert.equal(await postBatch(cluster.url('us'), account.write_key, far), 200);
    const before = sealedBodies(cluster, 'us');
    await cluster.nodes.get('us').kill();

    const position = await rotate(cluster);
    await untilSettledAt(cluster, 'eu', position);
    await cluster.startEdge('us', { ready: false }); // it is here, but its path is not
    await delay(3000);
    assert.ok((await settledAt(cluster, 'us')) < position);
    const { cutoffs } = await cluster.replication('origin');
    assert.deepEqual([cutoffs.edges_waiting, cutoffs.sealing_key.older_alive], [1, 1]);
    assert.ok(found(cluster, 'us', before) > 0);

    relays.get('us').restore();
    await untilSettledAt(cluster, 'us', position);
    assert.equal(found(cluster, 'us', before), 0);
    await cluster.untilSettled(['eu', 'us'], 20000);
    const ids = await exportedIds(cluster, account);
    for (const event of [...kept, ...far]) assert.equal(ids.get(event.messageId), 1);
    await until('the old key is destroyed', 10000, async () => (await olderKeys(cluster)) === 0);
});

test('sealing keys are replaced under load, twice in a row, and nothing is lost', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'us'] });
    const accepted = [];
    let going = true;
    const client = async (name) => {
        while (going) {
            const batch = events(5);
            if ((await postBatch(cluster.url(name), account.write_key, batch)) === 200) accepted.push(...batch);
        }
    };
    const clients = ['eu', 'us', 'eu', 'us'].map(client);
    await delay(1000);
    const first = await rotate(cluster);
    await delay(200);
    const second = await rotate(cluster);
    assert.ok(second > first);
    await until('the old keys are destroyed', 40000, async () => (await olderKeys(cluster)) === 0);
    const third = await rotate(cluster);
    await Promise.all(['eu', 'us'].map((name) => untilSettledAt(cluster, name, third, 40000)));
    await delay(500);
    going = false;
    await Promise.all(clients);
    const { rows } = await cluster.untilSettled(['eu', 'us'], 30000);
    for (const row of rows) assert.equal(row.dropped, 0);
    const ids = await exportedIds(cluster, account);
    t.diagnostic(`${accepted.length} events`);
    assert.equal(accepted.filter((event) => ids.get(event.messageId) !== 1).length, 0);
    const log = readFileSync(cluster.nodes.get('origin').logFile, 'utf8');
    assert.ok(!/are dropped|refused/.test(log), log.split('\n').find((line) => /are dropped|refused/.test(line)));
});
