// The real Snowplow tracker for Node, unchanged, pointed at an edge: what it was told is what the
// origin exports, field by field.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import {
    newTracker, buildAddToCart, buildEcommerceTransaction, buildEcommerceTransactionItem, buildFormSubmission, buildLinkClick, buildPagePing,
    buildPageView, buildRemoveFromCart, buildScreenView, buildSelfDescribingEvent, buildSiteSearch, buildStructEvent, version,
} from '@snowplow/node-tracker';
import { startCluster, exported, until } from './lib/fixture.mjs';

const APP = 'shop-app';
const AT = 1767225600123;
const iglu = (path) => `iglu:${path}`;
const ecommerce = (name, data, of = '1-0-0') => ({ schema: iglu(`com.snowplowanalytics.snowplow.ecommerce/${name}/jsonschema/${of}`), data });
const action = (data) => buildSelfDescribingEvent({ event: ecommerce('snowplow_ecommerce_action', data, '1-0-2') });
const WEATHER = { schema: iglu('com.acme/weather/jsonschema/1-0-0'), data: { sky: 'blau', wind: [1, 2.5, null], deep: { er: true } } };
const SHIRT = { id: 'S-1', name: 'Shirt', category: 'men/shirts', price: 19.9, quantity: 2, currency: 'EUR' };

const page = { pageUrl: 'https://shop.example/a?b=ü', pageTitle: 'Läden', referrer: 'https://search.example/' };
const pageFields = { url: page.pageUrl, title: page.pageTitle, referrer: page.referrer };
const described = (path) => ({ context: { schema: iglu(path) } });
const snowplow = (name) => described(`com.snowplowanalytics.snowplow/${name}`);
const actionFields = described('com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2');
// What happens, and what it is canonically; fields that every event has are added below. A builder
// builds once.
const said = () => [
    [buildPageView(page), [], { type: 'page_view', page: pageFields }],
    [buildPageView(page), [WEATHER, { schema: iglu('com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0'), data: { id: 'view-1' } }], { type: 'page_view', page: pageFields, view: { id: 'view-1' }, context: { entities: [WEATHER] } }],
    [buildPagePing({ ...page, minXOffset: 1, maxXOffset: 10, minYOffset: 20, maxYOffset: 3000 }), [], { type: 'custom', name: 'page_ping', page: pageFields, props: { pp_mix: 1, pp_max: 10, pp_miy: 20, pp_may: 3000 } }],
    [buildStructEvent({ category: 'video', action: 'play', label: 'trailer', property: 'hd', value: 2.5 }), [], { type: 'custom', name: 'play', props: { category: 'video', label: 'trailer', property: 'hd', value: 2.5 } }],
    [buildScreenView({ name: 'Home', id: 'screen-1' }), [], { type: 'page_view', name: 'Home', view: { id: 'screen-1' }, ...snowplow('screen_view/jsonschema/1-0-0') }],
    [buildLinkClick({ targetUrl: 'https://shop.example/b', elementId: 'buy', elementClasses: ['big'], elementTarget: '_blank', elementContent: 'Buy' }), [], { type: 'click', name: 'link_click', click: { target: 'buy', url: 'https://shop.example/b', text: 'Buy' }, props: { elementClasses: ['big'], elementTarget: '_blank' }, ...snowplow('link_click/jsonschema/1-0-1') }],
    [buildAddToCart({ sku: 'S-1', name: 'Shirt', category: 'men', unitPrice: 19.9, quantity: 2, currency: 'EUR' }), [], { type: 'cart_add', name: 'add_to_cart', currency: 'EUR', items: [{ sku: 'S-1', quantity: 2, name: 'Shirt', category: 'men', price: 19.9, currency: 'EUR' }], ...snowplow('add_to_cart/jsonschema/1-0-0') }],
    [buildRemoveFromCart({ sku: 'S-1', quantity: 1 }), [], { type: 'cart_remove', name: 'remove_from_cart', items: [{ sku: 'S-1', quantity: 1 }], ...snowplow('remove_from_cart/jsonschema/1-0-0') }],
    [buildSiteSearch({ terms: ['blaue', 'socken'], filters: { size: 'M', sale: true }, totalResults: 120, pageResults: 24 }), [], { type: 'search', name: 'site_search', search: { term: 'blaue socken', results: 120, results_first_page: 24 }, props: { filters: { size: 'M', sale: true } }, ...snowplow('site_search/jsonschema/1-0-0') }],
    [buildFormSubmission({ formId: 'f', formClasses: ['x'], elements: [{ name: 'size', value: 'M', nodeName: 'SELECT' }] }), [], { type: 'custom', name: 'submit_form', props: { formId: 'f', formClasses: ['x'], elements: [{ name: 'size', value: 'M', nodeName: 'SELECT' }] }, ...snowplow('submit_form/jsonschema/1-0-0') }],
    [buildSelfDescribingEvent({ event: { schema: iglu('com.acme/shared/jsonschema/2-1-0'), data: { with: { people: 3 }, note: '€ & "quotes"' } } }), [WEATHER], { type: 'custom', name: 'shared', props: { with: { people: 3 }, note: '€ & "quotes"' }, context: { schema: iglu('com.acme/shared/jsonschema/2-1-0'), entities: [WEATHER] } }],
    [action({ type: 'product_view' }), [ecommerce('product', SHIRT)], { type: 'product_view', currency: 'EUR', items: [{ sku: 'S-1', name: 'Shirt', category: 'men/shirts', price: 19.9, quantity: 2, currency: 'EUR' }], ...actionFields }],
    [action({ type: 'transaction' }), [ecommerce('product', SHIRT), ecommerce('transaction', { transaction_id: 'o-9', revenue: 39.8, currency: 'EUR', payment_method: 'card', tax: 6.35 })],
        { type: 'order', order_id: 'o-9', total: 39.8, tax: 6.35, currency: 'EUR', items: [{ sku: 'S-1', name: 'Shirt', category: 'men/shirts', price: 19.9, quantity: 2, currency: 'EUR' }], context: { ...actionFields.context, entities: [ecommerce('transaction', { payment_method: 'card' })] } }],
    [buildEcommerceTransaction({ orderId: 'o-1', affiliation: 'web', total: 44.3, tax: 7.07, shipping: 4.9, city: 'Hamburg', state: 'HH', country: 'DE', currency: 'EUR' }), [], { type: 'order', order_id: 'o-1', affiliation: 'web', total: 44.3, tax: 7.07, shipping: 4.9, currency: 'EUR', props: { tr_ci: 'Hamburg', tr_st: 'HH', tr_co: 'DE' } }],
];
const ITEM = { orderId: 'o-1', sku: 'S-1', name: 'Shirt', category: 'men', price: 19.9, quantity: 2, currency: 'EUR' };
const ITEM_FIELDS = { sku: 'S-1', name: 'Shirt', category: 'men', price: 19.9, quantity: 2, currency: 'EUR' };

function withCommon(fields, payload) {
    const { schema, ...more } = fields.context ?? {};
    return {
        ...fields,
        dialect: 'snowplow',
        region: 'eu',
        message_id: payload.eid,
        visitor_id: 'd-1',
        user_id: 'u-1',
        session_id: 's-1',
        session_index: 3,
        network_id: 'n-1',
        client_time: new Date(AT).toISOString(),
        channel: 'server',
        device: { viewport: '1280x720', user_agent: 'Probe/1.0', locale: 'de-DE', timezone: 'Europe/Berlin', screen_width: 1920, screen_height: 1080 },
        context: { ...(schema && { schema }), tracker: { tv: `node-${version}`, tna: 'sp', aid: APP, cd: '24' }, ...more },
    };
}

function startTracker(url, emitter, encodeBase64) {
    const failures = [];
    const tracker = newTracker({ namespace: 'sp', appId: APP, encodeBase64 }, { endpoint: url, onRequestFailure: (failure) => failures.push(failure), retryFailedRequests: false, ...emitter });
    tracker.setUserId('u-1');
    tracker.setDomainUserId('d-1');
    tracker.setNetworkUserId('n-1');
    tracker.setSessionId('s-1');
    tracker.setSessionIndex('3');
    tracker.setScreenResolution('1920', '1080');
    tracker.setViewport('1280', '720');
    tracker.setColorDepth('24');
    tracker.setTimezone('Europe/Berlin');
    tracker.setLang('de-DE');
    tracker.setIpAddress('203.0.113.7');
    tracker.setUseragent('Probe/1.0');
    return { tracker, failures };
}

async function startAccount(t, options) {
    const { cluster, account } = await startCluster(t, options);
    await cluster.ctl('account', 'update', account.id, '--aliases', APP);
    await until('the edge knows the app id', 15000, async () => {
        const reply = await fetch(`${cluster.url('eu')}/i?aid=${APP}`);
        return reply.headers.get('x-polder-outcome') === 'MALFORMED';
    });
    return { cluster, account };
}

for (const [method, encodeBase64] of [['post', true], ['post', false], ['get', true], ['get', false]]) {
    test(`@snowplow/node-tracker, ${method}, ${encodeBase64 ? 'base64' : 'plain'}: exported as it was told, field by field`, { timeout: 120000 }, async (t) => {
        const { cluster, account } = await startAccount(t);
        const { tracker, failures } = startTracker(cluster.url('eu'), { eventMethod: method, bufferSize: method === 'post' ? 50 : 1 }, encodeBase64);
        const expected = new Map();
        for (const [event, entities, fields] of said()) {
            const payload = tracker.track(event, entities, { type: 'dtm', value: AT });
            expected.set(payload.eid, withCommon(fields, payload));
        }
        // An order's items are events of their own, whether they come together with it or not.
        const item = tracker.track(buildEcommerceTransactionItem(ITEM), [], { type: 'dtm', value: AT });
        expected.set(item.eid, withCommon({ type: 'custom', name: 'transaction_item', order_id: 'o-1', currency: 'EUR', items: [ITEM_FIELDS] }, item));
        await tracker.flush();
        await until('all is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === expected.size);
        assert.deepEqual(failures, []);
        await cluster.untilSettled(['eu'], 20000);
        for (const { account: owner, accepted, sent_time: sent, corrected_time: corrected, ...event } of await exported(cluster, account)) {
            assert.equal(owner, account.id);
            assert.ok(Math.abs(new Date(sent) - new Date(accepted)) < 30000, 'sent when it was taken');
            assert.equal(new Date(corrected) - new Date(accepted), AT - new Date(sent));
            assert.deepEqual(event, expected.get(event.message_id));
            expected.delete(event.message_id);
        }
        assert.equal(expected.size, 0);
    });
}

test('@snowplow/node-tracker: a true timestamp is believed, a path of the account\'s own is served', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startAccount(t);
    await cluster.ctl('account', 'update', account.id, '--snowplow-path', '/com.shop/t2');
    await until('the edge serves the path', 15000, async () => (await fetch(`${cluster.url('eu')}/com.shop/t2`)).status === 405);
    const failures = [];
    const tracker = newTracker({ namespace: 'sp', appId: 'an app nobody knows' }, { endpoint: cluster.url('eu'), postPath: '/com.shop/t2', bufferSize: 1, onRequestFailure: (failure) => failures.push(failure) });
    tracker.track(buildPageView(page), [], { type: 'ttm', value: AT });
    await tracker.flush();
    await until('it is stored', 20000, async () => (await cluster.books(['eu'])).rows[0].stored === 1);
    const [event] = await exported(cluster, account);
    assert.equal(event.client_time, new Date(AT).toISOString());
    assert.equal(event.corrected_time, new Date(AT).toISOString());
    assert.equal(event.context.tracker.aid, 'an app nobody knows');
    assert.deepEqual(failures, []);
});

test('of a batch what can be taken is; a refusal names the event and its parameter', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startAccount(t, { env: { POLDER_TALLY_INTERVAL_S: '1' } });
    const post = (data) => fetch(`${cluster.url('eu')}/com.snowplowanalytics.snowplow/tp2`, { method: 'POST', body: JSON.stringify({ schema: iglu('com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4'), data }) });
    const event = { e: 'pv', p: 'web', tv: 'x', aid: APP, duid: 'd' };
    const bad = [
        [{ ...event, e: undefined }, 400, 'e'],
        [{ ...event, uid: 'u'.repeat(300) }, 413, 'uid'],
        [{ ...event, cx: 'bm90IEpTT04' }, 400, 'cx'],
        ['text', 400, 'e'],
        [{ ...event, url: 'x'.repeat(40000) }, 413, undefined],
    ];
    const whole = [
        [Array.from({ length: 501 }, () => event), 413, 'data'],
        [[{ ...event, aid: 'nobody' }], 401, 'writeKey'],
        // More than is kept of one request: what fits is not all that was good.
        [Array.from({ length: 500 }, () => ({ aid: APP, e: 'pv', p: 'web' })), 413, undefined, { 'user-agent': 'u'.repeat(5000) }],
    ];
    for (const [element, status, field] of bad) {
        const reply = await post([element, { ...event, e: undefined }]);
        assert.deepEqual([reply.status, (await reply.json()).field], [status, field && `data[0].${field}`]);
    }
    for (const [data, status, field, headers] of whole) {
        const body = JSON.stringify({ schema: iglu('com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4'), data });
        const reply = await fetch(`${cluster.url('eu')}/com.snowplowanalytics.snowplow/tp2`, { method: 'POST', body, headers });
        assert.deepEqual([reply.status, (await reply.json()).field], [status, field]);
    }
    assert.equal((await cluster.books(['eu'])).rows[0].accepted, 0);
    for (const [element, , field] of bad) {
        const reply = await post([event, element, event]);
        assert.deepEqual([reply.status, await reply.text(), reply.headers.get('x-polder-outcome')], [200, 'ok', 'PARTIAL']);
        assert.match(reply.headers.get('x-polder-refused'), new RegExp(`^1; ${field ? `data.1..${field} ` : 'event 1 '}`));
    }
    const good = await post([event]);
    assert.deepEqual([good.status, await good.text(), good.headers.get('x-polder-outcome')], [200, 'ok', null]);
    await cluster.untilSettled(['eu'], 20000);
    assert.equal((await exported(cluster, account)).length, 2 * bad.length + 1);
    // With the one that startAccount made.
    await until('the edge has handed in its counts', 20000, async () => {
        const { outcomes } = await cluster.ctlJson('account', 'outcomes', account.id);
        const counts = Object.fromEntries(outcomes.map(({ outcome, count }) => [outcome, count]));
        return counts.MALFORMED === 3 + 3 + 1 && counts.TOO_LARGE === 2 + 1 + 2;
    });
});
