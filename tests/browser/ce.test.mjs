// CrossEngage's browser queue, served by an edge: a site changes the script's address, nothing else.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { exported } from '../system/lib/fixture.mjs';
import { SHOP, openSite, publish, sent, until, useBrowser } from './lib/site.mjs';

const world = useBrowser();
const TIMEOUT = { timeout: 60000 };

const tag = (nonce = '') => `<script${nonce}>window.ce = window.ce || function () { (window.ce.q = window.ce.q || []).push(arguments); };</script><script async${nonce} src="${world.edge}/ce.js"></script>`;
const ready = (page) => page.waitForFunction(() => window.ce.version);

test('nothing is loaded, stored or sent until the visitor agrees', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': { head: tag(), body: 'Page', bare: true } }, { wait: false });
    const requests = [];
    site.page.on('request', (request) => requests.push(request.url()));
    await site.page.evaluate((key) => {
        window.ce({ apiKey: key });
        window.ce('identify', 'too-early');
        window.ce('track', 'Too Early');
    }, account.write_key);
    await ready(site.page);
    await site.page.waitForTimeout(700);
    assert.ok(!requests.some((url) => url.includes('/s/') || url.includes('/v1/')));
    assert.equal(await site.page.evaluate(() => localStorage.length + document.cookie.length), 0);

    await site.page.evaluate(() => {
        window.ce({ trackingOptIn: true, globalEventProperties: { shop: 'nl' } });
        window.ce('identify', 'customer-7');
        window.ce('update', { plan: 'pro' });
        window.ce('page');
        window.ce('track', 'Product Added', { sku: 'S1', price: 9.5 });
        window.ce('identify', { crm: 'c-7' });
    });
    const [added] = await sent(site, 'Product Added');
    assert.deepEqual(added.properties, { shop: 'nl', sku: 'S1', price: 9.5 });
    assert.equal(added.userId, 'customer-7');
    const identifies = await sent(site, 'identify', 3);
    assert.deepEqual(identifies.map(({ traits, context }) => [traits, context.polder]), [[{}, undefined], [{ plan: 'pro' }, { update: true }], [{ crm: 'c-7' }, undefined]]);
    const views = await sent(site, 'page');
    assert.equal(views.length, 1, 'only the site\'s own');
    assert.deepEqual(views[0].properties, { shop: 'nl' });
    assert.ok(!JSON.stringify(site.batches).toLowerCase().includes('too'));
    assert.deepEqual(await site.page.evaluate(() => new Promise((resolve) => window.ce((configuration) => resolve([Object.isFrozen(configuration), configuration.trackingOptIn])))), [true, true]);
    await until('the origin has them', 20000, async () => (await exported(world.cluster, account)).length === 5);
    assert.deepEqual(site.errors, []);
});

test('agreed from the start, and taken back', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': { head: tag(), body: `<script>ce({ apiKey: '${account.write_key}', trackingOptIn: true }); ce('page');</script>`, bare: true } });
    await sent(site, 'page');
    await site.page.evaluate(() => {
        window.ce('optOut');
        window.ce('track', 'Never');
        window.ce('no such command');
    });
    await site.page.waitForTimeout(700);
    assert.ok(!site.events().some(({ event }) => event === 'Never'));
    assert.deepEqual(await site.page.evaluate(() => Object.keys(localStorage).filter((key) => /visitor|user|session|queue/.test(key))), []);
    await site.page.evaluate(() => {
        window.ce({ trackingOptIn: true });
        window.ce('track', 'Again');
    });
    await sent(site, 'Again');
});

test('a no is told by a page that was told no yes, and erases what an earlier page kept', TIMEOUT, async (t) => {
    const calls = [
        ['known', [[{ apiKey: 'KEY' }], ['optOut']]],
        ['first', [['optOut'], [{ apiKey: 'KEY' }]]],
        ['after the default', [[{ apiKey: 'KEY', trackingOptIn: false }], ['optOut']]],
    ];
    for (const [what, said] of calls) {
        const account = await publish(world);
        const agreed = `<script>ce({ apiKey: '${account.write_key}', trackingOptIn: true }); ce('page');</script>`;
        const site = await openSite(t, world, account, { '/': { head: tag(), body: agreed, bare: true }, '/no': { head: tag(), body: 'No', bare: true } });
        const [{ anonymousId }] = await sent(site, 'page');
        const kept = () => site.page.evaluate(() => Object.keys(localStorage).map((key) => key.split('_')[1]).sort().join());
        await until('nothing waits', 10000, async () => !(await kept()).includes('queue'));
        await site.page.goto(`${SHOP}/no`);
        await ready(site.page);
        // What a site says of everybody who has not been asked yet is nobody's no.
        await site.page.evaluate((key) => window.ce({ apiKey: key, trackingOptIn: false }), account.write_key);
        await site.page.waitForTimeout(300);
        assert.match(await kept(), /visitor/);
        await site.page.reload();
        await ready(site.page);
        await site.page.evaluate(([list, key]) => {
            for (const call of list) window.ce(...call.map((one) => (one.apiKey ? { ...one, apiKey: key } : one)));
            window.ce('track', 'Never');
        }, [said, account.write_key]);
        await until(`${what}: the edge has heard it, and nothing else is kept`, 10000, async () => (await kept()) === 'consent,optout');
        const reply = await fetch(`${world.edge}/pixel.gif?write_key=${account.write_key}&goal=x&visitor_id=${anonymousId}`);
        assert.equal(reply.headers.get('x-polder-outcome'), 'OPTED_OUT', what);
        // Asked again, the visitor agrees.
        await site.page.evaluate(() => {
            window.ce({ trackingOptIn: true });
            window.ce('track', 'Again');
        });
        await sent(site, 'Again');
        assert.ok(!site.events().some(({ event }) => event === 'Never'));
    }
});

test('under a strict policy, and loaded twice', TIMEOUT, async (t) => {
    const account = await publish(world);
    const policy = `default-src 'none'; script-src 'nonce-abc123' 'strict-dynamic'; img-src data:; connect-src ${world.edge}; require-trusted-types-for 'script'; trusted-types polder polder-ce`;
    const nonce = ' nonce="abc123"';
    const site = await openSite(t, world, account, {
        '/': { head: tag(nonce) + tag(nonce), body: `<script${nonce}>ce({ apiKey: '${account.write_key}', trackingOptIn: true }); ce('track', 'Once');</script>`, bare: true, headers: { 'Content-Security-Policy': policy } },
    });
    await sent(site, 'Once');
    assert.equal((await sent(site, 'Once')).length, 1);
    assert.equal(new URL(site.page.url()).origin, SHOP);
    assert.deepEqual(site.errors, []);
});
