// The second half of tests/bench/run: measures the rows asked for, prints them, and after a whole
// run writes them into README.md.
import { mkdirSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { busyMachine, describeMachine, watchProcessors } from './machine.mjs';
import { plain, writeReadme } from './table.mjs';
import * as config from './rows/config.mjs';
import * as collect from './rows/collect.mjs';
import * as deletion from './rows/deletion.mjs';
import { dialect, intake } from './rows/programs.mjs';
import { endToEnd, idle } from './rows/path.mjs';

const ALL = { config, collect, dialect, intake, 'end-to-end': endToEnd, deletion, idle };
const WHOLE = { rounds: 7, seconds: 5, intakeEvents: 1000000, sustainSeconds: 60, deletedBytes: 1e9 };
const QUICK = { rounds: 2, seconds: 2, intakeEvents: 200000, sustainSeconds: 10, deletedBytes: 1e8 };

const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean', default: false }, bin: { type: 'string' }, dir: { type: 'string' } },
});
const unknown = positionals.filter((name) => !ALL[name]);
if (unknown.length) {
    console.error(`no such row: ${unknown.join(', ')}; there are ${Object.keys(ALL).join(', ')}`);
    process.exit(2);
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const dir = path.resolve(values.dir);
mkdirSync(dir, { recursive: true });
const about = { machine: describeMachine(dir), commit: commit(), busy: await busyMachine(), stolen: 0 };
const context = { ...(values.quick ? QUICK : WHOLE), bin: path.resolve(values.bin), dir };
console.log(`${about.machine}\n${about.busy ? 'other work runs on this machine: the figures will be off\n' : ''}`);

function commit() {
    const git = (...args) => execFileSync('git', ['-C', root, ...args], { encoding: 'utf8' }).trim();
    const dirty = git('status', '--porcelain', '--', '*.c', '*.h', '*.cc', 'CMakeLists.txt') !== '';
    return git('rev-parse', '--short=12', 'HEAD') + (dirty ? ' with changes' : '');
}

const rows = [];
const failed = [];
for (const name of positionals.length ? positionals : Object.keys(ALL)) {
    const began = Date.now();
    const shares = watchProcessors();
    process.stdout.write(`${ALL[name].title} ... `);
    try {
        const found = await ALL[name].measure(context);
        const { stolen } = shares();
        about.stolen = Math.max(about.stolen, stolen);
        console.log(`${((Date.now() - began) / 1000).toFixed(0)} s; the host gave ${(100 * stolen).toFixed(1)} % to others\n${plain(found)}\n`);
        rows.push(...found);
    } catch (error) {
        console.log('failed');
        console.error(`${name}: ${error.stack}`);
        failed.push(name);
    }
}
rmSync(dir, { recursive: true, force: true });

if (failed.length) {
    console.error(`not measured: ${failed.join(', ')}; README.md stays as it was`);
    process.exit(1);
}
if (positionals.length === 0 && !values.quick) {
    writeReadme(about, rows);
    console.log('tests/bench/README.md has the table');
}
