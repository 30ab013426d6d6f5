// Who may do what: every route of the program's own table, asked by everybody there is, about two
// accounts. A route that stands in the program and not in this table, or the other way round, fails.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../deploy/demo/cluster.mjs';
import { bin, exported, postBatch, startCluster, trackEvent, until } from './lib/fixture.mjs';

const hex = (bytes) => randomBytes(bytes).toString('hex');
const O = ['operator'], OA = ['operator', 'auditor'], OO = ['operator', 'owner'], ALL = ['operator', 'owner', 'auditor'];

function newEdge() {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return { id: hex(16), name: hex(4), region: 'eu', link_public: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'), seal_public: hex(32) };
}

// What is allowed to whom, what the audit log calls it ('' where it says nothing), and, where it is
// not 200, what those are answered who may. {account} and {id} are filled in. In this
// order an operator goes through it for the accounts, so what ends something stands last.
const table = {
    'GET accounts': [ALL, ''], // an owner's is one
    'POST accounts': [O, 'account.create', 201, () => ({ name: `made-${hex(4)}` })],
    'GET accounts/{account}': [ALL, ''],
    'PATCH accounts/{account}': [O, 'account.update', 200, () => ({ honour_dnt: false })],
    'GET accounts/{account}/records': [ALL, ''],
    'GET accounts/{account}/deletion': [ALL, ''],
    'GET accounts/{account}/holds': [OA, ''],
    'PUT accounts/{account}/config': [O, 'config.publish', 200, (x) => x.config],
    'GET accounts/{account}/config': [OO, ''],
    'GET accounts/{account}/events': [OO, 'events.export'],
    'POST accounts/{account}/events': [OO, 'events.export', 200, (x) => ({ visitor: x.visitor })],
    'GET accounts/{account}/counts': [ALL, ''],
    'GET accounts/{account}/outcomes': [OO, ''],
    'POST accounts/{account}/visitor/profile': [OO, 'visitor.show', 200, (x) => ({ id: x.visitor })],
    'POST accounts/{account}/visitor/export': [OO, 'visitor.export', 200, (x) => ({ id: x.visitor })],
    'POST accounts/{account}/visitor/erase': [OO, 'visitor.erase', 201, () => ({ id: 'nobody' })],
    'POST accounts/{account}/visitor/optout': [OO, 'visitor.optout', 200, () => ({ id: 'nobody' })],
    'POST accounts/{account}/visitor/optin': [OO, 'visitor.optin', 200, () => ({ id: 'nobody' })],
    'GET accounts/{account}/erasures': [ALL, ''],
    'GET accounts/{account}/erasures/{id}': [ALL, '', 404],
    'GET accounts/{account}/erasures': [ALL, ''],
    'GET accounts/{account}/erasures/{id}': [ALL, '', 404],
    'POST accounts/{account}/visitor/profile': [OO, 'visitor.show', 200, ({ visitor }) => ({ id: visitor })],
    'POST accounts/{account}/visitor/export': [OO, 'visitor.export', 200, ({ visitor }) => ({ id: visitor })],
    'GET counts': [OA, ''],
    'GET audit': [OA, ''],
    'GET audit/head': [OA, ''],
    'GET edges': [OA, ''],
    'GET tokens': [O, ''],
    'GET accounts/{account}/record': [ALL, ''],
    'GET accounts/{account}/certificate': [OA, '', 404],
    'GET certificates': [OA, ''],
    'GET certificates/keys': [OA, ''],
    'POST edges': [O, 'edge.enroll', 201, newEdge],
    'POST edges/{id}/revoke': [O, 'edge.revoke', 404],
    'POST tokens': [O, 'token.create', 201, () => ({ role: 'auditor' })],
    'DELETE tokens/{id}': [O, 'token.revoke', 404],
    'POST lifecycle/confirm-clock': [O, 'lifecycle.confirm-clock', 204],
    'POST keyring/rewrap': [O, 'keyring.rewrap'],
    'POST keyring/rotate': [O, 'keyring.rotate'],
    'GET keyring/orphans': [OA, ''],
    'POST keyring/orphans/destroy': [O, 'keyring.destroy-orphans', 200, () => ({ reason: 'nobody\'s' })],
    'GET keyring/lost': [OA, ''],
    'POST keyring/lost/give-up': [O, 'keyring.give-up', 404, () => ({ key: hex(8), reason: 'no newer copy' })],
    'POST accounts/{account}/visitor/erase': [OO, 'visitor.erase', 201, ({ visitor }) => ({ id: visitor })],
    'POST accounts/{account}/holds': [O, 'hold.place', 201, () => ({ reason: 'a lawsuit' })],
    'POST accounts/{account}/holds/{id}/release': [O, 'hold.release', 404, () => ({ reason: 'settled' })],
    'POST accounts/{account}/expire': [O, 'account.expire', 200, () => ({ at: '2999-01-01' })],
    'POST accounts/{account}/reinstate': [O, 'account.reinstate', 200, () => ({})],
    'POST accounts/{account}/deletion': [O, 'account.delete', 409, () => ({ reason: 'asked for' })], // it is held
    'POST accounts/{account}/deletion/confirm': [O, 'account.confirm-deletion', 409, () => ({ request: hex(16) })],
    'DELETE accounts/{account}/deletion': [O, 'account.keep'],
};
const anyones = ['GET /ready', 'GET /replication', 'GET /metrics'];

const routes = JSON.parse(execFileSync(path.join(bin, 'route_table'), { encoding: 'utf8' }))
    .map((route) => ({ ...route, name: `${route.method} ${route.path.replace('/api/v1/', '')}` }));

test('every route is decided upon, here and in the README', () => {
    const there = Object.fromEntries(routes.map(({ name, roles, action }) => [name, [roles.toSorted(), action]]));
    const decided = Object.fromEntries([
        ...Object.entries(table).map(([name, [roles, action]]) => [name, [roles.toSorted(), action]]),
        ...anyones.map((name) => [name, [[], '']]),
    ]);
    assert.deepEqual(there, decided);
    for (const { method, action, name } of routes) assert.ok(method === 'GET' || action, `${name} changes something: the audit log has to have a word for it`);

    const readme = readFileSync(path.join(root, 'origin/README.md'), 'utf8');
    const rows = [...readme.matchAll(/^\| `([A-Z]+) ([^`]+)` \| ([^|]+) \| (?:`([^`]+)`)? *\|/gm)].map(([, method, where, who, action]) => [
        `${method} ${where}`, [who.trim() === 'anyone' ? [] : who.trim().split(', ').toSorted(), action ?? ''],
    ]);
    assert.deepEqual(Object.fromEntries(rows), there);
});

// An account, its people, and words that stand in its data and nowhere else.
async function makeAccount(cluster, operator, name) {
    const word = `marker${hex(6)}`;
    const made = await operator('POST', 'accounts', { name: `${name}-${word}` });
    const account = made.json;
    const config = { campaigns: [{ id: word, name: word, traffic: 1, url: ['*'], variants: [{ id: 'a', weight: 1, control: true }] }] };
    await operator('PUT', `accounts/${account.id}/config`, config);
    const token = async (fields) => (await operator('POST', 'tokens', { role: 'owner', account: account.id, name: word, ...fields })).json;
    const tokens = { owner: await token({}), revoked: await token({}), expired: await token({ expires_at: new Date(Date.now() + 1500).toISOString() }) };
    await operator('DELETE', `tokens/${tokens.revoked.id}`);
    const visitor = `${word}visitor`;
    await until('the edge takes its events', 15000, async () =>
        (await postBatch(cluster.url('eu'), account.write_key, [trackEvent({ event: word, anonymousId: visitor, userId: `${word}user`, messageId: `${word}message` })])) === 200);
    await until('they are stored', 20000, async () => (await exported(cluster, account)).length === 1);
    return { ...account, config, tokens, visitor, marks: [word, account.write_key, ...Object.values(tokens).flatMap((one) => [one.id, one.token])] };
}

function api(cluster, token) {
    return async (method, where, body) => {
        const reply = await fetch(`${cluster.url('origin')}/api/v1/${where}`, {
            method,
            // who is behind a proxy is not known: this must help nobody past a limit or out of the log
            headers: { 'X-Forwarded-For': `10.0.${Math.floor(Math.random() * 250)}.9`, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        const text = await reply.text();
        let json;
        try {
            json = JSON.parse(text);
        } catch {
            json = undefined;
        }
        return { status: reply.status, text: text + JSON.stringify([...reply.headers]), json, body: text };
    };
}

test('every route, everybody, both accounts', { timeout: 240000 }, async (t) => {
    const { cluster } = await startCluster(t, { campaign: false });
    const operator = api(cluster, cluster.token);
    const a = await makeAccount(cluster, operator, 'a');
    const b = await makeAccount(cluster, operator, 'b');
    const make = async (fields) => (await operator('POST', 'tokens', fields)).json;
    const auditor = await make({ role: 'auditor', name: 'an-auditor' });
    const dismissed = await make({ role: 'operator', name: 'dismissed' });
    await operator('DELETE', `tokens/${dismissed.id}`);
    await until('the brief token expires', 10000, async () => (await api(cluster, b.tokens.expired.token)('GET', 'accounts')).status === 401);
    const before = (await operator('GET', 'audit/head')).json.n;

    // role: none of the token's that is asked with; own: the account it is for.
    const people = {
        'a\'s owner': { token: a.tokens.owner, role: 'owner', own: a },
        'b\'s owner': { token: b.tokens.owner, role: 'owner', own: b },
        auditor: { token: auditor, role: 'auditor' },
        'a\'s revoked owner': { token: a.tokens.revoked, dead: 'revoked token' },
        'a\'s expired owner': { token: a.tokens.expired, dead: 'expired token' },
        'a dismissed operator': { token: dismissed, dead: 'revoked token' },
        nobody: { token: {}, dead: 'no token' },
        'somebody who guesses': { token: { token: `pt_${hex(32)}` }, dead: 'unknown token' },
        operator: { token: { token: cluster.token }, role: 'operator' }, // last: it changes things
    };
    const denied = new Map(); // "token id action" → how often
    let slowed = 0;
    for (const [person, { token, role, own, dead }] of Object.entries(people)) {
        const ask = api(cluster, token.token);
        for (const [name, [roles, action, status = 200, body]] of Object.entries(table)) {
            for (const account of name.includes('{account}') ? [a, b] : [undefined]) {
                const [method, pattern] = name.split(' ');
                const where = pattern.replace('{account}', account?.id).replace('{id}', hex(16));
                const reply = await ask(method, where, body?.(account));
                const what = `${person}: ${name} of ${account === a ? 'a' : account === b ? 'b' : 'nobody'}: ${reply.text}`;
                const may = !dead && roles.includes(role) && (role !== 'owner' || !account || account === own);
                const expected = may ? status : dead ? (reply.status === 429 ? 429 : 401) : 403;
                assert.equal(reply.status, expected, what);
                // Nothing of anybody's to who is refused; nothing of the other's to an owner; no
                // visitor's data to an auditor.
                const theirs = !may ? [...a.marks, ...b.marks, a.id, b.id] : own ? (own === a ? [...b.marks, b.id] : [...a.marks, a.id])
                    : role === 'auditor' ? [a, b].flatMap(({ visitor, tokens }) => [visitor, tokens.owner.token]) : [];
                for (const mark of theirs) assert.ok(!reply.text.includes(mark), what);
                if (may && own && name === 'GET accounts') assert.deepEqual(reply.json.accounts.map(({ id }) => id), [own.id]);
                if (may) continue;
                slowed += reply.status === 429;
                const key = `${token.id ?? ''} ${dead ? 'api.authenticate' : action || 'api.read'}`;
                denied.set(key, (denied.get(key) ?? 0) + 1);
            }
        }
        for (const name of anyones) {
            const reply = await fetch(cluster.url('origin') + name.split(' ')[1]);
            const text = await reply.text();
            for (const mark of [...a.marks, ...b.marks]) assert.ok(!text.includes(mark), `${name} tells ${mark}`);
        }
    }

    assert.ok(slowed > 0, 'guesses are slowed');

    // What was only counted is written when the origin ends.
    assert.equal((await cluster.nodes.get('origin').stop()).code, 0);
    await cluster.startOrigin();
    const { body } = await operator('GET', `audit?from=${before + 1}`);
    const lines = body.trimEnd().split('\n').map((line) => JSON.parse(line));
    const noted = new Map();
    const dead = lines.filter((line) => line.outcome === 'denied');
    for (const { token = '', action, count = 1, from } of dead) {
        assert.equal(from, '127.0.0.1');
        const key = `${token} ${action}`;
        noted.set(key, (noted.get(key) ?? 0) + count);
    }
    assert.deepEqual(Object.fromEntries([...noted].toSorted()), Object.fromEntries([...denied].toSorted()));
    assert.ok(dead.some(({ count }) => count > 1), 'a flood is counted');
    for (const { token, dead: why } of Object.values(people))
        if (why && token.id) assert.ok(dead.some((line) => line.token === token.id && line.detail === why), why);

    // What was allowed is there, too: begun and done for what changes, done for what was given out.
    const outcomes = (action) => lines.filter((line) => line.action === action && line.outcome !== 'denied').map((line) => line.outcome);
    const expected = {};
    for (const [name, [roles, action, status = 200]] of Object.entries(table)) {
        if (!action) continue;
        const ended = status < 300 ? 'done' : 'failed';
        const times = (name.includes('{account}') ? 2 : 1) * (roles.includes('owner') ? 2 : 1);
        const changes = !name.startsWith('GET') && action !== 'events.export';
        (expected[action] ??= []).push(...Array(times).fill(changes ? ['begun', ended] : [ended]).flat());
    }
    for (const [action, all] of Object.entries(expected)) assert.deepEqual(outcomes(action), all, action);
    for (const { detail } of lines.filter(({ action, outcome }) => action === 'events.export' && outcome === 'done')) assert.match(detail, /^days 1970-01-01 to \d{4}-/);
    for (const line of lines.filter(({ token }) => token === a.tokens.owner.id && token)) {
        assert.equal(line.actor, 'owner');
        assert.equal(line.name, undefined);
    }
    // No names, no visitors, no secrets.
    for (const secret of [...a.marks, ...b.marks, auditor.token, cluster.token].filter((mark) => ![a, b].some(({ tokens }) => Object.values(tokens).some(({ id }) => id === mark))))
        assert.ok(!body.includes(secret), secret);
});
