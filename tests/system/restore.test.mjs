// A restored database undoes nothing: whoever had said no, was erased, revoked or deleted since the
// copy was made is so again before the first request is answered, and edges start over.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { startCluster, trackEvent, postBatch, exported, until, untilServed, bin } from './lib/fixture.mjs';
import { post } from './lib/http.mjs';

async function api(cluster, method, route, body, token = cluster.token) {
    const reply = await fetch(`${cluster.url('origin')}/api/v1/${route}`, {
        method,
        headers: { Authorization: `Bearer ${token}` },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(30000),
    });
    const text = await reply.text();
    return { status: reply.status, text, json: reply.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : undefined };
}

async function must(...args) {
    const reply = await api(...args);
    assert.ok(reply.status < 300, `${args[1]} ${args[2]}: ${reply.status} ${reply.text}`);
    return reply.json;
}

const metric = async (cluster, node, line) => line.test(await (await fetch(`${cluster.url(node)}/metrics`)).text());
const ready = async (cluster) => (await fetch(`${cluster.url('origin')}/ready`)).json();

const data = (cluster) => path.join(cluster.dir, 'origin', 'data');

const copies = {
    'cp -a': (cluster, to) => execFileSync('cp', ['-a', data(cluster), to]),
    'store_checkpoint': (cluster, to) => execFileSync(path.join(bin, 'checkpoint'), [path.join(cluster.dir, 'origin', 'origin.yaml'), to]),
};

function restore(cluster, copy) {
    fs.rmSync(data(cluster), { recursive: true });
    execFileSync('cp', ['-a', copy, data(cluster)]);
}

async function track(cluster, edge, account, visitors) {
    const events = visitors.map((visitor) => trackEvent({ anonymousId: visitor }));
    assert.equal(await postBatch(cluster.url(edge), account.write_key, events), 200);
}

// The opt-out itself is an event, too, of nobody.
async function visitorsOf(cluster, account) {
    return (await exported(cluster, account)).map((event) => event.visitor_id).filter(Boolean).sort();
}

// Asks without pause from before the origin listens on: what the very first answers were.
function askFromTheBeginning(cluster, ask) {
    const answers = [];
    let over = false;
    const done = (async () => {
        while (!over) {
            try {
                answers.push(await ask());
            } catch { /* it does not listen yet */ }
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    })();
    return async () => {
        over = true;
        await done;
        return answers;
    };
}

for (const [how, copyTo] of Object.entries(copies)) {
    test(`a copy by ${how}, restored, undoes nothing`, { timeout: 300000 }, async (t) => {
        const { cluster, account } = await startCluster(t, { edges: ['eu', 'us', 'apac'], start: ['eu', 'us'] });
        const gone = await cluster.ctlJson('account', 'create', 'gone-shop');
        const ended = await cluster.ctlJson('account', 'create', 'ended-shop');
        const renewed = await must(cluster, 'POST', 'accounts', { name: 'renewed-shop', expires_at: new Date(Date.now() - 10 * 86400e3).toISOString(), imported: true });
        assert.equal(renewed.imported, true);
        await untilServed(cluster, 'eu', gone, 0);
        await track(cluster, 'eu', account, ['stays', 'erased', 'erased', 'opted-out']);
        await track(cluster, 'eu', gone, ['somebody']);
        await cluster.untilSettled(['eu', 'us'], 30000);
        const owner = await must(cluster, 'POST', 'tokens', { role: 'owner', account: account.id, name: 'leaked' });
        const kept = await must(cluster, 'POST', 'tokens', { role: 'owner', account: account.id, name: 'kept' });

        const copy = path.join(cluster.dir, 'copy');
        await cluster.nodes.get('origin').stop();
        copyTo(cluster, copy);
        await cluster.startOrigin();

        // What must stay.
        await must(cluster, 'POST', `accounts/${gone.id}/deletion`, { reason: 'they asked', now: true });
        const certificate = await until('the deletion is certified', 60000, async () => {
            const reply = await api(cluster, 'GET', `accounts/${gone.id}/certificate`);
            return reply.status === 200 && reply.text;
        });
        await until('the account is deleted', 20000, async () => (await must(cluster, 'GET', `accounts/${gone.id}`)).state === 'deleted');
        assert.equal((await post(`${cluster.url('eu')}/v1/optout`, { writeKey: account.write_key, anonymousId: 'opted-out' }, { Origin: 'https://www.shop.example' })).status, 200);
        await until('every edge knows of the opt-out', 20000, () => metric(cluster, 'us', /^polder_suppressions 1$/m));
        await must(cluster, 'POST', `accounts/${account.id}/visitor/erase`, { id: 'erased' });
        await until('it is erased, before a hold would keep it', 20000, async () => !(await visitorsOf(cluster, account)).includes('erased'));
        const hold = await must(cluster, 'POST', `accounts/${account.id}/holds`, { reason: 'a dispute' });
        await must(cluster, 'POST', `accounts/${ended.id}/expire`);
        await must(cluster, 'DELETE', `tokens/${owner.id}`);
        const us = (await must(cluster, 'GET', 'edges')).edges.find((edge) => edge.name === 'us');
        await must(cluster, 'POST', `edges/${us.id}/revoke`);
        assert.deepEqual(await visitorsOf(cluster, account), ['opted-out', 'stays']);
        await must(cluster, 'POST', `accounts/${renewed.id}/reinstate`);
        const since = await must(cluster, 'POST', 'accounts', { name: 'made-since' });
        assert.deepEqual((await must(cluster, 'GET', 'keyring/orphans')).orphans, []);

        await cluster.nodes.get('origin').kill();
        restore(cluster, copy);
        const stopToken = askFromTheBeginning(cluster, async () => (await api(cluster, 'GET', `accounts/${account.id}`, undefined, owner.token)).status);
        const stopExport = askFromTheBeginning(cluster, async () => {
            const reply = await api(cluster, 'GET', `accounts/${account.id}/events`);
            return [reply.status, /"erased"/.test(reply.text)];
        });
        const stopGone = askFromTheBeginning(cluster, async () => (await must(cluster, 'GET', `accounts/${gone.id}`)).state);
        await cluster.startOrigin();
        await new Promise((resolve) => setTimeout(resolve, 500));
        const tokens = await stopToken(), exports = await stopExport(), states = await stopGone();
        assert.ok(tokens.length > 0 && exports.length > 3 && states.length > 3, `${[tokens.length, exports.length, states.length]} answers`);
        assert.ok(tokens.every((status) => status === 401 || status === 429), `a revoked token was never let in: ${tokens}`);
        assert.ok(exports.every(([status, found]) => status === 200 && !found), `the erased one was never given out: ${exports}`);
        assert.ok(states.every((state) => state === 'deleting' || state === 'deleted'), `the deleted account never came back: ${states}`);
        assert.equal((await api(cluster, 'GET', `accounts/${account.id}`, undefined, kept.token)).status, 200);

        assert.ok((await must(cluster, 'GET', `accounts/${gone.id}`)).deletion_requested_at, 'it is known when that was asked for');

        // It says so.
        const { warnings } = await ready(cluster);
        assert.ok(warnings.some((text) => /restored from a copy/.test(text)), JSON.stringify(warnings));
        assert.match(fs.readFileSync(cluster.nodes.get('origin').logFile, 'utf8'), /lacked the last \d+ records of the redo log/);

        // What the edge has acks for, and let go of, is told and booked: the opt-out came after the
        // copy. Its chain goes on behind it, which is no hole.
        const eu = async () => (await cluster.replication('origin')).edges.find(({ name }) => name === 'eu');
        const missing = await until('the lost blocks are booked', 20000, async () => {
            const { lost, balanced } = await eu();
            return lost.length === 1 && lost[0].booked && balanced && lost[0];
        });
        assert.ok(missing.first >= 1 && missing.last >= missing.first && missing.blocks === missing.last - missing.first + 1 && missing.events >= 1, JSON.stringify(missing));
        const count = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;
        const told = `edge eu had acks for ${count(missing.blocks, 'block')} (${missing.first} to ${missing.last}) with ${count(missing.events, 'event')}, lost with the copy`;
        assert.ok((await ready(cluster)).warnings.some((text) => text.startsWith(told)), JSON.stringify((await ready(cluster)).warnings));
        const noted = (await api(cluster, 'GET', 'audit')).text.trimEnd().split('\n').map((line) => JSON.parse(line)).filter(({ action }) => action === 'edge.lost');
        assert.deepEqual(noted.map(({ object, detail }) => ({ object, detail })), [{ object: (await eu()).id, detail: `${count(missing.blocks, 'block')} (${missing.first} to ${missing.last}) of chain ${missing.incarnation} with ${count(missing.events, 'event')}` }]);
        const stillTold = async () => {
            const { edges, totals, alarms } = await cluster.replication('origin');
            const { lost_blocks: blocks, lost_events: events, balanced, accepted, stored, duplicate, dropped } = edges.find(({ name }) => name === 'eu');
            assert.deepEqual({ blocks, events, balanced }, { blocks: missing.blocks, events: missing.events, balanced: true });
            assert.equal(stored + duplicate + dropped, accepted);
            assert.deepEqual([totals.lost_blocks, totals.dropped.restored], [missing.blocks, missing.events]);
            assert.deepEqual(alarms, []);
            assert.ok(await metric(cluster, 'origin', new RegExp(`^polder_ledger_lost_events ${missing.events}$`, 'm')));
        };
        await stillTold();

        // Its data is physically gone again. The edges' word is on the certificate that it had, and
        // that of one that was revoked meanwhile could not come again.
        await until('the account is deleted again', 60000, async () => (await must(cluster, 'GET', `accounts/${gone.id}`)).state === 'deleted');
        assert.equal((await api(cluster, 'GET', `accounts/${gone.id}/certificate`)).text, certificate);
        // Holds and ends.
        const { holds } = await must(cluster, 'GET', `accounts/${account.id}/holds`);
        assert.deepEqual(holds.map(({ id, reason }) => ({ id, reason })), [{ id: hold.id, reason: 'a dispute' }]);
        assert.equal((await must(cluster, 'GET', `accounts/${ended.id}`)).state, 'expired');
        const { state, imported } = await must(cluster, 'GET', `accounts/${renewed.id}`);
        assert.deepEqual({ state, imported }, { state: 'active', imported: false });
        // The edge stays revoked, and one that comes fresh learns of the opt-out from this origin.
        const edges = (await must(cluster, 'GET', 'edges')).edges;
        assert.ok(edges.find((edge) => edge.name === 'us').revoked_at);
        assert.equal((await cluster.replication('us')).connected, false);
        await cluster.startEdge('apac');
        await until('a new edge learns of the opt-out', 20000, () => metric(cluster, 'apac', /^polder_suppressions 1$/m));
        // An edge that followed the lost feed starts over and goes on.
        const after = await must(cluster, 'POST', 'accounts', { name: 'made-after' });
        await untilServed(cluster, 'eu', after, 0);
        await track(cluster, 'eu', account, ['after', 'opted-out']);
        await until('new events arrive', 30000, async () => (await exported(cluster, account)).some((event) => event.visitor_id === 'after'));
        assert.deepEqual(await visitorsOf(cluster, account), ['after', 'opted-out', 'stays']);
        const { chains } = await eu();
        const chain = chains.find(({ incarnation }) => incarnation === missing.incarnation);
        assert.ok(chain.contiguous > missing.last + 1 && chain.contiguous === chain.highest, JSON.stringify(chain));

        // The key of an account that is lost is told of, over restarts, until an operator ends it.
        const orphans = async () => (await must(cluster, 'GET', 'keyring/orphans')).orphans.map(({ account }) => account);
        const toldOfKeys = async () => [await ready(cluster), await (await fetch(`${cluster.url('origin')}/replication`)).json()]
            .map(({ warnings, reasons }) => [...(warnings ?? []), ...reasons].filter((text) => text.includes(since.id) && /keyring orphans/.test(text)).length);
        assert.deepEqual(await orphans(), [since.id]);
        assert.deepEqual(await toldOfKeys(), [1, 1]);
        assert.ok(await metric(cluster, 'origin', /^polder_keyring_orphans 1$/m));

        // The next start is an ordinary one. What is lost is told though the edge names its chain no more.
        await cluster.untilSettled(['eu'], 30000);
        await cluster.nodes.get('eu').stop();
        await cluster.startEdge('eu');
        await cluster.nodes.get('origin').stop();
        const logged = fs.readFileSync(cluster.nodes.get('origin').logFile, 'utf8').length;
        await cluster.startOrigin();
        assert.doesNotMatch(fs.readFileSync(cluster.nodes.get('origin').logFile, 'utf8').slice(logged), /lacked/);
        await stillTold();
        assert.deepEqual(await orphans(), [since.id]);
        assert.equal((await api(cluster, 'POST', 'keyring/orphans/destroy', {})).status, 400);
        assert.deepEqual(await must(cluster, 'POST', 'keyring/orphans/destroy', { reason: 'no newer copy' }), { destroyed: 1 });
        assert.deepEqual(await orphans(), []);
        assert.deepEqual(await toldOfKeys(), [0, 0]);
        await cluster.nodes.get('origin').stop();
        await cluster.startOrigin();
        assert.deepEqual(await orphans(), []);
        assert.equal((await must(cluster, 'GET', `accounts/${account.id}`)).state, 'active');
        const audit = (await api(cluster, 'GET', 'audit')).text.trimEnd().split('\n').map((line) => JSON.parse(line));
        assert.deepEqual(audit.filter(({ action }) => action === 'keyring.destroy-orphans').map(({ outcome, detail }) => [outcome, detail]).slice(-2), [['begun', undefined], ['done', '1 key']]);
    });
}

test('a restore shows although nothing was changed since the copy', { timeout: 120000 }, async (t) => {
    const { cluster } = await startCluster(t);
    const copy = path.join(cluster.dir, 'copy');
    await cluster.nodes.get('origin').stop();
    copies['store_checkpoint'](cluster, copy);
    await cluster.startOrigin();
    assert.deepEqual((await ready(cluster)).warnings, []);
    await cluster.nodes.get('origin').kill();
    restore(cluster, copy);
    await cluster.startOrigin();
    assert.ok((await ready(cluster)).warnings.some((text) => /restored from a copy/.test(text)));
    await until('the edge follows again', 20000, async () => (await cluster.replication('eu')).status === 'healthy');
});

const auditOf = async (cluster, wanted) => (await api(cluster, 'GET', 'audit')).text.trimEnd().split('\n').map((line) => JSON.parse(line)).filter(({ action }) => action === wanted);

// Changes that the edge hears of and that are lost then: it is ahead of what the origin has to tell.
async function goAhead(cluster) {
    let last;
    for (let i = 0; i < 4; i++) last = await must(cluster, 'POST', 'accounts', { name: `lost-${i}` });
    await untilServed(cluster, 'eu', last, 0);
    return last;
}

// The edge serves what was made since, and no more what is lost.
async function followsAgain(cluster, lost) {
    const after = await must(cluster, 'POST', 'accounts', { name: 'made-after' });
    await untilServed(cluster, 'eu', after, 0);
    assert.equal((await fetch(`${cluster.url('eu')}/v1/config/${lost.write_key}`)).status, 404);
}

test('after an emptied redo log edges start over', { timeout: 120000 }, async (t) => {
    const { cluster } = await startCluster(t);
    const copy = path.join(cluster.dir, 'copy');
    await cluster.nodes.get('origin').stop();
    copies['cp -a'](cluster, copy);
    await cluster.startOrigin();
    const lost = await goAhead(cluster);
    await cluster.nodes.get('origin').kill();
    restore(cluster, copy);
    for (const name of ['journal-1', 'journal-2']) fs.writeFileSync(path.join(cluster.dir, 'origin', name, 'redo.ndjson'), '', { mode: 0o600 });
    await cluster.startOrigin();
    await followsAgain(cluster, lost);
    assert.deepEqual((await auditOf(cluster, 'database.restored')).map(({ detail }) => detail), ['nothing in the redo log to apply again']);
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    assert.equal((await auditOf(cluster, 'database.restored')).length, 1);
});

test('a machine that is put back as a whole shows by what its edges have heard', { timeout: 120000 }, async (t) => {
    const { cluster } = await startCluster(t);
    const there = path.join(cluster.dir, 'origin'), copy = path.join(cluster.dir, 'copy');
    await cluster.nodes.get('origin').stop();
    execFileSync('cp', ['-a', there, copy]);
    await cluster.startOrigin();
    const lost = await goAhead(cluster);
    await cluster.nodes.get('origin').kill();
    fs.rmSync(there, { recursive: true });
    execFileSync('cp', ['-a', copy, there]);
    await cluster.startOrigin();
    await followsAgain(cluster, lost);
    assert.ok((await ready(cluster)).warnings.some((text) => /put back to where they stood before: an edge has heard \d+ changes? more/.test(text)));
    assert.deepEqual((await auditOf(cluster, 'database.restored')).map(({ detail }) => /^an edge has heard \d+ changes? more than it holds$/.test(detail)), [true]);
    await until('the edge settles', 20000, async () => (await cluster.replication('origin')).cutoffs.edges_waiting === 0);
});

test('a keyring from a copy: what had ended ends again, and what it lost is told', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const rings = ['keyring-1', 'keyring-2'];
    const gone = await cluster.ctlJson('account', 'create', 'gone-shop');
    await cluster.nodes.get('origin').stop();
    for (const ring of rings) execFileSync('cp', ['-a', path.join(cluster.dir, 'origin', ring), path.join(cluster.dir, ring)]);
    await cluster.startOrigin();
    await must(cluster, 'POST', `accounts/${gone.id}/deletion`, { reason: 'they asked', now: true });
    await until('the account is deleted', 60000, async () => (await must(cluster, 'GET', `accounts/${gone.id}`)).state === 'deleted');
    const since = await must(cluster, 'POST', 'accounts', { name: 'made-since' });
    await untilServed(cluster, 'eu', since, 0);
    await track(cluster, 'eu', since, ['lost']);
    await track(cluster, 'eu', account, ['stays']);
    await cluster.untilSettled(['eu'], 30000);

    const origin = cluster.nodes.get('origin');
    await origin.stop();
    for (const ring of rings) {
        fs.rmSync(path.join(cluster.dir, 'origin', ring), { recursive: true });
        execFileSync('cp', ['-a', path.join(cluster.dir, ring), path.join(cluster.dir, 'origin', ring)]);
    }
    origin.start();
    await origin.untilUp(`${cluster.url('origin')}/ready`, 60000, (reply) => reply.status === 503);
    const again = async () => (await auditOf(cluster, 'deletion.key_destroyed')).filter(({ detail }) => /again/.test(detail)).map((line) => line.account);
    assert.deepEqual(await again(), [gone.id]);
    const { reasons } = await ready(cluster);
    assert.deepEqual(reasons.map((text) => text.startsWith(`1 account has no key in the keyring (${since.id}): `)), [true], JSON.stringify(reasons));
    const events = await api(cluster, 'GET', `accounts/${since.id}/events`);
    assert.deepEqual([events.status, /not in the keyring/.test(events.text)], [500, true]);
    const profile = await api(cluster, 'POST', `accounts/${since.id}/visitor/profile`, { id: 'lost' });
    assert.deepEqual([profile.status, /not in the keyring/.test(profile.text)], [500, true]);
    assert.deepEqual(await visitorsOf(cluster, account), ['stays']);

    // Nothing that was promised is dropped unasked: who has no newer copy says so by deleting it.
    await track(cluster, 'eu', since, ['late']);
    await track(cluster, 'eu', account, ['late']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal((await cluster.replication('origin')).totals.dropped.deleted, 0);
    await must(cluster, 'POST', `accounts/${since.id}/deletion`, { reason: 'its key is lost', now: true });
    await until('what waited arrives', 30000, async () => (await visitorsOf(cluster, account)).includes('late'));
    await until('it can be deleted', 60000, async () => (await must(cluster, 'GET', `accounts/${since.id}`)).state === 'deleted');
    assert.deepEqual((await ready(cluster)).reasons, []);
    await origin.stop();
    await cluster.startOrigin();
    assert.deepEqual(await again(), [gone.id]);
});

test('a keyring without its newest sealing key: what was sealed for it waits until it is given up', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const origin = cluster.nodes.get('origin');
    const rings = ['keyring-1', 'keyring-2'];
    await origin.stop();
    for (const ring of rings) execFileSync('cp', ['-a', path.join(cluster.dir, 'origin', ring), path.join(cluster.dir, ring)]);
    await cluster.startOrigin();
    const { seal_key_id: key } = await must(cluster, 'POST', 'keyring/rotate');
    await until('the edge seals for the new key', 30000, async () => (await cluster.replication('origin')).cutoffs.sealing_key.older_alive === 0);
    await origin.stop();
    await track(cluster, 'eu', account, ['lost', 'lost too']);
    for (const ring of rings) {
        fs.rmSync(path.join(cluster.dir, 'origin', ring), { recursive: true });
        execFileSync('cp', ['-a', path.join(cluster.dir, ring), path.join(cluster.dir, 'origin', ring)]);
    }
    await cluster.startOrigin();

    const lost = () => must(cluster, 'GET', 'keyring/lost');
    const waiting = await until('it says that blocks wait', 20000, async () => (await lost()).lost[0]);
    assert.deepEqual([waiting.key, waiting.name], [key, 'eu']);
    const told = async () => (await ready(cluster)).warnings.filter((text) => text.includes(`sealed for key ${key}`) && /edge eu/.test(text)).length;
    assert.equal(await told(), 1);
    await untilServed(cluster, 'eu', await must(cluster, 'POST', 'accounts', { name: 'made-since' }), 0); // it has heard of the older key
    await track(cluster, 'eu', account, ['stays']);
    await until('what comes now is stored', 20000, async () => (await visitorsOf(cluster, account)).includes('stays'));
    const dropped = async () => (await cluster.replication('origin')).totals.dropped;
    assert.equal((await dropped()).key_lost, 0);

    await cluster.ctlJson('keyring', 'give-up', key, '--reason', 'no newer copy');
    await until('they are dropped', 30000, async () => (await dropped()).key_lost === 2);
    await cluster.untilSettled(['eu'], 30000);
    const { edges: [eu], alarms } = await cluster.replication('origin');
    assert.deepEqual([eu.balanced, eu.dropped, eu.stored, alarms], [true, 2, 1, []]);
    assert.equal(await told(), 0);
    const { lost: left, given_up: [given] } = await lost();
    assert.deepEqual([left, given.key], [[], key]);
    assert.ok(await metric(cluster, 'origin', /^polder_ledger_dropped_total\{reason="key_lost"\} 2$/m));
    const lines = (await auditOf(cluster, 'keyring.give-up')).map(({ outcome, object, detail }) => [outcome, object, detail]);
    assert.deepEqual(lines.at(-1), ['done', key, 'blocks that wait: 1; no newer copy']);
    assert.deepEqual(await visitorsOf(cluster, account), ['stays']);
});

// Lines that say nothing, on both paths of a journal of an origin that is stopped, up to so many bytes.
function fillJournal(cluster, file, bytes) {
    for (const name of ['journal-1', 'journal-2']) {
        const where = path.join(cluster.dir, 'origin', name, file);
        const lines = fs.readFileSync(where, 'utf8').trimEnd().split('\n');
        let size = fs.statSync(where).size;
        for (let last = lines.at(-1); size < bytes; size += last.length + 1) {
            const n = lines.length + 1;
            const previous = createHash('sha256').update(last).digest('hex');
            last = `{"n":${n},"at":"2026-01-01T00:00:00.000Z","previous":"${previous}","kind":"pulse","what":"${'x'.repeat(4000)}"}`;
            lines.push(last);
        }
        fs.writeFileSync(where, `${lines.join('\n')}\n`, { mode: 0o600 });
    }
}

const warned = async (cluster, pattern) => (await ready(cluster)).warnings.some((text) => pattern.test(text));

test('a redo log without room for opt-outs says so early, and refuses nothing else', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const tight = { POLDER_REDO_MAX_BYTES: String(1 << 20) }; // of which opt-outs may fill 786432 bytes
    const late = /opt-outs since \S+Z are in force, but a restore would lose them.*raise redo_max_bytes/;
    const optOut = async (who) => assert.equal((await post(`${cluster.url('eu')}/v1/optout`, { writeKey: account.write_key, anonymousId: who }, { Origin: 'https://www.shop.example' })).status, 200);
    await cluster.nodes.get('origin').stop();
    fillJournal(cluster, 'redo.ndjson', 640000);
    await cluster.startOrigin(tight);
    assert.ok(await warned(cluster, /redo log has \d+ of the 1048576 bytes.*raise redo_max_bytes/));
    assert.ok(!await warned(cluster, late));
    await cluster.nodes.get('origin').stop();
    fillJournal(cluster, 'redo.ndjson', 790000);
    await cluster.startOrigin(tight);
    await optOut('late');
    await until('it says that the opt-out is not noted', 20000, () => warned(cluster, late));
    assert.ok(await metric(cluster, 'origin', /^polder_redo_optouts_late 1$/m));
    await track(cluster, 'eu', account, ['late', 'other']);
    await until('what follows is stored', 20000, async () => (await visitorsOf(cluster, account)).includes('other'));
    assert.ok(!(await visitorsOf(cluster, account)).includes('late'), 'the word counts at once');
    await must(cluster, 'POST', `accounts/${account.id}/holds`, { reason: 'a dispute' });

    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    await until('it is noted after all', 20000, async () => !await warned(cluster, late));
    const log = fs.readFileSync(path.join(cluster.dir, 'origin', 'journal-1', 'redo.ndjson'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(log.filter(({ kind }) => kind === 'opt_out').length, 1);
});

test('an audit log says at four fifths what it will stop', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const tight = { POLDER_AUDIT_MAX_BYTES: String(1 << 20) };
    const full = /audit log has \d+ of the 1048576 bytes.*nothing can be changed or exported: raise audit_max_bytes/;
    await cluster.nodes.get('origin').stop();
    fillJournal(cluster, 'audit.ndjson', 800000);
    await cluster.startOrigin(tight);
    assert.ok(!await warned(cluster, full));
    await cluster.nodes.get('origin').stop();
    fillJournal(cluster, 'audit.ndjson', 850000);
    await cluster.startOrigin(tight);
    assert.ok(await warned(cluster, full));
    await must(cluster, 'POST', `accounts/${account.id}/holds`, { reason: 'there is room yet' });
    await cluster.nodes.get('origin').stop();
    fillJournal(cluster, 'audit.ndjson', 1 << 20);
    await cluster.startOrigin(tight);
    assert.ok((await api(cluster, 'POST', `accounts/${account.id}/holds`, { reason: 'none' })).status >= 500);
    assert.ok(await warned(cluster, /the API changes nothing and gives out no data, for that cannot be noted/));
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    await must(cluster, 'POST', `accounts/${account.id}/holds`, { reason: 'there is again' });
});
