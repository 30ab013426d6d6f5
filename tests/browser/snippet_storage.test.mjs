// What pages of one browser share: several tabs, storage that is blocked, late or emptied; each event
// arrives once all the same, and a visitor is one.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { SHOP, openSite, publish, queued, sent, storedOf, until, useBrowser } from './lib/site.mjs';

const world = useBrowser();
const TIMEOUT = { timeout: 60000 };

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
    await until('all are stored', 20000, async () => (await storedOf(world, account)) === 121);
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
    await until('they arrive', 20000, async () => (await storedOf(world, account)) === 4);
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
    await until('both arrive', 20000, async () => (await storedOf(world, account)) === 2);
});
