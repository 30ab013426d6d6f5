// The record of processing activities (GDPR Art. 30), as JSON and as a page.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startCluster } from './lib/fixture.mjs';

const EVIL = `Shop & Söhne <script>alert('x')</script>`;

test('the record says what is configured, and what nobody has stated', { timeout: 120000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { edges: ['eu', 'us'], start: [], campaign: false });
    const record = async () => JSON.parse(await cluster.ctl('account', 'record', account.id));
    const page = () => cluster.ctl('account', 'record', account.id, '--html');

    const bare = await record();
    assert.match(bare.title, /GDPR Art\. 30/);
    assert.equal(bare.account.id, account.id);
    assert.ok(bare.missing.some((text) => text.includes('account processing --purposes')));
    assert.ok(bare.missing.some((text) => text.includes('processor_name in origin.yaml')));
    assert.deepEqual(bare.regions_passed_through, [{ region: 'eu', edge: 'eu' }, { region: 'us', edge: 'us' }]);
    assert.ok(bare.not_kept.some((line) => /^IP addresses of requests, .*not searched/.test(line)));
    assert.ok(bare.not_kept.some((text) => text.startsWith('e-mail addresses, card numbers, phone numbers: masked')));
    assert.match(bare.retention.find(({ what }) => what === 'Events').how_long, /^13 months/);
    assert.match(bare.retention.find(({ what }) => what === 'All of the account').how_long, /from day 45 .* by day 90/);
    assert.match(await page(), /Still to be stated/);

    // What the owner and the operator say, the rules, and an edge that is no more.
    await cluster.ctl('account', 'processing', account.id, '--controller', EVIL, '--contact', 'privacy@shop.example',
        '--purposes', 'Optimising the shop', '--legal-basis', 'Consent, Art. 6(1)(a) GDPR');
    await cluster.ctl('account', 'update', account.id, '--regions', 'eu', '--pii', 'email', '--cookie', 'no', '--retention-months', '6');
    await cluster.nodes.get('origin').stop();
    await cluster.startOrigin({
        POLDER_PROCESSOR_NAME: 'Polder BV', POLDER_PROCESSOR_CONTACT: 'Kade 1, Rotterdam', POLDER_PROCESSOR_LOCATION: 'Frankfurt, Germany',
        POLDER_SUB_PROCESSORS: 'Hoster GmbH (Germany): servers',
    });
    const full = await record();
    assert.deepEqual(full.missing, []);
    assert.equal(full.controller.name, EVIL);
    assert.equal(full.processor.name, 'Polder BV');
    assert.deepEqual(full.sub_processors, ['Hoster GmbH (Germany): servers']);
    assert.deepEqual(full.regions_passed_through, [{ region: 'eu', edge: 'eu' }]);
    assert.ok(full.not_kept.some((text) => text.startsWith('e-mail addresses: masked')));
    assert.match(full.retention.find(({ what }) => what === 'Events').how_long, /^6 months/);
    assert.equal(full.categories_of_data.find(({ category }) => category === 'Cookie').what, 'edges set no visitor cookie');

    // What was said before stays when something else is said.
    await cluster.ctl('account', 'processing', account.id, '--recipients', 'Nobody else');
    assert.equal((await record()).purposes, 'Optimising the shop');
    await assert.rejects(cluster.ctl('account', 'processing', account.id, '--contact', 'x'.repeat(300)), /contact is longer than 255 bytes/);

    const html = await page();
    assert.match(html, /^<!DOCTYPE html>/);
    assert.ok(!html.includes('<script'), 'what people say is no markup');
    assert.ok(html.includes('Shop &amp; Söhne &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;'));
    assert.ok(!html.includes('Still to be stated'));
    for (const text of ['Polder BV', 'Hoster GmbH', 'Consent, Art. 6(1)(a) GDPR', 'Retention and deletion', 'Nobody else']) assert.ok(html.includes(text), text);
    if (process.env.POLDER_KEEP_PAGE) (await import('node:fs')).writeFileSync(process.env.POLDER_KEEP_PAGE, html);
});
