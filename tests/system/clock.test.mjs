// Clocks that jump by a year, on real nodes: nothing is deleted too early, nothing is lost or
// misdated, /ready says what is wrong, and everything goes on when the clock is right again.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock, noFakeClock } from './lib/clock.mjs';
import { exported, postBatch, startCluster, trackEvent, until, untilServed } from './lib/fixture.mjs';

const DAY = 86400, YEAR = 365 * DAY;
const HALF_A_YEAR_ON = new Date(Date.now() + (YEAR / 2) * 1000).toISOString();
const AGREE_SECONDS = 3;

// A cluster of two edges whose clocks and the origin's can be set, with three accounts: `shop`
// without an end, `leaving` that ends in half a year, `gone` that has expired.
async function world(t) {
    const started = await startCluster(t, { edges: ['eu', 'us'], start: [] });
    const { cluster, dir } = started;
    const clocks = { origin: new FakeClock(dir), eu: new FakeClock(dir), us: new FakeClock(dir) };
    const startOrigin = () => cluster.startOrigin({ ...clocks.origin.env, POLDER_CLOCK_AGREE_SECONDS: String(AGREE_SECONDS) });
    const startEdge = (name) => cluster.startEdge(name, { env: clocks[name].env });
    await cluster.nodes.get('origin').stop();
    await startOrigin();
    const shop = started.account;
    const leaving = await cluster.ctlJson('account', 'create', 'leaving', '--expires-at', HALF_A_YEAR_ON);
    const gone = await cluster.ctlJson('account', 'create', 'gone');
    for (const name of ['eu', 'us']) await startEdge(name);
    for (const name of ['eu', 'us']) for (const account of [leaving, gone]) await untilServed(cluster, name, account, 0);
    return { cluster, clocks, startOrigin, startEdge, shop, leaving, gone };
}

const ready = async (cluster) => (await fetch(`${cluster.url('origin')}/ready`)).json();
const ask = async (cluster, token) => (await fetch(`${cluster.url('origin')}/api/v1/accounts`, { headers: { authorization: `Bearer ${token}` } })).status;
const state = async (cluster, account) => (await cluster.ctlJson('account', 'show', account.id)).state;

const doubt = (cluster, ms = 15000) => until('the origin doubts its clock', ms, async () => {
    const { warnings } = await ready(cluster);
    return warnings.find((warning) => warning.startsWith('nothing expires or is deleted: the clock shows'));
});

const belief = (cluster) => until('the origin believes its clock', 30000, async () => {
    const { warnings } = await ready(cluster);
    return !warnings.some((warning) => warning.includes('the clock shows'));
});

// Sends events of an account to both edges, again where they say so; gives their message ids.
async function collect({ cluster }, account) {
    const ids = [];
    for (const name of ['eu', 'us']) {
        const events = [trackEvent(), trackEvent()];
        await until(`${name} takes events of ${account.name}`, 15000, async () => {
            const status = await postBatch(cluster.url(name), account.write_key, events);
            assert.ok([200, 503].includes(status), `${name} answers ${status}`);
            return status === 200;
        });
        ids.push(...events.map((event) => event.messageId));
    }
    return ids;
}

// All of them are there once, filed today.
async function stored({ cluster }, account, ids) {
    const today = new Date().toISOString().slice(0, 10), yesterday = new Date(Date.now() - DAY * 1000).toISOString().slice(0, 10);
    const events = await until(`${ids.length} events of ${account.name} are stored`, 30000, async () => {
        const found = await exported(cluster, account);
        return found.length >= ids.length && found;
    });
    assert.deepEqual(events.map((event) => event.message_id).sort(), [...ids].sort());
    for (const event of events) assert.ok([today, yesterday].includes(event.accepted.slice(0, 10)), `${event.message_id} is filed at ${event.accepted}`);
}

for (const [way, seconds] of [['ahead', YEAR], ['back', -YEAR]]) {
    test(`an origin's clock that jumps a year ${way} deletes nothing, loses nothing and says so`, { timeout: 180000, skip: noFakeClock }, async (t) => {
        const w = await world(t);
        const { cluster, clocks, shop, leaving, gone } = w;
        const goneIds = await collect(w, gone);
        const ends = new Date(Date.now() + 4000).toISOString();
        const { token } = await cluster.ctlJson('token', 'create', '--role', 'auditor', '--expires-at', ends);
        const tokenHas = (status) => until(`a token answers ${status}`, 10000, async () => await ask(cluster, token) === status);
        await tokenHas(200);
        await stored(w, gone, goneIds);
        await cluster.ctl('account', 'expire', gone.id);
        await tokenHas(401);
        const ids = { shop: await collect(w, shop), leaving: await collect(w, leaving) };

        clocks.origin.set(seconds);
        assert.match(await doubt(cluster), /polderctl lifecycle confirm-clock/);
        assert.equal(await ask(cluster, token), 401); // what has expired does not live again
        await until('the edges disagree', 15000, async () => (await doubt(cluster)).includes("(0 of 2 edges' clocks agree)"));
        // What is shown goes by what is done: nothing ends by such a clock, nor is late.
        assert.equal(await state(cluster, leaving), 'active');
        assert.doesNotMatch(await cluster.ctl('account', 'list'), /overdue/);
        // What ends now has ended when it did, by the keyring's record, too.
        const ending = await cluster.ctlJson('account', 'create', 'ending');
        await cluster.ctl('account', 'delete', ending.id, '--now', '--reason', 'they asked');
        // Who orders a hold now must not be told that its end has passed.
        const nextWeek = new Date(Date.now() + 7 * DAY * 1000).toISOString().slice(0, 10);
        const hold = await cluster.ctlJson('account', 'hold', shop.id, '--reason', 'a dispute', '--until', nextWeek);
        assert.equal(hold.until.slice(0, 10), nextWeek);
        // What edges take meanwhile is stored, and where it belongs.
        ids.shop.push(...await collect(w, shop));
        ids.leaving.push(...await collect(w, leaving));
        await sleep((AGREE_SECONDS + 3) * 1000);
        assert.equal(await state(cluster, gone), 'expired');

        clocks.origin.set(0);
        await belief(cluster);
        assert.equal(await state(cluster, gone), 'expired');
        assert.equal(await state(cluster, leaving), 'active');
        await until('its deletion is certified', 60000, async () => await state(cluster, ending) === 'deleted');
        const { signed } = await cluster.ctlJson('certificate', 'show', ending.id);
        const { started, key_destroyed: destroyed, ended } = signed.times;
        assert.ok(started <= destroyed && destroyed <= ended, JSON.stringify(signed.times));
        assert.ok(Math.abs(Date.parse(signed.data_key.last_backup_ends) - Date.now() - 30 * DAY * 1000) < 2 * DAY * 1000, signed.data_key.last_backup_ends);
        const log = (await cluster.ctl('audit', 'export')).trim().split('\n').map((line) => JSON.parse(line));
        const clock = log.filter(({ action }) => action.startsWith('clock.'));
        assert.deepEqual(clock.map(({ actor, action }) => [actor, action]), [['lifecycle', 'clock.doubted'], ['lifecycle', 'clock.believed']]);
        assert.match(clock[0].detail, /^the clock showed \S+ where \S+ was expected$/);
        assert.match(clock[1].detail, /^the clock showed \S+ where \S+ was expected; it agreed again$/);
        await stored(w, shop, ids.shop);
        await stored(w, leaving, ids.leaving);
        await stored(w, gone, goneIds);
        assert.match(await cluster.ctl('account', 'reinstate', gone.id), /is active/);
        await until('the edges serve it again', 15000, async () => await postBatch(cluster.url('eu'), gone.write_key, [trackEvent()]) === 200);
    });
}

test('an origin that comes back a year later waits for two edges, then does what is due', { timeout: 240000, skip: noFakeClock }, async (t) => {
    const w = await world(t);
    const { cluster, clocks, shop, gone, startOrigin, startEdge } = w;
    const ids = await collect(w, shop);
    await stored(w, gone, await collect(w, gone));
    await cluster.ctl('account', 'expire', gone.id);
    const { id } = await cluster.ctlJson('visitor', 'erase', shop.id, 'whoever');
    const erasure = () => cluster.ctlJson('visitor', 'receipt', shop.id, id);
    await until('nothing of the visitor is left, on edges either', 30000, async () => {
        const { state, edges_done } = await erasure();
        return state === 'gone' && edges_done;
    });
    await cluster.nodes.get('origin').stop();
    clocks.origin.set(YEAR);
    await startOrigin();
    assert.match(await doubt(cluster), /where \S+ or a day more was expected/);
    assert.equal((await erasure()).state, 'gone'); // it is guarded for its time yet
    await until('the edges disagree', 30000, async () => (await doubt(cluster)).includes('0 of 2'));

    // One that agrees is not enough; two for some time are.
    const move = async (name) => {
        await cluster.nodes.get(name).stop();
        clocks[name].set(YEAR);
        await startEdge(name);
    };
    await move('eu');
    await until('one edge agrees', 30000, async () => (await doubt(cluster)).includes('1 of 2'));
    await sleep((AGREE_SECONDS + 2) * 1000);
    assert.equal(await state(cluster, gone), 'expired');
    await move('us');
    await belief(cluster);
    assert.match(cluster.nodes.get('origin').logTail(200), /the clock is believed again: 2 of 2 edges' clocks agreed with it/);
    await until('the account is deleted', 90000, async () => await state(cluster, gone) === 'deleted');

    // Late, and its certificate says why.
    const certificate = await cluster.ctlJson('certificate', 'show', gone.id);
    const freeze = certificate.signed.delays.find(({ kind }) => kind === 'clock not believed');
    assert.match(freeze.reason, /^the clock showed \S+ where \S+ was expected; 2 of 2 edges' clocks agreed with it$/);
    assert.ok(certificate.signed.late_seconds > 200 * DAY, `late by ${certificate.signed.late_seconds} s`);
    await stored(w, shop, ids);
});

test('an account that is still there on day 80 degrades readiness, and on day 90 takes it down', { timeout: 240000, skip: noFakeClock }, async (t) => {
    const { cluster, clocks, gone } = await world(t);
    await cluster.ctl('account', 'expire', gone.id);
    await cluster.nodes.get('us').stop(); // its word is waited for
    const onDay = async (day) => {
        clocks.origin.set(day * DAY);
        await doubt(cluster, 90000); // a tick that compacts looks at the clock when it is done
        await cluster.ctl('lifecycle', 'confirm-clock', '--yes');
        await belief(cluster);
    };
    const look = async () => {
        const response = await fetch(`${cluster.url('origin')}/ready`);
        return { status: response.status, ...await response.json() };
    };
    const saying = (words, list) => until(`/ready says ${words}`, 60000, async () => {
        const ready = await look();
        return ready[list].some((line) => words.test(line)) && ready;
    });
    await onDay(81);
    const late = await saying(new RegExp(`^1 deletion is overdue: account ${gone.id} is still deleting on day 81 after its expiry`), 'warnings');
    assert.equal(late.status, 200);
    assert.equal(late.ready, true);
    await onDay(90);
    const broken = await saying(new RegExp(`^the deletion window is broken: account ${gone.id} is still deleting on day 90 after its expiry`), 'reasons');
    assert.deepEqual([broken.status, broken.ready], [503, false]);
});

test('an origin that comes back a year earlier takes nothing for old, and all when its clock is right', { timeout: 180000, skip: noFakeClock }, async (t) => {
    const w = await world(t);
    const { cluster, clocks, shop, gone, startOrigin } = w;
    const ids = await collect(w, shop);
    const goneIds = await collect(w, gone);
    await stored(w, gone, goneIds);
    await cluster.ctl('account', 'expire', gone.id);
    await cluster.nodes.get('origin').stop();
    clocks.origin.set(-YEAR);
    await startOrigin();
    assert.match(await doubt(cluster), /polderctl lifecycle confirm-clock/);
    ids.push(...await collect(w, shop)); // edges collect whatever becomes of the link
    await cluster.nodes.get('origin').stop();
    clocks.origin.set(0);
    await startOrigin();
    await belief(cluster);
    await stored(w, shop, ids);
    await stored(w, gone, goneIds);
    assert.equal(await state(cluster, gone), 'expired');
});

for (const [way, seconds] of [['ahead', YEAR], ['back', -YEAR]]) {
    test(`an edge's clock that jumps a year ${way} loses and misdates nothing`, { timeout: 180000, skip: noFakeClock }, async (t) => {
        const w = await world(t);
        const { cluster, clocks, shop, gone } = w;
        const ids = await collect(w, shop);
        await stored(w, shop, ids);
        clocks.eu.set(seconds);
        await until('the origin says whose clock is wrong', 15000, async () => {
            const { reasons } = await (await fetch(`${cluster.url('origin')}/replication`)).json();
            return reasons.some((reason) => /the clock of edge eu is \d+ s/.test(reason));
        });
        ids.push(...await collect(w, shop));
        clocks.eu.set(0);
        ids.push(...await collect(w, shop));
        const found = await until('all is stored', 30000, async () => {
            const events = await exported(cluster, shop);
            return events.length >= ids.length && events;
        });
        assert.deepEqual(found.map((event) => event.message_id).sort(), [...ids].sort());
        const limits = [Date.now() - 31 * DAY * 1000, Date.now() + 2 * DAY * 1000];
        for (const { accepted } of found) assert.ok(Date.parse(accepted) >= limits[0] && Date.parse(accepted) <= limits[1], accepted);
        assert.equal(await state(cluster, gone), 'active');
        await belief(cluster);
    });
}
