// polderctl and the origin's API: errors, names, tables, requests. Errors are provoked by a scripted
// HTTP server in the origin's place.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { polderctl, campaign, ctl, tempDir, ok, fails, scripted, send, refuse, closedPort, account } from './lib/polderctl.mjs';

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
    reply = (response) => send(response, 403, { error: { code: 'denied', field: 'id', message: 'a hold covers it' } });
    await fails(1, /^polderctl: the origin refuses: a hold covers it\n$/, list(), withToken); // no token would help
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
    await fails(1, /there is no account '0{16}' \(polderctl account list shows them\)/, show('0'.repeat(16)));
    const before = origin.requests.length;
    assert.equal(JSON.parse(await ok(show('00000000000000a4'))).name, 'twin');
    assert.deepEqual(origin.requests.slice(before).map(({ url }) => url), ['/api/v1/accounts/00000000000000a4']);
});

test('tables align, shorten times, and print nothing that moves a cursor', async (t) => {
    const accounts = [
        account('00000000000000a1', 'größe', { config_version: 12 }),
        account('00000000000000a2', 'a longer name', { expires_at: '2027-01-02T03:04:05.678Z', deletion_due_at: '2027-02-18T03:04:05.678Z', held: 'days', overdue: false }),
        account('00000000000000a3', 'evil\u001b[2J\u009b1A', { overdue: true }),
        account('00000000000000a4', 'asked', { deletion_requested_at: '2026-11-22T13:03:33.123Z', deletion_reason: 'ticket 4711' }),
    ];
    const origin = await scripted(t, (_, response) => send(response, 200, { accounts }));
    const args = ['account', 'list', '--origin', origin.url, '--token', 'pt_x'];
    assert.equal(await ok(args), [
        `ACCOUNT           NAME           STATE   CONFIG  CREATED (UTC)     EXPIRES           DELETION          WRITE KEY`,
        `00000000000000a1  größe          active      12  2026-11-22 13:03  never             -                 ${'e'.repeat(32)}`,
        `00000000000000a2  a longer name  active       3  2026-11-22 13:03  2027-01-02 03:04  2027-02-18, held  ${'e'.repeat(32)}`,
        `00000000000000a3  evil?[2J??1A   active       3  2026-11-22 13:03  never             overdue           ${'e'.repeat(32)}`,
        `00000000000000a4  asked          active       3  2026-11-22 13:03  never             asked for         ${'e'.repeat(32)}`,
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
    // Half a list is a variable that was not set: none of it would be all regions.
    for (const list of [',', 'eu,', ',eu', 'eu,,us']) await fails(2, new RegExp(`--regions has nothing before or after a comma: '${list}'`), ['account', 'update', '00000000000000a1', '--regions', list, ...args]);
    await fails(2, /--hosts has nothing before/, ['account', 'create', 'a', '--hosts', ',', ...args]);
    await fails(2, /--honour-dnt must be yes or no, not 'maybe'/, ['account', 'update', '00000000000000a1', '--honour-dnt', 'maybe', ...args]);
});

test('what has no effect is noted, and fails nothing', async (t) => {
    const dir = tempDir(t);
    const file = path.join(dir, 'campaigns.json');
    const edges = [{ region: 'eu' }, { region: 'us', revoked_at: '2026-01-01T00:00:00.000Z' }];
    let known;
    const origin = await scripted(t, ({ method, url, json }, response) => {
        if (url === '/api/v1/edges') return send(response, 200, { edges });
        if (url.endsWith('/config')) return send(response, 200, { version: 1 });
        if (method !== 'GET') known = account('00000000000000a1', 'a', { regions: [], origins: [], ...json });
        return send(response, 200, known);
    });
    const notes = async (...args) => {
        const run = await ctl([...args, '--origin', origin.url, '--token', 'pt_x']);
        assert.equal(run.code, 0, run.stderr);
        return run.stderr;
    };
    assert.match(await notes('account', 'create', 'a'), /^Note: without web origins, polder\('optin'\) works only .*\n  polderctl account update 00000000000000a1 --origins https:/);
    const limited = await notes('account', 'create', 'a', '--regions', 'eu,us,mars', '--origins', 'https://a.example');
    assert.deepEqual(limited.match(/no edge of region \S+/g), ['no edge of region us', 'no edge of region mars']);
    assert.match(await notes('account', 'update', '00000000000000a1', '--regions', 'mars'), /^Note: no edge of region mars is enrolled/);
    assert.equal(await notes('account', 'update', '00000000000000a1', '--regions', 'eu'), '');
    assert.equal(await notes('account', 'update', '00000000000000a1', '--honour-dnt', 'no'), '');

    fs.writeFileSync(file, '{"campaigns":[],"settings":{"honour_dnt":true}}');
    assert.match(await notes('config', 'lint', file), /^Note: settings\.honour_dnt is not looked at: .* the account's rule/);
    assert.match(await notes('config', 'publish', '00000000000000a1', file), /^Note: settings\.honour_dnt is true, but the account's rule is no, and that counts: polderctl account update 00000000000000a1 --honour-dnt yes$/m);
    await notes('account', 'update', '00000000000000a1', '--honour-dnt', 'yes');
    assert.equal(await notes('config', 'publish', '00000000000000a1', file), '', 'they agree');
    assert.equal(await notes('config', 'lint', campaign), '');
});

test('account create sends what was given and nothing else', async (t) => {
    const origin = await scripted(t, (request, response) => (request.method === 'GET' ? send(response, 200, { edges: [] }) : send(response, 201, account('00000000000000a1', request.json.name, request.json))));
    const made = () => origin.requests.filter(({ method }) => method === 'POST');
    const args = ['--origin', origin.url, '--token', 'pt_x'];
    await ok(['account', 'create', 'My "shop"', ...args]);
    assert.deepEqual(JSON.parse(made()[0].body), { name: 'My "shop"' });
    const said = await ok(['account', 'create', 'b', '--expires-at', '2027-12-31', '--regions', 'eu,us', '--origins', 'https://a.example,https://b.example', '--honour-dnt', ...args]);
    assert.deepEqual(JSON.parse(made()[1].body), { name: 'b', expires_at: '2027-12-31', regions: ['eu', 'us'], origins: ['https://a.example', 'https://b.example'], honour_dnt: true });
    assert.match(said, /^regions +eu us$/m);
    assert.match(said, /polderctl config publish 00000000000000a1 FILE/);
    const ruled = await ok(['account', 'create', 'c', '--aliases', 'com.shop,GTM-1', '--hosts', 'm.shop.example', '--snowplow-path', '/com.shop/t',
        '--cookie-name', 'sid', '--cookie-domain', 'shop.example', '--cookie-same-site', 'Lax', '--cookie', 'yes', '--pii', 'email,card', ...args]);
    assert.deepEqual(JSON.parse(made()[2].body), {
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
    assert.equal(made().length, 3);
});

test('what is told of a visitor says what it leaves out; an erasure\'s receipt how it stands', async (t) => {
    const at = '2026-11-22T13:03:00.000Z';
    let body;
    const origin = await scripted(t, (_, response) => (typeof body === 'string' ? response.end(body) : send(response, 200, body)));
    const visitor = (verb, ...args) => ctl(['visitor', verb, '00000000000000a1', ...args, '--origin', origin.url, '--token', 'pt_x']);
    const profile = { events: 903, first_seen: at, last_seen: at, visitor_ids: ['phone'], user_ids: [], damaged: 0, types: { page_view: 2, offer_shown: 1 }, page_views: [{ at, url: 'https://a.example/' }, { at }], offers: [{ at }], dna: [] };
    body = profile;
    assert.doesNotMatch((await visitor('show', 'phone')).stdout, /newest|damaged/);
    body = { ...profile, damaged: 3, types: { page_view: 812, offer_shown: 90 } };
    const { stdout } = await visitor('show', 'phone');
    assert.match(stdout, /the newest 2 of 812; polderctl visitor export has all/);
    assert.match(stdout, /the newest 1 of 90;/);
    assert.match(stdout, /^3 values .* damaged/m);

    // No events is not nothing: there may be links and opt-outs.
    body = { ...profile, events: 0, damaged: 1 };
    assert.match((await visitor('show', 'phone')).stdout, /^1 value .* is damaged/m);
    body = { ...profile, events: 0 };
    assert.match((await visitor('show', 'phone')).stdout, /^No events are held .*export writes links and opt-outs/);
    body = '';
    assert.deepEqual(await visitor('export', 'phone'), { code: 0, signal: null, stdout: '', stderr: 'Nothing is held of this visitor.\n' });
    body = `{"polder_opt_out":{}}\n`;
    assert.deepEqual(await visitor('export', 'phone'), { code: 0, signal: null, stdout: body, stderr: '' });

    const id = '8f14e45fceea167a5a36dedd4bea2543';
    body = { id, state: 'held', at, erased_at: at, physically_gone_at: null, guarded_until: at, ids: { visitor: 1, user: 0 }, erased: { events: 1, links: 0, bytes: 9, dropped_on_arrival: 0 }, unreadable: 1, held: { events: 2, links: 0 }, edges: [{ name: 'us-1', region: 'us', state: 'written off', at, reason: 'its keys are destroyed' }, { name: 'eu-1', region: 'eu', state: 'confirmed', at }], kept: [] };
    const receipt = (await visitor('receipt', id)).stdout;
    assert.match(receipt, /^state +held$/m);
    assert.match(receipt, /^asked for +2026-11-22 13:03 UTC$/m);
    assert.match(receipt, /^gone from every file +not yet$/m);
    assert.match(receipt, /^what was erased +1 event, 0 links, 9 bytes; 0 dropped on arrival since$/m);
    assert.match(receipt, /^damaged, left +1 value that cannot be read$/m);
    assert.match(receipt, /^kept by a hold +2 events, 0 links: erased when it ends$/m);
    assert.match(receipt, /^eu-1 +eu +confirmed +2026-11-22 13:03$/m, 'no blanks where there is no reason');
    assert.match(receipt, /^us-1 +us +written off +2026-11-22 13:03 +its keys are destroyed$/m);
});
