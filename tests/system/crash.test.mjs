// Promises 1 and 2 under kill -9: whatever a client saw a 2xx for is exported exactly once.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { startCluster, postBatch, trackEvent, exportedIds } from './lib/fixture.mjs';

const ROUNDS = 50;
const CLIENTS = 8;

// Clients that send without pause, remember what was acknowledged, and retry what was not with the
// same message ids: to the same edge or to the other one, as the snippet would.
function startLoad(urls, writeKey) {
    const acknowledged = new Set();
    const sent = new Set();
    let going = true;
    const client = async (index) => {
        let turn = index;
        while (going) {
            const events = Array.from({ length: 1 + (turn % 5) }, () => trackEvent());
            events.forEach((event) => sent.add(event.messageId));
            for (let attempt = 0; attempt < 3; attempt++) {
                const status = await postBatch(urls[turn++ % urls.length], writeKey, events, 3000);
                if (status >= 200 && status < 300) {
                    events.forEach((event) => acknowledged.add(event.messageId));
                    break;
                }
                await delay(20);
            }
        }
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    return {
        acknowledged,
        sent,
        stop: async () => {
            going = false;
            await Promise.all(clients);
        },
    };
}

test(`${ROUNDS} kills of edges and origin under load lose nothing and double nothing`, { timeout: 480000 }, async (t) => {
    const names = ['eu', 'us'];
    const { cluster, account, whenStopped } = await startCluster(t, { edges: names });
    const load = startLoad(names.map((name) => cluster.url(name)), account.write_key);
    whenStopped.push(load.stop);
    const victims = ['eu', 'origin', 'us', 'origin', 'eu'];
    for (let round = 0; round < ROUNDS; round++) {
        const victim = victims[round % victims.length];
        await delay(Math.random() * 400);
        await cluster.nodes.get(victim).kill();
        await delay(Math.random() * 200);
        if (victim === 'origin') await cluster.startOrigin();
        else await cluster.startEdge(victim);
    }
    await load.stop();
    const books = await cluster.untilSettled(names, 60000);
    assert.deepEqual(books.alarms, [], 'nothing is alarmed');
    assert.equal(books.rows.reduce((sum, row) => sum + row.lost, 0), 0);

    const counts = await exportedIds(cluster, account);
    const missing = [...load.acknowledged].filter((id) => !counts.has(id));
    const doubled = [...counts].filter(([, count]) => count > 1);
    const strangers = [...counts.keys()].filter((id) => !load.sent.has(id));
    assert.deepEqual(missing, [], 'acknowledged but not stored');
    assert.deepEqual(doubled, [], 'stored more than once');
    assert.deepEqual(strangers, [], 'stored but never sent');
    assert.ok(load.acknowledged.size > 1000, `too little load to mean anything: ${load.acknowledged.size}`);
    t.diagnostic(`${load.acknowledged.size} acknowledged, ${counts.size} stored, ${load.sent.size} sent`);
});
