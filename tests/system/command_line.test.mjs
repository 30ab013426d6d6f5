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

test('polder-edge --check-config finds what a start would not take', () => {
    const files = Object.fromEntries(['origin_name', 'ca_file', 'link_cert_file', 'link_key_file', 'seal_key_file', 'data_dir'].map((key) => [key, 'x']));
    const good = { ...files, edge_id: '0'.repeat(31) + '1', region: 'eu', origin_url: 'tls+tcp://origin.example:8090' };
    const check = (changed) => spawnSync(path.join(bin, 'polder-edge'), ['--check-config'], {
        encoding: 'utf8',
        env: Object.fromEntries(Object.entries({ ...good, ...changed }).map(([key, value]) => [`POLDER_${key.toUpperCase()}`, value])),
    });
    assert.equal(check({}).status, 0, check({}).stderr);
    const wrong = [
        ['http_listen', 'localhost:80', /http_listen: "localhost:80" is not a numeric address/],
        ['ops_listen', '9081', /ops_listen: "9081" is not a numeric address/],
        ['origin_url', 'tls+tcp://origin.example', /origin_url must read tls\+tcp:\/\/HOST:PORT, not "tls\+tcp:\/\/origin\.example"/],
        ['region', 'EU', /region must be 1 to 15 of a-z, 0-9 and -, as enrolled, not "EU"/],
        ['data_dir', '', /option 'data_dir' is required and must not be empty/],
    ];
    for (const [key, value, says] of wrong) {
        const refused = check({ [key]: value });
        assert.equal(refused.status, 1, `${key}: ${refused.stdout}`);
        assert.match(refused.stderr, says);
    }
});
