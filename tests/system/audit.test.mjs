// The audit log of the real origin: what stands in it, what a change of it looks like, and what
// happens when it cannot be written.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startCluster, until } from './lib/fixture.mjs';

const alone = { edges: [], campaign: false };
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const api = (cluster) => async (method, where, body) => {
    const reply = await fetch(`${cluster.url('origin')}/api/v1/${where}`, { method, headers: { Authorization: `Bearer ${cluster.token}` }, body: body && JSON.stringify(body) });
    return { status: reply.status, headers: reply.headers, text: await reply.text() };
};
const ready = async (cluster) => (await fetch(`${cluster.url('origin')}/ready`)).json();

// polderctl; what it said and how it ended.
async function ctl(cluster, ...args) {
    try {
        return { code: 0, out: await cluster.ctl(...args), err: '' };
    } catch ({ exitCode, stdout, stderr }) {
        return { code: exitCode, out: stdout, err: stderr };
    }
}

test('export and verify: whole logs pass, nothing else does', async (t) => {
    const { cluster, account, dir } = await startCluster(t, alone);
    for (let i = 0; i < 20; i++) await cluster.ctl('account', 'update', account.id, '--name', `shop-${i}`);
    const { out: text } = await ctl(cluster, 'audit', 'export');
    const lines = text.trimEnd().split('\n');
    const file = path.join(dir, 'audit.ndjson');

    // The chain, followed by somebody else.
    let previous = '0'.repeat(64);
    lines.forEach((line, i) => {
        const entry = JSON.parse(line);
        assert.equal(entry.n, i + 1);
        assert.equal(entry.previous, previous);
        assert.ok(Math.abs(Date.parse(entry.at) - Date.now()) < 120000);
        previous = sha256(line);
    });
    assert.deepEqual(lines.slice(-2).map((line) => JSON.parse(line)).map(({ actor, name, action, outcome, account: whose }) => ({ actor, name, action, outcome, whose })),
        ['begun', 'done'].map((outcome) => ({ actor: 'operator', name: 'bootstrap', action: 'account.update', outcome, whose: account.id })));
    assert.ok(!text.includes('shop-'), 'no names');
    assert.deepEqual(JSON.parse((await api(cluster)('GET', 'audit/head')).text), { n: lines.length, hash: previous });
    for (const copy of [1, 2]) assert.equal(readFileSync(path.join(dir, `origin/journal-${copy}/audit.ndjson`), 'utf8'), text);

    const verify = async (content, ...args) => {
        writeFileSync(file, content);
        return ctl(cluster, 'audit', 'verify', file, ...args);
    };
    const whole = await verify(text);
    assert.deepEqual([whole.code, whole.out.includes(previous)], [0, true], whole.err);
    const own = await ctl(cluster, 'audit', 'verify'); // by its own head, which nobody gave
    assert.equal(own.code, 0);
    assert.match(own.out, /^Keep it: /m);
    assert.deepEqual(JSON.parse((await verify(text, '--json')).out), { whole: true, first: 1, last: lines.length, head: previous });
    const earlier = sha256(lines[9]);
    assert.match((await verify(text, '--head', earlier)).out, /line 10's: all up to it is as it was/);
    const { out: rest } = await ctl(cluster, 'audit', 'export', '--from', '11');
    assert.equal(rest, lines.slice(10).join('\n') + '\n');
    assert.match((await verify(rest)).out, /Lines before 11 are not in it/);

    const changed = (i, change) => lines.map((line, at) => (at === i ? change(line) : line)).join('\n') + '\n';
    const without = (i) => lines.filter((_, at) => at !== i).join('\n') + '\n';
    const refused = [
        ['a word changed', changed(14, (line) => line.replace('bootstrap', 'somebody')), /line 16 does not name line 15 as it stands/],
        ['a line gone', without(14), /line 16 follows line 14/],
        ['the first line gone and another numbered like it', lines.slice(1).join('\n').replace('"n":2', '"n":1') + '\n', /line 1 does not name/],
        ['two lines swapped', [...lines.slice(0, 4), lines[5], lines[4], ...lines.slice(6)].join('\n') + '\n', /line 6 follows line 4/],
        ['a line told twice', [...lines.slice(0, 5), ...lines.slice(4)].join('\n') + '\n', /line 5 follows line 5/],
        ['something else', 'hello\n', /no line of an audit log/],
        ['nothing', '', /is empty/],
        ['half a line', text.slice(0, -20), /ends within line/],
    ];
    for (const [what, content, pattern] of refused) {
        const { code, err } = await verify(content);
        assert.equal(code, 1, what);
        assert.match(err, pattern, what);
    }
    // Every single byte counts, but in the last line only to whoever kept the head.
    const few = lines.slice(0, 3).join('\n') + '\n';
    for (let at = 0; at < few.length; at += 37) {
        const bytes = Buffer.from(few);
        bytes[at] ^= 1;
        assert.equal((await verify(bytes, '--head', sha256(lines[2]))).code, 1, `byte ${at}`);
    }
    assert.match((await verify(lines.slice(0, -1).join('\n') + '\n', '--head', previous)).err, /no line with the head that was given/);
    assert.equal((await ctl(cluster, 'audit', 'verify', file, '--head', 'abc')).code, 2);
    assert.equal((await ctl(cluster, 'audit', 'verify', path.join(dir, 'nowhere'))).code, 1);
});

test('kill -9 takes no line; a changed or missing log is no log', async (t) => {
    const { cluster, account, dir } = await startCluster(t, alone);
    const ask = api(cluster), node = cluster.nodes.get('origin');
    const files = [1, 2].map((copy) => path.join(dir, `origin/journal-${copy}/audit.ndjson`));
    for (let i = 0; i < 5; i++) {
        assert.equal((await ask('POST', `accounts/${account.id}/expire`, { at: `29${i}9-01-01` })).status, 200);
        await node.kill();
        await cluster.startOrigin();
        const last = (await ask('GET', 'audit')).text.trimEnd().split('\n').map((line) => JSON.parse(line));
        assert.equal(last.filter(({ action, outcome }) => action === 'account.expire' && outcome === 'done').length, i + 1);
    }
    const refusesToStart = async (pattern) => {
        node.start();
        await node.exited;
        assert.equal(node.ends.pop().code, 1);
        assert.match(node.logTail(3), pattern);
    };
    await node.stop();
    const text = readFileSync(files[0], 'utf8');
    // One path may be lost or damaged; the other one tells.
    rmSync(files[1]);
    await cluster.startOrigin();
    await node.stop();
    assert.ok(readFileSync(files[1], 'utf8').startsWith(text));
    for (const file of files) writeFileSync(file, text.replace('account.expire', 'account.update'));
    await refusesToStart(/audit log/);
    for (const file of files) rmSync(file);
    await refusesToStart(/audit log/);
    for (const file of files) writeFileSync(file, text, { mode: 0o600 });
    await cluster.startOrigin();
});

test('a log that was rotated away stops changes, says what to do, and goes on without a restart', async (t) => {
    const { cluster, account, dir } = await startCluster(t, alone);
    const ask = api(cluster);
    for (const [name, what] of [['audit.ndjson', /gives out no data, for that cannot be noted: audit log/], ['redo.ndjson', /that a restore must not undo: redo log/]]) {
        const file = path.join(dir, 'origin/journal-2', name);
        renameSync(file, `${file}.1`);
        writeFileSync(file, '', { mode: 0o600 }); // as logrotate's create does
        const reply = await ask('POST', 'tokens', { role: 'owner', account: account.id, name });
        assert.notEqual(reply.status, 201);
        const [warning, ...more] = (await ready(cluster)).warnings;
        assert.match(warning, what);
        assert.match(warning, /journal-2\/.*\.ndjson was changed .*move the file that stood there back and all goes on/);
        assert.deepEqual(more, []);
        renameSync(`${file}.1`, file);
        assert.equal((await ask('POST', 'tokens', { role: 'owner', account: account.id, name })).status, 201);
        assert.deepEqual((await ready(cluster)).warnings, []);
    }
    for (const name of ['audit.ndjson', 'redo.ndjson']) assert.deepEqual(...[1, 2].map((copy) => readFileSync(path.join(dir, `origin/journal-${copy}`, name), 'utf8')));
});

test('what cannot be noted is not done and not given out', async (t) => {
    const { cluster, account, dir, whenStopped } = await startCluster(t, alone);
    const ask = api(cluster), node = cluster.nodes.get('origin');
    const disk = path.join(dir, 'small');
    mkdirSync(disk);
    try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'polder-test', disk], { stdio: 'pipe' });
    } catch (error) {
        return t.skip(`NOT TESTED, for a small disk of its own cannot be mounted here (that takes root): ${String(error.stderr).trim()}`);
    }
    whenStopped.push(() => execFileSync('umount', [disk]));
    await node.stop();
    execFileSync('cp', ['-a', path.join(dir, 'origin/journal-1'), path.join(dir, 'origin/journal-2'), disk]);
    const env = { POLDER_JOURNAL_DIRS: ['journal-1', 'journal-2'].map((name) => path.join(disk, name)).join(',') };
    await cluster.startOrigin(env);
    assert.deepEqual((await ready(cluster)).warnings, []);

    // No room but what the last page still has.
    const filler = path.join(disk, 'filler');
    try {
        for (;;) appendFileSync(filler, Buffer.alloc(4096));
    } catch (error) {
        assert.equal(error.code, 'ENOSPC');
    }
    const log = path.join(disk, 'journal-1/audit.ndjson');
    const full = await until('the audit log cannot be written', 20000, async () => {
        const reply = await ask('PATCH', `accounts/${account.id}`, { honour_dnt: true });
        return reply.status !== 200 && reply;
    });
    assert.equal(full.status, 503);
    assert.match(full.text, /nothing was done, for it cannot be noted/);
    const bytes = statSync(log).size;
    const events = await ask('GET', `accounts/${account.id}/events`);
    assert.equal(events.status, 503);
    assert.match(events.text, /nothing is given out, for it cannot be noted/);
    assert.equal((await ask('POST', 'accounts', { name: 'unseen' })).status, 503);
    const accounts = await ask('GET', 'accounts');
    assert.equal(accounts.status, 200);
    assert.ok(!accounts.text.includes('unseen'));
    assert.match((await ready(cluster)).warnings.join(), /cannot be noted: .*audit log/);
    const denied = await fetch(`${cluster.url('origin')}/api/v1/accounts`);
    assert.equal(denied.status, 401);
    assert.ok(statSync(log).size <= bytes + 4096);

    rmSync(filler);
    assert.equal((await ask('POST', 'accounts', { name: 'seen' })).status, 201);
    assert.deepEqual((await ready(cluster)).warnings.filter((text) => /cannot be noted/.test(text)), []);
    const lines = (await ask('GET', 'audit')).text.trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.ok(lines.some(({ outcome, action }) => outcome === 'denied' && action === 'api.authenticate'), 'the denial waited');
    assert.equal((await ctl(cluster, 'audit', 'verify')).code, 0);
});
