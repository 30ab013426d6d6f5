// polderctl config and events: files that are checked and published, exports that break off.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { polderctl, campaign, tempDir, ctl, ok, fails, scripted, send, refuse, account } from './lib/polderctl.mjs';

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
    assert.equal(origin.requests.at(-1).url, '/api/v1/accounts/00000000000000a1/events?from=2026-10-02&to=2026-11-06&marks=true&type=order%2Cclick&format=csv&include=tally');
    assert.deepEqual([origin.requests.at(-1).method, JSON.parse(origin.requests.at(-1).body)], ['POST', { visitor: 'a b&c/ü' }]);
    assert.equal(origin.requests.at(-2).method, 'GET');
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
    const args = ['events', 'export', '00000000000000a1', '--origin', origin.url, '--token', 'pt_x', '--output', file, '--format', 'csv', '--from', '2026-11-01', '--to', '2026-11-02', '--visitor', 'ann'];
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
        visitor: 'ann',
        cursor: '2.3',
        bytes: (header + [1, 2, 3].map(record).join('')).length,
        csv: true,
    });
    await fails(1, /--resume goes on with it/, args);

    // What came after the last mark comes again; other days on the command line change nothing.
    reply = (response) => send(response, 200, [4, 5, 6].map(record).join('') + summary);
    assert.equal((await ctl([...args, '--resume', '--to', '2026-11-09', '--visitor', 'bob'])).stderr, `${file} is whole: 6 events, as many as the origin counts in these days.\n`);
    assert.deepEqual(JSON.parse(origin.requests.at(-1).body), { visitor: 'ann' });
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
