// polderctl edge enroll: what it writes, what it sends, what it leaves behind.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { tempDir, ok, fails, scripted, refuse, closedPort, tree, mode, openssl, yaml, admitted } from './lib/polderctl.mjs';

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

test('an edge reaches the origin on the host that init was given', async (t) => {
    const origin = await scripted(t, admitted);
    const everywhere = (dir, address, port) => {
        const file = path.join(dir, 'origin/origin.yaml');
        fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/^link_listen: .*$/m, `link_listen: "tls+tcp://${address}:${port}"`));
    };
    const url = async (dir) => {
        await ok(['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir, '--origin', origin.url]);
        return yaml(path.join(dir, 'edges/eu/edge.yaml')).origin_url;
    };
    const named = tempDir(t);
    await ok(['init', named, '--host', 'origin.example.eu', '--base-port', '20400']);
    assert.equal(await url(named), 'tls+tcp://origin.example.eu:20410');
    for (const [host, address, is] of [['origin.example.eu', '[::]', 'origin.example.eu'], ['192.0.2.7', '0.0.0.0', '192.0.2.7'], ['2001:db8::7', '*', '[2001:db8::7]'], ['192.0.2.7', '192.0.2.8', '192.0.2.8']]) {
        const dir = tempDir(t);
        await ok(['init', dir, '--host', host]);
        everywhere(dir, address, 9999);
        assert.equal(await url(dir), `tls+tcp://${is}:9999`);
    }
    // Without one nobody knows, unless it is said.
    {
        const dir = tempDir(t);
        await ok(['init', dir]);
        everywhere(dir, '0.0.0.0', 8090);
        await fails(1, /link_listen in .*origin.yaml is every address.*name the address .* --link/, ['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir, '--origin', origin.url]);
        fs.rmSync(path.join(dir, 'origin/link.crt'));
        await fails(1, /link_listen in .*origin.yaml is every address/, ['edge', 'enroll', 'eu', '--region', 'eu', '--dir', dir, '--origin', origin.url]);
    }
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
