// polderctl: what it writes, what it sends, what it says. Errors are provoked by a scripted HTTP
// server in the origin's place; the last test walks through every command with a real origin.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, execFileSync, spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { bin } from './lib/fixture.mjs';
import { noFakeClock, shiftedClock } from './lib/clock.mjs';
import { Cluster, freeBasePort, root, until } from '../../deploy/demo/cluster.mjs';

const polderctl = path.join(bin, 'polderctl');
const campaign = path.join(root, 'deploy/demo/campaign.json');

function tempDir(t) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'polderctl-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    return dir;
}

// Runs polderctl; gives { code, signal, stdout, stderr }. Nothing of the caller's settings leaks in.
function ctl(args, { env = {}, cwd, umask } = {}) {
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^POLDER_/.test(name)));
    return new Promise((resolve) => {
        const child = umask === undefined
            ? spawn(polderctl, args, { env: { ...clean, ...env }, cwd })
            : spawn('sh', ['-c', `umask ${umask}; exec "$0" "$@"`, polderctl, ...args], { env: { ...clean, ...env }, cwd });
        let stdout = '';
        let stderr = '';
        child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
        child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
        child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    });
}

async function ok(args, options) {
    const run = await ctl(args, options);
    assert.equal(run.code, 0, `polderctl ${args.join(' ')}: ${run.stderr}`);
    return run.stdout;
}

// The call must fail with this exit code, say this, and nothing on standard output.
async function fails(code, pattern, args, options) {
    const run = await ctl(args, options);
    assert.equal(run.code, code, `polderctl ${args.join(' ')}: exit ${run.code} ${run.signal}: ${run.stdout}${run.stderr}`);
    assert.match(run.stderr, pattern);
    assert.equal(run.stdout, '');
    return run.stderr;
}

// A server that answers as told and remembers what it was asked.
async function scripted(t, answer, { tls } = {}) {
    const requests = [];
    const onRequest = (request, response) => {
        const chunks = [];
        request.on('data', (chunk) => chunks.push(chunk));
        request.on('end', () => {
            const body = Buffer.concat(chunks).toString();
            requests.push({ method: request.method, url: request.url, authorization: request.headers.authorization, body });
            answer({ method: request.method, url: request.url, body, json: body ? JSON.parse(body) : undefined }, response);
        });
    };
    const server = tls ? https.createServer(tls, onRequest) : http.createServer(onRequest);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    return { url: `http${tls ? 's' : ''}://127.0.0.1:${server.address().port}`, requests };
}

function send(response, status, body, headers = {}) {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

const refuse = (response, status, code, message) => send(response, status, { error: { code, field: '', message } });

// A port that nobody listens on.
async function closedPort() {
    const server = net.createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

function tree(dir) {
    return fs.readdirSync(dir, { recursive: true }).map(String).sort();
}

const mode = (file) => (fs.statSync(file).mode & 0o7777).toString(8);
const openssl = (...args) => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

// Flat YAML as polderctl writes it: double-quoted values, which JSON reads but for \xNN.
const unquote = (text) => JSON.parse(text.replace(/\\(.)/g, (escape, c) => (c === 'x' ? '\\u00' : escape)));

function yaml(file) {
    const values = {};
    let list;
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        const item = /^ {2}- (".*")$/.exec(line);
        const pair = /^([a-z0-9_]+):(?: (".*"))?$/.exec(line);
        if (item) list.push(unquote(item[1]));
        else if (pair && pair[2] !== undefined) values[pair[1]] = unquote(pair[2]);
        else if (pair) values[pair[1]] = list = [];
        else assert.match(line, /^(#.*)?$/);
    }
    return values;
}

// ---- init

const initFiles = ['ca.crt', 'ca.key', 'operator.token', 'origin', 'origin/kek.key', 'origin/link.crt', 'origin/link.key', 'origin/origin.yaml', 'origin/sign.key'];

test('init writes keys, certificates and a configuration, secrets for their owner only', async (t) => {
    for (const umask of ['000', '077']) {
        const dir = path.join(tempDir(t), 'made', 'here');
        const said = await ok(['init', dir, '--base-port', '20100'], { umask });
        assert.deepEqual(tree(dir), initFiles);
        for (const secret of ['ca.key', 'operator.token', 'origin/link.key', 'origin/sign.key', 'origin/kek.key']) {
            assert.equal(mode(path.join(dir, secret)), '600', secret);
        }
        for (const open of ['ca.crt', 'origin/link.crt', 'origin/origin.yaml']) assert.equal(mode(path.join(dir, open)), '644', open);
        for (const folder of ['', 'origin']) assert.equal(mode(path.join(dir, folder)), '700', folder);

        const token = fs.readFileSync(path.join(dir, 'operator.token'), 'utf8');
        assert.match(token, /^pt_[0-9a-f]{64}\n$/);
        assert.match(fs.readFileSync(path.join(dir, 'origin/kek.key'), 'utf8'), /^[0-9a-f]{64}\n$/);
        assert.deepEqual(yaml(path.join(dir, 'origin/origin.yaml')), {
            http_listen: '127.0.0.1:20100',
            link_listen: 'tls+tcp://127.0.0.1:20110',
            ca_file: `${dir}/ca.crt`,
            link_cert_file: `${dir}/origin/link.crt`,
            link_key_file: `${dir}/origin/link.key`,
            data_dir: `${dir}/origin/data`,
            keyring_paths: [`${dir}/origin/keyring-1`, `${dir}/origin/keyring-2`],
            journal_dirs: [`${dir}/origin/journal-1`, `${dir}/origin/journal-2`],
            kek_file: `${dir}/origin/kek.key`,
            sign_key_file: `${dir}/origin/sign.key`,
            bootstrap_token_sha256: createHash('sha256').update(token.trim()).digest('hex'),
            log_level: 'info',
        });
        assert.match(said, new RegExp(`polder-origin --config ${dir}/origin/origin.yaml`));
        for (const secret of ['operator.token', 'origin/kek.key']) {
            assert.ok(!said.includes(fs.readFileSync(path.join(dir, secret), 'utf8').trim()), `${secret} is printed`);
        }
    }
});

test("init's certificates verify, bear the names edges expect and last ten years", async (t) => {
    const cases = [
        [[], 'DNS:origin.polder, IP Address:127.0.0.1', 'tls+tcp://127.0.0.1:8090'],
        [['--host', '192.0.2.7'], 'DNS:origin.polder, IP Address:127.0.0.1, IP Address:192.0.2.7', 'tls+tcp://192.0.2.7:8090'],
        [['--host', '2001:db8::7'], 'DNS:origin.polder, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:7', 'tls+tcp://[2001:db8::7]:8090'],
        [['--host', 'origin.example.eu'], 'DNS:origin.polder, DNS:origin.example.eu, IP Address:127.0.0.1', 'tls+tcp://0.0.0.0:8090'],
    ];
    for (const [args, names, link] of cases) {
        const dir = tempDir(t);
        await ok(['init', dir, ...args]);
        const ca = new X509Certificate(fs.readFileSync(path.join(dir, 'ca.crt')));
        const cert = new X509Certificate(fs.readFileSync(path.join(dir, 'origin/link.crt')));
        openssl('verify', '-x509_strict', '-CAfile', path.join(dir, 'ca.crt'), path.join(dir, 'origin/link.crt'));
        assert.equal(ca.ca, true);
        assert.equal(cert.ca, false);
        assert.equal(cert.subjectAltName, names);
        assert.equal(yaml(path.join(dir, 'origin/origin.yaml')).link_listen, link);
        for (const [c, key] of [[ca, 'ca.key'], [cert, 'origin/link.key']]) {
            assert.ok(c.checkPrivateKey(createPrivateKey(fs.readFileSync(path.join(dir, key)))));
            assert.equal(c.publicKey.asymmetricKeyDetails.namedCurve, 'prime256v1');
            const years = (Date.parse(c.validTo) - Date.now()) / (365.25 * 86400e3);
            assert.ok(years > 9.9 && years < 10.1, c.validTo);
            assert.ok(Date.parse(c.validFrom) < Date.now());
        }
    }
});

test('certificates renew issues them again, for the same keys', { skip: noFakeClock }, async (t) => {
    const dir = path.join(tempDir(t), 'polder');
    const { url } = await scripted(t, admitted);
    await ok(['init', dir, '--host', 'origin.example.eu']);
    await ok(['edge', 'enroll', 'eu-1', '--region', 'eu', '--dir', dir, '--origin', url, '--link', 'tls+tcp://origin.example.eu:8090']);
    const names = ['ca.crt', 'origin/link.crt', 'edges/eu-1/link.crt', 'edges/eu-1/ca.crt'];
    const read = () => Object.fromEntries(names.map((name) => [name, new X509Certificate(fs.readFileSync(path.join(dir, name)))]));
    const key = path.join(dir, 'edges/eu-1/link.key');
    fs.rmSync(key); // it is with the edge, elsewhere
    const old = read();
    const soon = shiftedClock(path.dirname(dir), 9 * 365 * 86400);
    assert.match(await ok(['certificates', 'renew', '--dir', dir, '--host', 'origin.example.eu'], { env: soon }), /the origin and 1 edge below/);
    const now = read();
    for (const name of names) {
        assert.deepEqual(now[name].publicKey.export({ type: 'spki', format: 'der' }), old[name].publicKey.export({ type: 'spki', format: 'der' }), name);
        assert.equal(now[name].subject, old[name].subject);
        assert.equal(now[name].subjectAltName, old[name].subjectAltName);
        assert.notEqual(now[name].serialNumber, old[name].serialNumber);
        assert.ok(Date.parse(now[name].validTo) - Date.parse(old[name].validTo) > 8.9 * 365 * 86400000, name);
    }
    for (const ca of [old['ca.crt'], now['ca.crt']]) { // each takes what the other has signed
        for (const certificates of [old, now]) assert.ok(certificates['edges/eu-1/link.crt'].verify(ca.publicKey) && certificates['origin/link.crt'].checkIssued(ca));
    }
    assert.equal(fs.readFileSync(path.join(dir, 'ca.crt'), 'utf8'), fs.readFileSync(path.join(dir, 'edges/eu-1/ca.crt'), 'utf8'));
    await fails(2, /--dir is missing/, ['certificates', 'renew']);
    await fails(1, /ca\.key/, ['certificates', 'renew', '--dir', tempDir(t)]);
});

test('init overwrites nothing, and leaves nothing behind when it refuses', async (t) => {
    const leftovers = ['origin/data', 'origin/keyring-1', 'origin/keyring-2', 'origin/journal-1', 'origin/journal-2', 'edges'];
    for (const there of [...initFiles.filter((name) => name !== 'origin'), ...leftovers]) {
        const dir = tempDir(t);
        fs.mkdirSync(path.dirname(path.join(dir, there)), { recursive: true });
        fs.writeFileSync(path.join(dir, there), 'mine');
        const before = tree(dir);
        await fails(1, new RegExp(`${there} is there already`), ['init', dir]);
        assert.deepEqual(tree(dir), before);
        assert.equal(fs.readFileSync(path.join(dir, there), 'utf8'), 'mine');
    }
    const dir = tempDir(t);
    fs.writeFileSync(path.join(dir, 'file'), '');
    await fails(1, /file: a file is in its place|Not a directory/, ['init', path.join(dir, 'file', 'below')]);
    assert.deepEqual(tree(dir), ['file']);
});

test('init cleans up after itself when the disk fails half-way', async (t) => {
    const dir = tempDir(t);
    // a file-size limit of 1 KiB stops it at the last file, origin.yaml
    const run = spawnSync('sh', ['-c', 'trap "" XFSZ; ulimit -f 2; exec "$0" "$@"', polderctl, 'init', path.join(dir, 'new')], { encoding: 'utf8' });
    assert.equal(run.status, 1, run.stderr);
    assert.match(run.stderr, /cannot write configuration .*\/new\/origin\/origin.yaml(\.tmp)?: File too large/);
    assert.deepEqual(tree(dir), []);
});

test('init takes directories with any name', async (t) => {
    const dir = path.join(tempDir(t), `a "b" \\c #d: 'e' \u00fc\n%s`);
    await ok(['init', dir]);
    assert.equal(yaml(path.join(dir, 'origin/origin.yaml')).data_dir, `${dir}/origin/data`);
});

test('init refuses what it cannot use', async (t) => {
    const dir = path.join(tempDir(t), 'new');
    for (const port of ['0', '65526', '-1', 'x', '80 ', '']) await fails(2, /--base-port must be a whole number from 1 to 65525/, ['init', dir, `--base-port=${port}`]);
    for (const host of ['', 'a b', 'ex_ample', '-a.example', 'a..b', 'http://x', '1.2.3.4:80']) {
        await fails(2, /--host must be an IP address or a DNS name/, ['init', dir, `--host=${host}`]);
    }
    await fails(2, /expected DIR/, ['init']);
    await fails(2, /'two' is one argument too many/, ['init', dir, 'two']);
    await fails(1, /name is empty/, ['init', '']);
    await fails(1, /too long/, ['init', `/tmp/${'x'.repeat(2000)}`]);
    assert.ok(!fs.existsSync(dir));
});

// ---- edge enroll

const admitted = (request, response) => send(response, 201, { ...request.json, enrolled_at: '2026-11-22T13:00:00.000Z', revoked_at: null });

test('edge enroll writes what an edge needs and tells the origin its public halves only', async (t) => {
    const dir = tempDir(t);
    await ok(['init', dir, '--base-port', '20300']);
    const origin = await scripted(t, admitted);
    const said = await ok(['edge', 'enroll', 'us-1', '--region', 'us', '--dir', dir, '--listen', '127.0.0.1:20302', '--origin', origin.url], { umask: '000' });
    const edge = path.join(dir, 'edges/us-1');
    assert.deepEqual(tree(path.join(dir, 'edges')), ['us-1', 'us-1/ca.crt', 'us-1/edge.yaml', 'us-1/link.crt', 'us-1/link.key', 'us-1/seal.key']);
    for (const secret of ['link.key', 'seal.key']) assert.equal(mode(path.join(edge, secret)), '600');
    assert.equal(mode(edge), '700');
    assert.equal(mode(path.join(dir, 'edges')), '700');
    assert.match(said, /us-1 \([0-9a-f]{32}\) of region us is enrolled/);

    const { edge_id: id, ...settings } = yaml(path.join(edge, 'edge.yaml'));
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.deepEqual(settings, {
        http_listen: '127.0.0.1:20302',
        region: 'us',
        data_dir: `${edge}/data`,
        origin_url: 'tls+tcp://127.0.0.1:20310',
        origin_name: 'origin.polder',
        ca_file: `${edge}/ca.crt`,
        link_cert_file: `${edge}/link.crt`,
        link_key_file: `${edge}/link.key`,
        seal_key_file: `${edge}/seal.key`,
        log_level: 'info',
    });

    openssl('verify', '-x509_strict', '-CAfile', path.join(dir, 'ca.crt'), path.join(edge, 'link.crt'));
    assert.equal(fs.readFileSync(path.join(edge, 'ca.crt'), 'utf8'), fs.readFileSync(path.join(dir, 'ca.crt'), 'utf8'));
    const cert = new X509Certificate(fs.readFileSync(path.join(edge, 'link.crt')));
    assert.ok(cert.checkPrivateKey(createPrivateKey(fs.readFileSync(path.join(edge, 'link.key')))));
    assert.equal(cert.subject, 'CN=us-1');
    assert.equal(cert.validTo, new X509Certificate(fs.readFileSync(path.join(dir, 'ca.crt'))).validTo);

    const seal = fs.readFileSync(path.join(edge, 'seal.key'), 'utf8');
    assert.match(seal, /^[0-9a-f]{64}\n$/);
    const secret = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), Buffer.from(seal.trim(), 'hex')]), format: 'der', type: 'pkcs8' });
    const sealPublic = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');

    assert.equal(origin.requests.length, 1);
    const [request] = origin.requests;
    assert.equal(`${request.method} ${request.url}`, 'POST /api/v1/edges');
    assert.equal(request.authorization, `Bearer ${fs.readFileSync(path.join(dir, 'operator.token'), 'utf8').trim()}`);
    assert.deepEqual(JSON.parse(request.body), {
        id,
        name: 'us-1',
        region: 'us',
        link_public: cert.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
        seal_public: sealPublic,
    });
});

test('edge enroll leaves nothing behind when the origin does not admit the edge', async (t) => {
    const dir = tempDir(t);
    await ok(['init', dir]);
    const before = tree(dir);
    const enroll = ['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir];
    const refusing = await scripted(t, (_, response) => refuse(response, 409, 'exists', 'an edge named eu is enrolled already; revoke it first'));
    await fails(1, /the origin refuses: an edge named eu is enrolled already; revoke it first/, [...enroll, '--origin', refusing.url]);
    const port = await closedPort();
    await fails(1, new RegExp(`cannot reach the origin at http://127.0.0.1:${port}: connection refused`), [...enroll, '--origin', `http://127.0.0.1:${port}`]);
    const failing = await scripted(t, (_, response) => response.destroy());
    const said = await fails(1, /not known whether the origin has admitted edge ([0-9a-f]{32})/, [...enroll, '--origin', failing.url]);
    assert.match(said, new RegExp(`polderctl edge revoke ${JSON.parse(failing.requests[0].body).id}`));
    assert.deepEqual(tree(dir), before);
});

test('edge enroll clears what a killed run has left, and replaces no edge', async (t) => {
    const dir = tempDir(t);
    await ok(['init', dir]);
    const origin = await scripted(t, admitted);
    const enroll = ['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir, '--origin', origin.url];
    fs.mkdirSync(path.join(dir, 'edges/.eu.new'), { recursive: true });
    fs.writeFileSync(path.join(dir, 'edges/.eu.new/link.key'), 'half');
    await ok(enroll);
    const key = fs.readFileSync(path.join(dir, 'edges/eu/link.key'), 'utf8');
    await fails(1, /edges\/eu is there already, and nothing is overwritten/, enroll);
    assert.equal(fs.readFileSync(path.join(dir, 'edges/eu/link.key'), 'utf8'), key);
    assert.deepEqual(fs.readdirSync(path.join(dir, 'edges')), ['eu']);
    assert.equal(origin.requests.length, 1);
});

test('edge enroll names what is wrong with its arguments, its directory and its link', async (t) => {
    const dir = tempDir(t);
    await ok(['init', dir, '--host', 'origin.example.eu']);
    const origin = await scripted(t, admitted);
    const enroll = (name, ...more) => ['edge', 'enroll', name, '--origin', origin.url, ...more];
    const good = ['--region', 'eu', '--dir', dir, '--link', 'tls+tcp://origin.example.eu:8090'];
    for (const name of ['', 'Eu', '../eu', 'a/b', '.', 'x'.repeat(64), 'ü']) await fails(2, /an edge's name has/, enroll(name, ...good));
    await fails(2, /--region is missing/, enroll('eu', '--dir', dir));
    await fails(2, /a region has up to 15/, enroll('eu', ...good, '--region', 'europe-north-and-south'));
    await fails(2, /--dir is missing/, enroll('eu', '--region', 'eu'));
    for (const listen of ['8081', 'localhost:8081', '127.0.0.1:', '127.0.0.1:65536']) await fails(2, /--listen/, enroll('eu', ...good, '--listen', listen));
    for (const link of ['origin:8090', 'tcp://origin:8090', 'tls+tcp://origin', 'tls+tcp://:8090', 'tls+tcp://o:0', 'tls+tcp://"o:1']) {
        await fails(2, /--link must look like tls\+tcp:\/\/HOST:PORT/, enroll('eu', ...good, `--link=${link}`));
    }
    await fails(1, /link_listen in .*origin.yaml is every address: name the address .* --link/, enroll('eu', '--region', 'eu', '--dir', dir));
    await fails(1, /--link .*cannot open configuration .*origin\/origin.yaml/, enroll('eu', '--region', 'eu', '--dir', path.join(dir, 'nowhere')));

    fs.chmodSync(path.join(dir, 'ca.key'), 0o644);
    await fails(1, /CA key .*ca.key has mode 0644.*chmod 600/, enroll('eu', ...good));
    fs.chmodSync(path.join(dir, 'ca.key'), 0o600);
    fs.renameSync(path.join(dir, 'ca.key'), path.join(dir, 'elsewhere'));
    await fails(1, /cannot open CA key .*ca.key/, enroll('eu', ...good));
    fs.writeFileSync(path.join(dir, 'ca.key'), 'no key', { mode: 0o600 });
    await fails(1, /./, enroll('eu', ...good));
    fs.copyFileSync(path.join(dir, 'origin/link.key'), path.join(dir, 'ca.key'));
    await fails(1, /./, enroll('eu', ...good));
    assert.ok(!fs.existsSync(path.join(dir, 'edges')));
    assert.deepEqual(origin.requests, []);

    fs.renameSync(path.join(dir, 'elsewhere'), path.join(dir, 'ca.key'));
    await ok(enroll('eu', ...good));
    assert.equal(yaml(path.join(dir, 'edges/eu/edge.yaml')).origin_url, 'tls+tcp://origin.example.eu:8090');
});

// ---- the API's errors

test('errors of the API become sentences that say what to do; no token is ever shown', async (t) => {
    const dir = tempDir(t);
    await ok(['init', dir]);
    const fileToken = fs.readFileSync(path.join(dir, 'operator.token'), 'utf8').trim();
    let reply;
    const origin = await scripted(t, (_, response) => reply(response));
    const list = (...more) => ['account', 'list', '--origin', origin.url, ...more];

    reply = (response) => refuse(response, 401, 'auth', 'unknown token');
    const sources = [
        [list('--token', 'pt_option'), {}, '--token', 'pt_option'],
        [list(), { POLDER_TOKEN: 'pt_environment' }, 'POLDER_TOKEN', 'pt_environment'],
        [list('--dir', dir), {}, path.join(dir, 'operator.token'), fileToken],
        [list('--dir', dir, '--token', 'pt_first'), { POLDER_TOKEN: 'pt_second' }, '--token', 'pt_first'],
    ];
    for (const [args, env, from, token] of sources) {
        const said = await fails(1, /does not know the token from .*polderctl token create/, args, { env });
        assert.ok(said.includes(`the token from ${from}`), said);
        assert.ok(!said.includes(token), 'the token is shown');
        assert.equal(origin.requests.at(-1).authorization, `Bearer ${token}`);
    }
    const withToken = { env: { POLDER_TOKEN: 'pt_x' } };
    reply = (response) => refuse(response, 403, 'denied', 'an auditor may not list tokens');
    await fails(1, /the token from POLDER_TOKEN may not do this: an auditor may not list tokens/, list(), withToken);
    reply = (response) => refuse(response, 404, 'not-found', 'there is no account x');
    await fails(1, /^polderctl: there is no account x\n$/, list(), withToken);
    reply = (response) => send(response, 404, '<h1>404</h1>');
    await fails(1, /answers 404: is it really an origin/, list(), withToken);
    reply = (response) => refuse(response, 503, 'no-space', "the origin's disk is full");
    await fails(1, /cannot do it now: the origin's disk is full/, list(), withToken);
    reply = (response) => refuse(response, 500, 'corrupt', 'stored data is damaged');
    await fails(1, /the origin failed: stored data is damaged \(its log says more\)/, list(), withToken);
    reply = (response) => refuse(response, 400, 'invalid', 'evil \u001b[2J\u0007 text');
    await fails(1, /the origin refuses: evil \?\[2J\? text/, list(), withToken);
    for (const body of ['', '<html>', '{"error":1}', '{"error":{"message":7}}', '[]']) {
        reply = (response) => send(response, 502, body);
        await fails(1, /answers with HTTP status 502 and no reason: is it really an origin/, list(), withToken);
    }
    for (const body of ['hello', '{"accounts":[}', `${'['.repeat(1000)}`]) {
        reply = (response) => send(response, 200, body);
        await fails(1, /answers something that is not JSON \(is it an origin\?\)/, list(), withToken);
    }
    reply = (response) => response.destroy();
    await fails(1, /the connection to the origin at .* broke off/, list(), withToken);
    reply = (response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{"accounts":[');
        setTimeout(() => response.destroy(), 50);
    };
    await fails(1, /the connection to the origin at .* broke off/, list(), withToken);
});

test('a redirect is not followed: the token goes to the named origin only', async (t) => {
    const other = await scripted(t, (_, response) => send(response, 200, { accounts: [] }));
    const origin = await scripted(t, (_, response) => send(response, 302, '', { location: `${other.url}/api/v1/accounts` }));
    await fails(1, /HTTP status 302/, ['account', 'list', '--origin', origin.url, '--token', 'pt_x']);
    assert.equal(other.requests.length, 0);
});

test('an origin that is not there, not trusted or not named', async (t) => {
    const port = await closedPort();
    const token = ['--token', 'pt_x'];
    const refused = (hint) => new RegExp(`cannot reach the origin at http://127.0.0.1:${port}: connection refused \\(is it running\\? ${hint}`);
    await fails(1, refused('--origin or POLDER_ORIGIN names another'), ['account', 'list', ...token, '--origin', `http://127.0.0.1:${port}/`]);
    await fails(1, refused('--origin'), ['account', 'list', ...token], { env: { POLDER_ORIGIN: `http://127.0.0.1:${port}` } });
    await fails(1, /no\.such\.host\.invalid.*host name is not known/, ['account', 'list', ...token, '--origin', 'http://no.such.host.invalid:8080']);
    await fails(1, /'127.0.0.1:8080' \(from --origin\) is no address of an origin/, ['account', 'list', ...token, '--origin', '127.0.0.1:8080']);
    await fails(1, /'file:\/\/\/etc' \(from POLDER_ORIGIN\)/, ['account', 'list', ...token], { env: { POLDER_ORIGIN: 'file:///etc' } });
    await fails(1, /no token: give --dir DIR/, ['account', 'list']);
    await fails(1, /the token from --token is none: it has spaces/, ['account', 'list', '--token', 'pt_a\r\nX-Evil: 1']);
    await fails(1, /cannot open token file .*operator.token/, ['account', 'list', '--dir', '/nonexistent']);
    // a proxy would see the token in the clear
    const proxy = await scripted(t, (_, response) => send(response, 200, { accounts: [] }));
    await fails(1, refused('--origin'), ['account', 'list', ...token, '--origin', `http://127.0.0.1:${port}`], { env: { http_proxy: proxy.url, ALL_PROXY: proxy.url, no_proxy: '' } });
    assert.equal(proxy.requests.length, 0);

    const dir = tempDir(t);
    await ok(['init', dir]);
    const tls = { key: fs.readFileSync(path.join(dir, 'origin/link.key')), cert: fs.readFileSync(path.join(dir, 'origin/link.crt')) };
    const origin = await scripted(t, (_, response) => send(response, 200, { accounts: [] }), { tls });
    await fails(1, /cannot trust the origin at https:.*SSL_CERT_FILE/, ['account', 'list', ...token, '--origin', origin.url]);
    assert.equal(origin.requests.length, 0);
    assert.match(await ok(['account', 'list', ...token, '--origin', origin.url], { env: { SSL_CERT_FILE: path.join(dir, 'ca.crt') } }), /There are no accounts yet/);
});

// ---- names and tables

const account = (id, name, more = {}) => ({ id, name, state: 'active', write_key: 'e'.repeat(32), created_at: '2026-11-22T13:03:33.123Z', expires_at: null, deletion_started_at: null, deleted_at: null, config_version: 3, regions: [], origins: [], honour_dnt: false, deletion_due_at: null, ...more });

test('accounts are named by id or by a name that one only has', async (t) => {
    const accounts = [
        account('00000000000000a1', 'shop', { deleted_at: '2026-01-01T00:00:00.000Z', state: 'deleted' }),
        account('00000000000000a2', 'shop'),
        account('00000000000000a3', 'twin'),
        account('00000000000000a4', 'twin'),
        account('00000000000000a5', 'gone', { deleted_at: '2026-01-01T00:00:00.000Z' }),
    ];
    const origin = await scripted(t, ({ url }, response) => {
        if (url === '/api/v1/accounts') return send(response, 200, { accounts });
        const found = accounts.find(({ id }) => url === `/api/v1/accounts/${id}`);
        return found ? send(response, 200, found) : refuse(response, 404, 'not-found', 'there is no account');
    });
    const show = (name) => ['account', 'show', name, '--json', '--origin', origin.url, '--token', 'pt_x'];
    assert.equal(JSON.parse(await ok(show('shop'))).id, '00000000000000a2');
    assert.equal(JSON.parse(await ok(show('gone'))).id, '00000000000000a5');
    await fails(1, /2 accounts are named 'twin': give an id instead \(00000000000000a3, 00000000000000a4\)/, show('twin'));
    await fails(1, /there is no account 'none' \(polderctl account list shows them\)/, show('none'));
    const before = origin.requests.length;
    assert.equal(JSON.parse(await ok(show('00000000000000a4'))).name, 'twin');
    assert.deepEqual(origin.requests.slice(before).map(({ url }) => url), ['/api/v1/accounts/00000000000000a4']);
});

test('tables align, shorten times, and print nothing that moves a cursor', async (t) => {
    const accounts = [
        account('00000000000000a1', 'größe', { config_version: 12 }),
        account('00000000000000a2', 'a longer name', { expires_at: '2027-01-02T03:04:05.678Z' }),
        account('00000000000000a3', 'evil\u001b[2J\u009b1A', {}),
    ];
    const origin = await scripted(t, (_, response) => send(response, 200, { accounts }));
    const args = ['account', 'list', '--origin', origin.url, '--token', 'pt_x'];
    assert.equal(await ok(args), [
        `ACCOUNT           NAME           STATE   CONFIG  CREATED (UTC)     EXPIRES           WRITE KEY`,
        `00000000000000a1  größe          active      12  2026-11-22 13:03  never             ${'e'.repeat(32)}`,
        `00000000000000a2  a longer name  active       3  2026-11-22 13:03  2027-01-02 03:04  ${'e'.repeat(32)}`,
        `00000000000000a3  evil?[2J??1A   active       3  2026-11-22 13:03  never             ${'e'.repeat(32)}`,
        '',
    ].join('\n'));
    assert.deepEqual(JSON.parse(await ok([...args, '--json'])), { accounts });
});

test('results that cannot be written are a failure', async (t) => {
    const origin = await scripted(t, (_, response) => send(response, 200, { accounts: [account('00000000000000a1', 'x')] }));
    const child = spawn('sh', ['-c', '"$0" account list --token pt_x --origin "$1" >/dev/full', polderctl, origin.url]);
    let said = '';
    child.stderr.on('data', (text) => (said += text));
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 1, said);
    assert.match(said, /cannot write to standard output: No space left on device/);
});

test('account update sends what was given and nothing else', async (t) => {
    const origin = await scripted(t, (request, response) => send(response, 200, account('00000000000000a1', 'a', request.json)));
    const args = ['--origin', origin.url, '--token', 'pt_x'];
    await ok(['account', 'update', '00000000000000a1', '--origins', 'https://b.example', '--regions', '', '--honour-dnt', 'no', ...args]);
    const { method, body } = origin.requests.at(-1);
    assert.equal(method, 'PATCH');
    assert.deepEqual(JSON.parse(body), { regions: [], origins: ['https://b.example'], honour_dnt: false });
    await ok(['account', 'update', '00000000000000a1', '--cookie', 'no', '--pii', '', ...args]);
    assert.deepEqual(JSON.parse(origin.requests.at(-1).body), { cookie: { enabled: false }, pii: { mask: [] } });
    await fails(2, /--cookie must be yes or no, not 'maybe'/, ['account', 'update', '00000000000000a1', '--cookie', 'maybe', ...args]);
    await fails(2, /--honour-dnt must be yes or no, not 'maybe'/, ['account', 'update', '00000000000000a1', '--honour-dnt', 'maybe', ...args]);
});

test('account create sends what was given and nothing else', async (t) => {
    const origin = await scripted(t, (request, response) => send(response, 201, account('00000000000000a1', request.json.name, request.json)));
    const args = ['--origin', origin.url, '--token', 'pt_x'];
    await ok(['account', 'create', 'My "shop"', ...args]);
    assert.deepEqual(JSON.parse(origin.requests[0].body), { name: 'My "shop"' });
    const said = await ok(['account', 'create', 'b', '--expires-at', '2027-12-31', '--regions', 'eu,us', '--origins', 'https://a.example,https://b.example', '--honour-dnt', ...args]);
    assert.deepEqual(JSON.parse(origin.requests[1].body), { name: 'b', expires_at: '2027-12-31', regions: ['eu', 'us'], origins: ['https://a.example', 'https://b.example'], honour_dnt: true });
    assert.match(said, /^regions +eu us$/m);
    assert.match(said, /polderctl config publish 00000000000000a1 FILE/);
    const ruled = await ok(['account', 'create', 'c', '--aliases', 'com.shop,GTM-1', '--hosts', 'm.shop.example', '--snowplow-path', '/com.shop/t',
        '--cookie-name', 'sid', '--cookie-domain', 'shop.example', '--cookie-same-site', 'Lax', '--cookie', 'yes', '--pii', 'email,card', ...args]);
    assert.deepEqual(JSON.parse(origin.requests[2].body), {
        name: 'c', aliases: ['com.shop', 'GTM-1'], hosts: ['m.shop.example'], snowplow_path: '/com.shop/t',
        cookie: { enabled: true, name: 'sid', domain: 'shop.example', same_site: 'Lax' }, pii: { mask: ['email', 'card'] },
    });
    assert.match(ruled, /^aliases +com\.shop GTM-1$/m);
    assert.match(ruled, /^hosts of its own +m\.shop\.example$/m);
    assert.match(ruled, /^Snowplow path +\/com\.shop\/t$/m);
    assert.match(ruled, /^visitor cookie +sid, SameSite=Lax, Domain=shop\.example$/m);
    assert.match(ruled, /^masked +email card$/m);
    await fails(2, /--expires-at must be a date .* or a time .*, not 'soon'/, ['account', 'create', 'b', '--expires-at', 'soon', ...args]);
    await fails(2, /--at must be a date/, ['account', 'expire', 'b', '--at', '2026-02-30', ...args]);
    assert.equal(origin.requests.length, 3);
});

// ---- config

test('config lint points at what is wrong, and publish does not send it', async (t) => {
    const dir = tempDir(t);
    const file = path.join(dir, 'campaigns.json');
    const origin = await scripted(t, (_, response) => send(response, 200, { version: 4 }));
    const api = ['--origin', origin.url, '--token', 'pt_x'];
    assert.equal(await ok(['config', 'lint', campaign]), `${campaign} can be published.\n`);

    // the caret stands below its character, tabs and multi-byte ones before it
    const text = fs.readFileSync(campaign, 'utf8').replace('"traffic": 1', '\t\t"näme": "ü", "traffic": 7');
    fs.writeFileSync(file, text);
    const run = await ctl(['config', 'lint', file]);
    assert.equal(run.code, 1);
    assert.equal(run.stderr, '');
    const lines = run.stdout.split('\n');
    const at = lines.findIndex((line) => /traffic: must be a number/.test(line));
    const [, line, column] = /campaigns\.json:(\d+):(\d+): campaigns\[0\]\.traffic: /.exec(lines[at]);
    assert.equal([...text.split('\n')[line - 1]][column - 1], '7');
    assert.equal([...lines[at + 1]][lines[at + 2].indexOf('^')], '7');
    assert.doesNotMatch(lines[at + 1], /[?\t]/);

    const json = await ctl(['config', 'lint', file, '--json']);
    assert.equal(json.code, 1);
    const { problems } = JSON.parse(json.stdout);
    assert.ok(problems.some((p) => p.path === 'campaigns[0].traffic' && p.line === Number(line) && p.column === Number(column)));

    const publish = await ctl(['config', 'publish', '00000000000000a1', file, ...api]);
    assert.equal(publish.code, 1);
    assert.match(publish.stderr, /nothing was published: .*campaigns.json has \d+ problems?/);
    assert.match(publish.stdout, /campaigns\[0\]\.traffic/);
    assert.equal(origin.requests.length, 0);

    for (const [content, pattern] of [['{"campaigns": [}', /campaigns\.json:1:16: /], ['', /campaigns\.json:1:1: |campaigns\.json: /], ['\u00ff', /campaigns\.json/]]) {
        fs.writeFileSync(file, content, 'latin1');
        const bad = await ctl(['config', 'lint', file]);
        assert.equal(bad.code, 1);
        assert.match(bad.stdout, pattern);
    }
    fs.writeFileSync(file, `{"campaigns": [${'x'.repeat(5000)}`);
    const long = await ctl(['config', 'lint', file]);
    assert.ok(long.stdout.split('\n').slice(1).every((shown) => shown.length < 100), 'a long line is shown in part');
    fs.writeFileSync(file, ' '.repeat(300 * 1024));
    await fails(1, /config .* is larger than the 262144 bytes allowed/, ['config', 'lint', file]);
    await fails(1, /cannot open config .*nowhere/, ['config', 'lint', path.join(dir, 'nowhere')]);

    assert.match(await ok(['config', 'publish', '00000000000000a1', campaign, ...api]), /^Published as version 4/);
    assert.equal(`${origin.requests[0].method} ${origin.requests[0].url}`, 'PUT /api/v1/accounts/00000000000000a1/config');
    assert.equal(origin.requests[0].body, fs.readFileSync(campaign, 'utf8'));
    await ok(['config', 'show', '00000000000000a1', '--version', '3', ...api]);
    assert.equal(origin.requests.at(-1).url, '/api/v1/accounts/00000000000000a1/config?version=3');
    await fails(2, /--version must be a whole number from 1 up/, ['config', 'show', '00000000000000a1', '--version', '0', ...api]);
});

// ---- events

test('events export writes whole lines, and fails when the stream breaks off', async (t) => {
    let reply;
    const origin = await scripted(t, ({ url }, response) => {
        if (url.includes('/events')) return reply(response);
        return send(response, 200, account('00000000000000a1', 'shop', { created_at: '2026-11-02T23:59:59.999Z' }));
    });
    const args = ['events', 'export', '00000000000000a1', '--origin', origin.url, '--token', 'pt_x'];
    const line = (n) => `${JSON.stringify({ n, text: 'x'.repeat(700) })}\n`;
    const whole = Array.from({ length: 3000 }, (_, n) => line(n)).join('');
    const ndjson = { 'content-type': 'application/x-ndjson' };
    const summary = (fields) => `${JSON.stringify({ polder_summary: { events: 3000, damaged: 0, left_out: 0, held: 3000, agrees: true, ...fields } })}\n`;
    const inPieces = (text) => (response) => {
        response.writeHead(200, ndjson);
        for (let i = 0; i < text.length; i += 7777) response.write(text.slice(i, i + 7777));
        response.end();
    };

    // Marks are taken out, wherever they stand.
    const marked = Array.from({ length: 3000 }, (_, n) => (n % 100 ? '' : `{"polder_cursor":"2.${n}"}\n`) + line(n)).join('');
    reply = inPieces(marked + summary());
    assert.equal(await ok(args), whole);
    // All came, but the origin counts more; or not even its end came.
    reply = inPieces(whole + summary({ held: 3001, agrees: false }));
    const fewer = await ctl(args);
    assert.equal(fewer.code, 1);
    assert.equal(fewer.stdout, whole);
    assert.match(fewer.stderr, /the export has 3000 events and left 0 out, but the origin counts 3001/);
    reply = inPieces(whole);
    const endless = await ctl(args);
    assert.equal(endless.code, 1);
    assert.match(endless.stderr, /the export is not complete, it has 3000 records: the export broke off/);
    reply = inPieces(whole + summary({ events: 2998, damaged: 2 }));
    assert.match((await ctl(args)).stderr, /2 records say polder_error/);
    reply = inPieces(whole + summary());
    const day = (ms) => new Date(ms).toISOString().slice(0, 10);
    const url = new URL(origin.requests.at(-1).url, origin.url);
    assert.equal(url.searchParams.get('from'), '2026-10-02'); // as long as an event may have waited
    assert.ok([day(Date.now() + 86400e3), day(Date.now() + 86400e3 - 60e3)].includes(url.searchParams.get('to')));
    await ok([...args, '--from', '2026-11-05', '--to', '2026-11-06']);
    assert.equal(origin.requests.at(-1).url, '/api/v1/accounts/00000000000000a1/events?from=2026-11-05&to=2026-11-06&marks=true');
    await ok([...args, '--to', '2026-11-06', '--type', 'order,click', '--visitor', 'a b&c/ü', '--format', 'csv', '--tallies']);
    assert.equal(origin.requests.at(-1).url, '/api/v1/accounts/00000000000000a1/events?from=2026-10-02&to=2026-11-06&marks=true&type=order%2Cclick&visitor=a%20b%26c%2F%C3%BC&format=csv&include=tally');
    await fails(2, /--format can be ndjson or csv/, [...args, '--format', 'xml']);
    await fails(2, /--resume needs the --output FILE/, [...args, '--resume']);

    // broken off within a line, and between two
    for (const cut of [line(0).length * 10 + 300, line(0).length * 10]) {
        reply = (response) => {
            response.writeHead(200, ndjson);
            response.write(whole.slice(0, cut));
            setTimeout(() => response.destroy(), 100);
        };
        const run = await ctl(args);
        assert.equal(run.code, 1);
        assert.equal(run.stdout, whole.slice(0, line(0).length * 10));
        assert.match(run.stderr, /the export is not complete, it has 10 records: the connection to the origin at .* broke off/);
    }
    // ended in order, but within a line
    reply = (response) => send(response, 200, whole.slice(0, 300), ndjson);
    const torn = await ctl(args);
    assert.equal(torn.code, 1);
    assert.equal(torn.stdout, '');
    assert.match(torn.stderr, /broke off within a line/);

    reply = (response) => refuse(response, 404, 'not-found', 'there is no account 00000000000000a1');
    await fails(1, /there is no account 00000000000000a1/, args);
    reply = (response) => send(response, 200, summary({ events: 0, held: 0 }), ndjson);
    const empty = await ctl(args);
    assert.equal(empty.code, 0);
    assert.equal(empty.stdout, '');
    assert.match(empty.stderr, /There are no such events/);
    for (const bad of ['2026-11-22T00:00:00Z', 'yesterday', '2026-13-01', '']) await fails(2, /--from must be a day such as/, [...args, `--from=${bad}`]);
});

test('events export into a file goes on where it broke off', async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'polder-export-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    const file = path.join(dir, 'events.csv');
    const state = `${file}.resume`;
    let reply;
    const origin = await scripted(t, ({ url }, response) => {
        if (url.includes('/events')) return reply(response);
        return send(response, 200, account('00000000000000a1', 'shop'));
    });
    const args = ['events', 'export', '00000000000000a1', '--origin', origin.url, '--token', 'pt_x', '--output', file, '--format', 'csv', '--from', '2026-11-01', '--to', '2026-11-02'];
    // A line end between quotes does not end a record, and what looks like a mark there is none.
    const record = (n) => `${n},"two\r\n{""polder_cursor"":""9""}\r\n{\"\"polder_summary\"\":1}\r\nlines",x\r\n`;
    const mark = (n) => `{"polder_cursor":"2.${n}"}\r\n`;
    const summary = '{"polder_summary":{"events":6,"damaged":0,"left_out":0,"held":6,"agrees":true}}\r\n';
    const header = 'n,text,last\r\n';

    reply = (response) => {
        response.writeHead(200);
        response.write(header + record(1) + record(2) + mark(2) + record(3) + mark(3) + record(4) + record(5).slice(0, 20));
        setTimeout(() => response.destroy(), 100);
    };
    const broken = await ctl(args);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /the export is not complete; the same again with --resume goes on: /);
    assert.equal(fs.readFileSync(file, 'utf8'), header + [1, 2, 3, 4].map(record).join(''));
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(JSON.parse(fs.readFileSync(state)), {
        path: '/accounts/00000000000000a1/events?from=2026-11-01&to=2026-11-02&marks=true&format=csv',
        cursor: '2.3',
        bytes: (header + [1, 2, 3].map(record).join('')).length,
        csv: true,
    });
    await fails(1, /--resume goes on with it/, args);

    // What came after the last mark comes again; other days on the command line change nothing.
    reply = (response) => send(response, 200, [4, 5, 6].map(record).join('') + summary);
    assert.equal((await ctl([...args, '--resume', '--to', '2026-11-09'])).stderr, '');
    assert.match(origin.requests.at(-1).url, /to=2026-11-02&marks=true&format=csv&cursor=2\.3$/);
    assert.equal(fs.readFileSync(file, 'utf8'), header + [1, 2, 3, 4, 5, 6].map(record).join(''));
    assert.ok(!fs.existsSync(state));
    await fails(1, /is whole: there is nothing to resume/, [...args, '--resume']);
    await fails(1, /is there already/, args);

    // A file that is not the one that was left is not written into.
    fs.rmSync(file);
    reply = (response) => {
        response.writeHead(200);
        response.write(header + record(1) + mark(1));
        setTimeout(() => response.destroy(), 100);
    };
    assert.equal((await ctl([...args, '--resume'])).code, 1); // began anew
    fs.truncateSync(file, 5);
    await fails(1, /is not as the export left it/, [...args, '--resume']);
    fs.writeFileSync(state, '{"path":"/x"}');
    await fails(1, /does not say where to go on/, [...args, '--resume']);
});

test('events export stops without a word when its reader leaves', async (t) => {
    const origin = await scripted(t, ({ url }, response) => {
        if (!url.includes('/events')) return send(response, 200, account('00000000000000a1', 'shop'));
        response.writeHead(200);
        const feed = () => { while (!response.destroyed && response.write(`${'{"n":1}\n'.repeat(1000)}`)); };
        response.on('drain', feed);
        return feed();
    });
    const child = spawn('sh', ['-c', '"$0" events export 00000000000000a1 --token pt_x --origin "$1" | head -n 2', polderctl, origin.url]);
    let out = '';
    let said = '';
    child.stdout.on('data', (text) => (out += text));
    child.stderr.on('data', (text) => (said += text));
    await new Promise((resolve) => child.on('close', resolve));
    assert.equal(out, '{"n":1}\n{"n":1}\n');
    assert.equal(said, '');
});

// ---- probe

test('probe: one line a reason, and the exit codes that monitoring reads', async (t) => {
    let reply;
    const node = await scripted(t, (_, response) => reply(response));
    const probe = async (code, stdout, url = node.url, more = []) => {
        const run = await ctl(['probe', url, ...more]);
        assert.equal(run.code, code, run.stdout + run.stderr);
        assert.match(run.stdout, stdout);
        assert.equal(run.stderr, '');
        return run.stdout;
    };
    reply = (response) => send(response, 200, { status: 'healthy', reasons: [] });
    await probe(0, /^healthy: http:\/\/127.0.0.1:\d+\/replication\n$/);
    await probe(0, /^healthy/, `${node.url}/`);
    assert.deepEqual(node.requests.map(({ url, authorization }) => [url, authorization]), [['/replication', undefined], ['/replication', undefined]]);
    reply = (response) => send(response, 200, { status: 'degraded', reasons: ['edge us is silent', 'a hole\u001b[2J'] });
    await probe(1, /^degraded: edge us is silent\ndegraded: a hole\?\[2J\n$/);
    assert.equal(JSON.parse(await probe(1, /./, node.url, ['--json'])).status, 'degraded');
    reply = (response) => send(response, 503, { status: 'down', reasons: ['the disk is full'] });
    await probe(2, /^down: the disk is full\n$/);
    // a healthy word with an unhealthy code, other answers, no answer
    reply = (response) => send(response, 503, { status: 'healthy', reasons: [] });
    await probe(2, /^down: the node answers with HTTP status 503 and no health report\n$/);
    for (const body of ['<html>', '', '[]', '{"status":"fine"}', '{"status":1}']) {
        reply = (response) => send(response, 200, body);
        await probe(2, /^down: the node answers with HTTP status 200 and no health report\n$/);
    }
    reply = (response) => response.destroy();
    await probe(2, /^down: the connection to the node at .* broke off/);
    const port = await closedPort();
    await probe(2, /^down: cannot reach the node at http:\/\/127.0.0.1:\d+\/replication: connection refused \(is it running\?\)\n$/, `http://127.0.0.1:${port}`);
    assert.equal(JSON.parse(await probe(2, /./, `http://127.0.0.1:${port}`, ['--json'])).status, 'down');
    await fails(2, /must begin with http/, ['probe', '127.0.0.1:8080']);
});

// ---- kek rotate

test('kek rotate adds a line and keeps the rest; it refuses what is no key file', async (t) => {
    const dir = tempDir(t);
    const file = path.join(dir, 'kek.key');
    const key = 'ab'.repeat(32);
    for (const before of [`${key}\n`, key, `# ours\n\n${key}\r\n${'cd'.repeat(32)}\n`]) {
        fs.writeFileSync(file, before, { mode: 0o600 });
        const said = await ok(['kek', 'rotate', file], { umask: '000' });
        const after = fs.readFileSync(file, 'utf8');
        assert.ok(after.startsWith(before));
        const added = after.slice(before.length).trim();
        assert.match(added, /^[0-9a-f]{64}$/);
        assert.match(after, /\n[0-9a-f]{64}\n$/);
        assert.equal(mode(file), '600');
        assert.match(said, /polderctl keyring rewrap/);
        assert.ok(!said.includes(added) && !said.includes(key));
    }
    const link = path.join(dir, 'link');
    fs.symlinkSync('kek.key', link);
    await ok(['kek', 'rotate', link]);
    assert.ok(fs.lstatSync(link).isSymbolicLink());
    assert.equal(fs.readFileSync(file, 'utf8').trim().split('\n').length, 6);

    const refused = async (content, pattern) => {
        fs.writeFileSync(file, content);
        await fails(1, pattern, ['kek', 'rotate', file]);
        assert.equal(fs.readFileSync(file, 'utf8'), content);
    };
    await refused('', /has no key in it/);
    await refused('# nothing\n', /has no key in it/);
    await refused(`${key}\n${key.slice(1)}\n`, /line 2 is not 64 hexadecimal digits/);
    await refused(`${key}\n`.repeat(16), /has 16 keys, as many as an origin takes/);
    fs.writeFileSync(file, key);
    fs.chmodSync(file, 0o640);
    await fails(1, /has mode 0640.*chmod 600/, ['kek', 'rotate', file]);
    await fails(1, /cannot open key-encryption key file .*nowhere: No such file/, ['kek', 'rotate', path.join(dir, 'nowhere')]);
    await fails(1, /is not a regular file/, ['kek', 'rotate', dir]);
    if (process.getuid() === 0) {
        fs.chmodSync(file, 0o600);
        fs.chownSync(file, 12345, 12345);
        await fails(1, /belongs to user #12345: run this as that user/, ['kek', 'rotate', file]);
    }
});

// ---- being called

test('wrong calls end with 2 and say what there is; help ends with 0', async () => {
    await fails(2, /Usage: polderctl \[OPTION\.\.\.\] NOUN VERB/, []);
    await fails(2, /'shop' is no command; there are: init edge account/, ['shop']);
    await fails(2, /'make' is no verb of account; it has:\n\n {2}account create NAME/, ['account', 'make']);
    await fails(2, /Usage: polderctl account/, ['account']);
    await fails(2, /unrecognized option '--nix'/, ['account', 'list', '--nix']);
    await fails(2, /--role is missing/, ['token', 'create', '--token', 'pt_x']);
    await fails(2, /polderctl config publish: expected ACCOUNT FILE/, ['config', 'publish', 'x']);
    const help = await ok(['--help']);
    const commands = [...help.matchAll(/^ {2}([a-z]+)(?: ([a-z-]+))?(?: \[?[A-Z]+\]?)* {2,}\S/gm)].map((match) => match.slice(1, 3).filter(Boolean));
    assert.ok(commands.length >= 24);
    assert.equal(commands.length, help.split('\n').filter((line) => /^ {2}[a-z]/.test(line)).length);
    for (const words of commands) {
        const text = await ok([...words, '--help']);
        assert.match(text, new RegExp(`Usage: polderctl ${words.join(' ')} `));
        assert.match(text, /Examples?:\n {2}polderctl /);
        assert.ok(text.split('\n').every((line) => line.length < 80), `polderctl ${words.join(' ')} --help is wider than a terminal`);
    }
    assert.match(await ok(['--version']), /^polderctl \d+\.\d+\.\d+\n$/);
});

// ---- with a real origin

// An origin that has just been made, and calls of it.
async function realOrigin(t) {
    const dir = tempDir(t);
    const cluster = new Cluster({ dir, bin, basePort: await freeBasePort(), startTimeoutMs: 60000 });
    t.after(async () => {
        for (const { code } of await cluster.stop()) assert.equal(code, 0, cluster.nodes.get('origin').logTail());
    });
    await cluster.init();
    await cluster.startOrigin();
    const api = { env: { POLDER_ORIGIN: cluster.url('origin') } };
    const run = (...args) => ok([...args, '--dir', dir], api);
    return { dir, cluster, api, run };
}

test('every command against a real origin', { timeout: 120000 }, async (t) => {
    const { dir, cluster, api, run } = await realOrigin(t);
    const json = async (...args) => JSON.parse(await run(...args, '--json'));
    const failing = (pattern, ...args) => fails(1, pattern, [...args, '--dir', dir], api);

    for (const [noun, word] of [['account', 'accounts'], ['edge', 'edges'], ['token', 'tokens']]) {
        assert.match(await run(noun, 'list'), new RegExp(`^There are no ${word}`));
    }
    const shop = await json('account', 'create', 'my-shop', '--regions', 'eu,us', '--origins', 'https://shop.example', '--expires-at', '2099-12-31', '--honour-dnt');
    assert.match(shop.id, /^[0-9a-f]{16}$/);
    assert.deepEqual([shop.name, shop.state, shop.regions, shop.origins, shop.honour_dnt, shop.config_version], ['my-shop', 'active', ['eu', 'us'], ['https://shop.example'], true, 0]);
    assert.match(shop.write_key, /^[0-9a-f]{32}$/);
    assert.deepEqual(await json('account', 'show', 'my-shop'), shop);
    assert.match(await run('account', 'list'), new RegExp(`^${shop.id}  my-shop  active +0  \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d  2099-12-31 00:00  ${shop.write_key}$`, 'm'));

    await failing(/my-shop has published no config yet/, 'config', 'show', 'my-shop');
    assert.match(await run('config', 'publish', 'my-shop', campaign), /^Published as version 1;/);
    assert.equal((await json('config', 'publish', shop.id, campaign)).version, 2);
    assert.deepEqual(JSON.parse(await run('config', 'show', 'my-shop', '--version', '1')), JSON.parse(fs.readFileSync(campaign, 'utf8')));
    await failing(/no such version/, 'config', 'show', 'my-shop', '--version', '9');
    assert.equal(await run('events', 'export', 'my-shop'), '');

    const edge = await json('edge', 'enroll', 'eu-1', '--region', 'eu');
    assert.equal(edge.id, yaml(path.join(dir, 'edges/eu-1/edge.yaml')).edge_id);
    await run('edge', 'enroll', 'us-1', '--region', 'us');
    assert.deepEqual((await json('edge', 'list')).edges.map(({ name, region, revoked_at: revoked }) => [name, region, revoked]), [['eu-1', 'eu', null], ['us-1', 'us', null]]);
    fs.rmSync(path.join(dir, 'edges/us-1'), { recursive: true });
    await failing(/an edge named us-1 is enrolled already; revoke it first/, 'edge', 'enroll', 'us-1', '--region', 'us');
    assert.match(await run('edge', 'revoke', 'us-1'), /^Edge us-1 \([0-9a-f]{32}\) is revoked/);
    await run('edge', 'enroll', 'us-1', '--region', 'us');
    assert.match(await run('edge', 'list'), /us-1 +us +\S+ \S+ +\d{4}-\d\d-\d\d \d\d:\d\d\n/);

    // a token: shown once, good for what its role may do, not after its end
    const owner = (await ctl(['token', 'create', '--role', 'owner', '--account', 'my-shop', '--name', 'alice', '--dir', dir], api));
    assert.match(owner.stdout, /^pt_[0-9a-f]{64}\n$/);
    assert.match(owner.stderr, /only time it is shown/);
    const asOwner = ['--token', owner.stdout.trim()];
    await ok(['config', 'show', shop.id, ...asOwner], api);
    await fails(1, /the token from --token may not do this/, ['account', 'create', 'other', ...asOwner], api);
    await fails(1, /cannot look up the account 'my-shop' by name; give its id/, ['config', 'show', 'my-shop', ...asOwner], api);
    const listed = await run('token', 'list');
    assert.match(listed, new RegExp(`alice  owner +${shop.id}`));
    assert.ok(!listed.includes('pt_'));
    await run('token', 'revoke', 'alice');
    await fails(1, /does not know the token from --token/, ['config', 'show', shop.id, ...asOwner], api);
    await fails(1, /role must be operator, owner or auditor/, ['token', 'create', '--role', 'king', '--dir', dir], api);

    assert.match(await run('account', 'expire', 'my-shop', '--at', '2090-01-01'), /^my-shop will expire at 2090-01-01 00:00 UTC\.\n$/);
    assert.match(await run('account', 'expire', 'my-shop'), /^my-shop has expired: .*\nIts data will be deleted from \d{4}-\d\d-\d\d \d\d:\d\d UTC on; until then: polderctl account reinstate [0-9a-f]{16}\n$/);
    await failing(/my-shop is expired already/, 'account', 'expire', 'my-shop');
    assert.match(await run('account', 'show', 'my-shop'), /^deletion due +\d{4}-/m);
    assert.match(await run('account', 'reinstate', 'my-shop', '--expires-at', '2095-06-01'), /^my-shop is active until 2095-06-01 00:00 UTC\.\n$/);
    assert.match(await run('account', 'reinstate', 'my-shop'), /^my-shop is active, without an end\.\n$/);

    const kek = path.join(dir, 'origin/kek.key');
    await run('kek', 'rotate', kek);
    assert.match(await run('keyring', 'rewrap'), /^2 keys are newly wrapped/);
    fs.writeFileSync(kek, `${fs.readFileSync(kek, 'utf8').split('\n')[1]}\n`); // the earlier line can go
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    assert.equal((await json('account', 'show', 'my-shop')).state, 'active');

    assert.match(await run('keyring', 'orphans'), /^Every data key in the keyring belongs to an account/);
    await fails(2, /--reason must say why/, ['keyring', 'orphans', '--destroy', '--dir', dir], api);
    await fails(2, /--reason is for --destroy/, ['keyring', 'orphans', '--reason', 'x', '--dir', dir], api);
    assert.match(await run('keyring', 'orphans', '--destroy', '--reason', 'none are left'), /^0 keys are destroyed/);

    assert.match(await run('lifecycle', 'confirm-clock', '--yes'), /^The origin believes its clock/);

    const health = await ctl(['probe', cluster.url('origin')]);
    assert.ok([0, 1].includes(health.code), health.stdout);
    await cluster.nodes.get('origin').stop();
    assert.equal((await ctl(['probe', cluster.url('origin')])).code, 2);
});

test('lifecycle confirm-clock asks before it says so', { timeout: 120000, skip: noFakeClock }, async (t) => {
    const { dir, cluster, api, run } = await realOrigin(t);
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin(shiftedClock(dir, 3 * 86400));
    const doubt = await until('the clock is doubted', 10000, async () => {
        const asked = await ctl(['lifecycle', 'confirm-clock', '--dir', dir], api);
        return asked.code !== 0 && asked;
    });
    assert.equal(doubt.code, 2);
    assert.match(doubt.stdout, /doubts its clock: the clock shows \S+ where \S+ or a day more was expected[^]*nobody can bring that back/);
    assert.match(doubt.stderr, /nothing was confirmed: repeat it with --yes/);
    assert.match(await run('lifecycle', 'confirm-clock', '--yes'), /^The origin doubts[^]*^Confirmed\./m);
    await until('the clock is believed', 70000, async () => (await run('lifecycle', 'confirm-clock')).startsWith('The origin believes'));
});

test('the nodes take the configurations as they are written', async (t) => {
    const dir = path.join(tempDir(t), `a "b" \\c #d: 'e' \u00fc\n%s`);
    await ok(['init', dir]);
    const origin = await scripted(t, admitted);
    await ok(['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir, '--origin', origin.url]);
    for (const [program, file] of [['polder-origin', 'origin/origin.yaml'], ['polder-edge', 'edges/eu/edge.yaml']]) {
        const run = spawnSync(path.join(bin, program), ['--check-config', '--config', path.join(dir, file)], { encoding: 'utf8' });
        assert.equal(run.status, 0, `${program}: ${run.stderr}`);
    }
});
