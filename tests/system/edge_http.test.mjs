// An edge as the network sees it: what it serves, and what it does under tight limits or before it knows
// its accounts.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import vm from 'node:vm';
import { startCluster, untilServed, trackEvent, exportedIds, until } from './lib/fixture.mjs';
import { PAGE, ask, assertError, post, decoded, raw } from './lib/http.mjs';
import { metricsOf, samplesOf } from './lib/metrics.mjs';

const DEAD_LINK = 'tls+tcp://127.0.0.1:1';

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

test('an edge with tight limits, and one that knows nothing yet', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'us', 'apac'], start: [], campaign: false });
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
        assert.ok((await samplesOf(cluster.url('eu'))).get('polder_http_timeouts_total') >= 3);
    });

    await t.test('operators are answered however many others there are', async (context) => {
        const most = 16, port = cluster.port('us'), ops = `http://127.0.0.1:${cluster.port('us') + 15}`;
        await cluster.startEdge('us', { env: { POLDER_LOOPS: '1', POLDER_MAX_CONNECTIONS: String(most), POLDER_OPS_LISTEN: ops.slice(7), POLDER_HEADER_TIMEOUT_MS: '60000' }, ready: false });
        await until('it is ready', 20000, async () => (await ask(`${ops}/ready`)).status === 200);
        // Requests that never end, as many as there is room for, and then some.
        const others = Array.from({ length: 2 * most }, () => net.connect({ port, host: '127.0.0.1' }).on('error', () => {}));
        context.after(() => others.forEach((socket) => socket.destroy()));
        for (const socket of others) socket.write('POST /v1/track HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{');
        await until('there is no room', 20000, async () => (await raw(port, 'GET /health HTTP/1.1\r\nHost: t\r\n\r\n', { patienceMs: 500 })).statuses.length === 0);
        for (const path of ['/ready', '/replication', '/metrics']) assert.equal((await ask(ops + path)).status, 200, path);
        others.forEach((socket) => socket.destroy());
        await until('there is room again', 20000, async () => (await ask(`http://127.0.0.1:${port}/health`)).status === 200);
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
        assert.equal((await samplesOf(url)).get('polder_catalog_age_seconds'), -1);
    });
});
