// Hosts of an account's own: the certificate is picked by the name that is asked for, the account
// by the host, and neither needs a key in the page.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { root } from '../../deploy/demo/cluster.mjs';
import { startCluster, exported, until } from './lib/fixture.mjs';
import { issue } from './lib/certs.mjs';
import { ask, post } from './lib/http.mjs';

const EDGE = 'eu.edge.example';
const SHOP = 'metrics.shop.example';
const OTHER = 'm.other.example';
const LATE = 'metrics.late.example';
const PATIENCE_MS = 20000;

// One request over TLS to the edge under a host's name.
function askHost(port, host, requestPath, { method = 'GET', headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
        const call = https.request({
            port, host: '127.0.0.1', servername: host, path: requestPath, method, agent: false, rejectUnauthorized: false,
            headers: { host: `${host}:${port}`, ...headers }, timeout: PATIENCE_MS,
        }, (reply) => {
            const name = reply.socket.getPeerCertificate().subject.CN;
            let text = '';
            reply.setEncoding('utf8');
            reply.on('data', (part) => (text += part));
            reply.on('end', () => resolve({ status: reply.statusCode, headers: reply.headers, text, name }));
        });
        call.on('timeout', () => call.destroy(new Error(`no answer for ${host}`)));
        call.on('error', reject);
        call.end(body);
    });
}

function shown(port, servername) {
    return new Promise((resolve, reject) => {
        const socket = tls.connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false }, () => {
            resolve(socket.getPeerCertificate().subject.CN);
            socket.destroy();
        });
        socket.once('error', reject);
    });
}

const event = (fields = {}) => ({ type: 'track', event: 'Looked', messageId: randomUUID(), anonymousId: 'v-1', ...fields });

function sendJson(port, host, route, body) {
    return askHost(port, host, route, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
}

async function startHosts(t) {
    const { cluster, account: plain, dir } = await startCluster(t, { start: [] });
    const shop = await cluster.ctlJson('account', 'create', 'shop', '--hosts', `${SHOP},analytics.shop.example`, '--aliases', 'com.shop,GTM-1',
        '--cookie-domain', 'shop.example');
    const other = await cluster.ctlJson('account', 'create', 'other', '--hosts', OTHER);
    const sni = path.join(dir, 'sni');
    mkdirSync(sni);
    const pair = (name, names = [name.replace('_', 'x')]) => issue({ cert: path.join(sni, `${name}.crt`), key: path.join(sni, `${name}.key`), names });
    issue({ cert: path.join(dir, 'edge.crt'), key: path.join(dir, 'edge.key'), names: [EDGE] });
    pair(SHOP);
    pair('_.other.example', ['*.other.example']);
    const node = await cluster.startEdge('eu', {
        env: {
            POLDER_HTTPS_LISTEN: '127.0.0.1:0',
            POLDER_TLS_CERT_FILE: path.join(dir, 'edge.crt'),
            POLDER_TLS_KEY_FILE: path.join(dir, 'edge.key'),
            POLDER_TLS_SNI_DIR: sni,
        },
    });
    const port = Number(/listening address=\S+ port=(\d+) tls=yes/.exec(node.logTail(100))[1]);
    await until('the edge knows the accounts', 15000, async () => (await askHost(port, OTHER, '/v1/config')).status === 200);
    return { cluster, plain, shop, other, dir, sni, pair, node, port };
}

// nginx with the location that deploy/README.md tells operators to write.
async function startProxy(t, { dir, port }) {
    const told = /```nginx\n(location [^]*?)```/.exec(readFileSync(path.join(root, 'deploy/README.md'), 'utf8'))[1];
    const location = told.replace('https://eu.edge.example/', `https://127.0.0.1:${port}/`)
        .replace('/etc/ssl/certs/ca-certificates.crt', path.join(dir, 'edge.crt'));
    const proxyPort = await new Promise((resolve) => {
        const server = net.createServer().listen(0, '127.0.0.1', () => {
            const free = server.address().port;
            server.close(() => resolve(free));
        });
    });
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/nginx-${name};`).join(' ');
    writeFileSync(path.join(dir, 'nginx.conf'), `daemon off; pid ${dir}/nginx.pid; error_log stderr; events {}
        http { access_log off; ${temp} server { listen 127.0.0.1:${proxyPort}; ${location} } }`);
    const proxy = spawn('nginx', ['-e', 'stderr', '-c', path.join(dir, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    proxy.stderr.on('data', (text) => (said += text));
    const ended = new Promise((resolve) => proxy.once('close', resolve));
    proxy.once('error', (error) => (said += error.message));
    t.after(async () => {
        proxy.kill('SIGTERM');
        await ended;
    });
    await until('nginx listens', 10000, async () => (await ask(`http://127.0.0.1:${proxyPort}/`)).status > 0).catch((error) => {
        throw new Error(`${error.message}; it says: ${said}`);
    });
    return { url: `http://127.0.0.1:${proxyPort}`, errors: () => said };
}

test('what is sent to a host is its account\'s, under its certificate', { timeout: 180000 }, async (t) => {
    const { cluster, plain, shop, other, dir, sni, pair, node, port } = await startHosts(t);
    const url = cluster.url('eu');
    const sent = { shop: [], other: [], plain: [] };

    await t.test('certificates by name, scripts and configs by host', async () => {
        assert.equal(await shown(port, SHOP), SHOP);
        assert.equal(await shown(port, OTHER), '*.other.example');
        assert.equal(await shown(port, LATE), EDGE);
        for (const [host, account] of [[SHOP, shop], [OTHER, other]]) {
            const script = await askHost(port, host, '/s.js');
            assert.equal(script.status, 200);
            assert.match(script.text, new RegExp(`"${account.write_key}"`));
            assert.equal(script.text, (await askHost(port, EDGE, `/s/${account.write_key}.js`)).text);
            const config = await askHost(port, host, '/v1/config');
            assert.equal(config.text, (await askHost(port, EDGE, `/v1/config/${account.write_key}`)).text);
        }
        assert.equal((await askHost(port, SHOP, '/s.js', { headers: { host: 'Analytics.Shop.Example.' } })).status, 200, 'each of its hosts, however it is spelled');
        const nobody = await askHost(port, EDGE, '/s.js');
        assert.equal(nobody.status, 404);
        assert.match(nobody.text, /no account has the host/);
    });

    await t.test('events without a key', async () => {
        for (const [name, host] of [['shop', SHOP], ['other', OTHER]]) {
            const one = event(), two = event();
            assert.equal((await sendJson(port, host, '/v1/track', one)).status, 200);
            assert.equal((await sendJson(port, host, '/v1/batch', { batch: [two] })).status, 200);
            sent[name].push(one.messageId, two.messageId);
        }
        const refused = await sendJson(port, EDGE, '/v1/track', event());
        assert.equal(refused.status, 401);
        assert.match(refused.text, /names no write key, and no account has the host/);
    });

    await t.test('a proxy in front passes the host on; a forwarded one is not believed', async () => {
        const proxied = event();
        assert.equal((await post(`${url}/v1/track`, proxied, { Host: SHOP })).status, 200);
        sent.shop.push(proxied.messageId);
        assert.equal((await post(`${url}/v1/track`, event(), { 'X-Forwarded-Host': SHOP })).status, 401);
        assert.match((await ask(`${url}/s.js`, { headers: { Host: OTHER } })).text, new RegExp(other.write_key));
    });

    await t.test('the path of a site, through nginx as deploy/README.md has it', async (t) => {
        const proxy = await startProxy(t, { dir, port });
        const script = await ask(`${proxy.url}/p/s.js`, { headers: { Host: SHOP } });
        assert.equal(script.status, 200, proxy.errors());
        assert.match(script.text, new RegExp(shop.write_key));
        const one = event();
        const reply = await post(`${proxy.url}/p/v1/track`, one, { Host: SHOP });
        assert.equal(reply.status, 200, proxy.errors());
        sent.shop.push(one.messageId);
    });

    await t.test('a key counts more than the host, and an alias is as good', async () => {
        const keyed = event({ writeKey: plain.write_key }), named = event({ writeKey: 'GTM-1' });
        assert.equal((await sendJson(port, SHOP, '/v1/track', keyed)).status, 200);
        assert.equal((await sendJson(port, OTHER, '/v1/track', named)).status, 200);
        sent.plain.push(keyed.messageId);
        sent.shop.push(named.messageId);
        const wrong = await sendJson(port, SHOP, '/v1/track', event({ writeKey: 'com.nobody' }));
        assert.equal(wrong.status, 401);
        assert.match(wrong.text, /no account has the write key or alias \\"com\.nobody\\"/);
    });

    await t.test('a word that is another account’s alias leaves events to the host they came to', async () => {
        const eid = randomUUID();
        const reply = await askHost(port, OTHER, `/i?e=pv&p=web&aid=com.shop&duid=v&eid=${eid}`);
        assert.equal(reply.headers['x-polder-outcome'], 'OK');
        sent.other.push(eid);
    });

    await t.test('a third host joins while the edge runs', async () => {
        await cluster.ctl('account', 'update', other.id, '--hosts', `${OTHER},${LATE}`);
        pair(LATE);
        node.child.kill('SIGHUP');
        await until('the new certificate is shown', 10000, async () => (await shown(port, LATE)) === LATE);
        await until('the new host is known', 10000, async () => (await askHost(port, LATE, '/s.js')).status === 200);
        const late = event();
        assert.equal((await sendJson(port, LATE, '/v1/track', late)).status, 200);
        sent.other.push(late.messageId);
    });

    await t.test('a renewal that goes wrong hurts nobody, and is told', async () => {
        writeFileSync(path.join(sni, `${LATE}.crt`), 'half a certificate');
        renameSync(path.join(sni, `${SHOP}.key`), path.join(sni, 'aside'));
        node.child.kill('SIGHUP');
        await until('the log names both', 10000, async () => {
            const log = node.logTail(40);
            return log.includes(`the old certificate stays for ${LATE}: certificate file ${sni}/${LATE}.crt`) &&
                log.includes(`the old certificate stays for ${SHOP}: cannot open key file ${sni}/${SHOP}.key`);
        });
        assert.equal(await shown(port, LATE), LATE);
        assert.equal(await shown(port, SHOP), SHOP);
        const metrics = (await ask(`${url}/metrics`)).text;
        const checked = spawnSync('promtool', ['check', 'metrics'], { input: metrics });
        assert.equal(checked.status, 0, `promtool: ${checked.stdout}${checked.stderr}`);
        assert.match(metrics, /^polder_tls_certificates_refused 2$/m);
        for (const host of ['', `{host="${SHOP}"}`, `{host="${LATE}"}`, '{host="*.other.example"}']) {
            const line = metrics.split('\n').find((row) => row.startsWith(`polder_tls_certificate_not_after_seconds${host} `));
            const days = (Number(line?.split(' ')[1]) - Date.now() / 1000) / 86400;
            assert.ok(days > 1.9 && days <= 2, `${host}: ${line}`);
        }
    });

    await t.test('a host is taken from an account at once', async () => {
        await cluster.ctl('account', 'update', shop.id, '--hosts', 'analytics.shop.example');
        await until('the edge has heard', 10000, async () => (await askHost(port, SHOP, '/s.js')).status === 404);
        assert.equal((await sendJson(port, SHOP, '/v1/track', event())).status, 401);
    });

    await cluster.untilSettled(['eu'], 30000);
    for (const [name, account] of Object.entries({ shop, other, plain })) {
        const ids = (await exported(cluster, account)).map((row) => row.message_id);
        assert.deepEqual(ids.sort(), sent[name].sort(), name);
    }
});

test('names are checked where they are given', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: [], campaign: false });
    const api = async (method, route, body) => {
        const reply = await fetch(`${cluster.url('origin')}/api/v1${route}`, {
            method, headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' }, body: body && JSON.stringify(body),
        });
        return { status: reply.status, json: await reply.json() };
    };
    const made = await api('POST', '/accounts', { name: 'shop', hosts: [SHOP], aliases: ['com.shop'], snowplow_path: '/com.shop/t', pii: { mask: ['email'] } });
    assert.equal(made.status, 201);
    const shown = (await api('GET', `/accounts/${made.json.id}`)).json;
    assert.deepEqual({ hosts: shown.hosts, aliases: shown.aliases, snowplow_path: shown.snowplow_path, cookie: shown.cookie, pii: shown.pii }, {
        hosts: [SHOP], aliases: ['com.shop'], snowplow_path: '/com.shop/t',
        cookie: { enabled: true, name: 'polder_id', domain: '', same_site: 'None' }, pii: { mask: ['email'] },
    });
    assert.equal(JSON.stringify(shown).includes('id_key'), false);
    for (const [field, status, change] of [
        ['hosts', 409, { hosts: [SHOP] }],
        ['aliases', 409, { aliases: ['com.shop'] }],
        ['aliases', 409, { aliases: [shown.write_key] }],
        ['snowplow_path', 409, { snowplow_path: '/com.shop/t' }],
        ['snowplow_path', 400, { snowplow_path: '/v1/track' }],
        ['hosts', 400, { hosts: ['https://shop.example'] }],
        ['cookie.domain', 400, { cookie: { domain: 'shop.example' } }],
        ['cookie.name', 400, { cookie: { name: 'a b' } }],
        ['cookie.same_site', 400, { cookie: { same_site: 'Any' } }],
        ['pii.mask', 400, { pii: { mask: ['everything'] } }],
    ]) {
        const reply = await api('PATCH', `/accounts/${account.id}`, change);
        assert.equal(reply.status, status, JSON.stringify([change, reply.json]));
        assert.equal(reply.json.error.field, field, JSON.stringify(reply.json));
    }
    assert.deepEqual((await api('PATCH', `/accounts/${account.id}`, { cookie: { enabled: false } })).json.cookie, { enabled: false, name: 'polder_id', domain: '', same_site: 'None' });
    const text = await cluster.ctl('account', 'show', 'shop');
    assert.match(text, new RegExp(`^hosts of its own +${SHOP}$`, 'm'));
    assert.match(text, /^masked +email$/m);
});
