// deploy/try as people meet it, but for the installing and building: what it shows, and that it
// leaves no process behind however it ends.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freeBasePort, root } from '../../deploy/demo/cluster.mjs';
import { bin, until } from './lib/fixture.mjs';

const TIMEOUT_MS = 90000;

// One run: what it has said, how it ended, and the processes that have its folder on their command
// line (its nodes; and polderctl's, which end by themselves).
async function startTry(t, { dir = mkdtempSync(path.join(os.tmpdir(), 'polder-try-test-')), basePort, args = [] }) {
    const child = spawn(process.execPath, [path.join(root, 'deploy/demo/try.mjs'), '--bin', bin, '--dir', dir, '--base-port', String(basePort), ...args]);
    const run = { dir, said: '', kill: (signal) => child.kill(signal) };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (run.said += text));
    run.ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
    run.nodes = () => readdirSync('/proc').filter((pid) => {
        try {
            return /^\d+$/.test(pid) && Number(pid) !== child.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${dir}/`);
        } catch {
            return false;
        }
    });
    run.untilSaid = (what) => until(`deploy/try says ${what}`, TIMEOUT_MS, () => run.said.includes(what));
    t.after(async () => {
        child.kill('SIGTERM');
        await run.ended;
        for (const pid of run.nodes()) process.kill(Number(pid), 'SIGKILL');
        rmSync(dir, { recursive: true, force: true });
    });
    return run;
}

const env = (run) => Object.fromEntries(readFileSync(path.join(run.dir, 'try.env'), 'utf8').split('\n').filter(Boolean).map((line) => line.split(/=(.*)/)));

test('--once: every accepted event is at the origin, the books balance, nothing stays', { timeout: TIMEOUT_MS * 2 }, async (t) => {
    const run = await startTry(t, { basePort: await freeBasePort(), args: ['--once'] });
    assert.equal(await run.ended, 0, run.said);
    for (const region of ['eu', 'us', 'apac']) assert.match(run.said, new RegExp(`^  ${region} +300 +300 +0 +0 +0 s$`, 'm'));
    assert.match(run.said, /the books balance/);
    assert.deepEqual(run.nodes(), []);
});

test('a port where somebody listens who never answers is told as taken', { timeout: 30000 }, async (t) => {
    const basePort = await freeBasePort();
    const silent = net.createServer();
    await new Promise((resolve) => silent.listen(basePort, '127.0.0.1', resolve));
    t.after(() => silent.close());
    const run = await startTry(t, { basePort, args: ['--once'] });
    assert.equal(await run.ended, 1, run.said);
    assert.match(run.said, new RegExp(`^port ${basePort} of 127\\.0\\.0\\.1 is in use`));
});

test('until Ctrl-C: try.env leads to the nodes and the shop; a second one finds its ports taken, a third its port refused; closing the terminal ends all', { timeout: TIMEOUT_MS * 2 }, async (t) => {
    const basePort = await freeBasePort();
    const first = await startTry(t, { basePort });
    await first.untilSaid('Ctrl-C stops everything');
    const there = env(first);
    const origin = await fetch(`${there.POLDER_ORIGIN}/api/v1/accounts/${there.POLDER_ACCOUNT}`, { headers: { Authorization: `Bearer ${there.POLDER_TOKEN}` } });
    assert.equal((await origin.json()).write_key, there.POLDER_WRITE_KEY);
    assert.match(await (await fetch(there.POLDER_DEMO_PAGE)).text(), new RegExp(`${there.POLDER_EDGE_EU}/s/${there.POLDER_WRITE_KEY}\\.js`));
    const pids = [there.POLDER_PID_ORIGIN, ...['EU', 'US', 'APAC'].map((region) => there[`POLDER_PID_EDGE_${region}`])];
    assert.deepEqual(first.nodes().sort(), [...pids].sort());

    const second = await startTry(t, { basePort, args: ['--once'] });
    assert.equal(await second.ended, 1, second.said);
    assert.match(second.said, new RegExp(`^port ${basePort} of 127\\.0\\.0\\.1 is in use.*--base-port N`));
    assert.ok(!existsSync(path.join(second.dir, 'origin')), 'it made nothing');

    const unheard = await startTry(t, { basePort: 10080, args: ['--once'] });
    assert.equal(await unheard.ended, 2, unheard.said);
    assert.match(unheard.said, /^port 10080 is one that browsers refuse to ask/);

    first.kill('SIGHUP');
    assert.equal(await first.ended, 129, first.said);
    assert.deepEqual(first.nodes(), []);
});

test('a --dir that cannot be a folder of its own is refused, and nothing is made', async () => {
    const cwd = mkdtempSync(path.join(os.tmpdir(), 'polder-try-test-'));
    writeFileSync(path.join(cwd, 'file'), '');
    const run = (dir) => spawnSync(process.execPath, [path.join(root, 'deploy/demo/try.mjs'), '--bin', bin, '--dir', dir, '--base-port', '1'], { cwd, encoding: 'utf8' });
    for (const [dir, why] of [['', 'is empty'], ['file', 'is no folder'], ['.', 'is not empty']]) {
        const { status, stderr } = run(dir);
        assert.equal(status, 2, stderr);
        assert.match(stderr, new RegExp(`^--dir ${dir}: ${why}; name a new .*\\n$`));
    }
    assert.deepEqual(readdirSync(cwd), ['file']);
    rmSync(cwd, { recursive: true });
});

test('a signal at any moment of the start ends what was started', { timeout: TIMEOUT_MS * 4 }, async (t) => {
    const moments = [['SIGTERM', 'starting the origin'], ['SIGHUP', 'enrolling'], ['SIGINT', 'starting them'], ['SIGTERM', 'creating an account'], ['SIGHUP', 'sending']];
    for (const [signal, moment] of moments) {
        const run = await startTry(t, { basePort: await freeBasePort() });
        await run.untilSaid(moment);
        run.kill(signal);
        assert.equal(await run.ended, 128 + os.constants.signals[signal], `${signal} while ${moment}: ${run.said}`);
        await until(`nothing runs after ${signal} while ${moment}`, 5000, () => run.nodes().length === 0);
    }
});
