// What both nodes say to a person who starts them by hand.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { bin } from './lib/fixture.mjs';

for (const [program, required] of [['polder-edge', 'edge_id'], ['polder-origin', 'data_dir']]) {
    const run = (...args) => spawnSync(path.join(bin, program), args, { encoding: 'utf8', env: {} });

    test(`${program} explains itself, and what it does not know ends it with 64`, () => {
        assert.match(run('--version').stdout, new RegExp(`^${program} \\d+\\.\\d+\\.\\d+\\n$`));
        const help = run('--help');
        assert.equal(help.status, 0, help.stderr);
        assert.match(help.stdout, /--check-config/);
        assert.match(help.stdout, new RegExp(`^${required} \\(required\\)\\n  \\S`, 'm'), 'the help lists the options');
        const printed = run('--print-config');
        assert.equal(printed.status, 0, printed.stderr);
        const keys = [...printed.stdout.matchAll(/^# (\w+): /gm)].map(([, key]) => key);
        assert.ok(keys.includes(required) && keys.length > 20, printed.stdout);
        for (const key of keys) assert.match(help.stdout, new RegExp(`^${key}( |$)`, 'm'), `${key} is missing in the help`);
        for (const wrong of [['--wrong'], ['stray'], ['--config']]) {
            const refused = run(...wrong);
            assert.equal(refused.status, 64, `${wrong}: ${refused.stderr}`);
            assert.match(refused.stderr, new RegExp(`${program} --help`));
            assert.equal(refused.stdout, '');
        }
    });

    test(`${program} checks its options without starting`, () => {
        const refused = run('--check-config');
        assert.notEqual(refused.status, 0);
        assert.match(refused.stderr, new RegExp(`^${program}: option .\\w+. is required .*POLDER_`), 'the missing option is named');
    });
}
