// Taking events out: whole, filtered, as CSV, over the death of the origin; and whether what is
// taken out is what the books say was put in.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startCluster, exported, postBatch, trackEvent, until, untilServed, bin } from './lib/fixture.mjs';
import { ask } from './lib/http.mjs';

const today = () => new Date().toISOString().slice(0, 10);

function api(cluster, route, body) {
    return ask(`${cluster.url('origin')}/api/v1/${route}`, {
        method: body === undefined ? 'GET' : 'POST', body: body && JSON.stringify(body), headers: { authorization: `Bearer ${cluster.token}` },
    });
}

// Records of a CSV text, as RFC 4180 has them.
function parseCsv(text) {
    const records = [];
    let record = [];
    let cell = '';
    let quoted = false;
    for (let i = 0; i < text.length; i++) {
        const c = text[i];
        if (quoted && c === '"' && text[i + 1] === '"') cell += text[++i];
        else if (c === '"') quoted = !quoted;
        else if (!quoted && c === ',') record.push(cell), (cell = '');
        else if (!quoted && c === '\r' && text[i + 1] === '\n') {
            record.push(cell);
            records.push(record);
            [record, cell] = [[], ''];
            i++;
        } else cell += c;
    }
    assert.equal(quoted || record.length > 0 || cell !== '', false, 'the last record is whole');
    const [header, ...rows] = records;
    for (const row of rows) assert.equal(row.length, header.length);
    return rows.map((row) => Object.fromEntries(header.map((name, i) => [name, row[i]])));
}

function seed(cluster, account, count) {
    const config = path.join(cluster.dir, 'origin', 'origin.yaml');
    execFileSync(path.join(bin, 'seed_vault'), [config, account, String(count)], { stdio: ['ignore', 'pipe', 'pipe'] });
}

test('what is exported is what the books say was stored', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const other = await cluster.ctlJson('account', 'create', 'other');
    await untilServed(cluster, 'eu', other, 0);
    const mine = Array.from({ length: 40 }, () => trackEvent());
    const theirs = Array.from({ length: 7 }, () => trackEvent());
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, mine), 200);
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, mine.slice(0, 15)), 200); // sent again
    assert.equal(await postBatch(cluster.url('eu'), other.write_key, theirs), 200);
    const { rows: [books] } = await cluster.untilSettled(['eu'], 30000);
    assert.equal(books.stored, 47);
    assert.equal(books.duplicate, 15);

    const counts = await cluster.ctlJson('events', 'counts', account.id);
    assert.deepEqual({ ...counts, days: counts.days.length, held_bytes: 0 }, { days: 1, stored: 40, erased: 0, retired: 0, held: 40, held_bytes: 0 });
    assert.equal(counts.days[0].day, today());
    assert.ok(counts.held_bytes > 40 * 50);
    assert.match(await cluster.ctl('events', 'counts', account.id), /^DAY \(UTC\) +STORED .*\n\d{4}-\d\d-\d\d +40 +0 +0 +40 +\d+\nall +40 /);
    assert.equal((await cluster.ctlJson('events', 'counts', account.id, '--to', '2026-01-01')).stored, 0);
    const all = await cluster.ctlJson('events', 'check');
    assert.deepEqual(Object.fromEntries(all.accounts.map((row) => [row.account, row.stored])), { [account.id]: 40, [other.id]: 7 });
    assert.equal(all.stored, 47);
    assert.equal(all.ledger_stored, 47);
    assert.equal(all.agrees, true);

    const reply = await api(cluster, `accounts/${account.id}/events?marks=true`);
    const lines = reply.text.trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(lines.at(-1), { polder_summary: { events: 40, damaged: 0, left_out: 0, held: 40, agrees: true } });
    assert.deepEqual(lines.filter((line) => line.message_id).map((line) => line.message_id).sort(), mine.map((event) => event.messageId).sort());
    // Without being asked for, nothing but events.
    assert.ok((await exported(cluster, account)).every((event) => event.message_id));
    assert.ok(!(await api(cluster, `accounts/${account.id}/events`)).text.includes('polder_'));

    // Both outlive the origin.
    await cluster.nodes.get('origin').kill();
    await cluster.startOrigin();
    assert.equal((await cluster.ctlJson('events', 'check')).agrees, true);
    assert.equal((await cluster.ctlJson('events', 'counts', account.id)).held, 40);
});

test('erasures and deletions leave the books in balance', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const other = await cluster.ctlJson('account', 'create', 'other');
    await untilServed(cluster, 'eu', other, 0);
    const gone = Array.from({ length: 6 }, () => trackEvent({ anonymousId: 'somebody' }));
    const kept = Array.from({ length: 9 }, () => trackEvent());
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, [...gone, ...kept]), 200);
    assert.equal(await postBatch(cluster.url('eu'), other.write_key, kept.map((event) => ({ ...event, messageId: `${event.messageId}-2` }))), 200);
    await cluster.untilSettled(['eu'], 30000);
    await cluster.ctl('visitor', 'erase', account.id, 'somebody');
    const { days, ...sums } = await until('all of somebody is erased', 20000, async () => {
        const counts = await cluster.ctlJson('events', 'counts', account.id);
        return counts.erased === 6 && counts;
    });
    assert.deepEqual({ ...sums, held_bytes: 0 }, { stored: 15, erased: 6, retired: 0, held: 9, held_bytes: 0 });
    assert.equal(days.length, 1);
    // Held against the counts, or it would fail.
    assert.equal((await exported(cluster, account)).length, 9);
    assert.equal((await cluster.ctlJson('events', 'check')).agrees, true);

    await cluster.ctl('account', 'delete', account.id, '--now', '--reason', 'test');
    await until('the deletion is done', 60000, async () => (await cluster.ctlJson('account', 'show', account.id)).state === 'deleted');
    await assert.rejects(cluster.ctl('events', 'export', account.id), /deleted/);
    const all = await cluster.ctlJson('events', 'check');
    assert.deepEqual(all.accounts.map((row) => [row.account, row.stored, row.erased, row.deleted, row.held]), [['deleted', 15, 6, 9, 0], [other.id, 9, 0, 0, 9]]);
    assert.deepEqual([all.stored, all.erased, all.deleted, all.held], [24, 6, 9, 9]);
    assert.match(await cluster.ctl('events', 'check'), /^ACCOUNT +STORED +ERASED +RETIRED +DELETED +LEFT +BYTES\ndeleted +15 +6 +0 +9 +0 +0\n/);
    assert.equal(all.ledger_stored, 24);
    assert.equal(all.agrees, true);
    assert.equal((await exported(cluster, other)).length, 9);
});

test('by type and by visitor, as CSV that reads back as it was', { timeout: 180000 }, async (t) => {
    const { cluster, account } = await startCluster(t);
    const events = [
        trackEvent({ anonymousId: 'v1', properties: { text: 'a,"b"\r\nc' } }),
        trackEvent({ anonymousId: 'v1', event: '=HYPERLINK("http://evil.example")' }),
        trackEvent({ anonymousId: 'v2', event: 'Order Completed', properties: { order_id: 'o-1', total: -12.5, products: [{ sku: 'A,1', quantity: 2 }] } }),
        { ...trackEvent({ userId: 'mary' }), anonymousId: undefined },
        { ...trackEvent({ anonymousId: 'v1', type: 'page', properties: { url: 'https://shop.example/é?a=1', title: 'Café' } }), event: undefined },
    ];
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, events), 200);
    await cluster.untilSettled(['eu'], 30000);
    const ids = async (query, body) => (await api(cluster, `accounts/${account.id}/events?${query}`, body)).text.split('\n').filter(Boolean).map((line) => events.findIndex((event) => event.messageId === JSON.parse(line).message_id)).sort();
    assert.deepEqual(await ids('type=order'), [2]);
    assert.deepEqual(await ids('type=page_view,order'), [2, 4]);
    assert.deepEqual(await ids('', { visitor: 'v1' }), [0, 1, 4]);
    assert.deepEqual(await ids('type=page_view', { visitor: 'v1' }), [4]);
    assert.deepEqual(await ids('', { visitor: 'mary' }), [3]);
    assert.deepEqual(await ids('', { visitor: 'nobody' }), []);

    const json = await exported(cluster, account);
    const reply = await api(cluster, `accounts/${account.id}/events?format=csv`);
    assert.equal(reply.headers['content-type'], 'text/csv; charset=utf-8; header=present');
    const rows = parseCsv(reply.text);
    assert.equal(await cluster.ctl('events', 'export', account.id, '--format', 'csv'), reply.text);
    assert.equal(rows.length, 5);
    for (const [i, row] of rows.entries()) {
        assert.equal(row.message_id, json[i].message_id);
        for (const [name, cell] of Object.entries(row)) {
            const value = name.split('.').reduce((at, part) => at?.[part], json[i]);
            const text = value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
            assert.equal(cell, /^[=+@\t\r\n-]/.test(text) && typeof value === 'string' ? `'${text}` : text, name);
        }
    }
    assert.ok(rows.some((row) => row.name === `'=HYPERLINK("http://evil.example")`));
    assert.ok(rows.some((row) => row.total === '-12.5'));

    for (const [query, field, body] of [['type=orders', 'type'], ['type=order,', 'type'], ['type=', 'type'], ['format=xml', 'format'], ['marks=1', 'marks'], ['visitor=v1', 'visitor'], ['cursor=2.x', 'cursor'], ['', 'visitor', { visitor: '' }], ['', 'visitor', { visitor: 7 }], ['', 'visitor', { visitor: 'x'.repeat(257) }], ['', 'visitors', { visitors: 'v1' }]]) {
        const refused = await api(cluster, `accounts/${account.id}/events?${query}`, body);
        assert.ok([400, 413].includes(refused.status), `${query}: ${refused.text}`);
        assert.equal(JSON.parse(refused.text).error.field, field, refused.text);
    }
    // A cursor is of one account's.
    const other = await cluster.ctlJson('account', 'create', 'other');
    const marked = await api(cluster, `accounts/${account.id}/events?marks=true`);
    const { polder_cursor: cursor } = JSON.parse(marked.text.split('\n').find((line) => line.startsWith('{"polder_cursor"')));
    assert.equal((await api(cluster, `accounts/${account.id}/events?cursor=${cursor}`)).status, 200);
    assert.equal((await api(cluster, `accounts/${other.id}/events?cursor=${cursor}`)).status, 400);
});

test('an export goes on where the origin died', { timeout: 240000 }, async (t) => {
    const COUNT = 120000;
    const { cluster, account, dir } = await startCluster(t, { edges: [], campaign: false });
    const origin = cluster.nodes.get('origin');
    await origin.stop();
    seed(cluster, account.id, COUNT);
    await cluster.startOrigin();
    const from = ['--from', '2026-01-01', '--to', '2026-01-03'];
    for (const format of ['ndjson', 'csv']) {
        const whole = await cluster.ctl('events', 'export', account.id, ...from, '--format', format);
        const file = path.join(dir, `events.${format}`);
        const args = ['events', 'export', account.id, ...from, '--format', format, '--output', file];
        const env = { ...process.env, POLDER_ORIGIN: cluster.url('origin'), POLDER_TOKEN: cluster.token };
        const child = spawn(path.join(bin, 'polderctl'), args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        child.stderr.on('data', (text) => (said += text));
        const ended = new Promise((resolve) => child.once('close', resolve));
        await until('some of it has come', 30000, () => existsSync(file) && statSync(file).size > 2 << 20);
        await origin.kill();
        assert.equal(await ended, 1, said);
        assert.match(said, /the same again with --resume goes on/);
        const part = readFileSync(file, 'utf8');
        assert.ok(part.length > 0 && part.length < whole.length && whole.startsWith(part));
        const { bytes } = JSON.parse(readFileSync(`${file}.resume`, 'utf8'));
        assert.ok(bytes > 1 << 20, 'little has to come again');
        writeFileSync(file, 'torn', { flag: 'a' }); // as when polderctl had died, too
        await cluster.startOrigin();
        await cluster.ctl(...args, '--resume');
        assert.ok(readFileSync(file, 'utf8') === whole, 'as if nothing had happened');
        assert.ok(!existsSync(`${file}.resume`));
    }
});
