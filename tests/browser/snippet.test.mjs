// Headless Chromium loads the demo shop from each region; what its visitor does arrives.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { serveShop } from '../../deploy/demo/shop.mjs';
import { startCluster, exported, until } from '../system/lib/fixture.mjs';

const REGIONS = ['eu', 'us', 'apac'];
const screenshots = process.env.POLDER_SCREENSHOTS; // a folder, for people who want to look

let context;
let profile;
before(async () => {
    profile = mkdtempSync(path.join(os.tmpdir(), 'polder-chromium-'));
    context = await chromium.launchPersistentContext(profile, {
        executablePath: '/usr/bin/chromium',
        headless: true,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    if (screenshots) mkdirSync(screenshots, { recursive: true });
});
after(async () => {
    await context?.close();
    rmSync(profile, { recursive: true, force: true });
});

async function startShop(t, cluster, account, names) {
    const edges = Object.fromEntries(names.map((name) => [name, cluster.url(name)]));
    const shop = await serveShop({ port: cluster.port('demo'), edges, writeKey: account.write_key });
    t.after(() => {
        shop.closeAllConnections();
        shop.close();
    });
    return `http://127.0.0.1:${cluster.port('demo')}`;
}

async function openPage(t, url) {
    const page = await context.newPage();
    t.after(() => page.close());
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await page.goto(url);
    await page.waitForFunction(() => window.polder.version);
    return { page, errors };
}

test('the demo shop works from every region', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: REGIONS });
    const shop = await startShop(t, cluster, account, REGIONS);
    for (const region of REGIONS) {
        const { page, errors } = await openPage(t, `${shop}/${region}`);
        assert.equal(await page.textContent('#region'), region);
        assert.match(await page.getAttribute('html', 'data-variant'), /control|scarcity/);
        await page.click('article:nth-of-type(2) button');
        if (screenshots) await page.screenshot({ path: path.join(screenshots, `shop-${region}.png`) });
        await until(`${region}'s events are acknowledged`, 15000, async () => (await cluster.replication(region)).accepted_events >= 2);
        assert.deepEqual(errors, []);
    }
    await cluster.untilSettled(REGIONS, 20000);
    const events = await exported(cluster, account);
    for (const region of REGIONS) {
        const here = events.filter((event) => event.region === region);
        assert.deepEqual(here.map((event) => event.type).sort(), ['cart_add', 'page_view']);
        const view = here.find((event) => event.type === 'page_view');
        assert.equal(view.page.url, `${shop}/${region}`);
        assert.equal(view.name, 'Shop');
        assert.equal(new Set(here.map((event) => event.visitor_id)).size, 1);
    }
});

test('a variant sticks to its visitor, on every page and after a reload', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const shop = await startShop(t, cluster, account, ['eu']);
    const seen = new Set();
    for (let visitor = 0; visitor < 12; visitor++) {
        const { page } = await openPage(t, `${shop}/eu`);
        await page.evaluate(() => localStorage.clear());
        await page.reload();
        await page.waitForFunction(() => document.documentElement.dataset.variant);
        const first = await page.getAttribute('html', 'data-variant');
        await page.reload();
        await page.waitForFunction(() => document.documentElement.dataset.variant);
        assert.equal(await page.getAttribute('html', 'data-variant'), first);
        const banner = await page.textContent('#banner');
        assert.equal(banner, first === 'scarcity' ? 'Free shipping, today only' : 'Made by the sea, for the sea.');
        seen.add(first);
        await page.close();
    }
    assert.deepEqual([...seen].sort(), ['control', 'scarcity'], 'both variants have visitors');
});

test('a page that is left at once still delivers, once', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const shop = await startShop(t, cluster, account, ['eu']);
    const { page } = await openPage(t, `${shop}/eu`);
    await until('the page view is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === 1);
    await page.evaluate(() => window.polder('track', 'Left', { in: 'a hurry' }));
    await page.goto('about:blank');
    await until('the beacon is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === 2);
    // The next page sends what it cannot know was delivered; the origin keeps the first copy.
    await page.goto(`${shop}/eu`);
    await until('the second page view is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored >= 3);
    await cluster.untilSettled(['eu'], 20000);
    const events = await exported(cluster, account);
    assert.equal(events.filter((event) => event.name === 'Left').length, 1);
});

// A page on the edge's own origin with the script; the edge's answers to batches are the test's.
async function openWith(t, cluster, account, answer, prepare = () => {}) {
    const page = await context.newPage();
    t.after(() => page.close());
    const errors = [];
    const batches = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.route('**/v1/batch', async (route) => {
        const text = route.request().postData();
        const { batch } = JSON.parse(text);
        batches.push({ bytes: Buffer.byteLength(text), names: batch.map((event) => event.event) });
        await route.fulfill({ status: answer(batch, batches.length), body: '{}' });
    });
    await page.route('**/blank', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>T</title>' }));
    await page.goto(`${cluster.url('eu')}/blank`);
    await page.evaluate(prepare, account.write_key);
    await page.addScriptTag({ url: `${cluster.url('eu')}/s/${account.write_key}.js` });
    await page.waitForFunction(() => window.polder.version);
    return { page, errors, batches };
}

const queued = (page) => page.evaluate(() => Object.entries(localStorage).filter(([key]) => key.includes('queue')).flatMap(([, text]) => JSON.parse(text)).length);

test('a stored queue that is none does not keep the snippet from working', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    for (const text of ['null', '{}', '"x"', '[null]', '[1,']) {
        const { page, errors, batches } = await openWith(t, cluster, account, () => 200, (key) => localStorage.clear());
        await page.evaluate(([key, value]) => localStorage.setItem(`polder_queue_${key.slice(0, 8)}`, value), [account.write_key, text]);
        await page.reload();
        await page.addScriptTag({ url: `${cluster.url('eu')}/s/${account.write_key}.js` });
        await page.waitForFunction(() => window.polder.version);
        await page.evaluate(() => window.polder('track', 'Seen'));
        await until(`it sends in spite of ${text}`, 10000, async () => batches.some((batch) => batch.names.includes('Seen')));
        assert.deepEqual(errors, []);
    }
});

test('one event that no edge takes costs only itself', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const { page, errors, batches } = await openWith(t, cluster, account, (batch) => (batch.some((event) => event.event === 'Bad') ? 400 : 200));
    await page.evaluate(() => {
        for (let i = 0; i < 20; i++) window.polder('track', i === 13 ? 'Bad' : `Good ${i}`);
    });
    await until('the queue is empty', 10000, async () => (await queued(page)) === 0);
    const taken = batches.filter((batch) => !batch.names.includes('Bad')).flatMap((batch) => batch.names);
    assert.equal(new Set(taken).size, 19);
    assert.equal(taken.length, 19);
    assert.deepEqual(errors, []);
});

test('batches stay within what an edge takes; an event that never fits is not kept', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const { page, errors, batches } = await openWith(t, cluster, account, () => 200);
    await page.evaluate(() => {
        window.polder('track', 'Huge', { text: 'x'.repeat(40000) });
        for (let i = 0; i < 30; i++) window.polder('track', `Large ${i}`, { text: '\u4e16'.repeat(9000) });
    });
    await until('all are sent', 10000, async () => batches.flatMap((batch) => batch.names).length === 30);
    assert.ok(batches.every((batch) => batch.bytes <= 200000), JSON.stringify(batches.map((batch) => batch.bytes)));
    assert.ok(batches.every((batch) => !batch.names.includes('Huge')));
    assert.deepEqual(errors, []);
});

test('an edge that does not know the key yet, or is slow, is asked again', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const { page, batches } = await openWith(t, cluster, account, (batch, count) => [401, 408, 200][count - 1]);
    await page.evaluate(() => window.polder('track', 'Patient'));
    await until('the third answer is good', 15000, async () => batches.length === 3 && (await queued(page)) === 0);
    assert.deepEqual(batches.map((batch) => batch.names), [['Patient'], ['Patient'], ['Patient']]);
});

test('an edge that is away costs the page nothing and the events nothing', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const shop = await startShop(t, cluster, account, ['eu']);
    const { page } = await openPage(t, `${shop}/eu`);
    await until('the page view is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === 1);
    await cluster.nodes.get('eu').stop();
    await page.click('article:nth-of-type(1) button');
    assert.equal(await page.textContent('#cart'), '1');
    await page.waitForFunction(() => Object.keys(localStorage).some((key) => key.includes('queue')));
    await cluster.startEdge('eu');
    await until('the click arrives after all', 60000, async () => (await cluster.books(['eu'])).rows[0].stored === 2);
});

test('no means no: after opting out nothing is sent or kept, until opting in', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const shop = await startShop(t, cluster, account, ['eu']);
    const { page } = await openPage(t, `${shop}/eu`);
    await until('the page view is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === 1);
    const posts = [];
    page.on('request', (request) => request.method() === 'POST' && posts.push(new URL(request.url()).pathname));
    await page.click('#optout');
    await page.click('article button');
    await page.reload();
    await page.waitForFunction(() => window.polder.version);
    await page.click('article button');
    await page.waitForTimeout(1500); // longer than the snippet waits before it sends
    assert.deepEqual(posts.filter((p) => p !== '/v1/optout'), []);
    const kept = await page.evaluate(() => Object.entries(localStorage).filter(([key]) => /visitor|queue|user/.test(key)));
    assert.deepEqual(kept, []);
    await page.click('#optin');
    await page.click('article button');
    await until('events flow again', 20000, async () => (await cluster.books(['eu'])).rows[0].stored >= 2);
});

test('@segment/analytics-next, loaded from npm, sends to an edge unchanged', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
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
    const page = await context.newPage();
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
