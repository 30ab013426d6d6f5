// An edge as the network sees it: what it serves, what it takes, what it refuses and how it says so.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import vm from 'node:vm';
import { startCluster, untilServed, trackEvent, exportedIds, until } from './lib/fixture.mjs';
import { ask, post, decoded, raw } from './lib/http.mjs';
import { metricsOf } from './lib/metrics.mjs';

const PAGE = 'https://shop.example';
const DEAD_LINK = 'tls+tcp://127.0.0.1:1';
const KIB = 1024;

// What an error looks like, whoever answers: JSON that names itself and says a sentence.
function assertError(reply, status, { field, says, cors = PAGE } = {}) {
    assert.equal(reply.status, status, reply.text);
    assert.equal(reply.headers['content-type'], 'application/json');
    assert.equal(reply.headers['cache-control'], 'no-store');
    const error = JSON.parse(reply.text);
    assert.match(error.error, /^[a-z-]+$/);
    assert.ok(error.message.length > 10, reply.text);
    if (field) assert.equal(error.field, field);
    if (says) assert.match(error.message, says);
    if (cors) assertCors(reply, cors);
    return error;
}

function assertCors(reply, origin = PAGE) {
    assert.equal(reply.headers['access-control-allow-origin'], origin);
    assert.equal(reply.headers['access-control-allow-credentials'], 'true');
    assert.match(reply.headers.vary ?? '', /\borigin\b/i);
}

// Every number of /metrics, by name with labels.
async function metrics(url) {
    const text = (await ask(`${url}/metrics`)).text;
    return new Map(text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.split(' ')).map(([name, value]) => [name, Number(value)]));
}

test('what an edge serves', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const url = cluster.url('eu');
    const config = `${url}/v1/config/${account.write_key}`;
    const script = `${url}/s/${account.write_key}.js`;

    await t.test('a config in the encoding that the client takes', async () => {
        const plain = await ask(config);
        assert.equal(plain.status, 200);
        assert.equal(JSON.parse(plain.text).version, 1);
        const cases = [
            ['', undefined],
            ['identity', undefined],
            ['gzip', 'gzip'],
            ['GZIP', 'gzip'],
            ['br', 'br'],
            ['gzip, deflate, br, zstd', 'br'],
            ['gzip;q=1.0, br;q=0.001', 'br'],
            ['br;q=0, gzip', 'gzip'],
            ['br; q=0.0, gzip;q=0.5', 'gzip'],
            ['gzip;q=0, br;q=0.000', undefined],
            ['x-gzip, broccoli', undefined],
        ];
        for (const [accepts, coding] of cases) {
            const reply = await ask(config, { headers: { 'Accept-Encoding': accepts } });
            assert.equal(reply.status, 200);
            assert.equal(reply.headers['content-encoding'], coding, `Accept-Encoding: ${accepts}`);
            assert.equal(decoded(reply), plain.text);
            assert.equal(Number(reply.headers['content-length']), reply.bytes.length);
            if (coding) assert.ok(reply.bytes.length < plain.bytes.length);
        }
    });

    await t.test('the headers that caches and browsers go by', async () => {
        for (const [target, type] of [[config, 'application/json'], [script, 'text/javascript; charset=utf-8'], [`${url}/sdk.js`, 'text/javascript; charset=utf-8'], [`${url}/ce.js`, 'text/javascript; charset=utf-8']]) {
            const reply = await ask(target, { headers: { Origin: PAGE } });
            assert.equal(reply.status, 200);
            assert.equal(reply.headers['content-type'], type);
            assert.match(reply.headers.etag, /^"[^"]+"$/, 'a strong tag');
            assert.match(reply.headers['cache-control'], /^public, max-age=\d+, stale-while-revalidate=\d+, stale-if-error=\d+$/);
            assert.match(reply.headers.vary, /accept-encoding/i);
            assert.equal(reply.headers['access-control-allow-origin'], '*');
            assert.equal(reply.headers['x-content-type-options'], 'nosniff');
            assert.equal(reply.headers['set-cookie'], undefined, 'what is cached sets no cookie');
        }
    });

    await t.test('304 for what the client has, and only for that', async () => {
        const tags = {};
        for (const coding of ['identity', 'gzip', 'br']) tags[coding] = (await ask(config, { headers: { 'Accept-Encoding': coding } })).headers.etag;
        assert.equal(new Set(Object.values(tags)).size, 3, 'each encoding is a representation of its own');
        const current = { 'Accept-Encoding': 'gzip' };
        for (const matching of [tags.gzip, `W/${tags.gzip}`, `"other", ${tags.gzip}`, '*']) {
            const reply = await ask(config, { headers: { ...current, 'If-None-Match': matching } });
            assert.equal(reply.status, 304, matching);
            assert.equal(reply.bytes.length, 0);
            // RFC 9110, 15.4.5: what a 200 would have sent of these.
            assert.equal(reply.headers.etag, tags.gzip);
            assert.match(reply.headers['cache-control'], /max-age/);
            assert.match(reply.headers.vary, /accept-encoding/i);
            assert.equal(reply.headers['access-control-allow-origin'], '*');
        }
        for (const stale of ['"other"', tags.identity, tags.br, tags.gzip.slice(1, -1), '']) {
            const reply = await ask(config, { headers: { ...current, 'If-None-Match': stale } });
            assert.equal(reply.status, 200, stale);
        }
        const head = await ask(config, { method: 'HEAD', headers: { ...current, 'If-None-Match': tags.gzip } });
        assert.equal(head.status, 304);
    });

    await t.test('HEAD as GET without the body', async () => {
        for (const target of [config, script, `${url}/sdk.js`, `${url}/health`, `${url}/ready`]) {
            const get = await ask(target);
            const head = await ask(target, { method: 'HEAD' });
            assert.equal(head.status, get.status);
            assert.equal(head.bytes.length, 0);
            for (const name of ['content-type', 'etag', 'cache-control', 'vary']) assert.equal(head.headers[name], get.headers[name]);
            if (target !== `${url}/health`) assert.equal(head.headers['content-length'], get.headers['content-length']);
        }
    });

    await t.test('a script that runs in a page, speaks the config, and sends what the edge takes', async () => {
        const calls = [];
        const timers = [];
        const window = {
            crypto: { randomUUID },
            location: { origin: PAGE, href: `${PAGE}/`, pathname: '/', search: '' },
            navigator: { language: 'en', userAgent: 'vm', sendBeacon: () => true },
            document: { currentScript: { src: script, dataset: {} }, title: 'Shop', referrer: '', visibilityState: 'visible' },
            screen: { width: 1, height: 1 },
            addEventListener: () => {},
            setTimeout: (run) => timers.push(run),
            fetch: (target, options) => {
                calls.push({ target, options });
                return new Promise(() => {});
            },
            URL,
            URLSearchParams,
            TextEncoder,
            Blob,
        };
        window.window = window.self = vm.createContext(window);
        vm.runInContext((await ask(script)).text, window, { filename: 'polder.js' });
        let variant;
        window.polder('variant', 'free-shipping', (given) => (variant = given));
        assert.match(variant.id, /^(control|scarcity)$/, 'the config came with it');
        window.polder('track', 'Ran in a page');
        timers.forEach((run) => run());
        await until('the page sends its event', 5000, () => calls.length > 0);
        assert.equal(calls.length, 1);
        assert.equal(calls[0].target, `${url}/v1/batch`, 'events go where the script came from');
        const { batch, writeKey } = JSON.parse(calls[0].options.body);
        assert.equal(writeKey, account.write_key);
        const reply = await post(calls[0].target, calls[0].options.body, calls[0].options.headers);
        assert.equal(reply.status, 200, reply.text);
        await cluster.untilSettled(['eu'], 20000);
        assert.equal((await exportedIds(cluster, account)).get(batch[0].messageId), 1);

        // The bare one defines polder and has no key: it must do no harm.
        const bare = vm.createContext({ ...window, polder: undefined, polderBoot: undefined });
        bare.window = bare.self = bare;
        vm.runInContext((await ask(`${url}/sdk.js`)).text, bare, { filename: 'sdk.js' });
        assert.equal(typeof bare.polder, 'function');
        bare.polder('track', 'Nobody hears this');
    });

    await t.test('404 and 410 where there is nothing to serve', async () => {
        const unknown = '0'.repeat(32);
        for (const path of [`v1/config/${unknown}`, 'v1/config/', 'v1/config/short', `v1/config/${account.write_key.toUpperCase()}`, `v1/config/${account.write_key}/`,
            `s/${unknown}.js`, `s/${account.write_key}`, `s/.js`]) {
            const reply = await ask(`${url}/${path}`, { headers: { Origin: PAGE } });
            assert.equal(reply.status, 404, path);
            assert.equal(reply.headers['cache-control'], 'no-store');
            assert.equal(reply.headers['access-control-allow-origin'], '*');
            assert.match(JSON.parse(reply.text).message, /write key/);
        }
        const gone = await cluster.ctlJson('account', 'create', 'closing-shop');
        await untilServed(cluster, 'eu', gone, 0);
        await cluster.ctl('account', 'expire', gone.id);
        for (const path of [`v1/config/${gone.write_key}`, `s/${gone.write_key}.js`]) {
            await until('the account is gone', 5000, async () => (await ask(`${url}/${path}`)).status === 410);
            const reply = await ask(`${url}/${path}`);
            assert.equal(reply.headers['cache-control'], 'no-store');
            assert.match(JSON.parse(reply.text).message, /expired/);
        }
    });

    await t.test('probes in the shapes that monitoring reads', async () => {
        const health = JSON.parse((await ask(`${url}/health`)).text);
        assert.deepEqual([health.status, typeof health.version, typeof health.uptime_seconds], ['ok', 'string', 'number']);
        assert.deepEqual(JSON.parse((await ask(`${url}/ready`)).text), { ready: true, reasons: [] });
        const replication = JSON.parse((await ask(`${url}/replication`)).text);
        assert.deepEqual([replication.status, replication.reasons, replication.region, replication.connected], ['healthy', [], 'eu', true]);
        for (const name of ['accepted_events', 'pending_blocks', 'pending_events', 'pending_bytes', 'oldest_pending_seconds', 'lost_events', 'accounts', 'config_age_seconds', 'round_trip_us']) {
            assert.ok(Number.isInteger(replication[name]), name);
        }
        assert.equal(replication.accounts, 2);
        const open = replication.chains.filter((chain) => !chain.closed);
        assert.equal(open.length, 1, 'a process writes one chain');
        assert.match(open[0].incarnation, /^[0-9a-f]{32}$/);
        assert.equal(open[0].books, 'balanced');
        assert.equal(open[0].acked_events, replication.accepted_events);
        const page = await ask(`${url}/metrics`);
        assert.match(page.headers['content-type'], /^text\/plain; version=0\.0\.4/);
        const { samples: counts, histograms } = await metricsOf(url);
        assert.equal(counts.get('polder_collected_events_total'), replication.accepted_events);
        assert.equal(counts.get('polder_link_connected'), 1);
        const [collect, sync, blocks] = ['polder_collect_seconds', 'polder_spool_sync_seconds', 'polder_spool_block_bytes'].map((name) => histograms.get(name));
        assert.equal(collect.count, counts.get('polder_collected_requests_total'));
        assert.ok(collect.count > 0 && collect.sum > 0 && collect.sum < 60 * collect.count);
        assert.equal(sync.count, counts.get('polder_commit_rounds_total'));
        assert.equal(blocks.sum, counts.get('polder_commit_block_bytes_total'));
        for (const name of ['eu', 'origin']) {
            const limits = readFileSync(`/proc/${cluster.nodes.get(name).pid}/limits`, 'utf8');
            assert.match(limits, /^Max core file size +0 +0 /m, `${name} would leave its keys in a core file`);
        }
        const origin = await metricsOf(cluster.url('origin'));
        assert.equal(origin.histograms.get('polder_intake_block_seconds').count, origin.samples.get('polder_intake_blocks_total'));
        assert.equal(origin.histograms.get('polder_intake_sync_seconds').count, origin.samples.get('polder_intake_groups_total'));
        assert.ok(counts.get('polder_config_requests_total{result="not_modified"}') >= 4);
        assert.ok(counts.get('polder_config_requests_total{result="expired"}') >= 2);
    });
});

test('what an edge takes and refuses', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { campaign: false });
    const url = cluster.url('eu');
    const port = cluster.port('eu');
    const keyIn = (event, key = account.write_key) => ({ ...event, writeKey: key });
    const taken = []; // events that were answered with 2xx
    const refused = []; // and those that must never be seen again
    const create = (name, fields) => fetch(`${cluster.url('origin')}/api/v1/accounts`, {
        method: 'POST', headers: { Authorization: `Bearer ${cluster.token}` }, body: JSON.stringify({ name, ...fields }),
    }).then((reply) => reply.json());

    await t.test('the key from Basic auth, body or query, the JSON whatever it is called', async () => {
        const basic = { Authorization: `Basic ${Buffer.from(`${account.write_key}:`).toString('base64')}` };
        const ways = [
            (event) => post(`${url}/v1/track`, event, basic),
            (event) => post(`${url}/v1/t`, event, { Authorization: basic.Authorization.replace('Basic', 'basic') }),
            (event) => post(`${url}/v1/track`, keyIn(event, 'f'.repeat(32)), basic), // the header goes first
            (event) => post(`${url}/v1/track`, keyIn(event), { 'Content-Type': 'text/plain' }),
            (event) => post(`${url}/v1/track`, keyIn(event), { 'Content-Type': 'application/x-www-form-urlencoded' }),
            (event) => post(`${url}/v1/track?writeKey=${account.write_key}`, event),
            (event) => post(`${url}/v1/track?x=1&write_key=${account.write_key}`, event),
            (event) => post(`${url}/v1/b?writeKey=${account.write_key}`, { batch: [event] }),
        ];
        for (const [index, way] of ways.entries()) {
            const event = trackEvent();
            const reply = await way(event);
            assert.equal(reply.status, 200, `way ${index}: ${reply.text}`);
            assert.deepEqual(JSON.parse(reply.text), { success: true });
            taken.push(event);
        }
        for (const authorization of ['Basic', 'Basic !!!', `Bearer ${account.write_key}`, 'Basic Og==']) {
            const event = trackEvent();
            assertError(await post(`${url}/v1/track`, event, { Authorization: authorization, Origin: PAGE }), 401, { field: 'writeKey' });
            refused.push(event);
        }
    });

    await t.test('events as an image, which always gets its pixel', async () => {
        const pixel = async (message, encoding) => {
            const data = encodeURIComponent(Buffer.from(JSON.stringify(message)).toString(encoding));
            const reply = await ask(`${url}/v1/pixel/${message.type}?data=${data}`);
            assert.equal(reply.headers['content-type'], 'image/gif');
            assert.equal(reply.bytes.length, 43);
            assert.equal(reply.bytes.subarray(0, 6).toString(), 'GIF89a');
            assert.equal(reply.headers['cache-control'], 'no-store');
            return reply;
        };
        for (const encoding of ['base64', 'base64url']) {
            const event = trackEvent({ properties: { text: '?>~~~ÿþ' } });
            const reply = await pixel(keyIn(event), encoding);
            assert.deepEqual([reply.status, reply.headers['x-polder-outcome']], [200, 'OK']);
            taken.push(event);
        }
        const cases = [[trackEvent(), 'UNKNOWN_KEY'], [keyIn(trackEvent(), '0'.repeat(32)), 'UNKNOWN_KEY'], [keyIn(trackEvent({ event: 7 })), 'MALFORMED']];
        for (const [message, outcome] of cases) {
            assert.equal((await pixel(message, 'base64')).headers['x-polder-outcome'], outcome);
            refused.push(message);
        }
    });

    await t.test('a compressed body is told so, not that it is bad JSON', async () => {
        const event = trackEvent();
        for (const path of ['/v1/track', '/v1/batch', '/v1/optout', '/v1/optin']) {
            const reply = await post(`${url}${path}`, gzipSync(JSON.stringify(keyIn(event))), { Origin: PAGE, 'Content-Encoding': 'gzip' });
            assertError(reply, 415);
            assert.equal(JSON.parse(reply.text).field, 'Content-Encoding', path);
            assert.equal(reply.headers['accept-encoding'], 'identity');
        }
        assert.equal((await post(`${url}/v1/track`, keyIn(event), { 'Content-Encoding': 'identity' })).status, 200);
        taken.push(event);
    });

    await t.test('what tells of clients is for operators, where they have an address of their own', async () => {
        await cluster.nodes.get('eu').stop();
        const port = cluster.port('eu') + 15;
        await cluster.startEdge('eu', { env: { POLDER_OPS_LISTEN: `127.0.0.1:${port}` }, ready: false });
        await until('it is ready', 20000, async () => (await ask(`http://127.0.0.1:${port}/ready`)).status === 200);
        for (const path of ['/ready', '/replication', '/metrics']) {
            assertError(await ask(`${url}${path}`, { headers: { Origin: PAGE } }), 404);
            assert.equal((await ask(`http://127.0.0.1:${port}${path}`)).status, 200, path);
        }
        for (const base of [url, `http://127.0.0.1:${port}`]) assert.equal((await ask(`${base}/health`)).status, 200);
        await cluster.nodes.get('eu').stop();
        await cluster.startEdge('eu');
        assert.equal((await ask(`${url}/metrics`)).status, 200, 'as before');
    });

    await t.test('CORS on success and errors, and preflights that let the event through', async () => {
        const event = trackEvent();
        const good = await post(`${url}/v1/track`, keyIn(event), { Origin: PAGE });
        assert.equal(good.status, 200);
        assertCors(good);
        taken.push(event);
        assertError(await post(`${url}/v1/track`, '{"writeKey":', { Origin: PAGE }), 400);
        assertError(await post(`${url}/v1/nowhere`, '{}', { Origin: PAGE }), 404);
        assertError(await ask(`${url}/v1/track`, { method: 'DELETE', headers: { Origin: PAGE } }), 405);
        assertError(await post(`${url}/v1/batch`, 'x'.repeat(600 * KIB), { Origin: PAGE }), 413);
        assert.equal((await post(`${url}/v1/track`, keyIn(trackEvent({ messageId: 'no-page' })))).headers['access-control-allow-origin'], undefined, 'nobody asked');
        taken.push({ messageId: 'no-page' });
        for (const path of ['/v1/track', '/v1/batch', '/v1/optout', '/v1/optin', `/v1/config/${account.write_key}`]) {
            const reply = await ask(url + path, {
                method: 'OPTIONS',
                headers: { Origin: PAGE, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type, authorization' },
            });
            assert.equal(reply.status, 204);
            assertCors(reply);
            assert.match(reply.headers['access-control-allow-methods'], /\bPOST\b/);
            assert.match(reply.headers['access-control-allow-headers'], /content-type, authorization/i);
            assert.ok(Number(reply.headers['access-control-max-age']) > 0);
            assert.match(reply.headers.vary, /access-control-request-headers/i);
        }
    });

    await t.test('405 names the methods that a path has', async () => {
        for (const [method, path, allow] of [['GET', '/v1/track', 'POST, OPTIONS'], ['POST', `/v1/config/${account.write_key}`, 'GET, HEAD, OPTIONS'], ['POST', '/ready', 'GET, HEAD'], ['PUT', '/sdk.js', 'GET, HEAD, OPTIONS']]) {
            const reply = await ask(url + path, { method });
            assertError(reply, 405, { cors: null });
            assert.deepEqual(reply.headers.allow.split(', ').sort(), allow.split(', ').sort());
        }
    });

    await t.test('one connection lives through successes and refusals', async (context) => {
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        context.after(() => agent.destroy());
        const event = trackEvent();
        const json = (body) => ({ agent, method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } });
        const replies = [
            await ask(`${url}/v1/config/${account.write_key}`, { agent }),
            await ask(`${url}/v1/config/${account.write_key}`, { agent, headers: { 'If-None-Match': '*' } }),
            await ask(`${url}/v1/track`, json(keyIn(event))),
            await ask(`${url}/nowhere`, { agent }),
            await ask(`${url}/v1/track`, { agent }),
            await ask(`${url}/v1/track`, json({})),
            await ask(`${url}/v1/batch`, { ...json({}), method: 'OPTIONS' }),
            await ask(`${url}/v1/batch`, { ...json({}), body: 'x'.repeat(900 * KIB) }),
            await ask(`${url}/v1/track`, { ...json({}), body: 'x'.repeat(40 * KIB) }),
            await ask(`${url}/health`, { agent, method: 'HEAD' }),
        ];
        taken.push(event);
        assert.deepEqual(replies.map((reply) => reply.status), [200, 304, 200, 404, 405, 401, 204, 413, 413, 200]);
        assert.equal(new Set(replies.map((reply) => reply.localPort)).size, 1, 'all on one connection');
    });

    await t.test('heads that are too large, bodies beyond all bounds', async () => {
        const head = (bytes) => `GET /health HTTP/1.1\r\nHost: t\r\nX-Long: ${'a'.repeat(bytes)}\r\n\r\n`;
        assert.deepEqual((await raw(port, head(36 * KIB).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))).statuses, [200]);
        for (const bytes of [41 * KIB, 200 * KIB]) {
            const reply = await raw(port, head(bytes));
            assert.deepEqual([reply.statuses, reply.closed], [[431], true]);
        }
        const declared = await raw(port, `POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Length: ${5 << 20}\r\n\r\n`);
        assert.deepEqual([declared.statuses, declared.closed], [[413], true], 'said before the body is sent');
    });

    await t.test('requests that can be read in two ways are read in none', async () => {
        const hidden = trackEvent();
        const body = JSON.stringify(keyIn(hidden));
        const smuggled = `POST /v1/track HTTP/1.1\r\nHost: t\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
        const shapes = [
            'Content-Length: 0\r\nContent-Length: 5',
            'Content-Length: 0\r\nTransfer-Encoding: chunked',
            'Transfer-Encoding: chunked\r\nContent-Length: 0',
            'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
            'Transfer-Encoding: xchunked',
            'Transfer-Encoding: chunked, chunked',
            'Content-Length: +0',
            'Content-Length: 0x0',
            'Content-Length : 0',
            'X-Fold: 1\r\n Content-Length: 5',
            'Host: other',
        ];
        for (const shape of shapes) {
            const reply = await raw(port, `POST /v1/track HTTP/1.1\r\nHost: t\r\n${shape}\r\n\r\n0\r\n\r\n${smuggled}`);
            assert.deepEqual([reply.statuses, reply.closed], [[400], true], `${shape}\n${reply.text}`);
            assert.match(reply.text, /^connection: close/im);
        }
        const behind = await raw(port, `GET /health HTTP/1.1\r\nHost: t\r\n\r\nPOST /v1/track HTTP/1.1\r\nHost: t\r\n${shapes[0]}\r\n\r\n${smuggled}`);
        assert.deepEqual([behind.statuses, behind.closed], [[200, 400], true], 'in a pipeline as well');
        refused.push(hidden);
    });

    await t.test('accounts of other regions and pages of other sites', async () => {
        const elsewhere = await create('us-shop', { regions: ['us'] });
        const closed = await create('strict-shop', { origins: [PAGE, 'https://*.shop.example'] });
        for (const shop of [elsewhere, closed]) await untilServed(cluster, 'eu', shop, 0);
        const event = trackEvent();
        assertError(await post(`${url}/v1/track`, keyIn(event, elsewhere.write_key), { Origin: PAGE }), 403, { says: /region eu/ });
        for (const stranger of ['https://evil.example', 'http://shop.example', 'https://shop.example.evil.example', 'https://evilshop.example', 'null']) {
            const reply = await post(`${url}/v1/track`, keyIn(event, closed.write_key), { Origin: stranger });
            assertError(reply, 403, { field: 'origin', cors: stranger });
        }
        for (const friend of [PAGE, 'https://m.shop.example']) assert.equal((await post(`${url}/v1/track`, keyIn(trackEvent(), closed.write_key), { Origin: friend })).status, 200);
        assert.equal((await post(`${url}/v1/track`, keyIn(trackEvent(), closed.write_key))).status, 200, 'servers send no Origin');
        await cluster.untilSettled(['eu'], 20000);
        assert.equal((await exportedIds(cluster, elsewhere)).size, 0);
        const stored = await exportedIds(cluster, closed);
        assert.deepEqual([stored.size, stored.has(event.messageId)], [3, false]);
    });

    await t.test('no means no', async () => {
        const honouring = await create('dnt-shop', { honour_dnt: true });
        await untilServed(cluster, 'eu', honouring, 0);
        const before = await metrics(url);
        const signs = [{ 'Sec-GPC': '1' }, { Cookie: 'polder_optout=1' }, { Cookie: 'a=b; polder_optout=1; c=d' }, { Cookie: ['a=b', 'polder_optout=1'] }];
        for (const sign of signs) {
            const event = trackEvent();
            assertError(await post(`${url}/v1/track`, keyIn(event), { Origin: PAGE, ...sign }), 403, { says: /nothing is collected/ });
            const data = Buffer.from(JSON.stringify(keyIn(event))).toString('base64url');
            const image = await ask(`${url}/v1/pixel/track?data=${data}`, { headers: sign });
            assert.deepEqual([image.status, image.bytes.length, image.headers['x-polder-outcome']], [200, 43, 'OPTED_OUT']);
            refused.push(event);
        }
        const dnt = trackEvent();
        assertError(await post(`${url}/v1/track`, keyIn(dnt, honouring.write_key), { Origin: PAGE, DNT: '1' }), 403, { says: /DNT/ });
        for (const silent of [{ DNT: '1' }, { 'Sec-GPC': '0' }, { Cookie: 'polder_optout=0; xpolder_optout=1; polder_optout=12' }]) {
            const event = trackEvent();
            assert.equal((await post(`${url}/v1/track`, keyIn(event), silent)).status, 200, JSON.stringify(silent));
            taken.push(event);
        }
        const name = 'polder_refused_requests_total{reason="consent"}';
        assert.equal((await metrics(url)).get(name) - before.get(name), 2 * signs.length + 1);
        await cluster.untilSettled(['eu'], 20000);
        assert.equal((await exportedIds(cluster, honouring)).size, 0);
    });

    await t.test('opting out and in again', async () => {
        const cookieOf = (reply) => reply.headers['set-cookie']?.[0].split(';')[0];
        for (const method of ['GET', 'POST']) {
            const out = await ask(`${url}/v1/optout`, { method, headers: { Origin: PAGE } });
            assert.equal(out.status, 200);
            assertCors(out);
            assert.equal(out.headers['cache-control'], 'no-store');
            assert.match(cookieOf(out), /^polder_optout=[0-9a-f]{32}$/);
            assert.match(out.headers['set-cookie'][0], /Max-Age=\d{7,}.*HttpOnly/);
        }
        const event = trackEvent();
        const cookie = cookieOf(await post(`${url}/v1/optout`, ''));
        assert.equal((await post(`${url}/v1/track`, keyIn(event), { Cookie: cookie })).status, 403);

        const shop = await create('opt-in-shop', { origins: [PAGE] });
        await untilServed(cluster, 'eu', shop, 0);
        const optin = `${url}/v1/optin?write_key=${shop.write_key}`;
        assertError(await ask(optin, { headers: { Origin: PAGE } }), 405); // an image cannot say yes
        assertError(await post(optin, '', { Origin: 'https://evil.example' }), 403, { cors: 'https://evil.example' });
        assertError(await post(optin, ''), 403, { cors: null });
        assertError(await post(`${url}/v1/optin`, '', { Origin: PAGE }), 401, { field: 'writeKey' });
        const back = await post(optin, '', { Origin: PAGE });
        assert.equal(back.status, 200);
        assert.equal(cookieOf(back), `polder_optout_${shop.write_key}=`);
        assert.match(back.headers['set-cookie'][0], /Max-Age=0/);
        assert.equal((await post(`${url}/v1/track`, keyIn(event), { Cookie: cookieOf(back) })).status, 200);
        taken.push(event);
    });

    await t.test('what was taken is stored once, what was refused nowhere', async () => {
        const { rows } = await cluster.untilSettled(['eu'], 20000);
        const stored = await exportedIds(cluster, account);
        assert.deepEqual(taken.filter((event) => stored.get(event.messageId) !== 1), []);
        assert.deepEqual(refused.filter((event) => stored.has(event.messageId)), []);
        assert.equal(stored.size, taken.length);
        assert.equal(rows[0].dropped + rows[0].duplicate + rows[0].lost, 0);
    });
});

test('an edge with tight limits, and one that knows nothing yet', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'apac'], start: [], campaign: false });
    const tight = { POLDER_LOOPS: '1', POLDER_HEADER_TIMEOUT_MS: '1200', POLDER_RATE_EVENTS_PER_S: '5', POLDER_RATE_BURST_EVENTS: '10' };
    await cluster.startEdge('eu', { env: tight });
    await cluster.startEdge('apac', { env: { POLDER_ORIGIN_URL: DEAD_LINK }, ready: false });
    await untilServed(cluster, 'eu', account, 0);

    await t.test('an account that sends too much waits; the others do not', async () => {
        const url = cluster.url('eu');
        const other = await cluster.ctlJson('account', 'create', 'calm-shop');
        await untilServed(cluster, 'eu', other, 0);
        const send = (count, key = account.write_key) =>
            post(`${url}/v1/batch`, { writeKey: key, batch: Array.from({ length: count }, () => trackEvent()) }, { Origin: PAGE });
        assert.equal((await send(20)).status, 200, 'a burst');
        const reply = await send(1);
        assertError(reply, 429, { says: /too many/ });
        const wait = Number(reply.headers['retry-after']);
        assert.ok(wait >= 1 && wait <= 4, `Retry-After: ${reply.headers['retry-after']}`);
        await until('the other account is not held up', 5000, async () => (await send(1, other.write_key)).status === 200);
        const data = Buffer.from(JSON.stringify({ ...trackEvent(), writeKey: account.write_key })).toString('base64url');
        const image = await ask(`${url}/v1/pixel/track?data=${data}`);
        assert.deepEqual([image.status, image.headers['x-polder-outcome'], image.bytes.length], [429, 'RATE_LIMITED', 43]);
        await delay(wait * 1000 + 100);
        assert.equal((await send(1)).status, 200, 'it kept its word');
    });

    await t.test('a request that trickles in is cut off; one that arrives is served', async () => {
        const port = cluster.port('eu');
        const slow = Promise.all([
            raw(port, ''),
            raw(port, 'GET /health HTTP/1.1\r\nHost: t\r\nX-Slow: '),
            raw(port, 'POST /v1/track HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{'),
        ]);
        assert.equal((await ask(`${cluster.url('eu')}/health`)).status, 200);
        const [silent, head, body] = await slow;
        for (const reply of [silent, head, body]) {
            assert.ok(reply.closed);
            assert.ok(reply.ms >= 1000 && reply.ms < 6000, `closed after ${reply.ms} ms`);
        }
        assert.deepEqual([silent.statuses, head.statuses, body.statuses], [[], [408], [408]]);
        assert.ok((await metrics(cluster.url('eu'))).get('polder_http_timeouts_total') >= 3);
    });

    await t.test('an edge that has not heard its accounts yet says so, and not that keys are wrong', async () => {
        const url = cluster.url('apac');
        const reply = await post(`${url}/v1/track`, { ...trackEvent(), writeKey: account.write_key }, { Origin: PAGE });
        assertError(reply, 503);
        assert.ok(Number(reply.headers['retry-after']) >= 1);
        const data = Buffer.from(JSON.stringify({ ...trackEvent(), writeKey: account.write_key })).toString('base64url');
        const image = await ask(`${url}/v1/pixel/track?data=${data}`);
        assert.deepEqual([image.status, image.headers['x-polder-outcome'], image.bytes.length], [503, 'UNAVAILABLE', 43]);
        for (const path of [`/v1/config/${account.write_key}`, `/s/${account.write_key}.js`]) {
            const config = await ask(url + path);
            assert.equal(config.status, 503, path);
            assert.ok(Number(config.headers['retry-after']) >= 1);
            assert.equal(config.headers['cache-control'], 'no-store');
        }
        assert.equal((await ask(`${url}/health`)).status, 200);
        assert.equal((await ask(`${url}/sdk.js`)).status, 200);
        const ready = await ask(`${url}/ready`);
        assert.equal(ready.status, 503);
        assert.match(JSON.parse(ready.text).reasons.join(), /catalog|origin/);
        const replication = await ask(`${url}/replication`);
        assert.deepEqual([replication.status, JSON.parse(replication.text).status], [503, 'down']);
        assert.equal((await metrics(url)).get('polder_catalog_age_seconds'), -1);
    });
});
