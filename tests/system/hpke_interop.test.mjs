// HPKE and blocks against an independent implementation (@hpke/core, @hpke/dhkem-x25519), both
// ways. The block reader and writer below know nothing but proto/wire/SPEC.md.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Aes128Gcm, Aes256Gcm, CipherSuite, HkdfSha256 } from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';

const root = path.resolve(import.meta.dirname, '../..');
const build = [process.env.POLDER_BUILD_DIR, 'build/address', 'build/release']
    .filter(Boolean)
    .map((dir) => path.resolve(root, dir))
    .find((dir) => existsSync(path.join(dir, 'hpke_tool')));
assert.ok(build, 'hpke_tool is not built; set POLDER_BUILD_DIR or run tests/run');

const hex = (bytes) => Buffer.from(bytes).toString('hex') || '-';
const unhex = (text) => (text === '-' ? Buffer.alloc(0) : Buffer.from(text, 'hex'));

// Runs the tool; the answer lines to the given lines.
function tool(args, lines) {
    const run = spawnSync(path.join(build, 'hpke_tool'), args.map(String), {
        input: lines.map((line) => line.join(' ') + '\n').join(''),
        encoding: 'utf8',
        maxBuffer: 64 << 20,
    });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout.trimEnd().split('\n');
}

const kem = new DhkemX25519HkdfSha256();
const suites = [
    { id: 1, name: 'AES-128-GCM', suite: new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes128Gcm() }) },
    { id: 2, name: 'AES-256-GCM', suite: new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() }) },
];
const blockSuite = suites[1].suite;

async function keyPair() {
    const pair = await kem.generateKeyPair();
    return {
        ...pair,
        secretBytes: Buffer.from(await kem.serializePrivateKey(pair.privateKey)),
        publicBytes: Buffer.from(await kem.serializePublicKey(pair.publicKey)),
    };
}

// Lengths around the edges of AES blocks, and one larger than a page.
const lengths = [0, 1, 15, 16, 17, 255, 5000];

for (const { id, name, suite } of suites) {
    test(`${name}: what Polder seals, the other side opens`, async () => {
        const [origin, edge] = [await keyPair(), await keyPair()];
        const info = randomBytes(39);
        const messages = lengths.map((n) => ({ aad: randomBytes(n % 200), plain: randomBytes(n) }));
        const [enc, ...answers] = tool(
            ['seal', id, hex(origin.publicBytes), hex(edge.secretBytes), hex(info)],
            messages.map((m) => [hex(m.aad), hex(m.plain)]),
        );
        const recipient = await suite.createRecipientContext({
            recipientKey: origin.privateKey,
            senderPublicKey: edge.publicKey,
            enc: unhex(enc),
            info,
        });
        for (const [i, m] of messages.entries()) {
            const plain = await recipient.open(unhex(answers[i]), m.aad);
            assert.deepEqual(Buffer.from(plain), m.plain);
        }
    });

    test(`${name}: what the other side seals, Polder opens, in any order`, async () => {
        const [origin, edge, stranger] = [await keyPair(), await keyPair(), await keyPair()];
        const info = randomBytes(39);
        const sender = await suite.createSenderContext({
            recipientPublicKey: origin.publicKey,
            senderKey: edge,
            info,
        });
        const sealed = [];
        for (const [sequence, n] of lengths.entries()) {
            const [aad, plain] = [randomBytes(n % 200), randomBytes(n)];
            sealed.push({ sequence, aad, plain, body: await sender.seal(plain, aad) });
        }
        sealed.reverse();
        const lines = sealed.map((s) => [s.sequence, hex(s.aad), hex(s.body)]);
        const keys = [hex(sender.enc), hex(origin.secretBytes)];
        assert.deepEqual(
            tool(['open', id, ...keys, hex(edge.publicBytes), hex(info)], lines),
            sealed.map((s) => hex(s.plain)),
        );
        for (const answer of tool(['open', id, ...keys, hex(stranger.publicBytes), hex(info)], lines)) {
            assert.equal(answer, 'refused: not-authentic');
        }
    });
}

// SPEC.md, "Block".
const fields = [
    ['magic', 4], ['edge', 16], ['incarnation', 16], ['number', 8], ['previous_hash', 32],
    ['events', 4], ['plain_bytes', 4], ['sealed_ms', 8], ['seal_key_id', 8], ['enc', 32],
    ['sequence', 8], ['sealed_bytes', 4],
];

function parseBlock(block) {
    const header = {};
    let at = 0;
    for (const [name, bytes] of fields) {
        header[name] = block.subarray(at, (at += bytes));
    }
    assert.equal(at, 144);
    return { header, aad: block.subarray(0, 144), body: block.subarray(144) };
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const keyId = (publicBytes) => sha256(publicBytes).subarray(0, 8);
const blockInfo = (edgeId, origin) => Buffer.concat([Buffer.from('polder block v1'), edgeId, keyId(origin.publicBytes)]);
const u32 = (v) => { const b = Buffer.alloc(4); b.writeUInt32BE(v); return b; };
const u64 = (v) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(v)); return b; };
const zstd = (args, input) => execFileSync('zstd', ['-q', '-c', ...args], { input, maxBuffer: 64 << 20 });

test('a chain of Polder blocks is read with nothing but the specification', async () => {
    const [origin, edge] = [await keyPair(), await keyPair()];
    const [edgeId, incarnation] = [randomBytes(16), randomBytes(16)];
    const before = Date.now();
    const plains = ['a first event', 'another event '.repeat(1000)].map((s) => Buffer.from(s));
    let previous = Buffer.alloc(32);
    const args = ['block', hex(edgeId), hex(edge.secretBytes), hex(origin.publicBytes), hex(incarnation)];
    // One run a block, because each names the hash of the one before.
    for (const [number, plain] of plains.entries()) {
        const [answer] = tool(args, [[number, hex(previous), number + 1, hex(plain)]]);
        const [block, hash] = answer.split(' ').map(unhex);
        const { header, aad, body } = parseBlock(block);
        assert.equal(header.magic.toString(), 'PLB1');
        assert.deepEqual(header.edge, edgeId);
        assert.deepEqual(header.incarnation, incarnation);
        assert.deepEqual(header.number, u64(number));
        assert.deepEqual(header.previous_hash, previous);
        assert.deepEqual(header.events, u32(number + 1));
        assert.deepEqual(header.plain_bytes, u32(plain.length));
        const sealedMs = Number(header.sealed_ms.readBigInt64BE());
        assert.ok(sealedMs >= before && sealedMs <= Date.now(), `sealed at ${sealedMs}`);
        assert.deepEqual(header.seal_key_id, keyId(origin.publicBytes));
        assert.deepEqual(header.sequence, u64(0));
        assert.deepEqual(header.sealed_bytes, u32(body.length));
        const recipient = await blockSuite.createRecipientContext({
            recipientKey: origin.privateKey,
            senderPublicKey: edge.publicKey,
            enc: header.enc,
            info: blockInfo(edgeId, origin),
        });
        assert.deepEqual(zstd(['-d'], Buffer.from(await recipient.open(body, aad))), plain);
        assert.deepEqual(sha256(block), hash);
        previous = hash;
    }
});

test('a block written from the specification is opened by Polder', async () => {
    const [origin, edge] = [await keyPair(), await keyPair()];
    const edgeId = randomBytes(16);
    const sender = await blockSuite.createSenderContext({
        recipientPublicKey: origin.publicKey,
        senderKey: edge,
        info: blockInfo(edgeId, origin),
    });
    const blocks = [];
    const plains = [Buffer.from('x'), randomBytes(1000), Buffer.from('much the same '.repeat(20000))];
    for (const [number, plain] of plains.entries()) {
        const body = zstd(['-3'], plain);
        const aad = Buffer.concat([
            Buffer.from('PLB1'), edgeId, Buffer.alloc(16, 7), u64(number),
            number === 0 ? Buffer.alloc(32) : sha256(blocks[number - 1]),
            u32(1), u32(plain.length), u64(Date.now()), keyId(origin.publicBytes),
            Buffer.from(sender.enc), u64(number), u32(body.length + 16),
        ]);
        blocks.push(Buffer.concat([aad, Buffer.from(await sender.seal(body, aad))]));
    }
    const args = ['open-block', hex(edgeId), hex(edge.publicBytes), hex(origin.secretBytes)];
    assert.deepEqual(tool(args, blocks.map((b) => [hex(b)])), plains.map(hex));
    const altered = blocks.map((block) => {
        const copy = Buffer.from(block);
        copy[copy.length - 1] ^= 1;
        return [hex(copy)];
    });
    assert.deepEqual(tool(args, altered), altered.map(() => 'refused: not-authentic'));
});
