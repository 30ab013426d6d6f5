// The origin by itself: its API, its probes, its start and its stop. No edge takes part; what has
// to be in the vault is put there by tools/seed_vault.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import tls from 'node:tls';
import { startCluster, until, bin } from './lib/fixture.mjs';
import { metricsOf, samplesOf } from './lib/metrics.mjs';

const alone = { edges: [], campaign: false };
const hex = (bytes) => randomBytes(bytes).toString('hex');

// Asks the API: api(cluster, token)('GET', 'accounts').
function api(cluster, token) {
    return async (method, route, body, headers = {}) => {
        const reply = await fetch(`${cluster.url('origin')}/api/v1/${route}`, {
            method,
            headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers },
            body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
        });
        const text = await reply.text();
        let json;
        try {
            json = JSON.parse(text);
        } catch {
            json = undefined;
        }
        return { status: reply.status, headers: reply.headers, text, json };
    };
}

function newEdge(name, fields = {}) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return {
        id: hex(16),
        name,
        region: 'eu',
        link_public: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
        seal_public: hex(32),
        ...fields,
    };
}

const configOf = (id) => ({
    campaigns: [{ id, name: id, traffic: 1, url: ['*'], variants: [{ id: 'a', weight: 1, control: true }] }],
});

async function restart(cluster, env = {}, between = () => {}) {
    const { code } = await cluster.nodes.get('origin').stop();
    assert.equal(code, 0, 'SIGTERM ends the origin cleanly');
    await between();
    await cluster.startOrigin(env);
}

function seed(cluster, account, count) {
    const config = path.join(cluster.dir, 'origin', 'origin.yaml');
    execFileSync(path.join(bin, 'seed_vault'), [config, account, String(count)], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function metric(cluster, name) {
    const text = await (await fetch(`${cluster.url('origin')}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

test('every route gives each role what it may have, and no account the other', async (t) => {
    const { cluster, account: a } = await startCluster(t, alone);
    const operator = api(cluster, cluster.token);
    const b = (await operator('POST', 'accounts', { name: 'other-shop' })).json;
    const token = async (fields) => (await operator('POST', 'tokens', fields)).json.token;
    const who = {
        operator,
        auditor: api(cluster, await token({ role: 'auditor' })),
        owner: api(cluster, await token({ role: 'owner', account: a.id })),
        stranger: api(cluster, await token({ role: 'owner', account: b.id })),
        nobody: api(cluster, null),
        wrong: api(cluster, `pt_${hex(32)}`),
    };
    await restart(cluster, {}, () => {
        seed(cluster, a.id, 12);
        seed(cluster, b.id, 3);
    });

    // [method, path, body, statuses of operator, auditor, a's owner, b's owner]
    const edge = newEdge('eu-9');
    const spare = (await operator('POST', 'tokens', { role: 'auditor' })).json;
    const rows = [
        ['GET', 'accounts', undefined, [200, 200, 200, 200]], // an owner's is its one
        ['POST', 'accounts', { name: 'third' }, [201, 403, 403, 403]],
        ['GET', `accounts/${a.id}`, undefined, [200, 200, 200, 403]],
        ['GET', `accounts/${a.id}/records`, undefined, [200, 200, 200, 403]],
        ['PUT', `accounts/${a.id}/config`, configOf('c1'), [200, 403, 403, 403]],
        ['GET', `accounts/${a.id}/config`, undefined, [200, 403, 200, 403]],
        ['GET', `accounts/${a.id}/events`, undefined, [200, 403, 200, 403]],
        ['PATCH', `accounts/${a.id}`, { honour_dnt: false }, [200, 403, 403, 403]],
        ['POST', `accounts/${a.id}/expire`, { at: '2999-01-01' }, [200, 403, 403, 403]],
        ['POST', `accounts/${a.id}/reinstate`, {}, [200, 403, 403, 403]],
        ['POST', 'edges', edge, [201, 403, 403, 403]],
        ['GET', 'edges', undefined, [200, 200, 403, 403]],
        ['POST', `edges/${edge.id}/revoke`, undefined, [200, 403, 403, 403]],
        ['POST', 'tokens', { role: 'auditor' }, [201, 403, 403, 403]],
        ['GET', 'tokens', undefined, [200, 403, 403, 403]],
        ['DELETE', `tokens/${spare.id}`, undefined, [204, 403, 403, 403]],
        ['POST', 'lifecycle/confirm-clock', undefined, [204, 403, 403, 403]],
        ['POST', 'keyring/rewrap', undefined, [200, 403, 403, 403]],
        ['POST', 'keyring/rotate', undefined, [200, 403, 403, 403]],
    ];
    for (const [method, route, body, statuses] of rows) {
        for (const [index, role] of ['operator', 'auditor', 'owner', 'stranger'].entries()) {
            const reply = await who[role](method, route, body);
            assert.equal(reply.status, statuses[index], `${role}: ${method} ${route}: ${reply.text}`);
            if (reply.status === 403) {
                assert.equal(reply.json.error.code, 'denied');
                assert.match(reply.json.error.message, /token/);
                assert.match(reply.headers.get('www-authenticate'), /insufficient_scope/);
                assert.ok(!reply.text.includes(a.write_key) && !reply.text.includes('seed-'));
            }
        }
        const nobody = await who.nobody(method, route, body);
        assert.equal(nobody.status, 401, `${method} ${route} without a token`);
        assert.equal(nobody.headers.get('www-authenticate'), 'Bearer realm="polder"');
    }
    const wrong = await who.wrong('GET', 'accounts');
    assert.equal(wrong.status, 401);
    assert.match(wrong.headers.get('www-authenticate'), /invalid_token/);

    // Whether an account exists is not told to those without a token, nor to another's owner.
    assert.equal((await who.nobody('GET', 'accounts/00000000000000ff')).status, 401);
    assert.equal((await who.stranger('GET', 'accounts/00000000000000ff')).status, 403);
    assert.equal((await who.operator('GET', 'accounts/00000000000000ff')).status, 404);

    const mine = (await who.owner('GET', `accounts/${a.id}/events`)).text.trim().split('\n');
    const theirs = (await who.stranger('GET', `accounts/${b.id}/events`)).text.trim().split('\n');
    assert.equal(mine.length, 12);
    assert.equal(theirs.length, 3);
});

test('malformed requests name what is wrong, unknown ones are told so in JSON', async (t) => {
    const { cluster, account } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const cases = [
        ['POST', 'accounts', '', 400, 'name'],
        ['POST', 'accounts', '{"name":', 400, ''],
        ['POST', 'accounts', '[]', 400, ''],
        ['POST', 'accounts', '{"name":"a","nam":1}', 400, 'nam'],
        ['POST', 'accounts', '{"name":"a\\ud800"}', 400, ''],
        ['POST', 'accounts', JSON.stringify({ name: 'x'.repeat(200) }), 413, 'name'],
        ['POST', 'accounts', '['.repeat(100) + ']'.repeat(100), 413, ''],
        ['POST', 'accounts', 'x'.repeat(600 * 1024), 413, ''],
        ['POST', `accounts/${account.id}/expire`, { at: 'soon' }, 400, 'at'],
        ['POST', `accounts/${account.id}/expire`, { at: '2001-01-01' }, 400, 'at'],
        ['POST', `accounts/${account.id}/expire`, { when: 1 }, 400, 'when'],
        ['POST', `accounts/${account.id}/reinstate`, { expires_at: 5 }, 400, 'expires_at'],
        ['PUT', `accounts/${account.id}/config`, { campaigns: 1 }, 400, 'campaigns'],
        ['GET', `accounts/${account.id}/config`, undefined, 404, ''],
        ['GET', `accounts/${account.id}/config?version=x`, undefined, 400, 'version'],
        ['GET', `accounts/${account.id}/config?version=9`, undefined, 404, ''],
        ['GET', `accounts/${account.id}/events?from=yesterday`, undefined, 400, 'from'],
        ['GET', `accounts/${account.id}/events?to=2026-13-01`, undefined, 400, 'to'],
        ['GET', `accounts/${account.id}/events?to=%zz`, undefined, 400, 'to'],
        ['GET', `accounts/${account.id}/events?from=2026-02-02&to=2026-02-01`, undefined, 400],
        // What is not understood may have been meant to leave something out.
        ['GET', `accounts/${account.id}/events?form=2026-02-02`, undefined, 400, 'form'],
        ['GET', `accounts/${account.id}/events?from=2026-02-01&to=2026-02-02&from=2026-02-02`, undefined, 400, 'from'],
        ['GET', `accounts/${account.id}/events?visitor=ann`, undefined, 400, 'visitor'],
        ['GET', `accounts/${account.id}/counts?day=2026-02-02`, undefined, 400, 'day'],
        ['GET', `accounts/${account.id}/outcomes?since=2026-02-02`, undefined, 400, 'since'],
        ['GET', `accounts/${account.id}/config?v=1`, undefined, 400, 'v'],
        ['GET', `accounts/${account.id}/record?format=html`, undefined, 400, 'format'],
        ['GET', 'audit?n=7', undefined, 400, 'n'],
        ['POST', 'accounts', { name: '  ' }, 400, 'name'],
        ['POST', 'edges', { ...newEdge('e'), link_public: 'AAAA!' }, 400, 'link_public'],
        ['POST', 'edges', { ...newEdge('e'), seal_public: 'ab' }, 400, 'seal_public'],
        ['POST', `edges/${hex(16)}/revoke`, undefined, 404, ''],
        ['POST', 'tokens', { role: 'owner' }, 400, 'account'],
        ['POST', 'tokens', { role: 'owner', account: '00000000000000ff' }, 404, 'account'],
        ['DELETE', `tokens/${hex(16)}`, undefined, 404, ''],
        ['GET', 'nothing', undefined, 404, ''],
        ['GET', '', undefined, 404, ''],
        ['GET', 'accounts/xyz', undefined, 404, ''],
        ['PATCH', 'accounts', {}, 405, ''],
        ['DELETE', `accounts/${account.id}`, undefined, 405, ''],
    ];
    for (const [method, route, body, status, field] of cases) {
        const reply = await ask(method, route, body);
        const what = `${method} ${route} ${JSON.stringify(body)?.slice(0, 60)}: ${reply.text}`;
        assert.equal(reply.status, status, what);
        assert.match(reply.headers.get('content-type'), /^application\/json/, what);
        assert.ok(reply.json.error.code && reply.json.error.message, what);
        if (field !== undefined) assert.equal(reply.json.error.field, field, what);
    }
    assert.equal((await ask('PATCH', 'accounts', {})).headers.get('allow'), 'POST, GET, HEAD');

    for (const [method, where, status] of [['GET', '/nothing', 404], ['POST', '/health', 405], ['GET', '/api', 404]]) {
        const reply = await fetch(cluster.url('origin') + where, { method });
        assert.equal(reply.status, status);
        assert.ok((await reply.json()).error.message);
    }
});

test('tokens: shown once, expiring, revocable, and guesses slowed', async (t) => {
    const { cluster } = await startCluster(t, alone);
    const operator = api(cluster, cluster.token);
    const soon = new Date(Date.now() + 3000).toISOString();
    const brief = (await operator('POST', 'tokens', { role: 'auditor', expires_at: soon })).json;
    const made = (await operator('POST', 'tokens', { role: 'auditor', name: 'ci' })).json;
    const ask = api(cluster, made.token);
    assert.equal((await ask('GET', 'accounts')).status, 200);
    assert.equal((await api(cluster, brief.token)('GET', 'accounts')).status, 200);

    const list = await operator('GET', 'tokens');
    assert.ok(list.json.tokens.some((token) => token.id === made.id && token.name === 'ci'));
    assert.ok(!list.text.includes(made.token) && !list.text.includes('hash'));

    assert.equal((await operator('DELETE', `tokens/${made.id}`)).status, 204);
    assert.equal((await ask('GET', 'accounts')).status, 401);
    await until('the token expires', 10000, async () => (await api(cluster, brief.token)('GET', 'accounts')).status === 401);
    await restart(cluster);
    assert.equal((await ask('GET', 'accounts')).status, 401);

    const guess = () => api(cluster, `pt_${hex(32)}`)('GET', 'accounts');
    const statuses = [];
    for (let i = 0; i < 30; i++) statuses.push((await guess()).status);
    assert.deepEqual([statuses[0], statuses.at(-1)], [401, 429]);
    const refused = await guess();
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    assert.equal(refused.json.error.code, 'over-limit');
    assert.equal((await operator('GET', 'accounts')).status, 200, 'who has a token is not locked out');
    assert.equal((await api(cluster, null)('GET', 'accounts')).status, 401);
});

test('configs published at once get versions of their own', async (t) => {
    const { cluster, account } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const replies = await Promise.all(
        Array.from({ length: 24 }, (_, i) => ask('PUT', `accounts/${account.id}/config`, configOf(`c${i}`))),
    );
    const versions = replies.map((reply) => reply.json.version);
    assert.deepEqual(versions.toSorted((x, y) => x - y), Array.from({ length: 24 }, (_, i) => i + 1));
    await restart(cluster);
    for (const [i, version] of versions.entries()) {
        const { json } = await ask('GET', `accounts/${account.id}/config?version=${version}`);
        assert.deepEqual(json, configOf(`c${i}`));
    }
    const newest = versions.indexOf(24);
    assert.deepEqual((await ask('GET', `accounts/${account.id}/config`)).json, configOf(`c${newest}`));
    assert.equal((await ask('GET', `accounts/${account.id}`)).json.config_version, 24);
});

test('exports: whole, by day, bounded, and ended when the client goes', async (t) => {
    const COUNT = 60000;
    const { cluster, account } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const where = `accounts/${account.id}/events`;
    await restart(cluster, { POLDER_EXPORTS_MAX: '4' }, () => seed(cluster, account.id, COUNT));

    const whole = await ask('GET', where);
    assert.equal(whole.headers.get('content-type'), 'application/x-ndjson');
    assert.ok(whole.text.endsWith('\n'));
    const lines = whole.text.trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(lines.length, COUNT);
    assert.equal(new Set(lines.map((event) => event.message_id)).size, COUNT);
    const days = [];
    for (let day = 1; day <= 4; day++) {
        const { text } = await ask('GET', `${where}?from=2026-01-0${day}&to=2026-01-0${day}`);
        days.push(text === '' ? 0 : text.trimEnd().split('\n').length);
    }
    assert.deepEqual(days, [COUNT / 3, COUNT / 3, COUNT / 3, 0]);
    assert.equal((await ask('HEAD', where)).text, '');

    // Two clients that do not read hold half of the places, all that an account may have.
    const open = () =>
        new Promise((resolve, reject) => {
            const request = http.get(`${cluster.url('origin')}/api/v1/${where}`, {
                headers: { Authorization: `Bearer ${cluster.token}` },
                agent: false,
            });
            request.once('response', (response) => {
                response.pause();
                response.on('error', () => {});
                resolve({ request, response });
            });
            request.once('error', reject);
        });
    await until('no export is left', 5000, async () => (await metric(cluster, 'polder_api_exports')) === 0);
    const held = [await open(), await open()];
    assert.equal(await metric(cluster, 'polder_api_exports'), 2);
    const third = await ask('GET', where);
    assert.equal(third.status, 429);
    assert.ok(Number(third.headers.get('retry-after')) > 0);
    assert.equal((await ask('GET', 'accounts')).status, 200, 'other calls go on');

    held.forEach(({ request }) => request.destroy());
    await until('the places are free again', 20000, async () => (await metric(cluster, 'polder_api_exports')) === 0);
    assert.equal((await ask('GET', `${where}?to=2026-01-01`)).text.trimEnd().split('\n').length, COUNT / 3);
});

test('an export that is stuck when the origin ends does not look complete', async (t) => {
    const { cluster, account } = await startCluster(t, alone);
    await restart(cluster, {}, () => seed(cluster, account.id, 60000));
    const node = cluster.nodes.get('origin');
    const reply = await new Promise((resolve, reject) => {
        http.get(`${cluster.url('origin')}/api/v1/accounts/${account.id}/events`, {
            headers: { Authorization: `Bearer ${cluster.token}` },
            agent: false,
        }, resolve).once('error', reject);
    });
    const ending = new Promise((resolve) => {
        reply.once('error', () => resolve('broken'));
        reply.once('end', () => resolve('complete'));
    });
    await new Promise((resolve) => reply.once('data', resolve));
    reply.pause();
    assert.equal((await node.stop()).code, 0);
    reply.resume();
    assert.equal(await ending, 'broken');
});

test('probes tell the truth and name their reasons', async (t) => {
    const { cluster, account } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const get = async (where) => {
        const reply = await fetch(cluster.url('origin') + where);
        return { status: reply.status, json: await reply.json() };
    };
    assert.deepEqual(await get('/health'), { status: 200, json: { status: 'alive' } });
    assert.deepEqual(await get('/ready'), { status: 200, json: { ready: true, reasons: [], warnings: [] } });
    assert.equal((await get('/replication')).json.status, 'healthy');

    await ask('POST', 'edges', newEdge('quiet "one"'));
    const revoked = newEdge('gone');
    await ask('POST', 'edges', revoked);
    await ask('POST', `edges/${revoked.id}/revoke`);
    await restart(cluster, { POLDER_EDGE_SILENT_SECONDS: '1' });
    const { json, status } = await until('the silent edge is told', 10000, async () => {
        const report = await get('/replication');
        return report.json.status === 'degraded' && report;
    });
    assert.equal(status, 200);
    assert.equal(json.reasons.length, 1);
    assert.deepEqual(json.quarantine, { blocks: 0, bytes: 0, since: null });
    assert.match(json.reasons[0], /quiet "one" has not been heard of for \d+ s/);
    const [quiet] = json.edges;
    assert.equal(quiet.connected, false);
    assert.equal(quiet.last_heard_seconds, null);
    for (const key of ['id', 'region', 'clock_skew_ms', 'chains', 'accepted', 'stored', 'duplicate', 'dropped', 'pending'])
        assert.ok(key in quiet, key);

    const { text, histograms } = await metricsOf(cluster.url('origin'));
    assert.deepEqual([...histograms.keys()], ['polder_intake_block_seconds', 'polder_intake_sync_seconds']);
    assert.ok(text.includes('name="quiet \\"one\\""'));
    assert.ok(account.id);
});

test('a flood of one probe leaves room for the others and for operators', async (t) => {
    const { cluster } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const agent = new http.Agent({ maxSockets: 400 });
    t.after(() => agent.destroy());
    const statusOf = (where) => new Promise((resolve, reject) => {
        http.get(cluster.url('origin') + where, { agent }, (reply) => reply.resume().once('end', () => resolve(reply.statusCode))).once('error', reject);
    });
    const seen = new Map();
    for (let i = 0; i < 5; i++) {
        const flood = Array.from({ length: 300 }, () => statusOf('/metrics'));
        assert.equal(await statusOf('/ready'), 200);
        assert.equal((await ask('GET', 'accounts')).status, 200);
        for (const status of await Promise.all(flood)) seen.set(status, (seen.get(status) ?? 0) + 1);
    }
    assert.deepEqual([...seen.keys()].filter((status) => status !== 200 && status !== 429), [], JSON.stringify([...seen]));
});

test('what was made lasts, and what was lost is not made anew', async (t) => {
    const { cluster, account } = await startCluster(t, alone);
    const ask = api(cluster, cluster.token);
    const node = cluster.nodes.get('origin');
    const edge = newEdge('eu-1');
    assert.equal((await ask('POST', 'edges', edge)).status, 201);
    await node.kill();
    await cluster.startOrigin();
    assert.equal((await ask('GET', `accounts/${account.id}`)).json.name, account.name);
    assert.deepEqual((await ask('GET', 'edges')).json.edges.map(({ id }) => id), [edge.id]);
    assert.equal(readFileSync(node.logFile, 'utf8').match(/first sealing key/g).length, 1);

    // New key-encryption key, then without the old one.
    const kek = path.join(cluster.dir, 'origin', 'kek.key');
    const fresh = hex(32);
    appendFileSync(kek, `${fresh}\n`);
    const { json } = await ask('POST', 'keyring/rewrap');
    assert.equal(json.rewrapped, 2, 'the account key and the sealing key');
    await restart(cluster, {}, () => writeFileSync(kek, `${fresh}\n`));
    assert.equal((await ask('GET', `accounts/${account.id}/events`)).status, 200);

    const refusesToStart = async (pattern) => {
        node.start();
        await node.exited;
        assert.equal(node.ends.pop().code, 1); // as it should; the cleanup looks for other ends
        assert.match(node.logTail(3), pattern);
    };
    await node.stop();
    const rings = [1, 2].map((i) => path.join(cluster.dir, 'origin', `keyring-${i}`));
    rings.forEach((ring) => renameSync(ring, `${ring}.away`));
    await refusesToStart(/cannot start: .*keyring/);
    rings.forEach((ring) => renameSync(`${ring}.away`, ring));
    writeFileSync(kek, `${hex(32)}\n`);
    await refusesToStart(/cannot start: .*key-encryption key/);
    writeFileSync(kek, `${fresh}\n`);
    await cluster.startOrigin();
});

test('TLS: certificates are read again on SIGHUP, and kept when the new ones are bad', async (t) => {
    const { cluster } = await startCluster(t, alone);
    const [cert, key] = ['site.crt', 'site.key'].map((name) => path.join(cluster.dir, name));
    const issue = (name) =>
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`], { stdio: 'ignore' });
    issue('first');
    await restart(cluster, { POLDER_HTTPS_LISTEN: '127.0.0.1:0', POLDER_TLS_CERT_FILE: cert, POLDER_TLS_KEY_FILE: key });
    const node = cluster.nodes.get('origin');
    const port = () => Number(/ready .*https=127\.0\.0\.1:(\d+)/.exec(node.logTail(100))?.[1]);
    const name = (at) =>
        new Promise((resolve, reject) => {
            const socket = tls.connect({ host: '127.0.0.1', port: at, rejectUnauthorized: false }, () => {
                resolve(socket.getPeerCertificate().subject.CN);
                socket.destroy();
            });
            socket.once('error', reject);
        });
    const https = await until('it has said its port', 10000, async () => port()); // said after it serves
    assert.equal(await name(https), 'first');
    issue('second');
    node.child.kill('SIGHUP');
    await until('the second certificate', 5000, async () => (await name(https)) === 'second');
    writeFileSync(cert, 'not a certificate');
    node.child.kill('SIGHUP');
    await until('the bad certificate is told', 5000, async () => /old certificates stay/.test(node.logTail(20)));
    assert.equal(await name(https), 'second');
    const told = async () => ({ warnings: (await (await fetch(`${cluster.url('origin')}/ready`)).json()).warnings, failed: (await samplesOf(cluster.url('origin'))).get('polder_tls_reload_failed') });
    const bad = await told();
    assert.match(bad.warnings.join('\n'), /^https_listen serves the certificates of before, for reading them again failed: .*site\.crt/m);
    assert.equal(bad.failed, 1);
    issue('third');
    node.child.kill('SIGHUP');
    await until('it is told no more', 5000, async () => (await told()).failed === 0);
    assert.doesNotMatch((await told()).warnings.join('\n'), /certificates of before/);
});
