// Snowplow's browser tracker and plugins, unchanged, in headless Chromium: pages of another origin
// that were made for a Snowplow collector.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { useBrowser, publish, until } from './lib/site.mjs';
import { exported } from '../system/lib/fixture.mjs';

const packages = ['browser-tracker', 'browser-plugin-link-click-tracking', 'browser-plugin-snowplow-ecommerce'];
const require = createRequire(import.meta.url);
const scripts = packages.map((name) => readFileSync(path.join(path.dirname(require.resolve(`@snowplow/${name}`)), 'index.umd.min.js'), 'utf8'));
const PAGE = `<!doctype html><html><head><title>Shop</title><link rel="icon" href="data:,">${packages.map((_, i) => `<script src="/${i}.js"></script>`).join('')}</head>
<body><a id="more" class="big" href="#more" target="_self">More socks</a></body></html>`;
const SHIRT = { id: 'S-1', name: 'Shirt', category: 'men/shirts', price: 19.9, quantity: 2, currency: 'EUR' };
const SOCKS = { id: 'S-2', price: 4.5, currency: 'EUR' };

const world = useBrowser();

// A page that has started a tracker; it is of another origin than the edge, on the same site.
async function openPage(t, options) {
    const account = await publish(world);
    const app = `app-${account.id}`;
    await world.cluster.ctl('account', 'update', account.id, '--aliases', app);
    await until('the edge knows the app id', 15000, async () => (await fetch(`${world.edge}/i?aid=${app}`)).headers.get('x-polder-outcome') === 'MALFORMED');
    const server = http.createServer((request, response) => {
        const script = /^\/(\d)\.js$/.exec(request.url);
        response.setHeader('content-type', script ? 'text/javascript' : 'text/html; charset=utf-8');
        response.end(script ? scripts[script[1]] : PAGE);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const context = await world.browser.newContext({ viewport: { width: 800, height: 600 } });
    t.after(async () => {
        await context.close();
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
    });
    const page = await context.newPage();
    const site = { account, app, context, page, url: `http://127.0.0.1:${server.address().port}/`, errors: [], requests: [], preflights: 0 };
    page.on('pageerror', (error) => site.errors.push(error.message));
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && site.errors.push(message.text()));
    page.on('request', (request) => request.url().startsWith(world.edge) && site.requests.push(request));
    const devtools = await context.newCDPSession(page);
    await devtools.send('Network.enable');
    devtools.on('Network.requestWillBeSent', ({ request }) => { site.preflights += request.method === 'OPTIONS'; });
    await page.goto(site.url);
    await page.evaluate(([endpoint, appId, more]) => {
        const { snowplowBrowserTracking: tracking, snowplowLinkClickTracking: links, snowplowEcommerceAccelerator: shop } = window;
        tracking.newTracker('sp', endpoint, { appId, plugins: [links.LinkClickTrackingPlugin(), shop.SnowplowEcommercePlugin()], ...more });
    }, [world.edge, app, options]);
    return site;
}

const views = (page, count = 1) => page.evaluate((times) => {
    for (let i = 0; i < times; i++) window.snowplowBrowserTracking.trackPageView();
}, count);

async function eventsOf(site, count) {
    await until(`${count} events are stored`, 20000, async () => (await exported(world.cluster, site.account)).length >= count);
    await world.cluster.untilSettled(['eu'], 20000);
    const events = await exported(world.cluster, site.account);
    assert.equal(events.length, count);
    assert.deepEqual(site.errors, []);
    return events;
}

for (const eventMethod of ['post', 'get']) {
    test(`by ${eventMethod}: page views, clicks on links, e-commerce`, { timeout: 120000 }, async (t) => {
        const site = await openPage(t, { eventMethod, contexts: { webPage: true, session: true } });
        await site.page.evaluate(([shirt, socks]) => {
            const { snowplowBrowserTracking: tracking, snowplowLinkClickTracking: links, snowplowEcommerceAccelerator: shop } = window;
            tracking.setUserId('u-1');
            tracking.trackPageView({ title: 'Läden' });
            links.enableLinkClickTracking({ trackContent: true });
            tracking.trackStructEvent({ category: 'video', action: 'play', value: 1.5 });
            tracking.trackSelfDescribingEvent({ event: { schema: 'iglu:com.acme/shared/jsonschema/1-0-0', data: { with: ['ann', 'bob'] } } });
            shop.setPageType({ type: 'detail', locale: 'de-DE' });
            shop.trackProductView(shirt);
            shop.trackProductListView({ name: 'also bought', products: [shirt, socks] });
            shop.trackProductListClick({ name: 'also bought', product: socks });
            shop.trackAddToCart({ products: [shirt], total_value: 39.8, currency: 'EUR', cart_id: 'c-1' });
            shop.trackRemoveFromCart({ products: [shirt], total_value: 0, currency: 'EUR' });
            shop.trackCheckoutStep({ step: 2, delivery_method: 'express' });
            shop.trackTransaction({ transaction_id: 'o-1', revenue: 44.3, currency: 'EUR', payment_method: 'card', tax: 7.07, shipping: 4.9, discount_code: 'TEN', discount_amount: 4, products: [shirt, socks] });
            shop.trackPromotionView({ id: 'summer', name: 'Summer', creative_id: 'b' });
            shop.trackPromotionClick({ id: 'summer', creative_id: 'b' });
        }, [SHIRT, SOCKS]);
        await site.page.click('#more');
        const events = await eventsOf(site, 13);
        const item = ({ id, ...more }) => ({ sku: id, ...more });
        const of = (type) => events.filter((event) => event.type === type);
        const [view] = of('page_view');
        assert.equal(view.page.url, site.url);
        assert.equal(view.page.title, 'Läden');
        assert.equal(view.user_id, 'u-1');
        assert.match(view.visitor_id, /^[0-9a-f-]{36}$/);
        assert.equal(view.device.viewport, '800x600');
        assert.equal(view.session_index, 1);
        assert.match(view.device.user_agent, /Chrome/);
        assert.equal(view.context.tracker.aid, site.app);
        for (const event of events) {
            assert.deepEqual([event.visitor_id, event.session_id, event.view.id, event.channel], [view.visitor_id, view.session_id, view.view.id, 'web']);
            assert.ok(Math.abs(new Date(event.corrected_time) - new Date(event.accepted)) < 60000);
        }
        const [link] = of('click').filter((event) => event.name === 'link_click');
        assert.deepEqual(link.click, { target: 'more', url: `${site.url}#more`, text: 'More socks' });
        const [listClick] = of('click').filter((event) => event !== link);
        assert.deepEqual([listClick.items, listClick.props], [[item(SOCKS)], { name: 'also bought' }]);
        assert.deepEqual(of('custom').map((event) => [event.name, event.props]).sort(), [['play', { category: 'video', value: 1.5 }], ['shared', { with: ['ann', 'bob'] }]]);
        assert.deepEqual(of('product_view')[0].items, [item(SHIRT)]);
        assert.deepEqual([of('product_view')[0].page.type, of('product_view')[0].currency], ['detail', 'EUR']);
        assert.deepEqual(of('impressions')[0].items, [item(SHIRT), item(SOCKS)]);
        assert.deepEqual([of('cart_add')[0].items, of('cart_add')[0].total], [[item(SHIRT)], 39.8]);
        assert.deepEqual([of('cart_remove')[0].items, of('cart_remove')[0].total], [[item(SHIRT)], 0]);
        assert.equal(of('checkout_step')[0].checkout_step, 2);
        const [{ order_id: id, total, tax, shipping, discount, coupon, currency, items }] = of('order');
        assert.deepEqual({ id, total, tax, shipping, discount, coupon, currency }, { id: 'o-1', total: 44.3, tax: 7.07, shipping: 4.9, discount: 4, coupon: 'TEN', currency: 'EUR' });
        assert.deepEqual(items, [item(SHIRT), item(SOCKS)]);
        assert.deepEqual([of('offer_shown')[0].name, of('offer_shown')[0].offer], ['Summer', { campaign: 'summer', variant: 'b' }]);
        assert.deepEqual(of('offer_response')[0].offer, { campaign: 'summer', variant: 'b', response: 'click' });
        // A POST of JSON asks first, once; an image's GET need not ask.
        assert.equal(site.preflights, eventMethod === 'post' ? 1 : 0);
        // The client has an id of its own, so that it gets none of ours.
        assert.deepEqual((await site.context.cookies()).filter(({ name }) => name === 'polder_id'), []);
    });

    test(`by ${eventMethod}, anonymous: nobody is known, no cookie is set`, { timeout: 120000 }, async (t) => {
        const site = await openPage(t, { eventMethod, anonymousTracking: { withServerAnonymisation: true } });
        await site.context.addCookies([{ name: 'polder_id', value: '5f0c1d9e-8a5b-4f6e-9d3c-2b1a0f9e8d7c', url: world.edge }]);
        await site.page.evaluate(() => window.snowplowBrowserTracking.setUserId('u-1'));
        await views(site.page, 2);
        for (const event of await eventsOf(site, 2)) {
            assert.deepEqual([event.visitor_id, event.user_id, event.network_id, event.session_id], [undefined, undefined, undefined, undefined]);
            assert.equal(event.page.url, site.url);
        }
        assert.ok(site.requests.length >= 1);
        for (const request of site.requests) {
            const response = await request.response();
            assert.equal(request.headers()['sp-anonymous'], '*');
            assert.equal(response.headers()['set-cookie'], undefined);
        }
    });
}

test('without an id of its own, a visitor has one cookie of the account\'s', { timeout: 120000 }, async (t) => {
    const site = await openPage(t, { anonymousTracking: true });
    await views(site.page);
    await eventsOf(site, 1);
    const [cookie] = (await site.context.cookies()).filter(({ name }) => name === 'polder_id');
    await views(site.page, 2);
    const events = await eventsOf(site, 3);
    assert.deepEqual(new Set(events.map((event) => event.visitor_id)), new Set([cookie.value]));
    assert.ok(cookie.httpOnly);
    assert.ok(Math.abs(cookie.expires - Date.now() / 1000 - 180 * 86400) < 3600);
});
