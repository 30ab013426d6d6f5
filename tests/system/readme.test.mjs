// README.md's "Run it" as it stands there, from `polderctl init` on, with this test's folder, ports
// and name for the origin: whoever copies it line by line gets a Polder that runs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Node, freeBasePort, root } from '../../deploy/demo/cluster.mjs';
import { bin, postBatch, trackEvent, until } from './lib/fixture.mjs';

const EVENT_KEPT_MS = 30000;

// The commands of a section, one a line, but for those that build.
function commandsOf(section) {
    const text = readFileSync(path.join(root, 'README.md'), 'utf8').split(`\n## ${section}\n`)[1].split('\n## ')[0];
    const [build, ...blocks] = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
    assert.match(build, /^\.\/deploy\/install build.*\ncmake .*\nninja .* polder-edge polder-origin polderctl\nexport PATH=/);
    return blocks.join('').split('\n').filter(Boolean);
}

test('README: what "Run it" says runs', { timeout: 240000 }, async (t) => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'polder-readme-'));
    const base = await freeBasePort();
    const origin = `http://127.0.0.1:${base}`, edge = `http://127.0.0.1:${base + 1}`;
    const here = [
        ['/srv/polder', path.join(dir, 'polder')],
        ['--host origin.example.eu', `--host localhost --base-port ${base}`],
        ['0.0.0.0:8081', `127.0.0.1:${base + 1}`],
        ['http://EDGE:8081', edge],
    ];
    const work = path.join(dir, 'work');
    mkdirSync(work);
    symlinkSync(path.join(root, 'deploy'), path.join(work, 'deploy'));
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('POLDER_')));
    Object.assign(env, { PATH: `${bin}:${env.PATH}`, POLDER_ORIGIN: origin });
    const nodes = [];
    t.after(async () => {
        for (const node of nodes.reverse()) await node.stop();
        rmSync(dir, { recursive: true, force: true });
    });

    let exported = '';
    const run = (command) => new Promise((resolve) => {
        execFile('bash', ['-euc', `${exported}${command}`], { cwd: work, env }, (error, out, said) => resolve({ code: error ? error.code : 0, out, said }));
    });
    const startNode = async (command) => {
        const node = new Node(command.split(' ')[0], 'bash', ['-c', `exec ${command}`], { logDir: dir, env });
        nodes.push(node);
        node.start();
        await node.untilUp(`${nodes.length === 1 ? origin : edge}/ready`, 60000);
    };
    const collect = async () => { // what the README's visitor would have sent
        const { accounts: [account] } = await (await fetch(`${origin}/api/v1/accounts`, { headers: { Authorization: `Bearer ${readFileSync(path.join(dir, 'polder/operator.token'), 'utf8').trim()}` } })).json();
        await until('the edge takes an event', EVENT_KEPT_MS, async () => (await postBatch(edge, account.write_key, [trackEvent({ userId: 'ann@example.com' })])) === 200);
        await until('the origin has it', EVENT_KEPT_MS, async () => (await run('polderctl events export shop.example')).out.includes('"Tested"'));
    };

    const said = [];
    for (const line of commandsOf('Run it')) {
        let command = line;
        for (const [there, instead] of here) command = command.replaceAll(there, instead);
        const verb = command.split(' ').slice(0, 3).join(' ');
        said.push(verb);
        if (/^polder-(origin|edge) /.test(command)) {
            await startNode(command);
        } else if (command.startsWith('export ')) {
            exported += `${command}\n`;
        } else if (verb.startsWith('polderctl probe')) {
            await until(`${line} finds it healthy`, EVENT_KEPT_MS, async () => (await run(command)).code === 0);
        } else {
            if (verb === 'polderctl visitor show') await collect();
            const { code, out, said: wrong } = await run(command);
            assert.equal(code, 0, `${command}: ${out}${wrong}`);
            if (verb === 'polderctl visitor show') assert.match(out, /^1 event, /);
        }
    }
    assert.deepEqual(said.filter((verb) => !verb.startsWith('polderctl')), [`polder-origin --config ${dir}/polder/origin/origin.yaml`, said.find((verb) => verb.startsWith('export')), `polder-edge --config ${dir}/polder/edges/eu-1/edge.yaml`]);
    assert.match(readFileSync(path.join(work, 'events.csv'), 'utf8'), /,Tested,/);
    assert.match(readFileSync(path.join(dir, 'polder/edges/eu-1/edge.yaml'), 'utf8'), new RegExp(`^origin_url: "tls\\+tcp://localhost:${base + 10}"$`, 'm'));
    for (const node of nodes.toReversed()) assert.deepEqual(await node.stop(), { code: 0, signal: null }, node.logTail());
});
