// polderctl as a whole: how it is called, what probe says, and every command with a real origin.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { bin } from './lib/fixture.mjs';
import { noFakeClock, shiftedClock } from './lib/clock.mjs';
import { campaign, tempDir, ctl, ok, fails, scripted, send, closedPort, yaml } from './lib/polderctl.mjs';
import { Cluster, freeBasePort, until } from '../../deploy/demo/cluster.mjs';

// An origin that has just been made, and calls of it.
async function realOrigin(t) {
    const dir = tempDir(t);
    const cluster = new Cluster({ dir, bin, basePort: await freeBasePort(), startTimeoutMs: 60000 });
    t.after(async () => {
        for (const { code } of await cluster.stop()) assert.equal(code, 0, cluster.nodes.get('origin').logTail());
    });
    await cluster.init();
    await cluster.startOrigin();
    const api = { env: { POLDER_ORIGIN: cluster.url('origin') } };
    const run = (...args) => ok([...args, '--dir', dir], api);
    return { dir, cluster, api, run };
}

test('probe: one line a reason, and the exit codes that monitoring reads', async (t) => {
    let reply;
    const node = await scripted(t, (_, response) => reply(response));
    const probe = async (code, stdout, url = node.url, more = []) => {
        const run = await ctl(['probe', url, ...more]);
        assert.equal(run.code, code, run.stdout + run.stderr);
        assert.match(run.stdout, stdout);
        assert.equal(run.stderr, '');
        return run.stdout;
    };
    reply = (response) => send(response, 200, { status: 'healthy', reasons: [] });
    await probe(0, /^healthy: http:\/\/127.0.0.1:\d+\/replication\n$/);
    await probe(0, /^healthy/, `${node.url}/`);
    assert.deepEqual(node.requests.map(({ url, authorization }) => [url, authorization]), [['/replication', undefined], ['/replication', undefined]]);
    reply = (response) => send(response, 200, { status: 'degraded', reasons: ['edge us is silent', 'a hole\u001b[2J'] });
    await probe(1, /^degraded: edge us is silent\ndegraded: a hole\?\[2J\n$/);
    assert.equal(JSON.parse(await probe(1, /./, node.url, ['--json'])).status, 'degraded');
    reply = (response) => send(response, 503, { status: 'down', reasons: ['the disk is full'] });
    await probe(2, /^down: the disk is full\n$/);
    // a healthy word with an unhealthy code, other answers, no answer
    reply = (response) => send(response, 503, { status: 'healthy', reasons: [] });
    await probe(2, /^down: the node answers with HTTP status 503 and no health report\n$/);
    for (const body of ['<html>', '', '[]', '{"status":"fine"}', '{"status":1}']) {
        reply = (response) => send(response, 200, body);
        await probe(2, /^down: the node answers with HTTP status 200 and no health report\n$/);
    }
    reply = (response) => send(response, 404, { error: 'not-found' });
    await probe(2, /^down: the node answers with HTTP status 404 and no health report \(an edge with ops_listen gives it there only\)\n$/);
    reply = (response) => response.destroy();
    await probe(2, /^down: the connection to the node at .* broke off/);
    const port = await closedPort();
    await probe(2, /^down: cannot reach the node at http:\/\/127.0.0.1:\d+\/replication: connection refused \(is it running\?\)\n$/, `http://127.0.0.1:${port}`);
    assert.equal(JSON.parse(await probe(2, /./, `http://127.0.0.1:${port}`, ['--json'])).status, 'down');
    await fails(2, /must begin with http/, ['probe', '127.0.0.1:8080']);
});

test('wrong calls end with 2 and say what there is; help ends with 0', async () => {
    await fails(2, /Usage: polderctl \[OPTION\.\.\.\] NOUN VERB/, []);
    await fails(2, /'shop' is no command; there are: init edge account/, ['shop']);
    await fails(2, /'make' is no verb of account; it has:\n\n {2}account create NAME/, ['account', 'make']);
    await fails(2, /Usage: polderctl account/, ['account']);
    await fails(2, /unrecognized option '--nix'/, ['account', 'list', '--nix']);
    await fails(2, /--role is missing/, ['token', 'create', '--token', 'pt_x']);
    await fails(2, /polderctl config publish: expected ACCOUNT FILE/, ['config', 'publish', 'x']);
    const help = await ok(['--help']);
    const commands = [...help.matchAll(/^ {2}([a-z]+)(?: ([a-z-]+))?(?: \[?[A-Z]+\]?)* {2,}\S/gm)].map((match) => match.slice(1, 3).filter(Boolean));
    assert.ok(commands.length >= 24);
    assert.equal(commands.length, help.split('\n').filter((line) => /^ {2}[a-z]/.test(line)).length);
    assert.doesNotMatch(help, /^ {2}[a-z].*\n(?! {2}[a-z]).+/m, 'a command has a line of its own');
    for (const words of commands) {
        const text = await ok([...words, '--help']);
        assert.match(text, new RegExp(`Usage: polderctl ${words.join(' ')} `));
        assert.match(text, /Examples?:\n {2}polderctl .*\n((?: {2}polderctl| {6}).*\n)*$/, `an example in polderctl ${words.join(' ')} --help is broken in two`);
        assert.ok(text.split('\n').every((line) => line.length < 80), `polderctl ${words.join(' ')} --help is wider than a terminal`);
    }
    assert.match(await ok(['--version']), /^polderctl \d+\.\d+\.\d+\n$/);
});

test('every command against a real origin', { timeout: 120000 }, async (t) => {
    const { dir, cluster, api, run } = await realOrigin(t);
    const json = async (...args) => JSON.parse(await run(...args, '--json'));
    const failing = (pattern, ...args) => fails(1, pattern, [...args, '--dir', dir], api);

    for (const [noun, word] of [['account', 'accounts'], ['edge', 'edges'], ['token', 'tokens']]) {
        assert.match(await run(noun, 'list'), new RegExp(`^There are no ${word}`));
    }
    const shop = await json('account', 'create', 'my-shop', '--regions', 'eu,us', '--origins', 'https://shop.example', '--expires-at', '2099-12-31', '--honour-dnt');
    assert.match(shop.id, /^[0-9a-f]{16}$/);
    assert.deepEqual([shop.name, shop.state, shop.regions, shop.origins, shop.honour_dnt, shop.config_version], ['my-shop', 'active', ['eu', 'us'], ['https://shop.example'], true, 0]);
    assert.match(shop.write_key, /^[0-9a-f]{32}$/);
    assert.deepEqual(await json('account', 'show', 'my-shop'), shop);
    assert.match(await run('account', 'list'), new RegExp(`^${shop.id}  my-shop  active +0  \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d  2099-12-31 00:00  - +${shop.write_key}$`, 'm'));

    await failing(/my-shop has published no config yet/, 'config', 'show', 'my-shop');
    assert.match(await run('config', 'publish', 'my-shop', campaign), /^Published as version 1;/);
    assert.equal((await json('config', 'publish', shop.id, campaign)).version, 2);
    assert.deepEqual(JSON.parse(await run('config', 'show', 'my-shop', '--version', '1')), JSON.parse(fs.readFileSync(campaign, 'utf8')));
    await failing(/no such version/, 'config', 'show', 'my-shop', '--version', '9');
    assert.equal(await run('events', 'export', 'my-shop'), '');

    const edge = await json('edge', 'enroll', 'eu-1', '--region', 'eu');
    assert.equal(edge.id, yaml(path.join(dir, 'edges/eu-1/edge.yaml')).edge_id);
    await run('edge', 'enroll', 'us-1', '--region', 'us');
    assert.deepEqual((await json('edge', 'list')).edges.map(({ name, region, revoked_at: revoked }) => [name, region, revoked]), [['eu-1', 'eu', null], ['us-1', 'us', null]]);
    fs.rmSync(path.join(dir, 'edges/us-1'), { recursive: true });
    await failing(/an edge named us-1 is enrolled already; revoke it first/, 'edge', 'enroll', 'us-1', '--region', 'us');
    assert.match(await run('edge', 'revoke', 'us-1'), /^Edge us-1 \([0-9a-f]{32}\) is revoked/);
    await run('edge', 'enroll', 'us-1', '--region', 'us');
    assert.match(await run('edge', 'list'), /us-1 +us +\S+ \S+ +\d{4}-\d\d-\d\d \d\d:\d\d\n/);

    // a token: shown once, good for what its role may do, not after its end
    const owner = (await ctl(['token', 'create', '--role', 'owner', '--account', 'my-shop', '--name', 'alice', '--dir', dir], api));
    assert.match(owner.stdout, /^pt_[0-9a-f]{64}\n$/);
    assert.match(owner.stderr, /only time it is shown/);
    const asOwner = ['--token', owner.stdout.trim()];
    await ok(['config', 'show', shop.id, ...asOwner], api);
    await fails(1, /the token from --token may not do this/, ['account', 'create', 'other', ...asOwner], api);
    await run('account', 'create', 'another-shop');
    await ok(['config', 'show', 'my-shop', ...asOwner], api);
    assert.equal(await ok(['events', 'export', 'my-shop', ...asOwner], api), '');
    assert.deepEqual(JSON.parse(await ok(['account', 'list', '--json', ...asOwner], api)).accounts.map(({ name }) => name), ['my-shop']);
    await fails(1, /there is no account 'another-shop'/, ['config', 'show', 'another-shop', ...asOwner], api);
    const listed = await run('token', 'list');
    assert.match(listed, new RegExp(`alice  owner +${shop.id}`));
    assert.ok(!listed.includes('pt_'));
    await run('token', 'revoke', 'alice');
    await fails(1, /does not know the token from --token/, ['config', 'show', shop.id, ...asOwner], api);
    await fails(1, /role must be operator, owner or auditor/, ['token', 'create', '--role', 'king', '--dir', dir], api);

    assert.match(await run('account', 'expire', 'my-shop', '--at', '2090-01-01'), /^my-shop will expire at 2090-01-01 00:00 UTC\.\n$/);
    assert.match(await run('account', 'expire', 'my-shop'), /^my-shop has expired: .*\nIts data will be deleted from \d{4}-\d\d-\d\d \d\d:\d\d UTC on; until then: polderctl account reinstate [0-9a-f]{16}\n$/);
    assert.match(await run('account', 'expire', 'my-shop'), /^my-shop has expired already, at \d{4}-\d\d-\d\d \d\d:\d\d UTC\.\n/);
    await failing(/my-shop is expired already/, 'account', 'expire', 'my-shop', '--at', '2090-01-01');
    assert.match(await run('account', 'keep', 'my-shop'), /^Nobody asks for its deletion: my-shop stays\.\n$/);
    assert.match(await run('account', 'show', 'my-shop'), /^deletion due +\d{4}-/m);
    assert.match(await run('account', 'reinstate', 'my-shop', '--expires-at', '2095-06-01'), /^my-shop is active until 2095-06-01 00:00 UTC\.\n$/);
    assert.match(await run('account', 'reinstate', 'my-shop'), /^my-shop is active, without an end\.\n$/);

    const kek = path.join(dir, 'origin/kek.key');
    await run('kek', 'rotate', kek);
    assert.match(await run('keyring', 'rewrap'), /^3 keys are newly wrapped/);
    fs.writeFileSync(kek, `${fs.readFileSync(kek, 'utf8').split('\n')[1]}\n`); // the earlier line can go
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin();
    assert.equal((await json('account', 'show', 'my-shop')).state, 'active');

    assert.match(await run('keyring', 'orphans'), /^Every data key in the keyring belongs to an account/);
    await fails(2, /--reason must say why/, ['keyring', 'orphans', '--destroy', '--dir', dir], api);
    await fails(2, /--reason is for --destroy/, ['keyring', 'orphans', '--reason', 'x', '--dir', dir], api);
    assert.match(await run('keyring', 'orphans', '--destroy', '--reason', 'none are left'), /^0 keys are destroyed/);

    assert.match(await run('keyring', 'lost'), /^The keyring has every key that edges have sealed blocks for/);
    await fails(2, /--reason must say why/, ['keyring', 'give-up', '0123456789abcdef', '--dir', dir], api);
    await fails(1, /no block has come for a key 0123456789abcdef/, ['keyring', 'give-up', '0123456789abcdef', '--reason', 'x', '--dir', dir], api);

    assert.match(await run('lifecycle', 'confirm-clock', '--yes'), /^The origin believes its clock/);
    assert.deepEqual(JSON.parse(await run('lifecycle', 'confirm-clock', '--json')), { confirmed: false, doubt: null });

    const health = await ctl(['probe', cluster.url('origin')]);
    assert.ok([0, 1].includes(health.code), health.stdout);
    await cluster.nodes.get('origin').stop();
    assert.equal((await ctl(['probe', cluster.url('origin')])).code, 2);
});

test('lifecycle confirm-clock asks before it says so', { timeout: 120000, skip: noFakeClock }, async (t) => {
    const { dir, cluster, api, run } = await realOrigin(t);
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin(shiftedClock(dir, 3 * 86400));
    const doubt = await until('the clock is doubted', 10000, async () => {
        const asked = await ctl(['lifecycle', 'confirm-clock', '--dir', dir], api);
        return asked.code !== 0 && asked;
    });
    assert.equal(doubt.code, 2);
    assert.match(doubt.stdout, /doubts its clock: the clock shows \S+ where \S+ or a day more was expected[^]*nobody can bring that back/);
    assert.match(doubt.stderr, /nothing was confirmed: repeat it with --yes/);
    const json = await ctl(['lifecycle', 'confirm-clock', '--json', '--dir', dir], api);
    assert.equal(json.code, 2);
    const { confirmed, doubt: said } = JSON.parse(json.stdout);
    assert.equal(confirmed, false);
    assert.match(said, /^the clock shows \S+ where/);
    assert.match(await run('lifecycle', 'confirm-clock', '--yes'), /^The origin doubts[^]*^Confirmed\./m);
    await until('the clock is believed', 70000, async () => (await run('lifecycle', 'confirm-clock')).startsWith('The origin believes'));
});
