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
        assert.match(help.stdout, /^tls_key_file.*\n.*mode 0640/m, 'as the nodes take it');
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
    const tls = { tls_cert_file: 'x', tls_key_file: 'x' };
    const twice = (one, other) => new RegExp(`${one} and ${other} are both to listen at`);
    const wrong = [
        ['ops_listen', '127.0.0.1:8080', twice('http_listen', 'ops_listen')], // http_listen is every address by default
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
    const both = check({ ...tls, http_listen: '', https_listen: '[::1]:8443', ops_listen: '[::1]:8443' });
    assert.match(both.stderr, twice('https_listen', 'ops_listen'));
});

test('polder-origin --check-config finds two listeners at one address', () => {
    const files = Object.fromEntries(['ca_file', 'link_cert_file', 'link_key_file', 'sign_key_file', 'kek_file', 'data_dir', 'tls_cert_file', 'tls_key_file'].map((key) => [key, 'x']));
    const check = (changed) => spawnSync(path.join(bin, 'polder-origin'), ['--check-config'], {
        encoding: 'utf8',
        env: Object.fromEntries(Object.entries({ ...files, keyring_paths: 'a,b', ...changed }).map(([key, value]) => [`POLDER_${key.toUpperCase()}`, value])),
    });
    assert.equal(check({}).status, 0, check({}).stderr);
    assert.equal(check({ link_listen: 'tls+tcp://*:8090', http_listen: '127.0.0.1:8090' }).status, 0, 'names are left to the start');
    assert.match(check({ https_listen: '0.0.0.0:8080' }).stderr, /http_listen and https_listen are both to listen at 0\.0\.0\.0:8080: give each an address or a port of its own/);
    assert.match(check({ link_listen: 'tls+tcp://0.0.0.0:8080' }).stderr, /http_listen and link_listen are both to listen at/);
});
