// The end of an account on real binaries: on request and at once, with the origin killed again and
// again meanwhile and an edge away; neighbours keep every byte, nothing comes back, and no file of
// any node, or of a copy made before, gives anything away.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createDecipheriv } from 'node:crypto';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import path from 'node:path';
import { startCluster, postBatch, trackEvent, exportedIds, until, untilServed, bin } from './lib/fixture.mjs';
import { post } from './lib/http.mjs';

const KILLS = 6;
const DELETED_MS = 120000; // under sanitizers, on a busy machine

const events = (count, fields) => Array.from({ length: count }, () => trackEvent(fields));

async function makeAccount(cluster, name, edges) {
    const account = await cluster.ctlJson('account', 'create', name);
    await Promise.all(edges.map((edge) => untilServed(cluster, edge, account, 0)));
    return account;
}

const rawExport = (cluster, account) => cluster.ctl('events', 'export', account.id);
const show = (cluster, account) => cluster.ctlJson('account', 'show', account.id);
const progress = (cluster, account) => cluster.ctlJson('account', 'deletion', account.id);

const untilDeleted = (cluster, account, timeoutMs = DELETED_MS) =>
    until('the account is deleted', timeoutMs, async () => (await show(cluster, account)).state === 'deleted');

async function requestAndConfirm(cluster, account) {
    const asked = await cluster.ctlJson('account', 'delete', account.id, '--reason', 'contract ended, ticket 4711');
    assert.equal(asked.state, 'active');
    assert.match(asked.deletion_request, /^[0-9a-f]{32}$/);
    await assert.rejects(cluster.ctl('account', 'confirm-delete', account.id, 'f'.repeat(32)), /nobody asked/);
    return asked.deletion_request;
}

// Late events, retries and the old write key: nothing of it is taken.
async function assertNothingComesBack(cluster, edges, account, sent) {
    for (const edge of edges) {
        await until(`${edge} refuses the old key`, 10000, async () => {
            const status = await postBatch(cluster.url(edge), account.write_key, sent);
            return [401, 403, 410].includes(status);
        });
        const config = await fetch(`${cluster.url(edge)}/v1/config/${account.write_key}`);
        assert.ok([404, 410].includes(config.status), `config: ${config.status}`);
        await config.arrayBuffer();
    }
    await assert.rejects(rawExport(cluster, account), 'there is nothing to export');
    await assert.rejects(cluster.ctl('account', 'reinstate', account.id), /cannot come back/);
    const after = await show(cluster, account);
    assert.equal(after.name, '');
    assert.equal(after.write_key, null);
    assert.deepEqual(after.origins, []);
}

test('on request, in two steps, with the origin killed again and again: neighbours keep every byte', { timeout: 400000 }, async (t) => {
    const edges = ['eu', 'us'];
    const { cluster, account: leaver } = await startCluster(t, { edges });
    const neighbour = await makeAccount(cluster, 'neighbour', edges);
    const sent = events(40);
    for (const edge of edges) {
        for (const account of [leaver, neighbour]) {
            assert.equal(await postBatch(cluster.url(edge), account.write_key, account === leaver ? sent : events(40)), 200);
        }
    }
    await cluster.untilSettled(edges, 30000);
    const before = await rawExport(cluster, neighbour);
    assert.equal(before.trim().split('\n').length, 80);
    assert.equal((await exportedIds(cluster, leaver)).size, 40);

    const request = await requestAndConfirm(cluster, leaver);
    await delay(1500);
    assert.equal((await exportedIds(cluster, leaver)).size, 40, 'a request deletes nothing');
    await cluster.ctl('account', 'confirm-delete', leaver.id, request);

    const origin = cluster.nodes.get('origin');
    let state = 'deleting';
    for (let kill = 0; kill < KILLS && state !== 'deleted'; kill++) {
        await delay(Math.random() * 600);
        await origin.kill();
        if (kill === 2) {
            await cluster.nodes.get('us').kill();
            await cluster.startEdge('us', { ready: false });
        }
        await cluster.startOrigin();
        state = (await show(cluster, leaver)).state;
        assert.ok(['deleting', 'deleted'].includes(state), state);
        assert.equal(await rawExport(cluster, neighbour), before, 'byte for byte');
    }
    await untilDeleted(cluster, leaver);
    assert.equal(await rawExport(cluster, neighbour), before, 'byte for byte');

    const certificate = JSON.stringify(await cluster.ctlJson('certificate', 'show', leaver.id));
    assert.match(certificate, new RegExp(leaver.id));
    assert.doesNotMatch(certificate, /test-shop/);
    const { steps, counts } = await progress(cluster, leaver);
    const times = Object.values(steps);
    assert.equal(times.length, 8);
    assert.deepEqual(times, times.toSorted(), 'in the order of the steps');
    assert.ok(counts.find(({ kind }) => kind === 'events').items > 0);
    await assertNothingComesBack(cluster, edges, leaver, sent);

    // And the others go on.
    const late = events(5);
    assert.equal(await postBatch(cluster.url('us'), neighbour.write_key, late), 200);
    await until('the neighbour goes on', 30000, async () => {
        const ids = await exportedIds(cluster, neighbour);
        return late.every((event) => ids.get(event.messageId) === 1);
    });
    await cluster.untilSettled(edges, 30000);
});

test('at once, while an edge is away with blocks of it: waited for, others not kept waiting, late blocks dropped', { timeout: 300000 }, async (t) => {
    const edges = ['eu', 'us'];
    const { cluster, account: leaver } = await startCluster(t, { edges });
    const neighbour = await makeAccount(cluster, 'neighbour', edges);
    await assert.rejects(cluster.ctl('account', 'delete', leaver.id, '--now'), /--reason/);

    // What is accepted while the origin is off stays at the edges.
    await cluster.nodes.get('origin').kill();
    const early = events(20), others = events(20);
    assert.equal(await postBatch(cluster.url('us'), leaver.write_key, early), 200);
    assert.equal(await postBatch(cluster.url('us'), neighbour.write_key, others), 200);
    await cluster.nodes.get('us').kill();
    await cluster.startOrigin();

    // What is taken back cannot be confirmed any more.
    const taken = await cluster.ctlJson('account', 'delete', leaver.id, '--reason', 'by mistake');
    assert.match(await cluster.ctl('account', 'keep', leaver.id), /stays/);
    await assert.rejects(cluster.ctl('account', 'confirm-delete', leaver.id, taken.deletion_request), /nobody asked/);
    const hold = await cluster.ctlJson('account', 'hold', leaver.id, '--reason', 'a dispute', '--from', '2026-01-01', '--to', '2026-12-31');
    assert.match(await cluster.ctl('account', 'holds', leaver.id), new RegExp(`${hold.id} +2026-01-01 +2026-12-31 .*a dispute`));
    await assert.rejects(cluster.ctl('account', 'delete', leaver.id, '--reason', 'x', '--now'), /a dispute/);
    await cluster.ctl('account', 'release', leaver.id, hold.id, '--reason', 'settled');
    await cluster.ctl('account', 'delete', leaver.id, '--reason', 'ticket 4712', '--now');
    const waiting = await until('it waits for the edge that is away', 60000, async () => {
        const said = await progress(cluster, leaver);
        return said.step === 'physically_gone' && said.edges.find(({ name }) => name === 'us')?.state === 'waiting' && said;
    });
    assert.equal(waiting.state, 'deleting');
    assert.match(await cluster.ctl('account', 'deletion', leaver.id), /us .*waiting/);
    assert.equal((await fetch(`${cluster.url('origin')}/ready`)).status, 200, 'waiting is no fault');

    // Another account ends by its date meanwhile, and a third collects.
    const dated = await cluster.ctlJson('account', 'create', 'dated', '--expires-at', new Date(Date.now() + 4000).toISOString());
    await until('the other account has expired', 20000, async () => (await show(cluster, dated)).state === 'expired');
    assert.equal((await show(cluster, leaver)).state, 'deleting');

    await cluster.startEdge('us');
    await untilDeleted(cluster, leaver);
    await until('the late blocks are in the books', 30000, async () => (await cluster.books(edges)).settled);
    const ids = await exportedIds(cluster, neighbour);
    for (const event of others) assert.equal(ids.get(event.messageId), 1, 'what was the neighbour\'s is stored');
    await assertNothingComesBack(cluster, edges, leaver, early);
    assert.match(await cluster.ctl('audit', 'export'), /"action":"account\.delete"/);
});

// ---- the bytes

function filesBelow(dir) {
    return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
        const file = path.join(dir, entry.name);
        if (entry.isDirectory()) return filesBelow(file);
        return entry.isFile() ? [{ file, bytes: readFileSync(file) }] : [];
    });
}

const isKeyring = ({ bytes }) => bytes.subarray(0, 8).toString() === 'POLDERKR';

// Wrappings in a keyring's files, by subject and id (SPEC.md, "Keyring file"); those that are
// destroyed are zeros and not among them.
function wrappings(files) {
    const found = new Map();
    for (const { bytes } of files.filter(isKeyring)) {
        for (let at = 32; at + 4 <= bytes.length;) {
            const length = bytes.readUInt32BE(at), record = bytes.subarray(at + 4, at + 4 + length);
            at += 4 + length;
            if (record[0] > 2) continue;
            const wrap = record.subarray(18 + 8 + 32 + 32, 18 + 8 + 32 + 32 + 60);
            if (!wrap.every((byte) => byte === 0)) found.set(record.subarray(1, 10).toString('hex'), wrap);
        }
    }
    return found;
}

function unwrap(kek, name, wrap) {
    const open = createDecipheriv('aes-256-gcm', kek, wrap.subarray(0, 12));
    open.setAAD(Buffer.concat([Buffer.from('polder key'), Buffer.from(name, 'hex')]));
    open.setAuthTag(wrap.subarray(44));
    return Buffer.concat([open.update(wrap.subarray(12, 44)), open.final()]);
}

function readKek(files) {
    const text = files.find(({ file }) => path.basename(file) === 'kek.key').bytes.toString();
    return Buffer.from(text.trim().split('\n').pop(), 'hex');
}

const holders = (files, needle) => files.filter(({ bytes }) => bytes.includes(needle)).map(({ file }) => file);

// Where rows of an origin that has stopped name the account.
function families(cluster, account) {
    const config = path.join(cluster.dir, 'origin', 'origin.yaml');
    const rows = execFileSync(path.join(bin, 'find_rows'), [config, account.id], { encoding: 'utf8' });
    return [...new Set(rows.trim().split('\n'))].sort();
}

test('no file of any node, or of a copy made before, holds a marker, the key, or what could be opened', { timeout: 300000 }, async (t) => {
    const edges = ['eu', 'us'];
    const { cluster, account: leaver, dir } = await startCluster(t, { edges });
    const neighbour = await makeAccount(cluster, 'neighbour', edges);
    const marker = 'MARKER-7f3a', mine = { event: `${marker}-event`, anonymousId: `${marker}-visitor`, userId: `${marker}-user`, properties: { note: `${marker}-note` } };
    for (const edge of edges) {
        assert.equal(await postBatch(cluster.url(edge), leaver.write_key, events(50, mine)), 200);
        assert.equal(await postBatch(cluster.url(edge), neighbour.write_key, events(50)), 200);
    }
    // Something of every kind: an opt-out, an erasure, a token, a hold, a config.
    assert.equal((await post(`${cluster.url('eu')}/v1/optout`, { writeKey: leaver.write_key, anonymousId: `${marker}-opted-out` }, { Origin: 'https://www.shop.example' })).status, 200);
    await cluster.untilSettled(edges, 30000);
    await cluster.ctl('visitor', 'erase', leaver.id, `${marker}-erased`);
    await cluster.ctl('token', 'create', '--role', 'owner', '--account', leaver.id);
    const hold = await cluster.ctlJson('account', 'hold', leaver.id, '--reason', 'a dispute');
    await cluster.ctl('account', 'release', leaver.id, hold.id, '--reason', 'settled');
    assert.match(await rawExport(cluster, leaver), new RegExp(`${marker}-note`));

    // What a backup of the database has: all of it but the keyring, which has copies of its own.
    await cluster.nodes.get('origin').stop();
    const before = filesBelow(dir), kek = readKek(before), name = `01${leaver.id}`;
    const wrapped = wrappings(before).get(name), bare = unwrap(kek, name, wrapped);
    assert.ok(holders(before, wrapped).length >= 2, 'on two paths');
    const data = path.join(dir, 'origin', 'data'), backup = path.join(dir, 'backup');
    cpSync(data, backup, { recursive: true });
    assert.ok(filesBelow(backup).some(({ bytes }) => bytes.includes(Buffer.from(leaver.id, 'hex'))), 'the copy has its rows');
    for (const family of ['vault', 'dedupe', 'links', 'suppressions', 'erasures', 'days', 'tokens', 'holds', 'changes', 'accounts']) {
        assert.ok(families(cluster, leaver).includes(family), `it has rows in ${family}`);
    }
    await cluster.startOrigin();

    await cluster.ctl('account', 'delete', leaver.id, '--reason', 'ticket 4713', '--now');
    await untilDeleted(cluster, leaver);
    await cluster.stop();

    // What names it any more: its record, what was done to it, its certificate, its tombstone.
    assert.deepEqual(families(cluster, leaver), ['accounts', 'certificates', 'changes', 'records']);

    const files = filesBelow(dir);
    for (const [what, needle] of [['a marker', marker], ['the wrapped key', wrapped], ['the bare key', bare], ['the bare key in hex', bare.toString('hex')]]) {
        assert.deepEqual(holders(files, needle), [], what);
    }
    // Its web address and its name are nowhere but in the copy.
    const live = files.filter(({ file }) => !file.startsWith(backup) && !file.includes('/log/'));
    assert.deepEqual(holders(live, leaver.write_key), []);
    assert.deepEqual(holders(live, Buffer.from(leaver.write_key, 'hex')), []);
    // What the copy holds was sealed with a key that no keyring has any more.
    const left = [...wrappings(files)].map(([other, wrap]) => unwrap(kek, other, wrap));
    assert.ok(left.length >= 2, 'the neighbour\'s key and a sealing key are there');
    assert.ok(left.every((key) => !key.equals(bare)));
    assert.ok(wrappings(files).has(`01${neighbour.id}`));
    assert.ok(!wrappings(files).has(name));
});
