// The snippet's events in headless Chromium: from the demo shop in every region, over reloads and
// away edges, each arrives once.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { serveShop } from '../../deploy/demo/shop.mjs';
import { exported } from '../system/lib/fixture.mjs';
import { SHOP, embed, loaded, openAnswered, openSite, publish, queued, sent, storedOf, until, useBrowser } from './lib/site.mjs';

const REGIONS = ['eu', 'us', 'apac'];
const world = useBrowser({ edges: REGIONS });
const TIMEOUT = { timeout: 60000 };
const DEMO = JSON.parse(readFileSync(path.join(import.meta.dirname, '../../deploy/demo/campaign.json'), 'utf8'));

async function startShop(t, account, names) {
    const port = world.cluster.port('demo');
    const edges = Object.fromEntries(names.map((name) => [name, world.cluster.url(name)]));
    const shop = await serveShop({ port, edges, writeKey: account.write_key });
    t.after(() => {
        shop.closeAllConnections();
        shop.close();
    });
    return `http://127.0.0.1:${port}`;
}

async function openPage(t, url) {
    const context = await world.browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await page.goto(url);
    await loaded(page);
    return { page, errors };
}

test('the demo shop works from every region', TIMEOUT, async (t) => {
    const account = await publish(world, DEMO, REGIONS);
    const shop = await startShop(t, account, REGIONS);
    for (const region of REGIONS) {
        const { page, errors } = await openPage(t, `${shop}/${region}`);
        assert.equal(await page.textContent('#region'), region);
        const variant = await page.getAttribute('html', 'data-variant');
        assert.match(variant, /control|scarcity/);
        assert.equal(await page.textContent('#banner'), variant === 'scarcity' ? 'Free shipping, today only' : 'Made by the sea, for the sea.');
        await page.click('article:nth-of-type(2) h2');
        await page.click('article:nth-of-type(2) button');
        if (world.screenshots) await page.screenshot({ path: path.join(world.screenshots, `shop-${region}.png`) });
        await until(`${region}'s events are acknowledged`, 15000, () => page.evaluate(() => !Object.keys(localStorage).some((key) => key.includes('queue'))));
        assert.deepEqual(errors, []);
    }
    await world.cluster.untilSettled(REGIONS, 20000);
    const events = await exported(world.cluster, account);
    for (const region of REGIONS) {
        const here = events.filter((event) => event.region === region);
        assert.deepEqual(here.map((event) => event.type).sort(), ['cart_add', 'click', 'offer_response', 'offer_shown', 'page_view']);
        assert.equal(here.find((event) => event.type === 'click').click.text, 'Polder boots');
        const view = here.find((event) => event.type === 'page_view');
        assert.equal(view.page.url, `${shop}/${region}`);
        assert.equal(view.name, 'Shop');
        assert.equal(new Set(here.map((event) => event.visitor_id)).size, 1);
        assert.equal(new Set(here.map((event) => event.session_id)).size, 1);
    }
});

test('a page that is left at once still delivers, once', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': 'Page' });
    await sent(site, 'page');
    await site.page.evaluate(() => window.polder('track', 'Left', { in: 'a hurry' }));
    await site.page.goto('about:blank');
    await until('the beacon is stored', 20000, async () => (await storedOf(world, account)) === 2);
    // The next page sends what it cannot know was delivered; the origin keeps the first copy.
    await site.page.goto(`${SHOP}/`);
    await until('the second page view is stored', 20000, async () => (await storedOf(world, account)) >= 3);
    await world.cluster.untilSettled(['eu'], 20000);
    assert.equal((await exported(world.cluster, account)).filter((event) => event.name === 'Left').length, 1);
});

test('a stored event that is none does not keep the snippet from working', { timeout: 120000 }, async (t) => {
    const account = await publish(world);
    const site = await openAnswered(t, world, account, () => 200);
    for (const text of ['null', '{}', '"x"', '[null]', '[1,', '{"messageId":7}']) {
        await site.page.evaluate(([key, value]) => localStorage.setItem(`polder_queue_${key.slice(0, 8)}_0`, value), [account.write_key, text]);
        await site.page.reload();
        await loaded(site.page);
        await site.page.evaluate((name) => window.polder('track', name), `Seen ${text}`);
        await until(`it sends in spite of ${text}`, 10000, async () => site.answered.some(({ names }) => names.includes(`Seen ${text}`)));
        await until('nothing is left', 10000, async () => (await queued(site.page)) === 0);
    }
    assert.deepEqual(site.errors, []);
});

test('one event that no edge takes costs only itself', TIMEOUT, async (t) => {
    const account = await publish(world);
    const { page, errors, answered } = await openAnswered(t, world, account, (batch) => (batch.some((event) => event.event === 'Bad') ? 400 : 200));
    await page.evaluate(() => {
        for (let i = 0; i < 20; i++) window.polder('track', i === 13 ? 'Bad' : `Good ${i}`);
    });
    await until('the queue is empty', 10000, async () => (await queued(page)) === 0);
    const taken = answered.filter((batch) => !batch.names.includes('Bad')).flatMap((batch) => batch.names);
    assert.equal(new Set(taken).size, 19);
    assert.equal(taken.length, 19);
    assert.deepEqual(errors.filter((text) => !text.includes('400')), []);
});

test('batches stay within what an edge takes; an event that never fits is not kept', TIMEOUT, async (t) => {
    const account = await publish(world);
    const { page, answered } = await openAnswered(t, world, account, () => 200);
    await page.evaluate(() => {
        window.polder('track', 'Huge', { text: 'x'.repeat(40000) });
        for (let i = 0; i < 30; i++) window.polder('track', `Large ${i}`, { text: '\u4e16'.repeat(9000) });
    });
    await until('all are sent', 10000, async () => answered.flatMap((batch) => batch.names).length === 30);
    assert.ok(answered.every((batch) => batch.bytes <= 200000), JSON.stringify(answered.map((batch) => batch.bytes)));
    assert.ok(answered.every((batch) => !batch.names.includes('Huge')));
});

test('a command that is wrong is told on the console in words, and costs the others nothing', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const { page, errors, answered } = await openAnswered(t, world, account, () => 200);
    await page.evaluate(() => {
        window.polder('nope');
        window.polder('track');
        window.polder('track', 'Good');
    });
    await until('the good one is sent', 10000, async () => answered.length > 0);
    assert.deepEqual(answered.flatMap((batch) => batch.names), ['Good'], 'and none of the name "undefined"');
    assert.deepEqual(errors, ['polder: nope: no such command', 'polder: track: no name']);
});

test('an edge that does not know the key yet, or is slow, is asked again', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const { page, answered } = await openAnswered(t, world, account, (batch, count) => [401, 408, 200][count - 1]);
    await page.evaluate(() => window.polder('track', 'Patient'));
    await until('the third answer is good', 15000, async () => answered.length === 3 && (await queued(page)) === 0);
    assert.deepEqual(answered.map((batch) => batch.names), [['Patient'], ['Patient'], ['Patient']]);
});

test('an edge that is away costs the page nothing and the events nothing', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const { page } = await openSite(t, world, account, { '/': '<button onclick="this.textContent=1; polder(\'track\', \'Clicked\')">0</button>' });
    await world.cluster.nodes.get('eu').stop();
    await page.click('button');
    assert.equal(await page.textContent('button'), '1');
    assert.equal(await queued(page), 1);
    await world.cluster.startEdge('eu');
    await until('the click arrives after all', 30000, async () => (await storedOf(world, account)) === 1);
});

test('a region that does not answer is left for the next, and nothing comes twice', TIMEOUT, async (t) => {
    for (const [what, answer] of [['refuses', (route) => route.abort()], ['is broken', (route) => route.fulfill({ status: 503, headers: { 'Access-Control-Allow-Origin': SHOP, 'Access-Control-Allow-Credentials': 'true' } })]]) {
        const account = await publish(world, { settings: { fallback: [world.cluster.url('us')] } }, ['eu', 'us']);
        const site = await openSite(t, world, account, { '/': 'Page' }, { prepare: (page) => page.route(`${world.edge}/v1/batch`, answer) });
        await site.page.evaluate(() => window.polder('track', 'Anyway'));
        await until(`the other region stores when the first ${what}`, 10000, async () => (await storedOf(world, account)) === 2);
        const events = await exported(world.cluster, account);
        assert.deepEqual(events.map(({ region }) => region), ['us', 'us']);
        assert.equal(await queued(site.page), 0);
    }
});

test('what another region refuses, for the account does not collect there, waits for home', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false, fallback: [world.cluster.url('us')] } }, ['eu', 'us'], '--regions', 'eu');
    let failures = 0;
    const site = await openSite(t, world, account, { '/': 'Page' }, { prepare: (page) => page.route(`${world.edge}/v1/batch`, (route) => (failures++ ? route.continue() : route.abort())) });
    await site.page.evaluate(() => window.polder('track', 'Kept'));
    await until('home stores it', 15000, async () => (await storedOf(world, account)) === 1);
    assert.deepEqual(site.batches.map(({ url }) => new URL(url).origin), [world.edge, world.cluster.url('us'), world.edge]);
    await until('nothing waits', 5000, async () => (await queued(site.page)) === 0);
    assert.equal(await site.page.evaluate(() => Object.keys(localStorage).some((key) => key.includes('optout'))), false);
});

test('a page of another origin may read what became of a request', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': 'Page' });
    const outcome = await site.page.evaluate(async (url) => (await fetch(url, { credentials: 'include' })).headers.get('X-Polder-Outcome'), `${world.edge}/pixel.gif?write_key=${account.write_key}&goal=seen`);
    assert.equal(outcome, 'OK');
});

test('the script itself comes from another region when the first does not answer', TIMEOUT, async (t) => {
    const account = await publish(world, {}, ['eu', 'us']);
    const pages = { '/': { head: embed('full', account, [world.edge, world.cluster.url('us')]), body: 'Page', bare: true } };
    for (const answer of [(route) => route.abort(), (route) => route.fulfill({ status: 503 })]) {
        const site = await openSite(t, world, account, pages, { prepare: (page) => page.route(`${world.edge}/s/**`, answer) });
        await sent(site, 'page');
        assert.ok(site.batches.every(({ url }) => url.startsWith(world.cluster.url('us'))));
        assert.ok(!(await site.page.evaluate(() => document.documentElement.classList.contains('polder-wait'))));
    }
});

test('the least embed code works', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': { body: embed('plain', account, [world.edge]) + '<script>polder("track", "Early")</script>', bare: true } });
    await sent(site, 'Early');
    assert.equal((await sent(site, 'page')).length, 1);
    assert.deepEqual(site.errors, []);
});

test('offline: the page works, and what happened there arrives when the network does', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': '<p id="a">Page</p>' });
    await sent(site, 'page');
    await site.context.setOffline(true);
    await site.page.evaluate(() => {
        for (let i = 0; i < 5; i++) window.polder('track', `Offline ${i}`);
    });
    await site.page.waitForTimeout(600);
    assert.equal(await queued(site.page), 5);
    assert.equal(await site.page.textContent('#a'), 'Page');
    await site.context.setOffline(false);
    await until('all are stored', 20000, async () => (await storedOf(world, account)) === 6);
    assert.equal(await queued(site.page), 0);
    // A visitor who closes the page before that: the next page brings them.
    await site.context.setOffline(true);
    await site.page.evaluate(() => window.polder('track', 'Last'));
    await site.page.close();
    await site.context.setOffline(false);
    const later = await openSite(t, world, account, {}, { context: site.context });
    await sent(later, 'Last');
    await until('it is stored', 20000, async () => (await storedOf(world, account)) === 8);
});

test('loaded twice, it runs once', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { clicks: [{ selector: 'button', name: 'pressed' }] } });
    const tag = `<script src="${world.edge}/s/${account.write_key}.js"></script>`;
    const site = await openSite(t, world, account, { '/': { body: `${tag}<button>Press</button>${tag}` } });
    await site.page.addScriptTag({ url: `${world.edge}/sdk.js` });
    await site.page.evaluate(() => history.pushState({}, '', '/next'));
    await site.page.click('button');
    await sent(site, 'Element Clicked');
    assert.equal((await sent(site, 'page', 2)).length, 2);
    assert.equal((await sent(site, 'Element Clicked')).length, 1);
    assert.deepEqual(site.errors, []);
});

// What a policy of the strict kind allows: nothing inline without the nonce, nothing from elsewhere.
test('a strict content security policy: no violation, and campaigns work', TIMEOUT, async (t) => {
    const modifications = [
        { type: 'html', selector: '#a', value: '<style>#a b{color:rgb(0, 99, 0)}</style><b>from a campaign</b>' },
        { type: 'style', selector: '#b', name: 'color', value: 'rgb(1, 2, 3)' },
        { type: 'class', selector: '#b', value: 'seen' },
        { type: 'attribute', selector: '#b', name: 'title', value: 'Seen' },
        { type: 'text', selector: '#c', value: 'text' },
    ];
    const account = await publish(world, { campaigns: [{ id: 'csp', variants: [{ id: 'v', modifications }] }] });
    const policies = {
        nonce: `default-src 'none'; script-src 'nonce-abc123' ${world.edge}; style-src 'nonce-abc123'; img-src data:; connect-src ${world.edge}`,
        'trusted types': `default-src 'none'; script-src 'nonce-abc123'; style-src 'nonce-abc123'; img-src data:; connect-src ${world.edge}; require-trusted-types-for 'script'; trusted-types polder`,
    };
    for (const [what, policy] of Object.entries(policies)) {
        const body = '<p id="a"></p><p id="b"></p><p id="c"></p>';
        const nonced = `<script nonce="abc123" src="${world.edge}/s/${account.write_key}.js" async></script>`;
        const page = what === 'nonce' ? { head: embed('full', account, [world.edge], 'abc123'), body } : { body: body + nonced };
        const site = await openSite(t, world, account, { '/': { ...page, bare: true, headers: { 'Content-Security-Policy': policy } } }, {
            prepare: (page) => page.addInitScript(() => {
                window.violations = [];
                document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
            }),
        });
        await site.page.evaluate(() => window.polder('track', 'Under a policy'));
        await sent(site, 'Under a policy');
        await sent(site, 'Promotion Viewed');
        assert.deepEqual(await site.page.evaluate(() => [
            document.querySelector('#a b').textContent, getComputedStyle(document.querySelector('#a b')).color,
            getComputedStyle(document.querySelector('#b')).color, document.querySelector('#b').className, document.querySelector('#b').title, document.querySelector('#c').textContent,
        ]), ['from a campaign', 'rgb(0, 99, 0)', 'rgb(1, 2, 3)', 'seen', 'Seen', 'text'], what);
        assert.deepEqual(await site.page.evaluate(() => window.violations), [], what);
        assert.deepEqual(site.errors, [], what);
        await until('they arrive', 20000, async () => (await storedOf(world, account)) >= 3);
        await site.context.close();
    }
});

test('page views and clicks are told without being asked for', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { clicks: [{ selector: '.more', name: 'more' }, { selector: '[', name: 'never' }] } });
    const site = await openSite(t, world, account, { '/': { title: 'One', body: '<a class="more" href="/two"><b>Read</b> more</a><a href="/two">other</a>' }, '/two': { title: 'Two', body: '<script>window.polder = function () { (polder.q = polder.q || []).push(arguments); }; polder("page", "By hand");</script>' } });
    await site.page.click('.more b');
    await site.page.waitForURL(`${SHOP}/two`);
    await loaded(site.page);
    const [clicked] = await sent(site, 'Element Clicked');
    assert.deepEqual(clicked.properties, { name: 'more', selector: '.more', href: `${SHOP}/two`, text: 'Read more' });
    await site.page.evaluate(() => {
        history.pushState({}, '', '/three');
        document.title = 'Three';
    });
    const views = (await sent(site, 'page', 3)).sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    assert.deepEqual(views.map(({ name, context }) => [name, context.page.path, context.page.title, context.page.referrer]), [
        [undefined, '/', 'One', ''],
        ['By hand', '/two', 'Two', `${SHOP}/`],
        [undefined, '/three', 'Three', `${SHOP}/two`],
    ]);
});

test('identify says who it is from then on; update changes some of it', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const site = await openSite(t, world, account, { '/': 'Page' });
    await site.page.evaluate(() => {
        window.polder('identify', 'customer-7', { plan: 'pro' });
        window.polder('update', { plan: 'basic' });
        window.polder('identify', { newsletter: true });
    });
    const [first, second, third] = await sent(site, 'identify', 3);
    assert.deepEqual([first, second, third].map(({ userId, traits }) => [userId, traits]), [['customer-7', { plan: 'pro' }], ['customer-7', { plan: 'basic' }], ['customer-7', { newsletter: true }]]);
    assert.deepEqual([first, second, third].map(({ context }) => context.polder), [undefined, { update: true }, undefined]);
});
