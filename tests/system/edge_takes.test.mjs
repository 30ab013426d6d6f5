// What an edge takes as the network sees it, what it refuses, and how it says so.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { gzipSync } from 'node:zlib';
import { startCluster, untilServed, trackEvent, exportedIds, until } from './lib/fixture.mjs';
import { PAGE, ask, assertCors, assertError, post, raw } from './lib/http.mjs';
import { samplesOf } from './lib/metrics.mjs';

const KIB = 1024;

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
            if (allow.includes('OPTIONS')) assert.equal((await ask(url + path, { method: 'OPTIONS' })).headers.allow, reply.headers.allow, 'who asks is told the same');
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
        const before = await samplesOf(url);
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
        assert.equal((await samplesOf(url)).get(name) - before.get(name), 2 * signs.length + 1);
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
