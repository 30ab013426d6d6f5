// Stopping in order: SIGTERM under load ends a node soon and with code 0, and costs nobody an
// answer or an event.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { startCluster, postBatch, trackEvent, exportedIds, until } from './lib/fixture.mjs';

const CLIENTS = 12;
const UNDER_LOAD_MS = 600;

const batchOf = (count) => Array.from({ length: count }, () => trackEvent());
const bodyOf = (account, batch) => JSON.stringify({ writeKey: account.write_key, batch });

// Posts one batch. When it had left, and what became of it: status 0 where no answer came.
function postTimed(port, agent, body) {
    return new Promise((resolve) => {
        const result = { sentAt: Infinity, status: 0, ended: false };
        const call = http.request({ port, host: '127.0.0.1', path: '/v1/batch', method: 'POST', agent, headers: { 'Content-Length': Buffer.byteLength(body) } });
        call.on('finish', () => (result.sentAt = performance.now()));
        call.on('response', (reply) => {
            reply.resume();
            reply.on('end', () => {
                result.status = reply.statusCode;
                result.connection = reply.headers.connection;
            });
        });
        call.on('error', (error) => (result.error = error.code));
        call.on('close', () => resolve(result));
        call.end(body);
    });
}

// Half of the clients keep their connection, half come anew each time.
function startLoad({ cluster, account, whenStopped }, name) {
    const results = [];
    let going = true;
    whenStopped.push(() => (going = false)); // whatever happens
    const client = async (index) => {
        const agent = index % 2 ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false;
        while (going) {
            const batch = batchOf(3);
            const result = await postTimed(cluster.port(name), agent, bodyOf(account, batch));
            results.push({ ...result, batch });
            if (!result.status) await delay(10);
        }
        if (agent) agent.destroy();
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    return {
        results,
        stop: async () => {
            going = false;
            await Promise.all(clients);
        },
    };
}

const soon = (what, promise) => Promise.race([promise, delay(5000, null, { ref: false }).then(() => assert.fail(`${what}: not within 5 s`))]);

// A connection that nobody answers: how it was told.
function connecting(port) {
    return new Promise((resolve) => {
        const socket = net.connect({ port, host: '127.0.0.1' });
        socket.once('connect', () => socket.destroy() && resolve('connected'));
        socket.once('error', (error) => resolve(error.code));
    });
}

// Sends a head and half a body now; finish() sends the rest and gives the whole reply.
async function halfPosted(port, body) {
    const socket = net.connect({ port, host: '127.0.0.1' });
    await new Promise((resolve) => socket.once('connect', resolve));
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => (text += chunk));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    const half = body.length >> 1;
    socket.write(`POST /v1/batch HTTP/1.1\r\nHost: t\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, half)}`);
    return {
        closed,
        finish: async () => {
            socket.write(body.slice(half));
            await closed;
            return text;
        },
    };
}

test('an edge that is told to stop answers what was asked, refuses what is new, and goes', { timeout: 120000 }, async (t) => {
    const setup = await startCluster(t);
    const { cluster, account } = setup;
    const port = cluster.port('eu');
    const node = cluster.nodes.get('eu');
    const load = startLoad(setup, 'eu');
    const late = { batch: batchOf(2) }, lateH2 = { batch: batchOf(2) };
    const slow = await halfPosted(port, bodyOf(account, late.batch));
    const idle = net.connect({ port, host: '127.0.0.1' });
    idle.on('error', () => {});
    const idleClosed = new Promise((resolve) => idle.once('close', resolve));
    const session = http2.connect(`http://127.0.0.1:${port}`); // prior knowledge
    session.on('error', () => {});
    const saidGoodbye = new Promise((resolve) => session.once('goaway', (code) => resolve(code)));
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    const stream = session.request({ ':path': '/v1/batch', ':method': 'POST' }, { endStream: false });
    const streamStatus = new Promise((resolve, reject) => {
        stream.once('response', (head) => resolve(head[':status']));
        stream.once('error', reject);
    });
    const h2Body = bodyOf(account, lateH2.batch);
    stream.write(h2Body.slice(0, 10));
    await until('everybody was served a few times', 20000, () => load.results.length > 5 * CLIENTS);

    const toldAt = performance.now();
    const exited = node.stop(15000).then((result) => ({ ...result, ms: performance.now() - toldAt }));
    await until('new connections are refused', 10000, async () => (await connecting(port)) === 'ECONNREFUSED');
    assert.equal(await soon('GOAWAY', saidGoodbye), 0, 'without an error');
    await soon('the close of an idle connection', idleClosed);
    assert.equal(node.running, true, 'requests under way are waited for, connections without one are not');
    const reply = await slow.finish();
    assert.match(reply, /^HTTP\/1\.1 200 /);
    assert.match(reply, /^connection: close\r$/im);
    stream.end(h2Body.slice(10));
    assert.equal(await soon('the answer on the stream', streamStatus), 200);
    session.close();

    const { code, signal, ms } = await exited;
    assert.deepEqual([code, signal], [0, null]);
    assert.ok(ms < 10000, `it took ${ms} ms`);
    await load.stop();
    const before = load.results.filter((result) => result.sentAt < toldAt);
    const unanswered = before.filter((result) => result.status !== 200).map(({ batch, ...rest }) => ({ ...rest, sentAt: rest.sentAt - toldAt }));
    assert.ok(before.length > 2 * CLIENTS, `only ${before.length} requests before the end`);
    assert.deepEqual(unanswered, [], 'everybody who had asked was answered');
    assert.deepEqual([...new Set(load.results.map((result) => result.status))].sort(), [0, 200], 'an answer or none, never a wrong one');

    await cluster.startEdge('eu');
    const again = { batch: batchOf(1) };
    assert.equal(await postBatch(cluster.url('eu'), account.write_key, again.batch), 200, 'it resumes');
    const { rows } = await cluster.untilSettled(['eu'], 30000);
    const stored = await exportedIds(cluster, account);
    const acknowledged = [...load.results.filter((result) => result.status === 200), late, lateH2, again].flatMap((result) => result.batch);
    assert.deepEqual(acknowledged.filter((event) => stored.get(event.messageId) !== 1), []);
    assert.deepEqual([...stored.values()].filter((count) => count !== 1), []);
    assert.equal(rows[0].lost + rows[0].duplicate + rows[0].dropped, 0);
});

test('a client that never finishes holds an edge up no longer than drain_timeout_ms', { timeout: 60000 }, async (t) => {
    const { cluster, account } = await startCluster(t, { env: { POLDER_DRAIN_TIMEOUT_MS: '1000', POLDER_LINK_DRAIN_MS: '500' } });
    const slow = await halfPosted(cluster.port('eu'), bodyOf(account, batchOf(1)));
    const began = performance.now();
    const { code } = await cluster.nodes.get('eu').stop();
    const ms = performance.now() - began;
    await slow.closed;
    assert.equal(code, 0);
    assert.ok(ms >= 900 && ms < 5000, `it took ${ms} ms`);
});

test('an origin that is told to stop with blocks on their way loses and doubles none', { timeout: 120000 }, async (t) => {
    const setup = await startCluster(t, { edges: ['eu', 'us'] });
    const { cluster, account } = setup;
    const loads = ['eu', 'us'].map((name) => startLoad(setup, name));
    for (let round = 0; round < 4; round++) {
        await delay(UNDER_LOAD_MS);
        const began = performance.now();
        const { code } = await cluster.nodes.get('origin').stop();
        assert.equal(code, 0);
        assert.ok(performance.now() - began < 10000, `round ${round} took ${performance.now() - began} ms`);
        await cluster.startOrigin();
    }
    for (const load of loads) await load.stop();
    const results = loads.flatMap((load) => load.results);
    assert.deepEqual([...new Set(results.map((result) => result.status))], [200], 'the edges went on all the time');
    const { rows } = await cluster.untilSettled(['eu', 'us'], 30000);
    const stored = await exportedIds(cluster, account);
    const sent = results.flatMap((result) => result.batch);
    assert.deepEqual(sent.filter((event) => stored.get(event.messageId) !== 1), []);
    assert.equal(stored.size, sent.length);
    for (const row of rows) assert.deepEqual([row.lost, row.duplicate, row.dropped], [0, 0, 0]);
});
