// No means no: by cookie at the edge that heard it, by hashed id in every region, across restarts,
// with no origin in sight, and at the origin's intake.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { startCluster, trackEvent, postBatch, exported, until } from './lib/fixture.mjs';
import { ask, post } from './lib/http.mjs';

const PAGE = 'https://www.shop.example';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const cookiesOf = (reply) => (reply.headers['set-cookie'] ?? []).map((line) => line.split(';')[0]);
const cookieLine = (reply, name) => (reply.headers['set-cookie'] ?? []).find((line) => line.startsWith(`${name}=`));
const pageEvent = (account, fields = {}) => ({ writeKey: account.write_key, name: 'Home', ...fields });

function optOut(url, account, body = {}, headers = {}) {
    return post(`${url}/v1/optout`, { writeKey: account.write_key, ...body }, { Origin: PAGE, ...headers });
}

function optIn(url, account, body = {}, headers = {}) {
    return post(`${url}/v1/optin`, { writeKey: account.write_key, ...body }, { Origin: PAGE, ...headers });
}

const trackFor = (url, account, visitor) => post(`${url}/v1/track`, { writeKey: account.write_key, event: 'E', anonymousId: visitor });

// Every file below a folder, searched for bytes as they are.
function filesHolding(dir, needle) {
    const hits = [];
    for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
        const file = path.join(entry.parentPath ?? entry.path, entry.name);
        if (entry.isFile() && statSync(file).size > 0 && readFileSync(file).includes(needle)) hits.push(file);
    }
    return hits;
}

test('visitors without an id get one cookie; those with their own get none', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    const first = await post(`${url}/v1/page`, pageEvent(account, { messageId: 'm-1' }));
    assert.equal(first.status, 200);
    const line = cookieLine(first, 'polder_id');
    const visitor = line.match(/^polder_id=([^;]+)/)[1];
    assert.match(visitor, UUID);
    // A plain connection: no Secure, and so no SameSite=None.
    assert.equal(line, `polder_id=${visitor}; Path=/; Max-Age=15552000; HttpOnly; SameSite=Lax`);
    const again = await post(`${url}/v1/page`, pageEvent(account, { messageId: 'm-2' }), { Cookie: `x=1; polder_id=${visitor}` });
    assert.equal(cookieLine(again, 'polder_id'), undefined);
    const own = await post(`${url}/v1/page`, pageEvent(account, { messageId: 'm-3', anonymousId: 'mine' }));
    assert.equal(cookieLine(own, 'polder_id'), undefined);
    // What no edge has set is not believed: it could be anything, an address even.
    const forged = await post(`${url}/v1/page`, pageEvent(account, { messageId: 'm-4' }), { Cookie: 'polder_id=ann@shop.example' });
    assert.match(cookieLine(forged, 'polder_id'), /^polder_id=[0-9a-f-]{36};/);
    await cluster.untilSettled(['eu'], 20000);
    const ids = Object.fromEntries((await exported(cluster, account)).map((event) => [event.message_id, event.visitor_id]));
    assert.equal(ids['m-1'], visitor);
    assert.equal(ids['m-2'], visitor);
    assert.equal(ids['m-3'], 'mine');
    assert.match(ids['m-4'], UUID);
});

test('an opt-out deletes the visitor cookie and holds for that browser', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    await cluster.ctl('account', 'update', account.id, '--origins', PAGE);
    await until('the edge knows the origins', 10000, async () => (await optIn(url, account, {}, { Origin: 'https://evil.example' })).status === 403);
    const visitor = cookieLine(await post(`${url}/v1/page`, pageEvent(account), { Origin: PAGE }), 'polder_id').match(/=([^;]+)/)[1];

    const out = await optOut(url, account, {}, { Cookie: `polder_id=${visitor}` });
    assert.equal(out.status, 200);
    const { consent_id: consentId } = JSON.parse(out.text);
    assert.match(consentId, /^[0-9a-f]{32}$/);
    assert.match(cookieLine(out, 'polder_id'), /^polder_id=; .*Max-Age=0/);
    const [choice] = cookiesOf(out);
    assert.equal(choice, `polder_optout_${account.write_key}=${consentId}`);

    const refused = await post(`${url}/v1/page`, pageEvent(account), { Cookie: choice, Origin: PAGE });
    assert.equal(refused.status, 403);
    assert.equal(cookieLine(refused, 'polder_id'), undefined);
    // The old cookie, kept by some other tab or copied: the id itself is suppressed.
    assert.equal((await post(`${url}/v1/page`, pageEvent(account), { Cookie: `polder_id=${visitor}`, Origin: PAGE })).status, 403);

    const shown = await ask(`${url}/v1/consent?write_key=${account.write_key}`, { headers: { Origin: PAGE, Cookie: choice } });
    assert.deepEqual(JSON.parse(shown.text), { opted_out: true, collecting: false, consent_id: consentId });
    assert.equal((await ask(`${url}/v1/consent?write_key=${account.write_key}`, { headers: { Origin: 'https://evil.example', Cookie: choice } })).status, 403);

    // Neither a link, nor somebody else's page, nor a page that cannot name it takes it back.
    assert.equal((await ask(`${url}/v1/optin?write_key=${account.write_key}&consent_id=${consentId}`, { headers: { Cookie: choice } })).status, 405);
    assert.equal((await optIn(url, account, { consentId }, { Origin: 'https://evil.example', Cookie: choice })).status, 403);
    assert.equal((await optIn(url, account, {}, { Cookie: choice })).status, 400);
    assert.equal((await optIn(url, account, { consentId: '0'.repeat(32) }, { Cookie: choice })).status, 403);
    const back = await optIn(url, account, { consentId }, { Cookie: choice });
    assert.equal(back.status, 200);
    assert.match(cookieLine(back, `polder_optout_${account.write_key}`), /=; Path=\/; Max-Age=0/);
    assert.equal((await post(`${url}/v1/page`, pageEvent(account), { Cookie: `polder_id=${visitor}`, Origin: PAGE })).status, 200);
});

test('an opt-out link leads back to the account’s own sites only', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    const link = (redirect) => ask(`${url}/v1/optout?write_key=${account.write_key}&redirect=${encodeURIComponent(redirect)}`);
    assert.equal((await link(`${PAGE}/thanks`)).status, 400);
    await cluster.ctl('account', 'update', account.id, '--origins', `${PAGE},https://*.brand.example`, '--hosts', 'metrics.shop.example');
    await until('the edge knows the origins', 10000, async () => (await link(`${PAGE}/thanks?a=b`)).status === 303);
    const good = await link(`${PAGE}/thanks?a=b`);
    assert.equal(good.headers.location, `${PAGE}/thanks?a=b`);
    assert.match(cookieLine(good, `polder_optout_${account.write_key}`), /Max-Age=157680000/);
    assert.equal((await link('https://de.brand.example/')).status, 303);
    assert.equal((await link('https://metrics.shop.example/x')).status, 303);
    const elsewhere = ['https://evil.example/', `${PAGE}.evil.example/`, `${PAGE}@evil.example/`, 'javascript:alert(1)', '//evil.example', `https://evil.example\\@www.shop.example/`, `${PAGE}\r\nX: y`, 'https://'];
    for (const redirect of elsewhere) {
        const reply = await link(redirect);
        assert.equal(reply.status, 400, redirect);
        assert.equal(JSON.parse(reply.text).field, 'redirect');
        assert.equal(reply.headers.location, undefined);
    }
});

test('a client’s own id is suppressed in every region, through restarts, and with no origin in sight', { timeout: 240000 }, async (t) => {
    const names = ['eu', 'us'];
    const { cluster, account, dir } = await startCluster(t, { edges: names });
    const visitor = 'visitor-who-said-no-7f3a';
    assert.equal((await trackFor(cluster.url('us'), account, visitor)).status, 200);
    await cluster.untilSettled(names, 20000);
    const before = (await exported(cluster, account)).length;

    const out = await optOut(cluster.url('eu'), account, { visitorId: visitor }, {});
    assert.equal(out.status, 200, out.text);
    const { consent_id: consentId } = JSON.parse(out.text);
    const told = performance.now();
    assert.equal((await trackFor(cluster.url('eu'), account, visitor)).status, 403);
    await until('the other region refuses', 5000, async () => (await trackFor(cluster.url('us'), account, visitor)).status === 403);
    t.diagnostic(`every region refused after ${Math.round(performance.now() - told)} ms`);
    assert.equal((await trackFor(cluster.url('us'), account, 'somebody-else')).status, 200);
    // In a batch with others only theirs is passed over.
    assert.equal(await postBatch(cluster.url('us'), account.write_key, [trackEvent({ anonymousId: visitor }), trackEvent({ userId: visitor }), trackEvent({ messageId: 'kept' })]), 200);

    // Restarts of both; one of them with the origin away.
    await cluster.untilSettled(names, 20000);
    await cluster.nodes.get('us').stop();
    await cluster.startEdge('us');
    assert.equal((await trackFor(cluster.url('us'), account, visitor)).status, 403);
    await cluster.nodes.get('origin').stop();
    const late = 'visitor-who-said-no-later-51c0';
    assert.equal((await optOut(cluster.url('us'), account, { userId: late })).status, 200);
    await cluster.nodes.get('us').kill();
    await cluster.startEdge('us', { ready: false });
    await until('the edge collects again', 20000, async () => (await trackFor(cluster.url('us'), account, 'somebody-else')).status === 200);
    assert.equal((await trackFor(cluster.url('us'), account, late)).status, 403);
    assert.equal((await trackFor(cluster.url('us'), account, visitor)).status, 403);
    await cluster.startOrigin();
    await until('the other region refuses', 20000, async () => (await trackFor(cluster.url('eu'), account, late)).status === 403);

    await cluster.untilSettled(names, 30000);
    const events = await exported(cluster, account);
    assert.equal(events.filter((event) => event.visitor_id === visitor).length, before);
    assert.equal(events.filter((event) => event.visitor_id === late || event.user_id === late).length, 0);
    assert.equal(events.filter((event) => event.message_id === 'kept').length, 1);
    for (const said of events.filter((event) => event.type === 'opt_out')) assert.match(said.consent.id_hash, /^[0-9a-f]{32}$/);
    assert.deepEqual(filesHolding(dir, late), []);

    // Taken back in one region, it is in all.
    const back = await optIn(cluster.url('us'), account, { consentId }, { 'Sec-Fetch-Site': 'same-site' });
    assert.equal(back.status, 200, back.text);
    await until('both regions collect', 10000, async () => {
        const statuses = await Promise.all(names.map(async (name) => (await trackFor(cluster.url(name), account, visitor)).status));
        return statuses.every((status) => status === 200);
    });
});

test('what another region accepted after the opt-out, not having heard of it, is dropped at the origin', { timeout: 120000 }, async (t) => {
    const names = ['eu', 'us'];
    const { cluster, account } = await startCluster(t, { edges: names });
    // The other region is cut off from all news, and goes on collecting.
    await cluster.nodes.get('us').stop();
    const origin = cluster.nodes.get('origin');
    assert.equal((await optOut(cluster.url('eu'), account, { visitorId: 'ann' })).status, 200);
    await cluster.untilSettled(['eu'], 20000);
    await origin.stop();
    await cluster.startEdge('us', { ready: false });
    await until('the edge collects', 20000, async () => (await trackFor(cluster.url('us'), account, 'bob')).status === 200);
    assert.equal((await trackFor(cluster.url('us'), account, 'ann')).status, 200);
    await cluster.startOrigin();
    const books = await cluster.untilSettled(names, 30000);
    assert.ok(books);
    const events = await exported(cluster, account);
    assert.deepEqual(events.filter((event) => event.type === 'custom').map((event) => event.visitor_id), ['bob']);
    const metrics = await (await fetch(`${cluster.url('origin')}/metrics`)).text();
    assert.match(metrics, /ledger_dropped_total\{reason="opted_out"\} 1\b/);
});
