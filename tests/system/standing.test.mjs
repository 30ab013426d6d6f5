// What is to come of an account's data is said wherever people look: holds, what is due, what is gone.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startCluster, until } from './lib/fixture.mjs';

test('holds and deletions are said in lists, of one account, and in its record', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: [], start: [], campaign: false });
    const ctl = (...args) => cluster.ctl('account', ...args);
    const row = async (id = account.id) => (await ctl('list')).split('\n').find((line) => line.startsWith(id));
    const record = async () => JSON.parse(await ctl('record', account.id));
    assert.doesNotMatch(await ctl('show', account.id), /kept by holds/);
    await ctl('hold', account.id, '--reason', 'HGB 257', '--from', '2026-01-01', '--to', '2026-03-31');
    assert.deepEqual((await record()).statutory_holds.map(({ reason, days, until: end }) => [reason, days, end]), [['HGB 257', '2026-01-01 to 2026-03-31', 'it is released']]);
    const { token: owners } = await cluster.ctlJson('token', 'create', '--role', 'owner', '--account', account.id);
    const asOwner = async (what) => (await fetch(`${cluster.url('origin')}/api/v1/accounts/${account.id}/${what}`, { headers: { Authorization: `Bearer ${owners}` } }));
    assert.equal((await asOwner('holds')).status, 403);
    const told = (await (await asOwner('record')).json()).statutory_holds;
    assert.deepEqual(told.map((hold) => [hold.reason, Object.keys(hold).sort().join()]), [['HGB 257', 'days,placed_at,reason,until']], 'why, which days, until when; not who placed it');
    assert.match(await ctl('expire', account.id), /A hold keeps some days of it until that ends/);
    assert.match(await row(), / \d{4}-\d\d-\d\d, held /);
    await ctl('hold', account.id, '--reason', 'a lawsuit');
    assert.match(await ctl('show', account.id), /kept by holds +all/);
    assert.match(await ctl('deletion', account.id), /kept by holds +all/);
    assert.match(await ctl('holds', account.id), /its release +no +a lawsuit/);
    assert.match(await row(), / held /);
    assert.equal((await record()).statutory_holds[1].days, 'all of the account');

    // Ended once, whoever asks again; another one goes on.
    const release = async (...how) => ctl('release', account.id, (await cluster.ctlJson('account', 'holds', account.id)).holds[0].id, '--reason', ...how);
    assert.match(await release('settled'), /^Released: what was due meanwhile, and no other hold keeps/);
    assert.match(await release('settled again'), /^It was released already, at .* UTC\.$/m);
    assert.equal(JSON.parse(await release('again', '--json')).release_reason, 'settled');
    assert.match(await cluster.ctl('audit', 'export'), /"hold\.release","outcome":"done"[^\n]*"detail":"already"/);

    const soon = new Date(Date.now() + 1500).toISOString();
    const brief = await cluster.ctlJson('account', 'hold', account.id, '--reason', 'briefly', '--until', soon);
    assert.equal(brief.ended_at, null);
    await until('it has run out', 10000, async () => (await cluster.ctlJson('account', 'holds', account.id)).holds.find(({ id }) => id === brief.id).ended_at === soon);
    assert.match(await ctl('holds', account.id), /HOLD .* ENDED \(UTC\) .*\n.* \d\d:\d\d +HGB 257\n.* no +a lawsuit\n.* \d\d:\d\d +briefly\n/);

    // One that had ended long before it came here is overdue at once, and its making says so.
    const made = await ctl('create', 'old-shop', '--expires-at', '2025-01-31', '--imported');
    assert.match(made, /It has ended, .*its deletion begins at once/);
    assert.match(await ctl('create', 'ended-shop', '--expires-at', new Date(Date.now() - 10 * 86400e3).toISOString(), '--imported'), /It has ended: .* its data is deleted from/);
    assert.doesNotMatch(made, /config publish/);

    // Asked for, and why.
    const asked = await cluster.ctlJson('account', 'create', 'asked-shop');
    const { deletion_request: request } = await cluster.ctlJson('account', 'delete', asked.id, '--reason', 'ticket 4711');
    assert.match(await row(asked.id), / asked for /);
    for (const verb of ['show', 'deletion']) assert.match(await ctl(verb, asked.id), /^because of +ticket 4711$/m);
    assert.match(await ctl('confirm-delete', asked.id, request), /has begun; how far/);
    await assert.rejects(cluster.ctl('certificate', 'show', '00000000000000aa'), /there is no account 00000000000000aa/);

    // Gone: its name, too, and the record says that nothing is processed.
    const gone = await cluster.ctlJson('account', 'create', 'gone-shop');
    await ctl('delete', gone.id, '--now', '--reason', 'a test');
    await until('it is deleted', 30000, async () => (await cluster.ctlJson('account', 'show', gone.id)).state === 'deleted');
    assert.match(await row(gone.id), / done /);
    assert.match(await ctl('delete', gone.id, '--now', '--reason', 'again'), /is deleted already: polderctl certificate show/);
    const rest = await ctl('show', gone.id);
    assert.doesNotMatch(rest, /masked|regions|deletion due|because of/); // its rules went with its data
    assert.match(await ctl('deletion', gone.id), /^key destroyed +\d/m);
    assert.doesNotMatch(await ctl('deletion', gone.id), /^due /m);
    await assert.rejects(cluster.ctl('certificate', 'show', 'gone-shop'), /certificate list shows them by id/);
    const last = JSON.parse(await ctl('record', gone.id));
    assert.match(last.processing, /^None any more/);
    assert.ok(last.account.deleted_at && !('categories_of_data' in last) && !('purposes' in last));
    assert.match(await ctl('record', gone.id, '--html'), /None any more/);
});
