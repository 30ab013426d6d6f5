// The snippet's events in headless Chromium: from the demo shop in every region, over reloads, away
// edges, blocked storage and several tabs, each arrives once.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { serveShop } from '../../deploy/demo/shop.mjs';
import { exported, untilServed } from '../system/lib/fixture.mjs';
import { SHOP, embed, loaded, openSite, publish, sent, until, useBrowser } from './lib/site.mjs';

const REGIONS = ['eu', 'us', 'apac'];
const world = useBrowser({ edges: REGIONS });
const TIMEOUT = { timeout: 60000 };
const DEMO = JSON.parse(readFileSync(path.join(import.meta.dirname, '../../deploy/demo/campaign.json'), 'utf8'));

// Edges have one /replication for all accounts: what the test's own account has is counted here.
const storedOf = async (account) => (await exported(world.cluster, account)).length;

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
    await until('the beacon is stored', 20000, async () => (await storedOf(account)) === 2);
    // The next page sends what it cannot know was delivered; the origin keeps the first copy.
    await site.page.goto(`${SHOP}/`);
    await until('the second page view is stored', 20000, async () => (await storedOf(account)) >= 3);
    await world.cluster.untilSettled(['eu'], 20000);
    assert.equal((await exported(world.cluster, account)).filter((event) => event.name === 'Left').length, 1);
});

// The edge's answers to batches are the test's.
async function openWith(t, account, answer, { prepare, ...more } = {}) {
    const batches = [];
    const site = await openSite(t, world, account, { '/': 'Page' }, {
        ...more,
        prepare: async (page, context) => {
            await context.route('**/v1/batch', async (route) => {
                const text = route.request().postData();
                const { batch } = JSON.parse(text);
                const names = batch.filter(({ event }) => event).map(({ event }) => event);
                if (names.length) batches.push({ bytes: Buffer.byteLength(text), names });
                await route.fulfill({ status: answer(batch, batches.length), body: '{}', headers: { 'Access-Control-Allow-Origin': SHOP, 'Access-Control-Allow-Credentials': 'true' } });
            });
            await prepare?.(page, context);
        },
    });
    return { ...site, answered: batches };
}

const queued = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('queue')).length);

test('a stored event that is none does not keep the snippet from working', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openWith(t, account, () => 200);
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
    const { page, errors, answered } = await openWith(t, account, (batch) => (batch.some((event) => event.event === 'Bad') ? 400 : 200));
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
    const { page, answered } = await openWith(t, account, () => 200);
    await page.evaluate(() => {
        window.polder('track', 'Huge', { text: 'x'.repeat(40000) });
        for (let i = 0; i < 30; i++) window.polder('track', `Large ${i}`, { text: '\u4e16'.repeat(9000) });
    });
    await until('all are sent', 10000, async () => answered.flatMap((batch) => batch.names).length === 30);
    assert.ok(answered.every((batch) => batch.bytes <= 200000), JSON.stringify(answered.map((batch) => batch.bytes)));
    assert.ok(answered.every((batch) => !batch.names.includes('Huge')));
});

test('an edge that does not know the key yet, or is slow, is asked again', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const { page, answered } = await openWith(t, account, (batch, count) => [401, 408, 200][count - 1]);
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
    await until('the click arrives after all', 30000, async () => (await storedOf(account)) === 1);
});

test('a region that does not answer is left for the next, and nothing comes twice', TIMEOUT, async (t) => {
    for (const [what, answer] of [['refuses', (route) => route.abort()], ['is broken', (route) => route.fulfill({ status: 503, headers: { 'Access-Control-Allow-Origin': SHOP, 'Access-Control-Allow-Credentials': 'true' } })]]) {
        const account = await publish(world, { settings: { fallback: [world.cluster.url('us')] } }, ['eu', 'us']);
        const site = await openSite(t, world, account, { '/': 'Page' }, { prepare: (page) => page.route(`${world.edge}/v1/batch`, answer) });
        await site.page.evaluate(() => window.polder('track', 'Anyway'));
        await until(`the other region stores when the first ${what}`, 10000, async () => (await storedOf(account)) === 2);
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
    await until('home stores it', 15000, async () => (await storedOf(account)) === 1);
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
    await until('all are stored', 20000, async () => (await storedOf(account)) === 6);
    assert.equal(await queued(site.page), 0);
    // A visitor who closes the page before that: the next page brings them.
    await site.context.setOffline(true);
    await site.page.evaluate(() => window.polder('track', 'Last'));
    await site.page.close();
    await site.context.setOffline(false);
    const later = await openSite(t, world, account, {}, { context: site.context });
    await sent(later, 'Last');
    await until('it is stored', 20000, async () => (await storedOf(account)) === 8);
});

test('two tabs lose nothing and send nothing twice', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const one = await openSite(t, world, account, { '/': 'Page' });
    await one.page.evaluate(() => window.polder('track', 'First'));
    await sent(one, 'First');
    const two = await openSite(t, world, account, {}, { context: one.context });
    await Promise.all([one, two].map(({ page }, tab) => page.evaluate(async (number) => {
        for (let i = 0; i < 60; i++) {
            window.polder('track', `Tab ${number}`, { i });
            if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 120));
        }
    }, tab)));
    // What is stored has been answered, but pages may not have heard it yet.
    for (const { page } of [one, two]) await until('nothing waits', 20000, async () => (await queued(page)) === 0);
    await until('all are stored', 20000, async () => (await storedOf(account)) === 121);
    const posted = [...one.events(), ...two.events()].map(({ messageId }) => messageId);
    assert.equal(posted.length, 121, 'not even on the way to the edge');
    assert.equal(new Set(posted).size, 121);
    assert.equal(new Set([...one.events(), ...two.events()].map(({ anonymousId }) => anonymousId)).size, 1);
    assert.equal(new Set([...one.events(), ...two.events()].map(({ context }) => context.sessionId)).size, 1);
});

test('two tabs before a slow edge send nothing twice, either', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const one = await openSite(t, world, account, { '/': 'Page' }, {
        prepare: (_, context) => context.route('**/v1/batch', async (route) => {
            const response = await route.fetch();
            await new Promise((resolve) => setTimeout(resolve, 3000));
            await route.fulfill({ response });
        }),
    });
    const two = await openSite(t, world, account, {}, { context: one.context });
    // Longer under way, all of them, than what a page that is gone has left lies there.
    for (let i = 0; i < 5; i++)
        for (const { page } of [one, two]) await page.evaluate(() => new Promise((resolve) => {
            for (let n = 0; n < 20; n++) window.polder('track', 'Slow');
            setTimeout(resolve, 500);
        }));
    for (const { page } of [one, two]) await until('nothing waits', 40000, async () => (await queued(page)) === 0);
    const posted = [...one.events(), ...two.events()].map(({ messageId }) => messageId);
    assert.equal(new Set(posted).size, 200);
    assert.equal(posted.length, 200);
});

// Browsers tell pages of each other's storage with a delay, which is made long enough here: of what
// others wrote under this name a page reads nothing until it has written there itself.
const lateStorage = (page) => page.addInitScript(() => {
    const { getItem, setItem } = Storage.prototype;
    const written = new Set();
    Storage.prototype.setItem = function (key, value) {
        written.add(key);
        return setItem.call(this, key, value);
    };
    Storage.prototype.getItem = function (key) {
        return key.startsWith('polder_visitor_') && !written.has(key) ? null : getItem.call(this, key);
    };
});

test('tabs of a new visitor that open in one instant are one visitor', TIMEOUT, async (t) => {
    const account = await publish(world);
    const one = await openSite(t, world, account, { '/': 'Page' }, { prepare: lateStorage, wait: false });
    const others = await Promise.all([1, 2].map(() => openSite(t, world, account, {}, { context: one.context, prepare: lateStorage, wait: false })));
    const tabs = [one, ...others];
    for (const tab of tabs) {
        await sent(tab, 'page');
        await tab.page.evaluate(() => window.polder('track', 'Later'));
    }
    for (const tab of tabs) await sent(tab, 'Later');
    const events = tabs.flatMap((tab) => tab.events());
    assert.equal(new Set(events.map(({ messageId }) => messageId)).size, 6);
    assert.equal(new Set(events.map(({ anonymousId }) => anonymousId)).size, 1);
    const kept = await Promise.all(tabs.map(({ page }) => page.evaluate((key) => localStorage.getItem(`polder_visitor_${key.slice(0, 8)}`), account.write_key)));
    assert.deepEqual(new Set(kept), new Set([events[0].anonymousId]));
    assert.deepEqual(tabs.flatMap(({ errors }) => errors), []);
});

test('a visitor that a no has ended does not come back with the next', TIMEOUT, async (t) => {
    const account = await publish(world, undefined, ['eu'], '--origins', SHOP);
    const site = await openSite(t, world, account, { '/': 'Page' }, { prepare: lateStorage });
    const [{ anonymousId }] = await sent(site, 'page');
    const other = await openSite(t, world, account, {}, { context: site.context, prepare: lateStorage });
    await sent(other, 'page');
    // At once, while the first tab still tells others of its id.
    await other.page.evaluate(() => {
        window.polder('optout');
        window.polder('optin');
        window.polder('track', 'Again');
    });
    const [again] = await sent(other, 'Again');
    assert.notEqual(again.anonymousId, anonymousId);
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

test('blocked storage: everything works for the length of a page', TIMEOUT, async (t) => {
    const account = await publish(world, { campaigns: [{ id: 'c', variants: [{ id: 'v', modifications: [{ type: 'text', selector: '#a', value: 'changed' }] }] }] });
    const site = await openSite(t, world, account, { '/': '<p id="a">as it was</p>' }, {
        prepare: (page) => page.addInitScript(() => {
            for (const one of ['localStorage', 'sessionStorage'])
                Object.defineProperty(window, one, { get: () => { throw new DOMException('The operation is insecure.', 'SecurityError'); } });
        }),
    });
    await site.page.evaluate(() => {
        window.polder('identify', 'customer-7', { plan: 'pro' });
        window.polder('track', 'Blocked');
    });
    const [blocked] = await sent(site, 'Blocked');
    assert.equal(await site.page.textContent('#a'), 'changed');
    assert.equal(blocked.userId, 'customer-7');
    assert.equal(new Set(site.events().map(({ anonymousId }) => anonymousId)).size, 1);
    assert.equal(new Set(site.events().map(({ context }) => context.sessionId)).size, 1);
    await until('they arrive', 20000, async () => (await storedOf(account)) === 4);
    assert.deepEqual(site.errors, []);
});

test('storage that is emptied under its feet costs no event', TIMEOUT, async (t) => {
    const account = await publish(world, { settings: { page_views: false } });
    const site = await openSite(t, world, account, { '/': 'Page' });
    await site.page.evaluate(() => {
        window.polder('track', 'Before');
        localStorage.clear();
        window.polder('track', 'After');
    });
    await until('both arrive', 20000, async () => (await storedOf(account)) === 2);
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
        await until('they arrive', 20000, async () => (await storedOf(account)) >= 3);
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
    const site = await openWith(t, account, () => 403, {
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

test('@segment/analytics-next, loaded from npm, sends to an edge unchanged', TIMEOUT, async (t) => {
    const { cluster } = world;
    const account = await publish(world);
    const { createServer } = await import('node:http');
    const { readFileSync } = await import('node:fs');
    const bundle = readFileSync(path.join(import.meta.dirname, '../node_modules/@segment/analytics-next/dist/umd/standalone.js'));
    const chunks = path.join(import.meta.dirname, '../node_modules/@segment/analytics-next/dist/umd');
    const settings = JSON.stringify({
        integrations: { 'Segment.io': { apiKey: account.write_key, apiHost: `127.0.0.1:${cluster.port('eu')}/v1`, protocol: 'http' } },
        plan: {}, edgeFunction: {}, analyticsNextEnabled: true,
    });
    const server = createServer((request, response) => {
        const url = request.url.split('?')[0];
        if (url === '/page') {
            response.setHeader('Content-Type', 'text/html');
            response.end(`<!doctype html><title>T</title><script>
                window.analytics = []; window.analytics._writeKey = '${account.write_key}'; window.analytics._cdn = location.origin;
                </script><script src="/analytics.js"></script>`);
        } else if (url === '/analytics.js') {
            response.setHeader('Content-Type', 'text/javascript');
            response.end(bundle);
        } else if (url.endsWith('/settings')) {
            response.setHeader('Content-Type', 'application/json');
            response.end(settings);
        } else {
            try {
                response.setHeader('Content-Type', 'text/javascript');
                response.end(readFileSync(path.join(chunks, path.basename(url))));
            } catch {
                response.writeHead(404).end();
            }
        }
    });
    await new Promise((resolve) => server.listen(cluster.port('demo'), '127.0.0.1', resolve));
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    const page = await world.browser.newPage();
    t.after(() => page.close());
    await page.goto(`http://127.0.0.1:${cluster.port('demo')}/page`);
    await page.waitForFunction(() => window.analytics && window.analytics.initialized, null, { timeout: 15000 });
    await page.evaluate(async () => {
        await window.analytics.identify('u-9', { plan: 'pro' });
        await window.analytics.page('Landing');
        await window.analytics.track('Product Added', { sku: 'S1', price: 3.5 });
    });
    await until('all three are stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored >= 3);
    const events = await exported(cluster, account);
    const types = events.map((event) => event.type).sort();
    assert.deepEqual(types, ['cart_add', 'identify', 'page_view']);
    assert.ok(events.every((event) => event.user_id === 'u-9' && event.visitor_id));
});
