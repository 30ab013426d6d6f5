// deploy/install and deploy/try, with programs of the test's own in the place of those that install,
// build and show: what they ask of them, and what they say when it goes wrong.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../../deploy/demo/cluster.mjs';

const packages = readFileSync(path.join(root, 'deploy/packages.txt'), 'utf8').split('\n').filter((line) => line && !line.startsWith('#'))
    .map((line) => line.split(/\s+/, 2)).map(([group, name]) => ({ group, name }));

// Runs a script of deploy/ on a machine that has all packages but `missing`; gives what it said and
// what it called. `fails` ends with an error, and says so.
function deploy(t, script, args, { missing = [], fails, uid = 0 } = {}) {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'polder-deploy-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const calls = path.join(dir, 'calls');
    const program = (name, body) => writeFileSync(path.join(dir, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    for (const name of ['apt-get', 'cmake', 'ninja']) {
        program(name, `echo "${name} $*" >>'${calls}'; ${name === fails ? `echo "${name} is broken"; exit 1` : 'exit 0'}`);
    }
    program('sudo', 'exec "$@"');
    program('id', `echo ${uid}`);
    program('dpkg-query', `for last; do :; done; case " ${missing.join(' ')} " in *" $last "*) exit 1 ;; esac; echo installed`);
    program('node', `case "$1" in -p) echo true ;; *) echo "node $*" >>'${calls}' ;; esac`);
    program('npm', 'exit 0');
    const run = spawnSync(path.join(root, 'deploy', script), args, { encoding: 'utf8', env: { ...process.env, PATH: `${dir}:${process.env.PATH}`, TMPDIR: dir } });
    return { code: run.status, out: run.stdout, said: run.stderr, calls: existsSync(calls) ? readFileSync(calls, 'utf8').trimEnd().split('\n') : [] };
}

test('deploy/install: a group that there is not is an error, and nothing is installed', (t) => {
    for (const args of [[], ['biuld'], ['build', 'tests'], ['build', ''], ['.*'], ['#']]) {
        const { code, said, calls } = deploy(t, 'install', args, { missing: ['cmake'] });
        assert.equal(code, 2, args.join());
        assert.match(said, /groups: build, test, bench/);
        if (args.length > 0) assert.ok(said.includes(`'${args.at(-1)}'`), said);
        assert.deepEqual(calls, []);
    }
});

test('deploy/install: says what is missing and why, and installs that alone', (t) => {
    const groups = [...new Set(packages.map(({ group }) => group))];
    assert.deepEqual(groups, ['build', 'test', 'bench']);
    assert.deepEqual(deploy(t, 'install', groups), { code: 0, out: '', said: '', calls: [] });
    const { code, out, calls } = deploy(t, 'install', ['build', 'test'], { missing: ['cmake', 'jq', 'nodejs', 'npm'], uid: 1000 });
    assert.equal(code, 0);
    assert.match(out, /^ {2}needs cmake +the build$/m);
    assert.match(out, /^ {2}needs jq +\S/m);
    assert.deepEqual(calls, ['apt-get update -q', 'apt-get install -y -q --no-install-recommends cmake jq']); // node is here, from elsewhere
    const broken = deploy(t, 'install', ['build'], { missing: ['cmake'], fails: 'apt-get' });
    assert.equal(broken.code, 1);
    assert.match(broken.said, /apt-get is broken\napt-get failed .*Debian 12/);
});

test('deploy/try: installs, builds, then shows; a failed build is said with its last lines', (t) => {
    const { code, calls } = deploy(t, 'try', ['--once', '--dir', 'a b'], { missing: ['cmake'] });
    assert.equal(code, 0);
    assert.deepEqual(calls, [
        'apt-get update -q',
        'apt-get install -y -q --no-install-recommends cmake',
        'cmake -S . -B build/release -G Ninja -DPOLDER_SANITIZE=',
        'ninja -C build/release polder-edge polder-origin polderctl',
        'node deploy/demo/try.mjs --bin build/release --once --dir a b',
    ]);
    for (const fails of ['apt-get', 'cmake', 'ninja']) {
        const broken = deploy(t, 'try', [], { missing: ['cmake'], fails });
        assert.equal(broken.code, 1);
        assert.ok(broken.said.includes(`${fails} is broken`), broken.said);
        assert.ok(!broken.calls.some((call) => call.startsWith('node')));
    }
    const help = deploy(t, 'try', ['--help'], { missing: ['cmake'] });
    assert.deepEqual([help.code, help.calls], [0, []]);
    assert.match(help.out, /deploy\/try \[--once\]/);
});
