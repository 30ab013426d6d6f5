// Outcomes beside plain success, counted by the edges, stored once like events, and summed by the
// origin for the account's people.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster, exported, trackEvent, until } from './lib/fixture.mjs';
import { ask, post } from './lib/http.mjs';
import { metricsOf } from './lib/metrics.mjs';

const every = (seconds) => ({ env: { POLDER_TALLY_INTERVAL_S: String(seconds) } });

const pixel = (cluster, key, query, headers) => ask(`${cluster.url('eu')}/pixel.gif?write_key=${key}&${query}`, { headers });

async function outcomesOf(cluster, account, ...args) {
    const { outcomes, damaged } = await cluster.ctlJson('account', 'outcomes', account.id, ...args);
    assert.equal(damaged, 0);
    return outcomes;
}

const counted = async (cluster, account) =>
    Object.fromEntries((await outcomesOf(cluster, account)).map(({ dialect, outcome, count }) => [`${dialect} ${outcome}`, count]));

const today = () => new Date().toISOString().slice(0, 10);

async function refuseMany(cluster, account) {
    const { write_key: key } = account;
    assert.equal((await pixel(cluster, key, 'goal=sale&txn_id=T-1&visitor_id=v')).headers['x-polder-outcome'], 'OK');
    for (let i = 0; i < 3; i++) await pixel(cluster, key, 'goal=sale&txn_id=T-1&visitor_id=v');
    await pixel(cluster, key, 'goal=sale&sale_amount=lots&visitor_id=v');
    await pixel(cluster, key, 'goal=sale&campaign_id=none&visitor_id=v');
    await pixel(cluster, key, 'goal=sale&visitor_id=v', { 'sec-gpc': '1' });
    assert.equal((await ask(`${cluster.url('eu')}/postback?write_key=${key}&goal=sale`)).status, 400);
    const reply = await post(`${cluster.url('eu')}/v1/track`, { writeKey: key, type: 'track', anonymousId: 'v', properties: {} });
    assert.equal(reply.status, 400);
    const masked = { writeKey: key, type: 'track', event: 'Told', anonymousId: 'v', properties: { a: 'jane@shop.example', b: 'john@shop.example' } };
    assert.equal((await post(`${cluster.url('eu')}/v1/track`, masked)).status, 200);
    await post(`${cluster.url('eu')}/events`, { id: 'u', events: [] }, { 'x-xng-authtoken': key });
    // Of nobody known: in /metrics alone.
    await pixel(cluster, 'f'.repeat(32), 'goal=sale');
}

const EXPECTED = {
    'segment MALFORMED': 1,
    'segment MASKED': 2,
    'crossengage NOT_NULL': 1,
    'pixel DUPLICATE': 3,
    'pixel INVALID_AMOUNT': 1,
    'pixel NO_CLICK_ID': 1,
    'pixel OPTED_OUT': 1,
    'pixel UNKNOWN_CAMPAIGN': 1,
};

test('each outcome is counted for its account, by day and dialect', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, every(1));
    const other = await cluster.ctlJson('account', 'create', 'other');
    await refuseMany(cluster, account);
    await until('the origin has the sums', 20000, async () => {
        const now = await counted(cluster, account);
        return Object.keys(now).length >= Object.keys(EXPECTED).length && now['pixel DUPLICATE'] === 3;
    });
    assert.deepEqual(await counted(cluster, account), EXPECTED);
    assert.deepEqual(await outcomesOf(cluster, other), []);
    assert.ok((await outcomesOf(cluster, account)).every(({ day }) => day === today()));
    assert.deepEqual(await outcomesOf(cluster, account, '--to', '2026-01-01'), []);
    // More of the same adds up.
    await pixel(cluster, account.write_key, 'goal=sale&sale_amount=-1');
    await until('the sum has grown', 20000, async () => (await counted(cluster, account))['pixel INVALID_AMOUNT'] === 2);
    await cluster.untilSettled(['eu'], 30000);
});

test('exports leave tallies out unless asked', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, every(1));
    await refuseMany(cluster, account);
    await until('the origin has the sums', 20000, async () => (await counted(cluster, account))['pixel DUPLICATE'] === 3);
    assert.deepEqual((await exported(cluster, account)).map((event) => event.type).sort(), ['custom', 'order']);
    const headers = { authorization: `Bearer ${cluster.token}` };
    const asked = (query) => ask(`${cluster.url('origin')}/api/v1/accounts/${account.id}/events?${query}`, { headers });
    const lines = (await asked('include=tally')).text.trim().split('\n').map((line) => JSON.parse(line));
    const tallies = lines.filter((event) => event.type === 'tally');
    assert.equal(lines.length, tallies.length + 2);
    const sum = (name) => tallies.filter((event) => event.name === name).reduce((all, event) => all + event.count, 0);
    assert.equal(sum('DUPLICATE'), 3);
    assert.ok(tallies.every(({ dialect, count, visitor_id: visitor }) => dialect && count > 0 && visitor === 'polder:tally'));
    assert.equal((await asked('include=all')).status, 400);
});

test('a stopping edge hands in what it has counted', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, every(3600));
    await refuseMany(cluster, account);
    assert.deepEqual(await counted(cluster, account), {});
    await cluster.nodes.get('eu').stop();
    await cluster.startEdge('eu', every(3600));
    await cluster.untilSettled(['eu'], 30000);
    assert.deepEqual(await counted(cluster, account), EXPECTED);
});

test('owners read their own outcomes, auditors and other owners none', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, every(1));
    const other = await cluster.ctlJson('account', 'create', 'other');
    await pixel(cluster, account.write_key, 'goal=sale&sale_amount=lots');
    await until('the origin has the sum', 20000, async () => (await counted(cluster, account))['pixel INVALID_AMOUNT'] === 1);
    const token = async (role, ...args) => (await cluster.ctlJson('token', 'create', '--role', role, ...args)).token;
    const read = async (bearer, query = '') =>
        ask(`${cluster.url('origin')}/api/v1/accounts/${account.id}/outcomes${query}`, { headers: { authorization: `Bearer ${bearer}` } });
    const own = await token('owner', '--account', account.id);
    const reply = await read(own);
    assert.equal(reply.status, 200);
    assert.deepEqual(JSON.parse(reply.text), { outcomes: [{ day: today(), dialect: 'pixel', outcome: 'INVALID_AMOUNT', count: 1 }], damaged: 0 });
    assert.equal((await read(await token('auditor'))).status, 403);
    assert.equal((await read(await token('owner', '--account', other.id))).status, 403);
    assert.equal((await read(own, '?from=yesterday')).status, 400);
    assert.equal((await read(own, '?from=2026-02-02&to=2026-02-01')).status, 400);
    const table = await cluster.ctl('account', 'outcomes', account.id);
    assert.match(table, /^DAY \(UTC\) +DIALECT +OUTCOME +COUNT\n\d{4}-\d\d-\d\d +pixel +INVALID_AMOUNT +1\n$/);
});

test('what an edge cannot store it counts, and tells once it can again', { timeout: 240000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { env: { POLDER_TALLY_INTERVAL_S: '1', POLDER_SPOOL_MAX_BYTES: String(1 << 20) } });
    await cluster.nodes.get('origin').stop();
    const text = () => randomBytes(12000).toString('base64');
    const batch = () => ({ writeKey: account.write_key, batch: Array.from({ length: 20 }, () => trackEvent({ properties: { text: text() } })) });
    let refused = 0;
    for (let tries = 0; refused < 5 && tries < 60; tries++) {
        const { status } = await post(`${cluster.url('eu')}/v1/batch`, batch());
        assert.ok(status === 200 || status === 503, `${status}`);
        if (status === 503) refused++;
    }
    assert.equal(refused, 5);
    await sleep(3000); // tallies are refused meanwhile, too
    await cluster.startOrigin();
    await until('the edge has told', 60000, async () => (await counted(cluster, account))['segment UNAVAILABLE'] >= refused);
    assert.equal((await counted(cluster, account))['segment UNAVAILABLE'], refused);
    await cluster.untilSettled(['eu'], 60000);
});
