// polderctl init, certificates and kek: the files it makes and keeps.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { bin } from './lib/fixture.mjs';
import { noFakeClock, shiftedClock } from './lib/clock.mjs';
import { polderctl, tempDir, ok, fails, scripted, tree, mode, openssl, yaml, admitted } from './lib/polderctl.mjs';

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
    assert.match(await ok(['certificates', 'renew', '--dir', dir], { env: soon }), /the origin and 1 edge below/);
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
    assert.deepEqual(JSON.parse(await ok(['certificates', 'renew', '--json', '--dir', dir, '--host', '192.0.2.7'], { env: soon })), { renewed: 3, ca: 1, origin: 1, edges: 1 });
    assert.equal(read()['origin/link.crt'].subjectAltName, 'DNS:origin.polder, IP Address:127.0.0.1, IP Address:192.0.2.7');
    await fails(2, /--dir is missing/, ['certificates', 'renew']);
    await fails(2, /--host must be/, ['certificates', 'renew', '--dir', dir, '--host', 'a b']);
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
    assert.deepEqual(JSON.parse(await ok(['init', dir, '--json'])), { dir });
    assert.equal(yaml(path.join(dir, 'origin/origin.yaml')).data_dir, `${dir}/origin/data`);
});

test('init refuses what it cannot use', async (t) => {
    const dir = path.join(tempDir(t), 'new');
    for (const port of ['0', '65526', '-1', 'x', '80 ', '']) await fails(2, /--base-port must be a whole number from 1 to 65525/, ['init', dir, `--base-port=${port}`]);
    for (const host of ['0.0.0.0', '::', '0:0::0']) await fails(2, /--host must be where edges reach the origin; '.*' is every address, which none can dial/, ['init', dir, `--host=${host}`]);
    for (const host of ['999.1.1.1', '1.2.3', 'host.7', '', 'a b', 'ex_ample', '-a.example', 'a..b', 'http://x', '1.2.3.4:80']) {
        await fails(2, /--host must be an IP address or a DNS name/, ['init', dir, `--host=${host}`]);
    }
    await fails(2, /expected DIR/, ['init']);
    await fails(2, /'two' is one argument too many/, ['init', dir, 'two']);
    await fails(1, /name is empty/, ['init', '']);
    await fails(1, /too long/, ['init', `/tmp/${'x'.repeat(2000)}`]);
    assert.ok(!fs.existsSync(dir));
});

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
