// No means no in headless Chromium, for visitors that an edge's cookie knows and for those that the
// snippet knows: said by the snippet, by a link, by the browser itself. Afterwards their ids stand
// in no file of any node, and nowhere in the browser.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { exported } from '../system/lib/fixture.mjs';
import { SHOP, loaded, openAnswered, openSite, publish, queued, sent, until, useBrowser } from './lib/site.mjs';

const REGIONS = ['eu', 'us'];
const world = useBrowser({ edges: REGIONS });
const TIMEOUT = { timeout: 60000 };

let hosts = 0;

// Pages that links lead to come from a server: a redirect is followed past what a test routes.
async function serveGoodbye(t, body) {
    const server = http.createServer((request, reply) => {
        reply.setHeader('Content-Type', 'text/html; charset=utf-8');
        reply.end(`<!doctype html><title>Bye</title><link rel="icon" href="data:,"><p>As you like.</p>${body}`);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return `${SHOP}:${server.address().port}`;
}

// A shop whose edge is a host of its own, as browsers keep a site's own cookies; each page tells the
// edge by an image, and by the snippet where it says so.
async function openShop(t, { snippet = false, visitor } = {}) {
    const host = `metrics-${++hosts}.shop.localhost`;
    const edge = `http://${host}:${world.cluster.port('eu')}`;
    const image = `<img src="${edge}/pixel.gif?goal=seen" alt="">`;
    const goodbye = await serveGoodbye(t, image);
    const account = await publish(world, {}, REGIONS, '--origins', `${SHOP},${goodbye}`, '--hosts', host);
    await until('the edge knows the host', 10000, async () => (await fetch(`${world.edge}/v1/consent?write_key=${account.write_key}`, { headers: { Origin: SHOP } })).ok);
    const pages = {
        '/': { bare: !snippet, body: `${image}<a href="${edge}/v1/optout?redirect=${encodeURIComponent(`${goodbye}/bye`)}">Do not follow me</a>` },
        '/bye': { bare: !snippet, body: image },
    };
    const site = await openSite(t, world, account, pages, { edges: [edge], visitor, wait: snippet });
    await site.page.waitForLoadState('load');
    const cookies = async () => Object.fromEntries((await site.context.cookies(edge)).map(({ name, value }) => [name, value]));
    return { ...site, account, edge, goodbye, cookies, optOutCookie: `polder_optout_${account.write_key}` };
}

const visit = async (shop, at) => {
    await shop.page.goto(`${SHOP}${at}`, { waitUntil: 'load' });
};

// Every file of every node, logs included, searched for an id as it is written and as bytes.
function filesHolding(id) {
    const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
    const needles = [Buffer.from(id), Buffer.from(id.replaceAll('-', '')), bytes.length === 16 ? bytes : Buffer.from(id)];
    const hits = [];
    let files = 0;
    for (const entry of readdirSync(world.cluster.dir, { withFileTypes: true, recursive: true })) {
        if (!entry.isFile()) continue;
        const file = path.join(entry.parentPath ?? entry.path, entry.name);
        const content = readFileSync(file);
        files++;
        if (needles.some((needle) => content.includes(needle))) hits.push(file);
    }
    assert.ok(files > 20, 'the nodes have files');
    return hits;
}

// What the browser still has of a visitor: cookies, storage of pages that are open.
async function browserHolds(shop, id) {
    const state = JSON.stringify(await shop.context.storageState());
    const session = await shop.page.evaluate(() => JSON.stringify(sessionStorage));
    return state.includes(id) || session.includes(id);
}

const eventsOf = async (shop) => {
    await world.cluster.untilSettled(REGIONS, 20000);
    return (await exported(world.cluster, shop.account)).filter(({ type }) => !type.startsWith('opt_'));
};

// Whoever has the old id and tells any region of it is not heard.
async function isRefusedEverywhere(shop, id) {
    for (const region of REGIONS)
        await until(`${region} refuses`, 10000, async () => {
            const reply = await fetch(`${world.cluster.url(region)}/pixel.gif?write_key=${shop.account.write_key}&goal=late&visitor_id=${id}`);
            await reply.arrayBuffer();
            return reply.headers.get('x-polder-outcome') === 'OPTED_OUT';
        });
}

test('a link, for a visitor that a cookie knows', TIMEOUT, async (t) => {
    const shop = await openShop(t);
    await until('the visitor has a cookie', 5000, async () => 'polder_id' in (await shop.cookies()));
    const { polder_id: visitor } = await shop.cookies();
    await visit(shop, '/');
    assert.equal((await shop.cookies()).polder_id, visitor);
    const before = (await eventsOf(shop)).filter(({ visitor_id }) => visitor_id === visitor).length;
    assert.ok(before >= 2);
    await Promise.all([shop.page.waitForURL(`${shop.goodbye}/bye`), shop.page.click('a')]);
    await shop.page.waitForLoadState('load');
    assert.deepEqual(Object.keys(await shop.cookies()), [shop.optOutCookie]);
    await visit(shop, '/');
    await visit(shop, '/bye');
    assert.deepEqual(Object.keys(await shop.cookies()), [shop.optOutCookie], 'nothing in its place');
    await isRefusedEverywhere(shop, visitor);
    assert.equal((await eventsOf(shop)).length, before);
    assert.deepEqual(filesHolding(visitor), []);
    assert.equal(await browserHolds(shop, visitor), false);
});

test('the snippet, for visitors that it knows and that a cookie knows', TIMEOUT, async (t) => {
    const shop = await openShop(t, { snippet: true });
    const [{ anonymousId }] = await sent(shop, 'page');
    await until('the visitor has a cookie, too', 5000, async () => 'polder_id' in (await shop.cookies()));
    const { polder_id: cookieId } = await shop.cookies();
    assert.notEqual(anonymousId, cookieId);
    await until('nothing waits', 10000, () => shop.page.evaluate(() => !Object.keys(localStorage).some((key) => key.includes('queue'))));
    const before = (await eventsOf(shop)).length;
    await shop.page.evaluate(() => {
        window.polder('track', 'Too late');
        window.polder('optout');
        window.polder('track', 'Never');
    });
    await until('the edge has answered', 5000, () => shop.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes('consent'))));
    assert.deepEqual(Object.keys(await shop.cookies()), [shop.optOutCookie]);
    await visit(shop, '/bye');
    await loaded(shop.page);
    await shop.page.evaluate(() => window.polder('track', 'Never'));
    await shop.page.waitForTimeout(800); // longer than the snippet waits before it sends
    for (const id of [anonymousId, cookieId]) {
        await isRefusedEverywhere(shop, id);
        assert.deepEqual(filesHolding(id), []);
        assert.equal(await browserHolds(shop, id), false);
    }
    assert.equal((await eventsOf(shop)).length, before);

    // The page can ask how things stand, and take it back.
    const asked = () => shop.page.evaluate(async (url) => (await fetch(url, { credentials: 'include' })).json(), `${shop.edge}/v1/consent`);
    const { consent_id: consentId, ...rest } = await asked();
    assert.deepEqual(rest, { opted_out: true, collecting: false });
    assert.match(consentId, /^[0-9a-f]{32}$/);
    await shop.page.evaluate(() => {
        window.polder('optin');
        window.polder('track', 'Again');
    });
    await until('it is taken back', 10000, async () => !(await asked()).opted_out);
    const [again] = await sent(shop, 'Again');
    assert.notEqual(again.anonymousId, anonymousId);
    await until('it is stored', 10000, async () => (await eventsOf(shop)).some(({ name }) => name === 'Again'));
});

test('said twice, where no cookie travels, it is still taken back with one word', TIMEOUT, async (t) => {
    const account = await publish(world, {}, REGIONS, '--origins', SHOP);
    const site = await openSite(t, world, account, { '/': 'Page' });
    const [{ anonymousId }] = await sent(site, 'page');
    const pixel = async () => (await fetch(`${world.edge}/pixel.gif?write_key=${account.write_key}&goal=x&visitor_id=${anonymousId}`)).headers.get('x-polder-outcome');
    await until('the edge knows the origins', 10000, async () => (await fetch(`${world.edge}/v1/consent?write_key=${account.write_key}`, { headers: { Origin: SHOP } })).ok);
    await site.page.evaluate(() => {
        window.polder('optout');
        window.polder('optout');
    });
    await until('it is answered', 10000, () => site.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes('consent'))));
    assert.equal(await pixel(), 'OPTED_OUT');
    await site.page.evaluate(() => window.polder('optin'));
    await until('the visitor is heard again', 10000, async () => (await pixel()) === 'OK');
});

// The edge has heard it; the page does not know. Gives the cookie that the browser may have got.
const loseAnswer = async (route) => {
    const reply = await route.fetch({ url: `${world.edge}/v1/optout` });
    await route.abort();
    const [, name, value] = /^(polder_optout\w*)=(\w+);/m.exec(reply.headers()['set-cookie']);
    return { name, value };
};

const pixelFor = async (account, id) => (await fetch(`${world.edge}/pixel.gif?write_key=${account.write_key}&goal=x&visitor_id=${id}`)).headers.get('x-polder-outcome');

const noteGone = (site, note) => until(`${note} is gone`, 10000, () => site.page.evaluate((field) => !Object.keys(localStorage).some((key) => key.includes(field)), note));

test('a no whose answer got lost is told again, and is one', TIMEOUT, async (t) => {
    const account = await publish(world, {}, REGIONS, '--origins', SHOP);
    const site = await openSite(t, world, account, { '/': 'Page' });
    const [{ anonymousId }] = await sent(site, 'page');
    let lost = 0;
    await site.page.route('**/v1/optout', (route) => (lost++ < 2 ? loseAnswer(route) : route.continue()));
    await site.page.evaluate(() => window.polder('optout'));
    await until('it is answered', 10000, () => site.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes('consent'))));
    assert.equal(lost, 3);
    assert.equal(await pixelFor(account, anonymousId), 'OPTED_OUT');
    await site.page.evaluate(() => window.polder('optin'));
    await noteGone(site, 'consent');
    assert.equal(await pixelFor(account, anonymousId), 'OK');
    await world.cluster.untilSettled(REGIONS, 20000);
    const said = (await exported(world.cluster, account)).map(({ type }) => type).filter((type) => type.startsWith('opt_'));
    assert.deepEqual(said, ['opt_out', 'opt_in']);
});

test('a yes that is said while another edge is in use holds at home, too', TIMEOUT, async (t) => {
    const host = `metrics-${++hosts}.shop.localhost`;
    const edge = `http://${host}:${world.cluster.port('eu')}`;
    const account = await publish(world, { settings: { fallback: [world.cluster.url('us')] } }, REGIONS, '--origins', SHOP);
    const site = await openSite(t, world, account, { '/': 'Page' }, { edges: [edge] });
    const [{ anonymousId }] = await sent(site, 'page');
    const saysNo = async () => (await site.context.cookies(edge)).some(({ name }) => name.startsWith('polder_optout'));
    await site.page.route(`${edge}/v1/optout`, async (route) => {
        const cookie = await loseAnswer(route);
        await site.context.addCookies([{ ...cookie, url: edge }]);
    });
    const answered = site.page.waitForResponse((reply) => reply.url() === `${world.cluster.url('us')}/v1/optout`);
    await site.page.evaluate(() => window.polder('optout'));
    assert.equal((await answered).status(), 200);
    assert.equal(await saysNo(), true, 'home has heard it, too');
    await noteGone(site, 'untold');
    await site.page.evaluate(() => window.polder('optin'));
    await noteGone(site, 'consent');
    assert.equal(await saysNo(), false);
    assert.equal(await pixelFor(account, anonymousId), 'OK');
    const before = site.batches.length;
    await visit(site, '/');
    await loaded(site.page);
    await site.page.evaluate(() => window.polder('track', 'Next page'));
    await sent(site, 'Next page');
    await until('home takes it', 10000, async () => (await exported(world.cluster, account)).some(({ name }) => name === 'Next page'));
    assert.ok(site.batches.slice(before).every(({ url }) => url.startsWith(edge)));
});

test('a no said offline is told when there is a network, by this page or a later one, and once', TIMEOUT, async (t) => {
    const account = await publish(world, {}, REGIONS, '--origins', SHOP);
    const pixel = async (id) => (await fetch(`${world.edge}/pixel.gif?write_key=${account.write_key}&goal=x&visitor_id=${id}`)).headers.get('x-polder-outcome');
    const told = [];
    let site = await openSite(t, world, account, { '/': 'Page' });
    const { context } = site;
    context.on('request', (request) => request.method() === 'POST' && request.url().endsWith('/v1/optout') && told.push(JSON.parse(request.postData())));
    const untold = () => site.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes('untold')));
    const sayNoOffline = async () => {
        const [{ anonymousId }] = await sent(site, 'page');
        await until('nothing waits', 10000, () => site.page.evaluate(() => !Object.keys(localStorage).some((key) => key.includes('queue'))));
        await context.setOffline(true);
        told.length = 0;
        await site.page.evaluate(() => window.polder('optout'));
        await until('the page has given up', 15000, async () => told.length === 5);
        assert.equal(await browserHolds(site, anonymousId), true, 'whom it is about');
        return anonymousId;
    };
    // The network comes back to a page that is open.
    const first = await sayNoOffline();
    await context.setOffline(false);
    await until('an edge has heard it', 10000, async () => (await pixel(first)) === 'OPTED_OUT');
    await until('the page knows', 5000, async () => !(await untold()));
    assert.equal(await browserHolds(site, first), false);
    // Or to none, and a later one tells it.
    await site.page.evaluate(() => window.polder('optin'));
    await until('the visitor is heard again', 10000, async () => (await pixel(first)) === 'OK');
    site = await openSite(t, world, account, {}, { context });
    const second = await sayNoOffline();
    assert.notEqual(second, first);
    for (const page of context.pages()) await page.close();
    await context.setOffline(false);
    told.length = 0;
    site = await openSite(t, world, account, {}, { context });
    await until('an edge has heard it', 10000, async () => (await pixel(second)) === 'OPTED_OUT');
    await until('the page knows', 5000, async () => !(await untold()));
    for (let i = 0; i < 2; i++) {
        await site.page.goto(`${SHOP}/`, { waitUntil: 'load' });
        await loaded(site.page);
    }
    await site.page.waitForTimeout(300);
    assert.deepEqual(told.map(({ visitorId }) => visitorId), [second], 'once, and never again');
    assert.equal(await browserHolds(site, second), false);
});

test('a browser that says it with every request', TIMEOUT, async (t) => {
    const shop = await openShop(t, { visitor: { extraHTTPHeaders: { 'Sec-GPC': '1' } } });
    for (const at of ['/', '/bye', '/']) await visit(shop, at);
    assert.deepEqual(await shop.cookies(), {});
    assert.deepEqual(await eventsOf(shop), []);
});

test('no means no: after opting out nothing is sent or kept, until opting in', TIMEOUT, async (t) => {
    const config = { campaigns: [{ id: 'c', variants: [{ id: 'v', modifications: [{ type: 'text', selector: '#a', value: 'changed' }] }] }] };
    const account = await publish(world, config, ['eu'], '--origins', SHOP);
    const site = await openSite(t, world, account, { '/': '<p id="a">as it was</p>' });
    const { page } = site;
    const other = await openSite(t, world, account, {}, { context: site.context });
    await page.evaluate(() => window.polder('identify', 'customer-7'));
    const [{ anonymousId }] = await sent(site, 'identify');
    await sent(other, 'page');
    await until('nothing waits', 10000, async () => (await queued(page)) === 0);
    const posts = [];
    for (const one of [page, other.page]) one.on('request', (request) => request.method() === 'POST' && posts.push([new URL(request.url()).pathname, JSON.parse(request.postData())]));
    await page.evaluate(() => {
        window.polder('optout');
        window.polder('track', 'Never');
    });
    const kept = () => page.evaluate(() => Object.fromEntries(Object.entries(localStorage).map(([key, value]) => [key.split('_')[1], value])));
    await until('the edge has answered', 5000, async () => 'consent' in (await kept()));
    const { requestId } = posts[0][1];
    assert.match(requestId, /^[0-9a-f-]{36}$/);
    assert.deepEqual(posts, [['/v1/optout', { writeKey: account.write_key, visitorId: anonymousId, userId: 'customer-7', requestId }]]);
    await other.page.evaluate(() => window.polder('track', 'Never'));
    await page.reload();
    await loaded(page);
    assert.equal(await page.textContent('#a'), 'as it was', 'nothing is decided, either');
    await page.evaluate(() => window.polder('track', 'Never'));
    await page.waitForTimeout(800); // longer than the snippet waits before it sends
    assert.equal(posts.length, 1);
    const { consent, ...rest } = await kept();
    assert.match(consent, /^[0-9a-f]{32}$/);
    assert.deepEqual(rest, { optout: '1' });
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await page.evaluate(() => {
        window.polder('optin');
        window.polder('track', 'Again');
    });
    const [again] = await sent(site, 'Again');
    assert.notEqual(again.anonymousId, anonymousId);
    assert.equal(again.userId, undefined);
    await until('the opt-out is forgotten', 5000, async () => !('consent' in (await kept())));
    assert.deepEqual(posts.filter(([where]) => where === '/v1/optin'), [['/v1/optin', { writeKey: account.write_key, consentId: consent }]]);
    await other.page.evaluate(() => window.polder('track', 'Other again'));
    const [otherAgain] = await sent(other, 'Other again');
    assert.equal(otherAgain.anonymousId, again.anonymousId);
    assert.ok(![...site.events(), ...other.events()].some(({ event }) => event === 'Never'));
});

test('an opt-in that an edge refuses says on the console what the account needs', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': 'Page' });
    await site.page.evaluate(() => {
        window.polder('optout');
        window.polder('optin');
    });
    await until('the console has the edge\'s sentence', 10000, async () => site.errors.some((text) => /^polder: optin: .*web origins.*add the page's origin to the account's/.test(text)));
});

test('a no that was said to the edge is learnt, and can be taken back', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const headers = { 'Access-Control-Allow-Origin': SHOP, 'Access-Control-Allow-Credentials': 'true' };
    const site = await openAnswered(t, world, account, () => 403, {
        prepare: (_, context) => context.route('**/v1/consent*', (route) => route.fulfill({ json: { opted_out: true, collecting: false, consent_id: 'c0ffee' }, headers })),
    });
    const told = [];
    await site.context.route('**/v1/optin', (route) => {
        told.push(JSON.parse(route.request().postData()));
        return route.fulfill({ json: { success: true, opted_out: false }, headers });
    });
    await site.page.evaluate(() => window.polder('track', 'Refused'));
    const kept = () => site.page.evaluate(() => Object.keys(localStorage).map((key) => key.split('_')[1]).sort());
    await until('it forgets the visitor', 10000, async () => (await kept()).join() === 'consent,optout');
    await site.page.evaluate(() => window.polder('optin'));
    await until('it is taken back', 10000, async () => (await kept()).length === 0);
    assert.deepEqual(told, [{ writeKey: account.write_key, consentId: 'c0ffee' }]);
});

test('a browser that says no by itself (Sec-GPC) is not asked again', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': 'Page' }, { prepare: (page) => page.addInitScript(() => Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })) });
    await site.page.evaluate(() => window.polder('track', 'Never'));
    await site.page.waitForTimeout(800);
    assert.deepEqual(site.batches, []);
    assert.equal(await site.page.evaluate(() => localStorage.length), 0);
});
