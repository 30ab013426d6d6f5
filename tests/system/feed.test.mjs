// What the origin tells its edges, and what both have counted: configs and accounts reach every
// edge, and the books balance whatever an event met on its way.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { startCluster, postBatch, trackEvent, exportedIds, until, bin } from './lib/fixture.mjs';
import { Relay } from './lib/relay.mjs';

const ACCOUNTS = 200;
const NAMES = ['eu', 'us', 'apac'];

// Asks the origin's API; what is not 2xx is a failure of the test.
async function api(cluster, method, route, body) {
    const reply = await fetch(`${cluster.url('origin')}/api/v1/${route}`, {
        method,
        headers: { Authorization: `Bearer ${cluster.token}` },
        body: body && JSON.stringify(body),
    });
    const text = await reply.text();
    assert.ok(reply.ok, `${method} ${route}: ${reply.status} ${text}`);
    return JSON.parse(text);
}

const campaign = (id) => ({ campaigns: [{ id, name: id, traffic: 1, url: ['*'], variants: [{ id: 'a', weight: 1, control: true }] }] });

async function config(cluster, edge, account) {
    const reply = await fetch(`${cluster.url(edge)}/v1/config/${account.write_key}`, { signal: AbortSignal.timeout(10000) });
    return { status: reply.status, text: await reply.text() };
}

// The exit code of `polderctl probe`, which monitoring goes by, and what it says.
function probe(cluster, name) {
    return new Promise((resolve) => {
        execFile(path.join(bin, 'polderctl'), ['probe', cluster.url(name)], (error, stdout) => resolve({ code: error?.code ?? 0, said: stdout }));
    });
}

test('a published config is served by every edge within a second', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: NAMES });
    for (let version = 2; version <= 6; version++) {
        const published = await api(cluster, 'PUT', `accounts/${account.id}/config`, campaign(`campaign-${version}`));
        const began = performance.now();
        assert.equal(published.version, version);
        const texts = await Promise.all(NAMES.map((name) => until(`${name} serves version ${version}`, 5000, async () => {
            const { text } = await config(cluster, name, account);
            return JSON.parse(text).version >= version && text;
        })));
        const ms = performance.now() - began;
        assert.ok(ms < 1000, `version ${version} took ${ms} ms`);
        assert.equal(new Set(texts).size, 1, 'all serve the same bytes');
        assert.match(texts[0], new RegExp(`"id":"campaign-${version}"`));
    }
});

test(`${ACCOUNTS} accounts made at once: known to the edges that heard of each, and to one that comes later`, { timeout: 120000 }, async (t) => {
    const { cluster } = await startCluster(t, { edges: ['eu', 'us'], start: ['eu'], campaign: false });
    const accounts = await Promise.all(Array.from({ length: ACCOUNTS }, (_, index) => api(cluster, 'POST', 'accounts', { name: `shop-${index}` })));
    assert.equal(new Set(accounts.map((account) => account.id)).size, ACCOUNTS);
    assert.equal(new Set(accounts.map((account) => account.write_key)).size, ACCOUNTS);
    // Every kind of them: with a config, with several, expired, for another region, back again.
    const expected = new Map();
    await Promise.all(accounts.map(async (account, index) => {
        const kind = index % 5;
        if (kind !== 0) await api(cluster, 'PUT', `accounts/${account.id}/config`, campaign(`c-${index}`));
        if (kind === 2) await api(cluster, 'PUT', `accounts/${account.id}/config`, campaign(`d-${index}`));
        if (kind === 3 || kind === 4) await api(cluster, 'POST', `accounts/${account.id}/expire`);
        if (kind === 4) await api(cluster, 'POST', `accounts/${account.id}/reinstate`);
        expected.set(account.write_key, [
            { status: 200, says: /"version":0/ },
            { status: 200, says: new RegExp(`"version":1.*"c-${index}"`) },
            { status: 200, says: new RegExp(`"version":2.*"d-${index}"`) },
            { status: 410, says: /expired/ },
            { status: 200, says: new RegExp(`"c-${index}"`) },
        ][kind]);
    }));
    const wrong = async (edge) => {
        const answers = await Promise.all(accounts.map((account) => config(cluster, edge, account)));
        return answers.map((answer, index) => ({ index, ...answer, expected: expected.get(accounts[index].write_key) }))
            .filter((row) => row.status !== row.expected.status || !row.expected.says.test(row.text));
    };
    const untilRight = async (edge) => {
        let last;
        await until(`${edge} serves every account as it is`, 60000, async () => (last = await wrong(edge)).length === 0).catch((error) => {
            throw new Error(`${error.message}: ${last.length} wrong, the first: ${JSON.stringify({ ...last[0], expected: String(last[0].expected.says) })}`);
        });
    };
    await untilRight('eu');

    // An edge that is ready knows everything: nobody is told "unknown key" by an edge that is behind.
    await cluster.startEdge('us');
    assert.deepEqual(await wrong('us'), [], 'an edge that comes later');
    assert.equal((await cluster.replication('us')).accounts, ACCOUNTS + 1);

    // One that was away catches up with what it missed, and serves what it knew until then.
    await cluster.nodes.get('us').stop();
    const change = async (index, status, says) => {
        await api(cluster, 'POST', `accounts/${accounts[index].id}/${status === 410 ? 'expire' : 'reinstate'}`);
        expected.set(accounts[index].write_key, { status, says });
    };
    await Promise.all([change(0, 410, /expired/), change(1, 410, /expired/), change(3, 200, /"c-3"/)]);
    await cluster.startEdge('us');
    await untilRight('us');
    await untilRight('eu');
});

test('the books balance over duplicates, late events and a cut path', { timeout: 120000 }, async (t) => {
    const relays = [];
    const { cluster, account } = await startCluster(t, {
        edges: ['eu', 'us'],
        start: [],
        linkUrl: (c) => {
            relays.push(new Relay({ targetPort: c.port('link') }));
            return `tls+tcp://127.0.0.1:${c.port('link') + relays.length}`;
        },
    });
    for (const [index, relay] of relays.entries()) {
        await relay.listen(cluster.port('link') + 1 + index);
        t.after(() => relay.close());
    }
    const closing = await cluster.ctlJson('account', 'create', 'closing-shop');
    await Promise.all(['eu', 'us'].map((name) => cluster.startEdge(name)));
    const send = async (edge, events, to = account) => assert.equal(await postBatch(cluster.url(edge), to.write_key, events), 200);
    const events = (count) => Array.from({ length: count }, () => trackEvent());

    const twice = events(20), once = events(50), late = events(30), stuck = events(40);
    await send('eu', once);
    await send('eu', [...twice, ...twice]); // within a batch
    await cluster.untilSettled(['eu', 'us'], 20000);
    await send('us', twice); // and by another edge
    await cluster.untilSettled(['eu', 'us'], 20000);
    relays[1].cut();
    await send('us', late, closing);
    await send('us', stuck);
    const pending = await cluster.replication('us');
    assert.equal(pending.pending_events, late.length + stuck.length);
    await cluster.ctl('account', 'expire', closing.id);
    await until('an edge that hears the origin has stopped', 5000, async () => (await config(cluster, 'eu', closing)).status === 410);
    assert.equal(await postBatch(cluster.url('eu'), closing.write_key, events(1)), 403);
    assert.equal(await postBatch(cluster.url('us'), closing.write_key, events(5)), 200, 'the other cannot know yet');
    await until('the origin misses the edge', 6000, async () => !(await cluster.replication('origin')).edges.find((edge) => edge.name === 'us').connected);
    assert.equal((await probe(cluster, 'us')).code, 1, 'degraded');
    relays[1].restore();

    const { rows, originStatus } = await cluster.untilSettled(['eu', 'us'], 30000);
    const row = (region) => rows.find((candidate) => candidate.region === region);
    assert.deepEqual({ accepted: row('eu').accepted, stored: row('eu').stored, duplicate: row('eu').duplicate, dropped: row('eu').dropped },
        { accepted: 90, stored: 70, duplicate: 20, dropped: 0 });
    assert.deepEqual({ accepted: row('us').accepted, stored: row('us').stored, duplicate: row('us').duplicate, dropped: row('us').dropped },
        { accepted: 95, stored: 70, duplicate: 20, dropped: 5 });
    assert.equal(originStatus, 'healthy');
    const { totals } = await cluster.replication('origin');
    assert.equal(totals.dropped.expired, 5, 'with the reason: these were accepted after the end');
    const stored = await exportedIds(cluster, account);
    assert.deepEqual([...twice, ...once, ...stuck].filter((event) => stored.get(event.messageId) !== 1), []);
    assert.equal(stored.size, 110);
    const kept = await exportedIds(cluster, closing);
    assert.deepEqual([...kept.keys()].sort(), late.map((event) => event.messageId).sort(), 'what was accepted before the end, and nothing else');

    // Each chain by itself, as the two ends counted it independently.
    const origin = await cluster.replication('origin');
    for (const name of ['eu', 'us']) {
        const edge = await cluster.replication(name);
        const there = origin.edges.find((candidate) => candidate.id === edge.edge_id);
        for (const chain of edge.chains) {
            const counted = there.chains.find((candidate) => candidate.incarnation === chain.incarnation);
            assert.equal(counted.events, chain.acked_events);
            assert.equal(counted.stored + counted.duplicate + counted.dropped, chain.events);
            assert.equal(chain.books, 'balanced');
        }
        const { code, said } = await probe(cluster, name);
        assert.equal(code, 0, said);
    }
    assert.equal((await probe(cluster, 'origin')).code, 0);
});
