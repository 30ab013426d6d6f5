// Campaigns in headless Chromium: who sees them, what they change, what is told of them.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { exported } from '../system/lib/fixture.mjs';
import { SHOP, campaign, difference, embed, loaded, openSite, picture, publish, sent, until, useBrowser } from './lib/site.mjs';

const world = useBrowser();
const TIMEOUT = { timeout: 60000 };

const REGION_STYLE = '<style>#region{width:300px;height:90px;background:#eef;font:20px monospace;overflow:hidden}.loud{color:#b00;text-transform:uppercase}.calm{color:#080}#box{width:40px;height:40px;background:#08c}</style>';
const region = (inner, attributes = '') => `<div id="region" ${attributes}>${inner}</div>`;

// What each modification makes of the page, as a page that was written that way.
const LOOKS = [
    { name: 'text', modifications: [{ type: 'text', selector: '#a', value: 'Only <3> left' }], before: region('<p id="a">Plenty</p>'), after: region('<p id="a">Only &lt;3&gt; left</p>') },
    { name: 'html', modifications: [{ type: 'html', selector: '#a', value: '<b>Only</b> <i>3</i> left' }], before: region('<p id="a">Plenty</p>'), after: region('<p id="a"><b>Only</b> <i>3</i> left</p>') },
    { name: 'attribute', modifications: [{ type: 'attribute', selector: '#a', name: 'dir', value: 'rtl' }, { type: 'attribute', selector: '#b', name: 'hidden' }], before: region('<p id="a">Plenty</p><p id="b" hidden>More</p>'), after: region('<p id="a" dir="rtl">Plenty</p><p id="b">More</p>') },
    { name: 'class', modifications: [{ type: 'class', selector: '.calm', value: '-calm loud' }], before: region('<p class="calm">One</p><p class="calm">Two</p>'), after: region('<p class="loud">One</p><p class="loud">Two</p>') },
    { name: 'style', modifications: [{ type: 'style', selector: '#box', name: 'background-color', value: '#e30 !important' }, { type: 'style', selector: '#box', name: 'margin-left', value: '60px' }], before: region('<div id="box"></div>'), after: region('<div id="box" style="background-color:#e30;margin-left:60px"></div>') },
    { name: 'event', modifications: [{ type: 'event', name: 'offer', value: 'from 9.95' }], before: region('<p id="a">Plenty</p>') + '<script>addEventListener("offer", function (e) { document.getElementById("a").textContent = e.detail.campaign + " " + e.detail.variant + " " + e.detail.value; });</script>', after: region('<p id="a">look v from 9.95</p>') },
    { name: 'redirect', modifications: [{ type: 'redirect', value: '/other' }], before: region('<p>Here</p>'), after: region('<p>Elsewhere</p>') },
];

for (const { name, modifications, before, after } of LOOKS) {
    test(`${name}: the page looks as if it had been written that way`, TIMEOUT, async (t) => {
        const account = await publish(world, { campaigns: [campaign('look', modifications)] });
        const pages = {
            '/': { head: REGION_STYLE, body: before },
            '/other': { head: REGION_STYLE, body: region('<p>Elsewhere</p>') },
            '/plain': { head: REGION_STYLE, body: before, bare: true },
            '/reference': { head: REGION_STYLE, body: after, bare: true },
        };
        const site = await openSite(t, world, account, pages);
        if (name === 'redirect') await site.page.waitForURL(`${SHOP}/other`);
        await sent(site, 'Promotion Viewed');
        const got = await picture(world, site.page, '#region', name);
        const other = await site.context.newPage();
        await other.goto(`${SHOP}/reference`);
        const wanted = await picture(world, other, '#region', `${name}-reference`);
        await other.goto(`${SHOP}/plain`);
        const plain = await picture(world, other, '#region', `${name}-plain`);
        assert.ok((await difference(world, got, wanted)) < 0.001, 'as the reference');
        assert.ok((await difference(world, plain, wanted)) > 0.005, 'the reference differs from the page as it was');
        assert.deepEqual(site.errors, []);
    });
}

const seen = (page) => page.evaluate(() => document.getElementById('a').textContent);
const mark = (id) => [{ type: 'text', selector: '#a', value: id }];
const PAGE = '<p id="a">as it was</p>';
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1';
const IPAD = 'Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15';

test('targeting: every dimension, with a page it fits and one it does not', TIMEOUT, async (t) => {
    const hour = (n) => new Date(Date.now() + n * 3600000).toISOString();
    const rows = [
        ['url', { url: ['/p/*'] }, { at: '/p/boots' }, {}],
        ['url-host', { url: ['http://shop.localhost/p/*'] }, { at: '/p/boots' }, {}],
        ['query', { query: [{ name: 'ref', equals: 'mail' }] }, { at: '/?ref=mail' }, { at: '/?ref=mails' }],
        ['query-contains', { query: [{ name: 'q', contains: 'boot' }] }, { at: '/?q=red+boots' }, { at: '/?q=hat' }],
        ['query-exists', { query: [{ name: 'debug', exists: true }] }, { at: '/?debug' }, {}],
        ['mobile', { device: ['mobile'] }, { visitor: { userAgent: IPHONE } }, { visitor: { userAgent: IPAD } }],
        ['tablet', { device: ['tablet'] }, { visitor: { userAgent: MAC }, prepare: (page) => page.addInitScript(() => Object.defineProperty(navigator, 'maxTouchPoints', { value: 5 })) }, { visitor: { userAgent: MAC } }],
        ['desktop', { device: ['desktop'] }, {}, { visitor: { userAgent: IPHONE } }],
        ['locale', { locale: ['nl'] }, { visitor: { locale: 'nl-BE' } }, { visitor: { locale: 'en-GB' } }],
        ['from', { from: hour(-1) }, {}, null],
        ['from-later', { from: hour(1) }, null, {}],
        ['until', { until: hour(1) }, {}, null],
        ['until-past', { until: hour(-1) }, null, {}],
        ['traffic', { traffic: 0 }, null, {}],
    ];
    const account = await publish(world, { campaigns: rows.map(([id, rule]) => campaign(id, [{ type: 'class', selector: '#a', value: id }], rule)) });
    const pages = { '/': PAGE, '/p/boots': PAGE };
    const visits = new Map(); // one for all rows that ask for the same
    for (const [id, , fitting, other] of rows) {
        for (const [visit, expected] of [[fitting, true], [other, false]]) {
            if (!visit) continue;
            const name = JSON.stringify({ ...visit, prepare: visit.prepare && id });
            if (!visits.has(name)) visits.set(name, { visit, checks: [] });
            visits.get(name).checks.push([id, expected]);
        }
    }
    for (const [name, { visit, checks }] of visits) {
        const { page, context } = await openSite(t, world, account, pages, visit);
        const words = await page.evaluate(() => [...document.getElementById('a').classList]);
        for (const [id, expected] of checks) assert.equal(words.includes(id), expected, `${id} at ${name}`);
        await context.close();
    }
});

test('new visitors and returning ones: the second session makes the difference', TIMEOUT, async (t) => {
    const account = await publish(world, {
        campaigns: [campaign('for-new', mark('welcome'), { audience: 'new' }), campaign('for-old', mark('welcome back'), { audience: 'returning' })],
    });
    const site = await openSite(t, world, account, { '/': PAGE });
    assert.equal(await seen(site.page), 'welcome');
    await site.page.reload();
    await loaded(site.page);
    assert.equal(await seen(site.page), 'welcome', 'the same session');
    await site.page.evaluate(() => {
        const key = Object.keys(localStorage).find((one) => one.includes('session'));
        const last = JSON.parse(localStorage.getItem(key));
        localStorage.setItem(key, JSON.stringify({ ...last, at: last.at - 31 * 60000 }));
    });
    await site.page.reload();
    await loaded(site.page);
    assert.equal(await seen(site.page), 'welcome back');
    await site.page.evaluate(() => window.polder('track', 'Last'));
    const [last] = await sent(site, 'Last');
    const [first] = site.events().sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    assert.equal(first.context.sessionIndex, 1);
    assert.equal(last.context.sessionIndex, 2);
    assert.notEqual(first.context.sessionId, last.context.sessionId);
});

test('another campaign in the address begins another session, the same one does not', TIMEOUT, async (t) => {
    const account = await publish(world);
    const site = await openSite(t, world, account, { '/': PAGE }, { at: '/?utm_source=mail&utm_campaign=may' });
    await sent(site, 'page', 1);
    for (const at of ['/?utm_source=mail&utm_campaign=may', '/', '/?utm_source=ads']) {
        await site.page.goto(SHOP + at);
        await loaded(site.page);
    }
    const views = await sent(site, 'page', 4);
    views.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    assert.deepEqual(views.map(({ context }) => context.sessionIndex), [1, 1, 1, 2]);
    assert.deepEqual(views[0].context.campaign, { source: 'mail', name: 'may' });
});

test('control and variants: who is where stays so over reloads and tabs; the control sees the page as it is', TIMEOUT, async (t) => {
    const account = await publish(world, {
        campaigns: [{ id: 'split', variants: [{ id: 'control', control: true }, { id: 'b', principle: 'authority', modifications: mark('b') }] }],
    });
    const found = new Map();
    for (let visitor = 0; visitor < 40 && found.size < 2; visitor++) {
        const site = await openSite(t, world, account, { '/': PAGE });
        const first = await seen(site.page);
        if (found.has(first)) {
            await site.context.close();
            continue;
        }
        await site.page.reload();
        await loaded(site.page);
        assert.equal(await seen(site.page), first);
        const tab = await openSite(t, world, account, {}, { context: site.context });
        assert.equal(await seen(tab.page), first);
        const [{ properties }] = await sent(site, 'Promotion Viewed');
        found.set(first, properties);
        await site.context.close();
    }
    assert.equal(found.get('as it was').creative, 'control');
    assert.equal(found.get('as it was').control, true);
    assert.equal(found.get('b').creative, 'b');
    assert.equal(found.get('b').principle, 'authority');
});

test('offers shown and responses are told once a view, with the version that decided', TIMEOUT, async (t) => {
    const account = await publish(world, { campaigns: [campaign('offer', mark('now'), {}), campaign('elsewhere', [{ type: 'text', selector: '#none', value: 'x' }])] });
    const site = await openSite(t, world, account, { '/': `<a id="a" href="#x">as it was</a><button id="other">Other</button>` });
    await sent(site, 'Promotion Viewed');
    await site.page.click('#other');
    await site.page.click('#a');
    await site.page.click('#a');
    await site.page.evaluate(() => window.polder('respond', 'offer', 'dismiss'));
    const [clicked] = await sent(site, 'Promotion Clicked');
    const [shown] = await sent(site, 'Promotion Viewed');
    const { offer_id: offer, ...rest } = shown.properties;
    assert.deepEqual(rest, { promotion_id: 'offer', creative: 'v', principle: 'scarcity', config_version: 1 });
    assert.deepEqual(clicked.properties, { ...shown.properties, response: 'click' });
    await site.page.evaluate(() => window.polder('track', 'Last'));
    await sent(site, 'Last');
    assert.equal((await sent(site, 'Promotion Viewed')).length, 1, 'what is not on the page was not shown');
    assert.equal((await sent(site, 'Promotion Clicked')).length, 1);
    await world.cluster.untilSettled(['eu'], 20000);
    const events = await exported(world.cluster, account);
    const types = events.map(({ type }) => type);
    assert.ok(types.includes('offer_shown') && types.includes('offer_response'), types.join());
    const event = events.find(({ type }) => type === 'offer_shown');
    assert.deepEqual(event.offer, { campaign: 'offer', variant: 'v', principle: 'scarcity', config_version: 1, id: offer });
    assert.equal(events.find(({ type }) => type === 'offer_response').offer.id, offer);
});

test('within one page: what appears later is changed, what no longer fits is changed back', TIMEOUT, async (t) => {
    const account = await publish(world, {
        campaigns: [
            campaign('shelf', [
                { type: 'text', selector: '.price', value: 'half' },
                { type: 'html', selector: '#head', value: '<b>Sale</b>' },
                { type: 'class', selector: '#head', value: '-plain sale' },
                { type: 'attribute', selector: '#head', name: 'title', value: 'Now' },
                { type: 'style', selector: '#head', name: 'color', value: 'rgb(1, 2, 3)' },
            ], { url: ['/shelf*'] }),
            campaign('nested', [{ type: 'html', selector: '.card', value: '<div class="card">in a card</div>' }]),
            campaign('broken', [{ type: 'text', selector: ':::', value: 'x' }, { type: 'text', selector: '#fine', value: 'fine' }]),
        ],
    });
    const body = '<h1 id="head" class="plain" title="Old" style="color: rgb(9, 9, 9);">Shelf <i>one</i></h1><p class="price">10</p><div class="card">one</div><p id="fine"></p>';
    const site = await openSite(t, world, account, { '/home': body }, { at: '/home' });
    const { page } = site;
    const look = () => page.evaluate(() => document.querySelector('#head').outerHTML + [...document.querySelectorAll('.price')].map((p) => p.textContent).join());
    const original = await look();
    assert.equal(await page.textContent('#fine'), 'fine', 'a selector that is none costs only itself');
    assert.equal(await page.evaluate(() => document.querySelectorAll('.card').length), 2, 'what was put in is not put into itself');

    // Each mutation is followed by a look before the next frame: nothing unchanged is painted.
    const later = await page.evaluate(async () => {
        history.pushState({}, '', '/shelf');
        const price = Object.assign(document.createElement('p'), { className: 'price', textContent: '20' });
        document.body.append(price);
        await Promise.resolve();
        const soon = price.textContent;
        return { soon };
    });
    assert.equal(later.soon, 'half');
    const changed = await look();
    assert.match(changed, /<b>Sale<\/b>/);
    assert.match(changed, /class="sale"/);
    assert.match(changed, /title="Now"/);
    assert.match(changed, /rgb\(1, 2, 3\)/);
    assert.match(changed, /half,half$/);
    await page.evaluate(() => history.replaceState({}, '', '/shelf?page=2')); // still fits
    assert.equal(await look(), changed);
    await page.evaluate(() => history.pushState({}, '', '/elsewhere'));
    assert.equal(await look(), original.replace('10', '10,20'), 'as it was, with what was added');
    await page.evaluate(() => history.back());
    await until('back on the shelf', 5000, async () => (await look()) === changed);
    await page.evaluate(() => {
        document.querySelector('#head').textContent = 'the page\'s own';
        history.pushState({}, '', '/elsewhere');
    });
    assert.match(await look(), />the page's own<\/h1>/, 'what the page changed since is the page\'s');

    const views = await sent(site, 'page', 6);
    assert.deepEqual(views.map(({ context }) => new URL(context.page.url).pathname), ['/home', '/shelf', '/shelf', '/elsewhere', '/shelf', '/elsewhere']);
    assert.equal(views[3].context.page.referrer, `${SHOP}/shelf?page=2`);
    const shown = (await sent(site, 'Promotion Viewed')).filter(({ properties }) => properties.promotion_id === 'shelf');
    assert.equal(shown.length, 3, 'once for each view that it was part of');
    assert.equal(new Set(shown.map(({ properties }) => properties.offer_id)).size, 3);
    assert.deepEqual(site.errors.filter((text) => !text.includes(':::')), []);
    assert.equal(site.errors.filter((text) => text.includes(':::')).length, 1, 'said once');
});

test('a page that never stops changing is left alone after a while', TIMEOUT, async (t) => {
    const account = await publish(world, { campaigns: [campaign('endless', [{ type: 'text', selector: '.row', value: 'ours' }])] });
    const { page } = await openSite(t, world, account, { '/': '<div id="list"></div>' });
    const count = await page.evaluate(async () => {
        for (let i = 0; i < 1500; i++) {
            document.getElementById('list').append(Object.assign(document.createElement('p'), { className: 'row', textContent: 'theirs' }));
            if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
        }
        await new Promise((resolve) => setTimeout(resolve));
        return [...document.querySelectorAll('.row')].filter((row) => row.textContent === 'ours').length;
    });
    assert.ok(count > 0 && count <= 1000, `${count} of 1,500 were changed`);
});

test('a redirect takes the query along and never goes round in circles', TIMEOUT, async (t) => {
    const account = await publish(world, {
        campaigns: [
            campaign('there', [{ type: 'redirect', value: '/b?x=1' }], { url: ['/a'] }),
            campaign('back', [{ type: 'redirect', value: '/a' }], { url: ['/b'] }),
            campaign('self', [{ type: 'redirect', value: '/c' }], { url: ['/c'] }),
        ],
    });
    const pages = { '/a': 'A', '/b': 'B', '/c': 'C', '/d': '<a href="/a">to A</a>' };
    const site = await openSite(t, world, account, pages, { at: '/a?utm_source=mail#top', wait: false });
    await site.page.waitForURL(/\/b/);
    await loaded(site.page);
    assert.equal(site.page.url(), `${SHOP}/b?x=1&utm_source=mail#top`);
    await site.page.waitForTimeout(600);
    assert.equal(new URL(site.page.url()).pathname, '/b', 'and stays');
    await until('what was shown is told', 10000, async () => site.events().some(({ properties }) => properties.promotion_id === 'there'));
    assert.ok(!site.events().some(({ properties }) => properties.promotion_id === 'back'), 'what was not shown is not');
    await site.page.goto(`${SHOP}/c`);
    await loaded(site.page);
    await site.page.evaluate(() => window.polder('track', 'Still here'));
    await sent(site, 'Still here');
    assert.deepEqual(site.errors, []);
});

// Each frame that is painted while the page loads: is it hidden, and what would be seen?
const watchFrames = (page) => page.addInitScript(() => {
    window.frames_seen = [];
    const look = () => {
        const banner = document.getElementById('a');
        if (banner) window.frames_seen.push({ at: performance.now(), hidden: getComputedStyle(document.documentElement).opacity === '0', text: banner.textContent });
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
});

test('the guard hides the page until the decision, and 500 ms at the latest', TIMEOUT, async (t) => {
    const account = await publish(world, { campaigns: [campaign('guarded', mark('changed'))] });
    const pages = { '/': { head: embed('full', account, [world.edge]), body: PAGE, bare: true } };
    const script = `${world.edge}/s/**`;

    // An edge that takes 150 ms: no frame shows the page as it was.
    const slow = await openSite(t, world, account, pages, {
        prepare: async (page) => {
            await watchFrames(page);
            await page.route(script, async (route) => {
                await new Promise((resolve) => setTimeout(resolve, 150));
                await route.continue();
            });
        },
    });
    await slow.page.waitForFunction(() => window.frames_seen.some(({ hidden }) => !hidden));
    const frames = await slow.page.evaluate(() => window.frames_seen);
    assert.ok(frames.some(({ hidden }) => hidden), 'it was hidden at first');
    assert.deepEqual(frames.filter(({ hidden, text }) => !hidden && text !== 'changed'), []);
    const decided = frames.find(({ text }) => text === 'changed').at;
    const shown = frames.find(({ hidden }) => !hidden).at;
    assert.ok(shown - decided < 100, `decided at ${decided} ms, shown at ${shown} ms`);

    // An edge that hangs, and one that is not there: the page shows, late and unchanged.
    for (const [what, answer] of [['hangs', () => {}], ['fails', (route) => route.abort()]]) {
        const site = await openSite(t, world, account, pages, {
            wait: false,
            prepare: async (page) => {
                await watchFrames(page);
                await page.route(script, answer);
            },
        });
        await site.page.waitForFunction(() => window.frames_seen.some(({ hidden }) => !hidden));
        const first = await site.page.evaluate(() => window.frames_seen.find(({ hidden }) => !hidden));
        assert.equal(first.text, 'as it was');
        // The clock starts with the navigation, the guard with the head: leave it a busy machine.
        assert.ok(first.at < 500 + 400, `an edge that ${what}: shown after ${first.at} ms`);
        if (what === 'hangs') assert.ok(first.at > 400, 'the guard did wait');
        await site.context.close();
    }
});

test('a page that is being left for another shows nothing, for 500 ms at most', TIMEOUT, async (t) => {
    const account = await publish(world, { campaigns: [campaign('away', [{ type: 'redirect', value: '/slow' }], { url: ['/'] })] });
    const looks = [];
    await openSite(t, world, account, { '/': PAGE }, {
        wait: false,
        prepare: async (page) => {
            await page.route(`${SHOP}/slow`, () => {}); // never answers
            await watchFrames(page);
            await page.exposeBinding('tell', (_, look) => looks.push(look));
            await page.addInitScript(() => {
                let last;
                setInterval(() => {
                    const look = window.frames_seen.at(-1);
                    if (look && look.hidden !== last) window.tell({ at: performance.now(), hidden: (last = look.hidden) });
                }, 10);
            });
        },
    });
    await until('it was hidden and shows again', 5000, async () => looks.length >= 2 && looks.at(-1).hidden === false && looks.some(({ hidden }) => hidden));
    const hidden = looks.find((look) => look.hidden);
    assert.ok(looks.at(-1).at - hidden.at < 500 + 300, JSON.stringify(looks));
});
