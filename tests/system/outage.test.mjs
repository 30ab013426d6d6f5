// Promise 8: the edge serves and collects while the origin sleeps, and drains when it wakes.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startCluster, postBatch, trackEvent, exportedIds, until } from './lib/fixture.mjs';

test('an origin that is down for the whole run costs nothing', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    await cluster.nodes.get('origin').kill();

    // The edge restarts with no origin in sight and serves the config it knew.
    await cluster.nodes.get('eu').stop();
    await cluster.startEdge('eu');
    const config = await fetch(`${cluster.url('eu')}/v1/config/${account.write_key}`);
    assert.equal(config.status, 200);
    assert.equal((await config.json()).version, 1);

    const ids = [];
    for (let i = 0; i < 40; i++) {
        const events = Array.from({ length: 25 }, () => trackEvent());
        assert.equal(await postBatch(cluster.url('eu'), account.write_key, events), 200);
        ids.push(...events.map((event) => event.messageId));
    }
    const asleep = await cluster.replication('eu');
    assert.equal(asleep.connected, false);
    assert.equal(asleep.pending_events, ids.length);
    assert.notEqual(asleep.status, 'healthy');
    assert.ok(asleep.reasons.length > 0, 'a verdict names its reason');
    const again = await fetch(`${cluster.url('eu')}/v1/config/${account.write_key}`);
    await until('the config tells its age', 15000, async () => {
        const reply = await fetch(`${cluster.url('eu')}/v1/config/${account.write_key}`);
        return Number(reply.headers.get('age')) > 0;
    });
    assert.equal(again.status, 200);

    await cluster.startOrigin();
    await cluster.untilSettled(['eu'], 30000);
    const counts = await exportedIds(cluster, account);
    assert.deepEqual(ids.filter((id) => counts.get(id) !== 1), []);
    assert.equal(counts.size, ids.length);
    await until('the edge is healthy again', 10000, async () => (await cluster.replication('eu')).status === 'healthy');
});

test('expiry reaches connected edges within a second, and so does its end', { timeout: 120000 }, async (t) => {
    const names = ['eu', 'us', 'apac'];
    const { cluster, account } = await startCluster(t, { edges: names });
    const ask = async (name) => {
        const config = await fetch(`${cluster.url(name)}/v1/config/${account.write_key}`);
        await config.arrayBuffer();
        return [config.status, await postBatch(cluster.url(name), account.write_key, [trackEvent()])];
    };
    const untilAll = async (what, expected) => {
        const began = Date.now();
        await until(what, 5000, async () => {
            const answers = await Promise.all(names.map(ask));
            return answers.every((answer) => JSON.stringify(answer) === JSON.stringify(expected));
        });
        return Date.now() - began;
    };
    await untilAll('all edges serve and collect', [200, 200]);
    await cluster.ctl('account', 'expire', account.id);
    const stopped = await untilAll('all edges have stopped', [410, 403]);
    await cluster.ctl('account', 'reinstate', account.id);
    const resumed = await untilAll('all edges serve and collect again', [200, 200]);
    assert.ok(stopped < 1000, `stopping took ${stopped} ms`);
    assert.ok(resumed < 1000, `resuming took ${resumed} ms`);
});
