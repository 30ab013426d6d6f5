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
    assert.match(await ctl('expire', account.id), /A hold keeps some days of it until that ends/);
    assert.match(await row(), / \d{4}-\d\d-\d\d, held /);
    await ctl('hold', account.id, '--reason', 'a lawsuit');
    assert.match(await ctl('show', account.id), /kept by holds +all/);
    assert.match(await ctl('deletion', account.id), /kept by holds +all/);
    assert.match(await ctl('holds', account.id), /its release +no +a lawsuit/);
    assert.match(await row(), / held /);
    assert.equal((await record()).statutory_holds[1].days, 'all of the account');

    // One that had ended long before it came here is overdue at once, and its making says so.
    const made = await ctl('create', 'old-shop', '--expires-at', '2025-01-31', '--imported');
    assert.match(made, /It has ended: .* its data is deleted from/);
    assert.doesNotMatch(made, /config publish/);

    // Gone: its name, too, and the record says that nothing is processed.
    const gone = await cluster.ctlJson('account', 'create', 'gone-shop');
    await ctl('delete', gone.id, '--now', '--reason', 'a test');
    await until('it is deleted', 30000, async () => (await cluster.ctlJson('account', 'show', gone.id)).state === 'deleted');
    assert.match(await row(gone.id), / done /);
    await assert.rejects(cluster.ctl('certificate', 'show', 'gone-shop'), /certificate list shows them by id/);
    const last = JSON.parse(await ctl('record', gone.id));
    assert.match(last.processing, /^None any more/);
    assert.ok(last.account.deleted_at && !('categories_of_data' in last) && !('purposes' in last));
    assert.match(await ctl('record', gone.id, '--html'), /None any more/);
});
