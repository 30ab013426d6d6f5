// Every golden file of every dialect, over HTTP and through to the origin's export. Each has an
// account of its own, so that what is exported is what came of that one file.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startCluster, exported, until } from './lib/fixture.mjs';
import { dialects, goldenFiles, filledIn, send } from './lib/golden.mjs';

// What depends on the run: the account's number, the clock, the edge.
const VOLATILE = ['account', 'accepted', 'region', 'corrected_time'];

// The client's clock put on the edge's, by how far off it was when it sent.
function assertCorrected(event, expected, name) {
    const { accepted, client_time: client, sent_time: sent, corrected_time: corrected } = event;
    const literal = expected.find(({ message_id: id }) => id === event.message_id)?.corrected_time;
    const computed = client && sent ? new Date(new Date(accepted) - (new Date(sent) - new Date(client))).toISOString() : undefined;
    assert.equal(corrected, literal ?? computed, `${name}: corrected_time`);
}

// "offer.id": that member of that object.
function without(event, path) {
    const [field, member] = path.split('.');
    if (event[field]?.[member] === undefined) return event;
    const { [member]: _, ...rest } = event[field];
    return { ...event, [field]: rest };
}

// Without what varies, in an order that does not depend on keys and clocks.
function comparable(events, any, ignored) {
    return events
        .map((event) => ignored.reduce(without, event))
        .map((event) => Object.fromEntries(Object.entries(event).filter(([field]) => !VOLATILE.includes(field) && !any.includes(field))))
        .map((event) => [JSON.stringify([event.type, event.name, event.message_id, Object.entries(event).sort()]), event])
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, event]) => event);
}

function assertReply(reply, expected, name) {
    assert.equal(reply.status, expected.status, `${name}: status, ${reply.text.slice(0, 300)}`);
    if (expected.outcome) assert.equal(reply.headers['x-polder-outcome'], expected.outcome, `${name}: outcome`);
    if (expected.content_type) assert.equal(reply.headers['content-type']?.split(';')[0], expected.content_type, `${name}: content type`);
    if (expected.text !== undefined) assert.equal(reply.text, expected.text, `${name}: body`);
    for (const [field, value] of Object.entries(expected.json ?? {})) assert.deepEqual(JSON.parse(reply.text)[field], value, `${name}: body.${field}`);
    for (const [header, value] of Object.entries(expected.headers ?? {})) assert.match(String(reply.headers[header] ?? ''), new RegExp(value), `${name}: ${header}`);
}

async function makeAccount(cluster, file, index) {
    const alias = `golden-${index}`;
    const usesAlias = JSON.stringify(file).includes('${ALIAS}');
    const account = await cluster.ctlJson('account', 'create', alias, ...(usesAlias ? ['--aliases', alias] : []), ...(file.account ?? []));
    if (file.config) {
        const config = path.join(cluster.dir, `${alias}.json`);
        writeFileSync(config, JSON.stringify(file.config));
        await cluster.ctl('config', 'publish', account.id, config);
    }
    return { file, account, names: { KEY: account.write_key, ALIAS: alias } };
}

for (const dialect of dialects) {
    test(`golden files: ${dialect}`, { timeout: 300000 }, async (t) => {
        const { cluster } = await startCluster(t);
        const cases = [];
        for (const [index, file] of goldenFiles(dialect).entries()) cases.push(await makeAccount(cluster, file, index));
        for (const { file, names } of cases) {
            const version = file.config ? 1 : 0;
            await until('the edge knows the account', 15000, async () => {
                const reply = await send(cluster.url('eu'), { path: `/v1/config/${names.KEY}` });
                return reply.status === 200 && JSON.parse(reply.text).version === version;
            });
        }
        for (const { file, names } of cases) {
            const { request, reply } = filledIn({ request: file.request, reply: file.reply }, names);
            const requests = [request].flat();
            const replies = [reply].flat();
            for (const [index, each] of requests.entries()) assertReply(await send(cluster.url('eu'), each), replies[index] ?? replies[0], file.name);
        }
        await cluster.untilSettled(['eu'], 30000);
        for (const { file, account, names } of cases) {
            const any = file.any ?? [];
            const events = await exported(cluster, account);
            for (const event of events) for (const field of any) assert.notEqual(event[field], undefined, `${file.name}: ${field} is missing`);
            const expected = filledIn(file.events ?? [], names).map((event) => ({ ...event, dialect }));
            for (const event of events) assertCorrected(event, expected, file.name);
            assert.deepEqual(comparable(events, any, file.ignore ?? []), comparable(expected, any, []), file.name);
        }
    });
}
