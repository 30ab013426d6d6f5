// An edge behind TLS: HTTP/2 by ALPN, certificates by host name and their renewal, and clients that
// would rather keep a server busy than ask it something.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import tls from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { startCluster, untilServed, trackEvent, exportedIds, until } from './lib/fixture.mjs';
import { issue } from './lib/certs.mjs';
import { samplesOf } from './lib/metrics.mjs';

const HOST = 'edge.example';
const CONTROL_FRAMES_MAX = 200;

async function startTls(t) {
    const { cluster, account, dir } = await startCluster(t, { start: [] });
    const files = { cert: path.join(dir, 'site.crt'), key: path.join(dir, 'site.key'), sniDir: path.join(dir, 'sni') };
    mkdirSync(files.sniDir);
    issue({ ...files, names: [HOST] });
    for (const name of ['shop-a.example', '*.shop-b.example']) {
        issue({ cert: path.join(files.sniDir, `${name}.crt`), key: path.join(files.sniDir, `${name}.key`), names: [name] });
    }
    const node = await cluster.startEdge('eu', {
        env: {
            POLDER_HTTPS_LISTEN: '127.0.0.1:0',
            POLDER_TLS_CERT_FILE: files.cert,
            POLDER_TLS_KEY_FILE: files.key,
            POLDER_TLS_SNI_DIR: files.sniDir,
            POLDER_H2_CONTROL_FRAMES_PER_10S: String(CONTROL_FRAMES_MAX),
        },
    });
    await untilServed(cluster, 'eu', account);
    const port = Number(/listening address=\S+ port=(\d+) tls=yes/.exec(node.logTail(100))[1]);
    return { cluster, account, node, port, files };
}

// The name in the certificate that a client is shown who asks for this server name.
function certificateFor(port, servername, options = {}) {
    return new Promise((resolve, reject) => {
        const socket = tls.connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false, ...options }, () => {
            resolve({ name: socket.getPeerCertificate().subject.CN, alpn: socket.alpnProtocol, protocol: socket.getProtocol() });
            socket.destroy();
        });
        socket.once('error', reject);
    });
}

// An HTTP/2 session that has said hello.
function openSession(port, options = {}) {
    return new Promise((resolve, reject) => {
        const session = http2.connect(`https://127.0.0.1:${port}`, { servername: HOST, rejectUnauthorized: false, ...options });
        session.once('error', reject);
        session.once('connect', () => {
            session.off('error', reject);
            session.on('error', () => {});
            resolve(session);
        });
    });
}

function askStream(session, headers, body) {
    return new Promise((resolve, reject) => {
        const stream = session.request(headers, { endStream: body === undefined });
        let head = {};
        const parts = [];
        stream.setTimeout(20000, () => stream.destroy(new Error('no answer on a stream')));
        stream.on('response', (fields) => (head = fields));
        stream.on('data', (part) => parts.push(part));
        stream.on('error', reject);
        stream.on('close', () => (stream.rstCode ? reject(new Error(`stream reset, code ${stream.rstCode}`)) : resolve({ status: head[':status'], headers: head, text: Buffer.concat(parts).toString() })));
        if (body !== undefined) stream.end(body);
    });
}

test('HTTP/2 over TLS, and certificates by host name', { timeout: 120000 }, async (t) => {
    const { cluster, account, port } = await startTls(t);
    const configPath = `/v1/config/${account.write_key}`;
    const taken = [];

    await t.test('ALPN offers HTTP/2 first, HTTP/1.1 else; old protocols are refused', async () => {
        assert.equal((await certificateFor(port, HOST, { ALPNProtocols: ['http/1.1', 'h2'] })).alpn, 'h2');
        assert.equal((await certificateFor(port, HOST, { ALPNProtocols: ['http/1.1'] })).alpn, 'http/1.1');
        assert.equal((await certificateFor(port, HOST)).alpn, false);
        assert.equal((await certificateFor(port, HOST, { maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2');
        await assert.rejects(certificateFor(port, HOST, { ALPNProtocols: ['spdy/3'] }));
        await assert.rejects(certificateFor(port, HOST, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }));
    });

    await t.test('HTTP/1.1 over TLS, where a cookie may travel across sites', async () => {
        const reply = await new Promise((resolve, reject) => {
            const call = https.request({ port, host: '127.0.0.1', servername: HOST, rejectUnauthorized: false, path: '/v1/optout', method: 'POST', agent: false }, resolve);
            call.on('error', reject);
            call.end();
        });
        reply.resume();
        assert.equal(reply.statusCode, 200);
        assert.match(reply.headers['set-cookie'][0], /; Secure; SameSite=None$/);
    });

    await t.test('many streams on one session, reading and writing', async () => {
        const session = await openSession(port);
        assert.equal(session.alpnProtocol, 'h2');
        const calls = [];
        for (let i = 0; i < 40; i++) {
            calls.push(askStream(session, { ':path': configPath, 'accept-encoding': 'identity' }).then((reply) => {
                assert.equal(reply.status, 200);
                assert.equal(JSON.parse(reply.text).version, 1);
            }));
            const batch = Array.from({ length: 5 }, () => trackEvent());
            const body = JSON.stringify({ writeKey: account.write_key, batch });
            calls.push(askStream(session, { ':path': '/v1/batch', ':method': 'POST', 'content-type': 'application/json', origin: 'https://shop.example' }, body).then((reply) => {
                assert.equal(reply.status, 200, reply.text);
                assert.equal(reply.headers['access-control-allow-origin'], 'https://shop.example');
                taken.push(...batch);
            }));
        }
        await Promise.all(calls);

        const tag = (await askStream(session, { ':path': configPath })).headers.etag;
        const odd = [
            [{ ':path': configPath, 'if-none-match': tag }, undefined, 304],
            [{ ':path': configPath, ':method': 'HEAD' }, undefined, 200],
            [{ ':path': '/nowhere' }, undefined, 404],
            [{ ':path': '/v1/track', ':method': 'PUT' }, '{}', 405],
            [{ ':path': '/v1/track', ':method': 'POST' }, '{"writeKey":', 400],
            [{ ':path': '/v1/batch', ':method': 'POST' }, 'x'.repeat(900 << 10), 413],
            [{ ':path': '/health', 'x-long': 'a'.repeat(44 << 10) }, undefined, 431],
            // Browsers split cookies (RFC 9113, 8.2.3).
            [{ ':path': '/v1/track', ':method': 'POST', cookie: ['a=b', 'polder_optout=1'] }, JSON.stringify({ ...trackEvent(), writeKey: account.write_key }), 403],
            [{ ':path': '/health' }, undefined, 200],
        ];
        for (const [headers, body, status] of odd) {
            const reply = await askStream(session, headers, body);
            assert.equal(reply.status, status, JSON.stringify(headers).slice(0, 100));
            if (status === 304 || headers[':method'] === 'HEAD') assert.equal(reply.text, '');
        }
        assert.equal(session.destroyed, false, 'all that on one session');
        session.close();
        await cluster.untilSettled(['eu'], 20000);
        const stored = await exportedIds(cluster, account);
        assert.deepEqual(taken.filter((event) => stored.get(event.messageId) !== 1), []);
        assert.equal(stored.size, taken.length);
    });

    await t.test('a certificate for each host name', async () => {
        const cases = [
            ['shop-a.example', 'shop-a.example'],
            ['SHOP-A.example', 'shop-a.example'],
            ['www.shop-b.example', '*.shop-b.example'],
            ['a.b.shop-b.example', HOST],
            ['shop-b.example', HOST],
            ['unknown.example', HOST],
            ['', HOST],
        ];
        for (const [asked, shown] of cases) assert.equal((await certificateFor(port, asked)).name, shown, `asked for "${asked}"`);
        const session = await openSession(port, { servername: 'shop-a.example' });
        assert.equal((await askStream(session, { ':path': '/health' })).status, 200, 'HTTP/2 under another name, too');
        session.close();
    });
});

test('SIGHUP renews certificates while requests flow', { timeout: 120000 }, async (t) => {
    const { cluster, account, node, port, files } = await startTls(t);
    const session = await openSession(port);
    let going = true;
    const answers = { old: 0, fresh: 0 };
    const flow = async (kind) => {
        while (going) {
            const own = kind === 'fresh' ? await openSession(port) : session;
            const body = JSON.stringify({ writeKey: account.write_key, batch: [trackEvent()] });
            const [config, batch] = await Promise.all([
                askStream(own, { ':path': `/v1/config/${account.write_key}` }),
                askStream(own, { ':path': '/v1/batch', ':method': 'POST' }, body),
            ]);
            assert.deepEqual([config.status, batch.status], [200, 200]);
            answers[kind]++;
            if (own !== session) own.close();
        }
    };
    const flows = Promise.all([flow('old'), flow('old'), flow('fresh')]);
    flows.catch(() => {}); // looked at below
    for (const name of ['second.example', 'third.example']) {
        issue({ ...files, names: [name] });
        node.child.kill('SIGHUP');
        await until(`new connections see ${name}`, 5000, async () => (await certificateFor(port, HOST)).name === name);
    }
    issue({ cert: path.join(files.sniDir, 'late.example.crt'), key: path.join(files.sniDir, 'late.example.key'), names: ['late.example'] });
    node.child.kill('SIGHUP');
    await until('a new name has its certificate', 5000, async () => (await certificateFor(port, 'late.example')).name === 'late.example');
    writeFileSync(files.cert, 'not a certificate');
    node.child.kill('SIGHUP');
    await until('a bad file is told', 5000, async () => /the old certificates stay: .*site\.crt/.test(node.logTail(20)));
    assert.equal((await certificateFor(port, HOST)).name, 'third.example', 'and not used');
    const told = async () => ({ ready: await (await fetch(`${cluster.url('eu')}/ready`)).json(), failed: (await samplesOf(cluster.url('eu'))).get('polder_tls_reload_failed') });
    const bad = await told();
    assert.deepEqual([bad.ready.ready, bad.failed], [true, 1]);
    assert.match(bad.ready.reasons.join('\n'), /^https_listen serves the certificates of before, for reading them again failed: .*site\.crt.*: a restart would fail$/m);
    const before = { ...answers };
    await until('all flows go on', 10000, async () => answers.old > before.old + 5 && answers.fresh > before.fresh + 1);
    going = false;
    await flows;
    assert.equal(session.destroyed, false, 'a session outlives the certificate it began with');
    session.close();
    issue({ ...files, names: ['fourth.example'] });
    node.child.kill('SIGHUP');
    await until('it is told no more', 5000, async () => (await told()).failed === 0);
    assert.deepEqual((await told()).ready.reasons, []);
});

// ---- floods, frame by frame (RFC 9113, section 4.1)

const TYPE = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 };
const END_STREAM = 1, END_HEADERS = 4;
const ENHANCE_YOUR_CALM = 11;

function frame(type, flags, stream, payload = Buffer.alloc(0)) {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
}

// GET / of localhost, in HPACK's static table (RFC 7541, appendix A).
const GET = Buffer.concat([Buffer.from([0x82, 0x87, 0x84, 0x41, 9]), Buffer.from('localhost')]);

function goawayCode(received) {
    for (let at = 0; at + 9 <= received.length; at += 9 + received.readUIntBE(at, 3)) {
        if (received[at + 3] === TYPE.goaway && at + 17 <= received.length) return received.readUInt32BE(at + 13);
    }
    return null;
}

// Sends frames without end until the server has enough of it.
function flood(port, next) {
    return new Promise((resolve, reject) => {
        const socket = tls.connect({ port, host: '127.0.0.1', servername: HOST, ALPNProtocols: ['h2'], rejectUnauthorized: false });
        let received = Buffer.alloc(0);
        let sent = 0, timer;
        const give = setTimeout(() => reject(new Error(`still open after ${sent} rounds`)), 20000);
        const send = () => {
            for (let i = 0; i < 100; i++) socket.write(next(sent++));
            timer = setTimeout(send, 1);
        };
        socket.on('secureConnect', () => {
            socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(TYPE.settings, 0, 0)]));
            send();
        });
        socket.on('data', (chunk) => (received = Buffer.concat([received, chunk])));
        socket.on('error', () => {});
        socket.on('close', () => {
            clearTimeout(timer);
            clearTimeout(give);
            resolve({ sent, code: goawayCode(received) });
        });
    });
}

test('a client that floods loses its connection; the others notice nothing', { timeout: 120000 }, async (t) => {
    const { cluster, account, port } = await startTls(t);
    const session = await openSession(port);
    let going = true;
    let answers = 0;
    const others = (async () => {
        while (going) {
            const body = JSON.stringify({ writeKey: account.write_key, batch: [trackEvent()] });
            assert.equal((await askStream(session, { ':path': '/v1/batch', ':method': 'POST' }, body)).status, 200);
            answers++;
            await delay(5);
        }
    })();
    others.catch(() => {}); // looked at below
    const id = (round) => 2 * round + 1;
    const cancel = Buffer.from([0, 0, 0, 8]);
    const floods = {
        'rapid reset': (round) => Buffer.concat([frame(TYPE.headers, END_STREAM | END_HEADERS, id(round), GET), frame(TYPE.rst, 0, id(round), cancel)]),
        'made you reset': (round) => Buffer.concat([frame(TYPE.headers, END_HEADERS, id(round), GET), frame(TYPE.windowUpdate, 0, id(round), Buffer.alloc(4))]),
        pings: () => frame(TYPE.ping, 0, 0, Buffer.alloc(8)),
        settings: () => frame(TYPE.settings, 0, 0),
        'empty data': (round) => (round === 0 ? frame(TYPE.headers, END_HEADERS, 1, GET) : frame(TYPE.data, 0, 1)),
    };
    for (const [name, next] of Object.entries(floods)) {
        await t.test(name, async () => {
            const before = answers;
            const { sent, code } = await flood(port, next);
            // What the kernel buffers is sent as well before the client can notice.
            assert.ok(sent >= CONTROL_FRAMES_MAX / 2, `closed after ${sent} rounds already`);
            if (code !== null) assert.equal(code, ENHANCE_YOUR_CALM);
            await until('another client is served', 5000, async () => answers > before);
        });
    }
    going = false;
    await others;
    assert.equal(session.destroyed, false);
    session.close();
    const page = await (await fetch(`${cluster.url('eu')}/metrics`)).text();
    assert.match(page, new RegExp(`^polder_http_floods_refused_total ${Object.keys(floods).length}$`, 'm'));
});
