// The real Segment client for Node, unchanged, pointed at an edge.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Analytics } from '@segment/analytics-node';
import { startCluster, untilServed, exported, until } from './lib/fixture.mjs';
import { metricsOf } from './lib/metrics.mjs';

test('@segment/analytics-node sends every kind of call; the origin exports each once', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const client = new Analytics({ writeKey: account.write_key, host: cluster.url('eu'), path: '/v1/batch', maxRetries: 0 });
    const failures = [];
    client.on('error', (error) => failures.push(error));

    const at = new Date('2026-11-01T12:00:00.000Z');
    client.identify({ userId: 'u-1', anonymousId: 'a-1', traits: { plan: 'pro' }, timestamp: at });
    client.page({ userId: 'u-1', name: 'Home', properties: { url: 'https://shop.example/' }, timestamp: at });
    client.track({ userId: 'u-1', event: 'Order Completed', properties: { order_id: 'o-1', total: 12.5, currency: 'EUR', products: [{ sku: 'S1', quantity: 2 }] }, timestamp: at });
    client.track({ anonymousId: 'a-1', event: 'Something Else', properties: { depth: { of: ['field'] } }, timestamp: at });
    client.group({ userId: 'u-1', groupId: 'g-1', traits: { name: 'ACME' }, timestamp: at });
    client.alias({ userId: 'u-1', previousId: 'a-1', timestamp: at });
    await client.closeAndFlush({ timeout: 20000 });
    assert.deepEqual(failures, []);

    await cluster.untilSettled(['eu'], 20000);
    const events = await exported(cluster, account);
    const byType = Object.fromEntries(events.map((event) => [event.type, event]));
    assert.equal(events.length, 6);
    assert.deepEqual(Object.keys(byType).sort(), ['alias', 'custom', 'group', 'identify', 'order', 'page_view']);
    for (const event of events) {
        assert.equal(event.client_time, at.toISOString());
        assert.equal(event.dialect, 'segment');
        assert.equal(event.region, 'eu');
        assert.ok(event.message_id);
    }
    assert.deepEqual(byType.identify.traits, { plan: 'pro' });
    assert.equal(byType.page_view.name, 'Home');
    assert.equal(byType.order.total, 12.5);
    assert.equal(byType.order.currency, 'EUR');
    assert.deepEqual(byType.order.items, [{ sku: 'S1', quantity: 2 }]);
    assert.deepEqual(byType.custom.props, { depth: { of: ['field'] } });
    assert.equal(byType.group.group_id, 'g-1');
    assert.equal(byType.alias.previous_id, 'a-1');
});

test('a client that retries is stored once, by whichever edge it comes', { timeout: 120000 }, async (t) => {
    const names = ['eu', 'us'];
    const { cluster, account } = await startCluster(t, { edges: names });
    const body = JSON.stringify({
        writeKey: account.write_key,
        batch: Array.from({ length: 20 }, (_, i) => ({ type: 'track', event: 'Retried', messageId: `m-${i}`, anonymousId: 'a' })),
    });
    for (const name of ['eu', 'us', 'us', 'eu']) {
        const reply = await fetch(`${cluster.url(name)}/v1/batch`, { method: 'POST', body });
        assert.equal(reply.status, 200);
        assert.deepEqual(await reply.json(), { success: true });
    }
    const books = await cluster.untilSettled(names, 20000);
    assert.equal(books.rows.reduce((sum, row) => sum + row.accepted, 0), 80);
    assert.equal(books.rows.reduce((sum, row) => sum + row.stored, 0), 20);
    assert.equal(books.rows.reduce((sum, row) => sum + row.duplicate, 0), 60);
    const events = await exported(cluster, account);
    assert.equal(events.length, 20);
});

test('what an edge refuses says why, in the reply and with CORS', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    const origin = 'https://shop.example';
    const post = (path, body, headers = {}) => fetch(url + path, { method: 'POST', body, headers: { Origin: origin, ...headers } });
    const cases = [
        [post('/v1/track', '{"writeKey":'), 400, /JSON/i],
        [post('/v1/track', JSON.stringify({ writeKey: account.write_key })), 400, /event/],
        [post('/v1/batch', JSON.stringify({ writeKey: account.write_key, batch: [{ type: 'track' }, { type: 'page', context: 7 }] })), 400, /batch\[0\]\.event/],
        [post('/v1/track', JSON.stringify({ event: 'E' })), 401, /writeKey/i],
        [post('/v1/track', JSON.stringify({ writeKey: '0'.repeat(32), event: 'E' })), 401, /./],
        [post('/v1/batch', JSON.stringify({ writeKey: account.write_key, batch: [], pad: 'x'.repeat(600 * 1024) })), 413, /./],
        [post('/v1/nowhere', '{}'), 404, /./],
    ];
    for (const [request, status, text] of cases) {
        const reply = await request;
        const body = await reply.text();
        assert.equal(reply.status, status, body);
        assert.match(body, text);
        if (status !== 404) {
            assert.equal(reply.headers.get('access-control-allow-origin'), origin);
            assert.match(reply.headers.get('vary') ?? '', /Origin/i);
        }
    }
    const preflight = await fetch(`${url}/v1/batch`, {
        method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' },
    });
    assert.ok(preflight.ok);
    assert.equal(preflight.headers.get('access-control-allow-origin'), origin);
    assert.ok(Number(preflight.headers.get('access-control-max-age')) > 0);

    const pixel = await fetch(`${url}/v1/pixel/track?data=broken`);
    assert.equal(pixel.headers.get('content-type'), 'image/gif');
    assert.equal((await pixel.arrayBuffer()).byteLength, 43);
    assert.ok(pixel.headers.get('x-polder-outcome'));
    const books = await cluster.untilSettled(['eu'], 10000);
    assert.equal(books.rows[0].accepted, 0, 'nothing of a refused request is kept');
});

test('a batch larger than the limit leaves its connection usable', { timeout: 60000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const { Agent, request } = await import('node:http');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const send = (body) =>
        new Promise((resolve, reject) => {
            const call = request(`${cluster.url('eu')}/v1/batch`, { method: 'POST', agent }, (reply) => {
                reply.resume();
                reply.on('end', () => resolve({ status: reply.statusCode, port: reply.socket?.localPort ?? call.socket?.localPort }));
            });
            call.on('error', reject);
            call.end(body);
        });
    const small = JSON.stringify({ writeKey: account.write_key, batch: [{ type: 'page', anonymousId: 'a' }] });
    const first = await send(small);
    const large = await send(JSON.stringify({ writeKey: account.write_key, pad: 'x'.repeat(700 * 1024), batch: [] }));
    const last = await send(small);
    assert.deepEqual([first.status, large.status, last.status], [200, 413, 200]);
    await until('all stored', 10000, async () => (await cluster.books(['eu'])).rows[0].stored === 2);
});

test('analytics.js is told where to send by the edge it loads from', { timeout: 60000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    await untilServed(cluster, 'eu', account, 0);
    const settings = (key, headers) => fetch(`${url}/v1/projects/${key}/settings`, { headers });
    for (const [headers, protocol] of [[{}, 'https'], [{ Origin: 'https://shop.example' }, 'https'], [{ Origin: 'http://shop.localhost' }, 'http'], [{ Referer: 'http://shop.localhost/a' }, 'http']]) {
        const reply = await settings(account.write_key, headers);
        assert.equal(reply.status, 200);
        assert.equal(reply.headers.get('content-type'), 'application/json');
        assert.equal(reply.headers.get('access-control-allow-origin'), '*');
        assert.match(reply.headers.get('cache-control'), /^public, max-age=\d+$/);
        assert.match(reply.headers.get('vary'), /origin/);
        const body = await reply.json();
        assert.deepEqual(body.integrations, { 'Segment.io': { apiKey: account.write_key, apiHost: `${new URL(url).host}/v1`, protocol } });
        assert.equal(body.metrics.sampleRate, 0);
    }
    for (const path of ['0'.repeat(32), '', 'x']) assert.equal((await settings(path)).status, 404);
    assert.equal((await fetch(`${url}/v1/projects/${account.write_key}`)).status, 404);
    assert.equal((await fetch(`${url}/v1/projects/${account.write_key}/settings`, { method: 'POST' })).status, 405);
});

test('personal data is masked before it is stored, and only counted', { timeout: 60000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    await untilServed(cluster, 'eu', account, 0);
    const send = (userId, properties) => fetch(`${url}/v1/track`, { method: 'POST', body: JSON.stringify({ writeKey: account.write_key, event: 'E', userId, properties }) });
    assert.equal((await send('Jan@Shop.example', { card: '4111 1111 1111 1111', order: 'o-4111' })).status, 200);
    assert.equal((await send('jan@shop.example', { phone: '0612345678' })).status, 200);
    assert.equal((await send('u-2', { order: '4000-1234-5678-9010' })).status, 200);
    await cluster.untilSettled(['eu'], 20000);
    const events = await exported(cluster, account);
    const ids = events.map((event) => event.user_id).sort();
    assert.match(ids[0], /^email:[0-9a-f]{32}$/);
    assert.equal(ids[0], ids[1], 'the same visitor, however the address is written');
    assert.equal(ids[2], 'u-2');
    assert.deepEqual(events.map((event) => event.masked).sort(), [2, 2, undefined]);
    assert.doesNotMatch(JSON.stringify(events), /shop\.example|4111 1111|0612345678/i);
    assert.equal((await metricsOf(url)).samples.get('polder_masked_pieces_total'), 4);
});
