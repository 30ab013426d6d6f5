// A certificate of deletion in the hands of somebody who has nothing but the file, the origin's
// public key, and polderctl or openssl.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, createSign } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../../deploy/demo/cluster.mjs';
import { bin } from './lib/fixture.mjs';

let dir, certificate;
const inDir = (name) => path.join(dir, name);

before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'polder-certificate-'));
    for (const key of ['sign.key', 'other.key']) {
        execFileSync('openssl', ['ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', inDir(key)]);
        fs.chmodSync(inDir(key), 0o600);
        execFileSync('openssl', ['ec', '-in', inDir(key), '-pubout', '-out', inDir(key.replace('.key', '.pub'))], { stdio: 'ignore' });
    }
    execFileSync(path.join(bin, 'certificate_tool'), [dir]);
    certificate = fs.readFileSync(inDir('certificate.json'));
});

after(() => fs.rmSync(dir, { recursive: true, force: true }));

function verify(file, ...more) {
    return new Promise((resolve) => {
        execFile(path.join(bin, 'polderctl'), ['certificate', 'verify', file, ...more], (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
    });
}

// Writes the bytes beside the others and verifies them.
let files = 0;
async function verifyBytes(bytes, key = 'sign.pub') {
    const file = inDir(`changed-${files++}.json`);
    fs.writeFileSync(file, bytes);
    const said = await verify(file, '--key', inDir(key));
    fs.rmSync(file);
    return said;
}

// Code blocks of SPEC.md's section.
function specCommands() {
    const spec = fs.readFileSync(path.join(root, 'proto/wire/SPEC.md'), 'utf8');
    const section = spec.split(/^## /m).find((part) => part.startsWith('Certificate of deletion'));
    return [...section.matchAll(/```sh\n([^]*?)```/g)].map((match) => match[1]);
}

const shell = (text) => spawnSync('sh', ['-ec', text], { cwd: dir, encoding: 'utf8' });

test('polderctl verifies it without an origin and says what it says', async () => {
    const { code, stdout, stderr } = await verify(inDir('certificate.json'), '--key', inDir('sign.pub'));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /certificate is good/);
    assert.match(stdout, /keyring's record of the data key's destruction/);
    assert.match(stdout, /account +0123456789abcdef/);
    assert.match(stdout, /12345 events, 6789000 bytes/);
    assert.match(stdout, /links, which could not be counted/);
    assert.match(stdout, /eu-1 \(eu\) confirmed 2026-02-21/);
    assert.match(stdout, /us-1 \(us\) WRITTEN OFF 2026-03-27/);
    assert.match(stdout, /late +by 1 day,/);
    assert.match(stdout, new RegExp(`^signed by key +${JSON.parse(certificate).signed.signer}$`, 'm'));
    assert.match(stdout, /^Method:\n.*that is the operator's word, for nothing can observe it\.$/m);
    assert.match(stdout, /hold from 2026-01-21 .* until 2026-02-10 .*: § 147 AO/);
    assert.match(stdout, /clock not believed from 2026-03-02 .*two edges agreed/);
    const said = JSON.parse((await verify(inDir('certificate.json'), '--key', inDir('sign.pub'), '--json')).stdout);
    assert.equal(said.good, true);
    assert.equal(said.key_destruction_verified, true);
});

test('the key may come as an X.509 certificate', async () => {
    execFileSync('openssl', ['req', '-x509', '-new', '-key', inDir('sign.key'), '-subj', '/CN=origin', '-days', '2', '-out', inDir('sign.crt')]);
    assert.equal((await verify(inDir('certificate.json'), '--key', inDir('sign.crt'))).code, 0);
});

test('the whole file is JSON, and no name of the account is in it', () => {
    const { signed } = JSON.parse(certificate);
    assert.equal(signed.polder, 'certificate of deletion');
    assert.equal(signed.account, '0123456789abcdef');
    assert.equal(signed.data_key.last_backup_ends.length, 10);
});

test("SPEC.md's openssl commands verify it, and refuse what was changed", () => {
    const [commands] = specCommands();
    const good = shell(commands.replaceAll('origin.pub', 'sign.pub'));
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stdout, /Verified OK/);
    const other = shell(commands.replaceAll('origin.pub', 'other.pub'));
    assert.notEqual(other.status, 0);
    fs.writeFileSync(inDir('changed.json'), certificate.toString().replace('12345', '12346'));
    const changed = shell(commands.replaceAll('origin.pub', 'sign.pub').replaceAll('certificate.json', 'changed.json'));
    assert.notEqual(changed.status, 0);
    assert.match(changed.stdout + changed.stderr, /Verification [Ff]ailure/);
});

test("SPEC.md's commands verify the keyring's record of the key's destruction", () => {
    const commands = specCommands();
    const good = shell(commands.join('\n').replaceAll('origin.pub', 'sign.pub'));
    assert.equal(good.status, 0, good.stderr);
    assert.equal(good.stdout.match(/Verified OK/g).length, 2);
});

test('polderctl refuses changed bytes all over the file', async () => {
    const step = Math.ceil(certificate.length / 120);
    const places = [];
    for (let at = 0; at < certificate.length; at += step) places.push(at);
    places.push(certificate.length - 1);
    while (places.length) {
        await Promise.all(places.splice(0, 4).map(async (at) => {
            const bytes = Buffer.from(certificate);
            bytes[at] ^= 1;
            const { code, stdout, stderr } = await verifyBytes(bytes);
            assert.equal(code, 1, `byte ${at}`);
            assert.equal(stdout, '');
            assert.match(stderr, /does not verify|no signed document/);
        }));
    }
    for (const bytes of [Buffer.concat([certificate, Buffer.from('\n')]), certificate.subarray(0, -1), Buffer.from(JSON.stringify(JSON.parse(certificate)))]) {
        assert.equal((await verifyBytes(bytes)).code, 1);
    }
});

test('a program hears that it is not good, too', async () => {
    const { code, stdout } = await verify(inDir('certificate.json'), '--key', inDir('other.pub'), '--json');
    assert.equal(code, 1);
    assert.deepEqual(JSON.parse(stdout), { good: false });
});

test('another key is named beside the one that signed', async () => {
    const { signed } = JSON.parse(certificate);
    const { code, stderr } = await verifyBytes(certificate, 'other.pub');
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`signed by key ${signed.signer} while the one given is [0-9a-f]{16}`));
});

// r and s of a DER signature, 32 bytes each.
function twoNumbers(der) {
    const rEnd = 4 + der[3];
    return Buffer.concat([der.subarray(4, rEnd), der.subarray(rEnd + 2)].map((n) => Buffer.concat([Buffer.alloc(32), n]).subarray(-32)));
}

// What the origin's key signs is not what makes a certificate: the key signs other things, too.
function resign(change) {
    const { signed } = JSON.parse(certificate);
    change(signed);
    const line = `${JSON.stringify(signed)}\n`;
    const key = createPrivateKey(fs.readFileSync(inDir('sign.key')));
    // SPEC.md asks for the smaller s, which every second signature has.
    const half = Buffer.from('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'hex');
    const isLow = () => Buffer.compare(twoNumbers(signature).subarray(32), half) <= 0;
    let signature;
    do signature = createSign('sha256').update(line).sign(key);
    while (!isLow());
    return `{"signed":\n${line},"signature":"${signature.toString('base64')}"}\n`;
}

test('what others write by SPEC.md verifies; what is signed and no certificate does not', async () => {
    assert.equal((await verifyBytes(resign(() => {}))).code, 0);
    const kind = await verifyBytes(resign((signed) => (signed.polder = 'receipt')));
    assert.equal(kind.code, 1);
    assert.match(kind.stderr, /no certificate of deletion/);
    const version = await verifyBytes(resign((signed) => (signed.version = 2)));
    assert.equal(version.code, 1);
    assert.match(version.stderr, /version 2/);
    const record = await verifyBytes(resign((signed) => (signed.data_key.reason = 'another reason')));
    assert.equal(record.code, 1);
    assert.match(record.stderr, /keyring's record .* does not verify/);
    const account = await verifyBytes(resign((signed) => (signed.account = '0123456789abcdee')));
    assert.equal(account.code, 1);
});

test('a missing key, a private key and a missing file are told apart', async () => {
    const none = await verify(inDir('certificate.json'));
    assert.equal(none.code, 2);
    assert.match(none.stderr, /--key is missing/);
    const secret = await verify(inDir('certificate.json'), '--key', inDir('sign.key'));
    assert.equal(secret.code, 1);
    assert.match(secret.stderr, /-pubout/);
    assert.match((await verify(inDir('absent.json'), '--key', inDir('sign.pub'))).stderr, /absent\.json/);
});
