// Pages in headless Chromium that embed the snippet, and what their visitors' events were.
import { after, before } from 'node:test';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { exported, startCluster, until, untilServed } from '../../system/lib/fixture.mjs';

export { until };

const screenshots = process.env.POLDER_SCREENSHOTS; // a folder, for people who want to look

// One browser and one cluster for all tests of a file. Each test has an account of its own, and a
// browser context of its own: nobody has been there before.
export function useBrowser(options = {}) {
    const world = { screenshots };
    const endings = [];
    before(async () => {
        if (screenshots) mkdirSync(screenshots, { recursive: true });
        world.browser = await chromium.launch({
            executablePath: '/usr/bin/chromium',
            headless: true,
            args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
                // Pages that a test makes up count as public ones, and edges here are on loopback.
                '--disable-features=LocalNetworkAccessChecks'],
        });
        world.dir = mkdtempSync(path.join(os.tmpdir(), 'polder-browser-'));
        const started = await startCluster({ after: (work) => endings.unshift(work) }, options);
        world.cluster = started.cluster;
        world.edge = started.cluster.url('eu');
    });
    after(async () => {
        await world.browser?.close();
        for (const end of endings) await end();
        if (world.dir) rmSync(world.dir, { recursive: true, force: true });
    });
    return world;
}

let accounts = 0;

// An account with this config, served by these edges, made with these options of polderctl.
export async function publish(world, config, edges = ['eu'], ...options) {
    const account = await world.cluster.ctlJson('account', 'create', `site-${++accounts}`, ...options);
    if (config) {
        const file = path.join(world.dir, `config-${accounts}.json`);
        writeFileSync(file, JSON.stringify({ campaigns: [], ...config }));
        await world.cluster.ctl('config', 'publish', account.id, file);
    }
    for (const edge of edges) await untilServed(world.cluster, edge, account, config ? 1 : 0);
    return account;
}

// A campaign with one variant that everybody sees.
export const campaign = (id, modifications, more = {}) => ({ id, variants: [{ id: 'v', principle: 'scarcity', modifications }], ...more });

// The embed codes that the README shows, for these edges and this key.
const readme = readFileSync(path.join(import.meta.dirname, '../../../edge/snippet/README.md'), 'utf8');
export function embed(which, account, edges, nonce = '') {
    const code = readme.split(`<!-- embed: ${which} -->`)[1].split('```html\n')[1].split('```')[0];
    return code.replaceAll('NONCE', nonce).replaceAll('https://EDGE', edges[0]).replaceAll('https://OTHER_EDGE', edges[1] ?? edges[0]).replaceAll('WRITE_KEY', account.write_key);
}

export const SHOP = 'http://shop.localhost'; // browsers trust it as they trust https

// A site: its pages by path, its visitor. Pages are { body, head, headers } or a body; the snippet
// is embedded at the end of each but where the page says otherwise. visitor: options of the browser
// context; context: that of a site opened before, for another tab.
export async function openSite(t, world, account, pages, { at = '/', edges = [world.edge], visitor = {}, context, prepare, wait = true } = {}) {
    const own = !context;
    context ??= await world.browser.newContext({ viewport: { width: 800, height: 600 }, ...visitor });
    const errors = [];
    const batches = [];
    if (own) {
        t.after(() => context.close());
        const tag = `<script async src="${edges[0]}/s/${account.write_key}.js"></script>`;
        await context.route(`${SHOP}/**`, (route) => {
            const url = new URL(route.request().url());
            const found = pages[url.pathname];
            if (found === undefined) return route.fulfill({ status: 404, contentType: 'text/plain', body: 'none' });
            const page = typeof found === 'string' ? { body: found } : found;
            return route.fulfill({
                contentType: 'text/html; charset=utf-8',
                headers: page.headers ?? {},
                body: `<!doctype html><html><head><title>${page.title ?? url.pathname}</title><link rel="icon" href="data:,">${page.head ?? ''}</head><body>${page.body}${page.bare ? '' : tag}</body></html>`,
            });
        });
    }
    const page = await context.newPage();
    page.setDefaultTimeout(8000);
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => (message.type() === 'error' || message.type() === 'warning') && errors.push(message.text()));
    page.on('request', (request) => {
        if (!request.url().endsWith('/v1/batch')) return;
        const { batch } = JSON.parse(request.postData());
        batches.push({ url: request.url(), events: batch });
    });
    if (prepare) await prepare(page, context);
    await page.goto(`${SHOP}${at}`, { waitUntil: wait ? 'load' : 'commit' });
    if (wait) await loaded(page).catch((error) => { throw new Error(`${error.message}: ${errors.join('; ')}`); });
    return { page, context, errors, batches, events: () => batches.flatMap(({ events }) => events) };
}

// A site to whose batches the test gives the edge's answers.
export async function openAnswered(t, world, account, answer, { prepare, ...more } = {}) {
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

export const loaded = (page) => page.waitForFunction(() => window.polder && window.polder.version);

// What was sent under a name, or of a type, once there are so many.
export async function sent(site, name, count = 1) {
    const find = () => [...new Map(site.events().filter((event) => event.event === name || event.type === name).map((event) => [event.messageId, event])).values()];
    await until(`${count} of ${name}`, 10000, async () => find().length >= count);
    return find();
}

// What waits in the page's storage to be sent.
export const queued = (page) => page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('queue')).length);

// Edges have one /replication for all accounts: what one account has is counted at the origin.
export const storedOf = async (world, account) => (await exported(world.cluster, account)).length;

// The share of pixels that differ between two PNGs; 1 when their sizes do.
export async function difference(world, a, b) {
    world.comparing ??= await world.browser.newPage();
    return world.comparing.evaluate(async (pictures) => {
        const [one, two] = await Promise.all(pictures.map(async (png) => {
            const picture = new Image();
            picture.src = `data:image/png;base64,${png}`;
            await picture.decode();
            const canvas = Object.assign(document.createElement('canvas'), { width: picture.width, height: picture.height });
            const context = canvas.getContext('2d');
            context.drawImage(picture, 0, 0);
            return context.getImageData(0, 0, picture.width, picture.height);
        }));
        if (one.width !== two.width || one.height !== two.height) return 1;
        let differing = 0;
        for (let i = 0; i < one.data.length; i += 4)
            if ([0, 1, 2, 3].some((k) => Math.abs(one.data[i + k] - two.data[i + k]) > 8)) differing++;
        return differing / (one.data.length / 4);
    }, [a.toString('base64'), b.toString('base64')]);
}

export async function picture(world, page, selector, name) {
    return page.locator(selector).screenshot({ animations: 'disabled', ...(world.screenshots && { path: path.join(world.screenshots, `${name}.png`) }) });
}
