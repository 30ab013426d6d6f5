// analytics.js as npm has it: all a site changes is where it loads from.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { useBrowser, publish, storedOf, until, SHOP } from './lib/site.mjs';
import { exported } from '../system/lib/fixture.mjs';

const world = useBrowser();
const umd = path.join(import.meta.dirname, '../node_modules/@segment/analytics-next/dist/umd/index.js');

test('AnalyticsBrowser.load with an edge as its cdnURL asks nobody else, and every call arrives', { timeout: 120000 }, async (t) => {
    const account = await publish(world);
    const context = await world.browser.newContext({ viewport: { width: 800, height: 600 } });
    t.after(() => context.close());
    const asked = new Set();
    context.on('request', (request) => asked.add(new URL(request.url()).origin));
    await context.route(`${SHOP}/**`, (route) => {
        const { pathname } = new URL(route.request().url());
        if (pathname === '/analytics.js') return route.fulfill({ contentType: 'text/javascript', body: readFileSync(umd) });
        return route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>Lamps</title><script src="/analytics.js"></script>' });
    });
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`${SHOP}/lamps?utm_source=mail&utm_campaign=spring`);
    await page.evaluate(async ([writeKey, cdnURL]) => {
        const analytics = window.AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL });
        await analytics.page('Lamps');
        await analytics.identify('u-5', { plan: 'pro', email: 'jan@shop.example' });
        await analytics.track('Product Viewed', { product_id: 'L-7', name: 'Lamp', price: 19.5 });
        await analytics.track('Order Completed', { order_id: 'o-9', total: 39, currency: 'EUR', products: [{ sku: 'L-7', quantity: 2, price: 19.5 }] });
        await analytics.track('Lamp Switched', { on: true });
        await analytics.group('g-1', { name: 'ACME' });
        await analytics.alias('u-6');
    }, [account.write_key, world.edge]);
    await until('all are stored', 20000, async () => (await storedOf(world, account)) >= 7);
    assert.deepEqual([...asked].sort(), [new URL(SHOP).origin, new URL(world.edge).origin].sort());
    assert.deepEqual(errors, []);

    const events = await exported(world.cluster, account);
    const of = (type) => events.find((event) => event.type === type);
    assert.deepEqual(events.map((event) => event.type).sort(), ['alias', 'custom', 'group', 'identify', 'order', 'page_view', 'product_view']);
    assert.equal(new Set(events.map((event) => event.message_id)).size, 7);
    assert.equal(of('page_view').name, 'Lamps');
    assert.equal(of('page_view').page.url, `${SHOP}/lamps?utm_source=mail&utm_campaign=spring`);
    assert.equal(of('page_view').page.title, 'Lamps');
    assert.equal(of('page_view').utm.source, 'mail');
    assert.equal(of('page_view').utm.campaign, 'spring');
    assert.deepEqual(of('product_view').items, [{ sku: 'L-7', name: 'Lamp', price: 19.5 }]);
    assert.deepEqual(of('order').items, [{ sku: 'L-7', quantity: 2, price: 19.5 }]);
    assert.equal(of('order').total, 39);
    assert.deepEqual(of('custom').props, { on: true });
    assert.equal(of('identify').traits.email, '[email]');
    assert.match(of('identify').email_hash, /^[0-9a-f]{32}$/);
    assert.equal(of('group').group_id, 'g-1');
    for (const event of events) {
        assert.ok(event.visitor_id);
        assert.ok(event.device.user_agent.includes('Chrome'));
        assert.ok(Math.abs(new Date(event.corrected_time) - new Date(event.accepted)) < 60000);
    }
});

test('@segment/analytics-next, loaded from npm, sends to an edge unchanged', { timeout: 60000 }, async (t) => {
    const { cluster } = world;
    const account = await publish(world);
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
    await until('all three are stored', 20000, async () => (await storedOf(world, account)) >= 3);
    const events = await exported(cluster, account);
    const types = events.map((event) => event.type).sort();
    assert.deepEqual(types, ['cart_add', 'identify', 'page_view']);
    assert.ok(events.every((event) => event.user_id === 'u-9' && event.visitor_id));
});
