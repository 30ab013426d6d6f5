// Subject rights: what is held of a person, across devices and edges, and its erasure: also of what
// is still on its way, of retries, and over restarts; and nobody else's on a shared device.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startCluster, postBatch, trackEvent, exported, until } from './lib/fixture.mjs';

const ago = (ms) => new Date(Date.now() - ms).toISOString();
const event = (anonymousId, fields = {}) => trackEvent({ anonymousId, ...fields });
const identify = (anonymousId, userId) => ({ ...event(anonymousId, { userId }), type: 'identify', traits: { plan: 'gold' } });

async function send(cluster, edge, account, ...events) {
    assert.equal(await postBatch(cluster.url(edge), account.write_key, events), 200);
}

async function post(cluster, path, body) {
    const reply = await fetch(`${cluster.url('origin')}/api/v1/${path}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${cluster.token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });
    return { status: reply.status, text: await reply.text() };
}

async function untilStored(cluster, account, count) {
    await until(`${count} events are exported`, 30000, async () => (await exported(cluster, account)).length === count);
}

const messagesOf = async (cluster, account) => (await exported(cluster, account)).map(({ message_id: id }) => id).sort();

test('a person is shown, exported and erased, wherever the events are', { timeout: 240000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'us'] });
    const visitor = (verb, ...args) => cluster.ctlJson('visitor', verb, account.id, ...args);
    const old = [
        event('phone'),
        identify('phone', 'ann'),
        event('phone', { event: 'Promotion Viewed', properties: { promotion_id: 'c', creative: 'v', principle: 'scarcity', offer_id: 'o1' } }),
        event('phone', { event: 'Promotion Clicked', properties: { promotion_id: 'c', creative: 'v', offer_id: 'o1', response: 'click' } }),
        identify('laptop', 'ann'),
        { ...event('laptop'), type: 'page', event: undefined, context: { page: { url: 'https://shop.example/chairs', title: 'Chairs' } } },
        identify('tablet', 'ann'),
        event('tablet'),
    ];
    const others = [identify('tablet', 'bob'), event('bob-phone', { userId: 'bob' }), event('carol')];
    await send(cluster, 'eu', account, ...old.slice(0, 4), others[0]);
    await send(cluster, 'us', account, ...old.slice(4), ...others.slice(1));
    await untilStored(cluster, account, 11);

    // Found from any of the ids; bob's, who used the same tablet, are not among them.
    for (const id of ['ann', 'phone', 'laptop']) {
        const profile = await visitor('show', id);
        assert.equal(profile.events, 8, id);
        assert.deepEqual(profile.visitor_ids.toSorted(), ['laptop', 'phone', 'tablet']);
        assert.deepEqual(profile.user_ids, ['ann']);
        assert.deepEqual(profile.page_views.map(({ url, title }) => [url, title]), [['https://shop.example/chairs', 'Chairs']]);
        assert.deepEqual(profile.offers.map(({ campaign, principle, responded, response }) => [campaign, principle, responded, response]), [['c', 'scarcity', true, 'click']]);
        const [dna] = profile.dna;
        assert.deepEqual([dna.shown, dna.responded, dna.alpha, dna.beta], [1, 1, 2, 1]);
        assert.ok(dna.interval_95[0] < dna.mean && dna.mean < dna.interval_95[1] && dna.sd > 0);
    }
    assert.match(await cluster.ctl('visitor', 'show', account.id, 'ann'), /scarcity +1 +1/);
    assert.match(await cluster.ctl('visitor', 'show', account.id, 'nobody'), /No events are held/);
    const lines = (await cluster.ctl('visitor', 'export', account.id, 'ann')).trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(lines.filter((line) => line.message_id).map((line) => line.message_id).sort(), old.map(({ messageId }) => messageId).sort());
    assert.deepEqual(lines.flatMap(({ polder_link: link }) => link?.visitor_id ?? []).sort(), ['laptop', 'phone', 'tablet']);

    // us takes more while the origin sleeps, and dies with it: of before the erasure, unknown to the
    // origin, among it a device of ann's that nobody has heard of, whose other events came by eu.
    await cluster.nodes.get('origin').kill();
    const onTheirWay = [event('phone'), event('laptop', { userId: 'ann' }), event('watch', { userId: 'ann' })];
    const bobs = event('tablet', { userId: 'bob' });
    await send(cluster, 'us', account, ...onTheirWay, bobs);
    await cluster.nodes.get('us').kill();
    await cluster.startOrigin();
    const watch = event('watch');
    await send(cluster, 'eu', account, watch);
    await untilStored(cluster, account, 12);

    const receipt = await visitor('erase', 'ann');
    assert.deepEqual([receipt.erased.events, receipt.erased.links, receipt.erased.message_ids], [8, 3, 8]);
    assert.ok(receipt.at <= receipt.erased_at && receipt.erased_at <= receipt.physically_gone_at, JSON.stringify(receipt));
    assert.ok(!JSON.stringify(receipt).includes('ann') && !JSON.stringify(receipt).includes('phone'));
    assert.deepEqual(await messagesOf(cluster, account), [...others, watch].map(({ messageId }) => messageId).sort());
    assert.equal((await visitor('show', 'ann')).events, 0);
    await until('eu has passed the cut-off, us has not', 15000, async () => {
        const { edges, edges_done: done } = await visitor('receipt', receipt.id);
        const states = Object.fromEntries(edges.map(({ name, state }) => [name, state]));
        return states.eu === 'confirmed' && states.us === 'waiting' && !done;
    });

    // Back again: what it had of ann is dropped, and so is what was stored under the id it told of.
    await cluster.startEdge('us');
    await until('us has delivered', 60000, async () => {
        const { edges, edges_done: done } = await visitor('receipt', receipt.id);
        return done && edges.every(({ state }) => state === 'confirmed');
    });
    await until('the watch is erased, too', 15000, async () =>
        JSON.stringify(await messagesOf(cluster, account)) === JSON.stringify([...others, bobs].map(({ messageId }) => messageId).sort()));
    const dropped = async () => (await cluster.replication('origin')).totals.dropped.erased;
    assert.equal(await dropped(), 3);

    // Retries: told by what they claim, or by their message id; and what is new is taken.
    await send(cluster, 'eu', account, { ...old[0], timestamp: old[0].timestamp }, event('laptop', { timestamp: ago(60000) }));
    const { timestamp, ...timeless } = old[1];
    const fresh = event('phone', { userId: 'ann' });
    await send(cluster, 'us', account, timeless, fresh);
    await until('both edges have delivered', 30000, async () => (await dropped()) === 5 && (await visitor('show', 'ann')).events === 1);
    assert.equal((await cluster.replication('origin')).totals.duplicate, 1);
    assert.deepEqual(await messagesOf(cluster, account), [...others, bobs, fresh].map(({ messageId }) => messageId).sort());

    // The origin remembers over a restart; erasing again erases what came since.
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    await send(cluster, 'eu', account, event('phone', { timestamp: ago(3600000) }));
    await until('it is dropped', 30000, async () => (await dropped()) === 6);
    const again = await visitor('erase', 'ann');
    assert.equal(again.erased.events, 1);
    assert.equal((await visitor('erase', 'phone')).erased.events, 0);
    const metrics = async () => (await fetch(`${cluster.url('origin')}/metrics`)).text();
    assert.match(await metrics(), /^polder_erasures_open [1-9]/m);
    await until('an operator sees that all are gone', 30000, async () => /^polder_erasures_unfinished 0$/m.test(await metrics()));
    assert.equal((await cluster.replication('origin')).status, 'healthy');
});

test('what a hold covers is not erased, and malformed requests name what is wrong', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    await send(cluster, 'eu', account, event('phone'), event('guest-1', { userId: 'guest' }), event('guest-2', { userId: 'guest' }));
    await untilStored(cluster, account, 3);
    const visitor = (verb, body) => post(cluster, `accounts/${account.id}/visitor/${verb}`, body);
    for (const [body, field] of [[{}, 'id'], [{ id: 7 }, 'id'], [{ id: 'x'.repeat(300) }, 'id'], [{ id: 'phone', alone: 'yes' }, 'alone'], [{ id: 'phone', other: 1 }, 'other']]) {
        const { status, text } = await visitor('erase', body);
        assert.equal(status, body.id?.length > 256 ? 413 : 400, text);
        assert.equal(JSON.parse(text).error.field, field);
    }
    assert.equal((await post(cluster, 'accounts/00000000000000aa/visitor/profile', { id: 'phone' })).status, 404);
    await assert.rejects(cluster.ctl('visitor', 'receipts', '00000000000000aa'), /there is no account 00000000000000aa/);

    const { status, text } = await post(cluster, `accounts/${account.id}/holds`, { reason: 'a lawsuit' });
    assert.equal(status, 201, text);
    const refused = await visitor('erase', { id: 'phone' });
    assert.equal(refused.status, 403);
    assert.match(refused.text, /a lawsuit/);
    assert.equal((await visitor('erase', { id: 'nobody' })).status, 201);
    const { id } = JSON.parse(text);
    assert.equal((await post(cluster, `accounts/${account.id}/holds/${id}/release`, { reason: 'settled' })).status, 200);

    // A device alone, without the user that many share.
    const one = await visitor('erase', { id: 'guest-1', alone: true });
    assert.equal(one.status, 201);
    const receipt = `/api/v1/accounts/${account.id}/erasures/${JSON.parse(one.text).id}`;
    await until('it is erased', 10000, async () => {
        const reply = await fetch(cluster.url('origin') + receipt, { headers: { Authorization: `Bearer ${cluster.token}` } });
        const { state, erased } = await reply.json();
        return state !== 'erasing' && erased.events === 1;
    });
    assert.deepEqual((await exported(cluster, account)).map((line) => line.visitor_id).sort(), ['guest-2', 'phone']);
    const log = await cluster.ctl('audit', 'export');
    assert.match(log, /"visitor\.erase"/);
    assert.doesNotMatch(log, /guest-1|phone/);
});

test('names that aliases put one after another are one person, whichever is asked about', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const alias = (previousId, userId) => ({ type: 'alias', messageId: crypto.randomUUID(), previousId, userId, timestamp: ago(0) });
    await send(cluster, 'eu', account, identify('phone', 'old-ann'), alias('old-ann', 'new-ann'), event('laptop', { userId: 'new-ann' }), event('other'));
    await untilStored(cluster, account, 4);
    for (const id of ['phone', 'old-ann', 'new-ann', 'laptop']) assert.equal((await cluster.ctlJson('visitor', 'show', account.id, id)).events, 3, id);
    const receipt = await cluster.ctlJson('visitor', 'erase', account.id, 'phone');
    assert.equal(receipt.erased.events, 3);
    assert.doesNotMatch(await cluster.ctl('events', 'export', account.id), /old-ann|new-ann|phone|laptop/);

    // Late, from who was offline: dropped, for it names her.
    await send(cluster, 'eu', account, { ...alias('old-ann', 'newest-ann'), timestamp: ago(60000) });
    await until('it is dropped', 30000, async () => (await cluster.replication('origin')).totals.dropped.erased === 1);
    assert.equal((await exported(cluster, account)).length, 1);

    assert.match(await cluster.ctl('visitor', 'receipts', account.id), new RegExp(`${receipt.id} +(erased|gone)`));
    await assert.rejects(cluster.ctl('visitor', 'receipt', account.id, 'zzz'), /32 hex digits/);
});

test('who objects by mail is opted out in every region, under every id, until it is taken back', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'us'] });
    const visitor = (verb, ...args) => cluster.ctlJson('visitor', verb, account.id, ...args);
    await send(cluster, 'eu', account, identify('phone', 'ann'), identify('laptop', 'ann'), event('carol'));
    await untilStored(cluster, account, 3);
    const track = async (edge, anonymousId, fields) => {
        const reply = await fetch(`${cluster.url(edge)}/v1/track`, { method: 'POST', body: JSON.stringify({ writeKey: account.write_key, ...event(anonymousId, fields) }) });
        await reply.arrayBuffer();
        return reply.status;
    };
    const untilAll = (what, wanted, people) => until(what, 10000, async () => {
        const statuses = await Promise.all(['eu', 'us'].flatMap((edge) => people.map((person) => track(edge, ...person))));
        return statuses.every((status) => status === wanted);
    });
    const hers = [['phone'], ['laptop'], ['new-device', { userId: 'ann' }]];

    // Any of the ids leads to the others; carol is somebody else.
    assert.deepEqual(await visitor('optout', 'phone'), { opted_out: 3 });
    await untilAll('both regions refuse her', 403, hers);
    assert.equal(await track('us', 'carol'), 200);
    assert.deepEqual(await visitor('optout', 'ann'), { opted_out: 0 });
    assert.match(await cluster.ctl('visitor', 'optout', account.id, 'ann'), /opted out already/);
    assert.equal((await exported(cluster, account)).filter((stored) => stored.visitor_id === 'phone').length, 1, 'what is stored stays');
    assert.match(await cluster.ctl('visitor', 'export', account.id, 'ann'), /"polder_opt_out":\{"consent_id":"[0-9a-f]{32}","since":"[^"]+","active":true\}/);

    // Restarts of both sides change nothing.
    for (const name of ['origin', 'us']) await cluster.nodes.get(name).stop();
    await cluster.startOrigin();
    await cluster.startEdge('us');
    assert.equal(await track('us', 'laptop'), 403);

    assert.deepEqual(await visitor('optin', 'laptop'), { taken_back: 3 });
    await untilAll('both regions take her events again', 200, hers);
    assert.match(await cluster.ctl('visitor', 'optin', account.id, 'ann'), /No opt-out of this visitor stands/);

    // Somebody who was never seen, and one id alone.
    assert.deepEqual(await visitor('optout', 'dave@example.com'), { opted_out: 1 });
    await untilAll('dave is refused', 403, [['his', { userId: 'Dave@Example.com' }]]);
    assert.deepEqual(await visitor('optout', 'laptop', '--alone'), { opted_out: 1 });
    await untilAll('the laptop is refused', 403, [['laptop']]);
    assert.equal(await track('us', 'phone'), 200);
});
