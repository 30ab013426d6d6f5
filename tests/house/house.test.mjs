// The rules of the house (ARCHITECTURE.md, "The rules of the rooms"), checked on every run.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const git = (...args) => execFileSync('git', ['-C', root, ...args], { encoding: 'utf8' });
const tracked = git('ls-files').split('\n').filter(Boolean);
const cFiles = tracked.filter((f) => /\.(c|h|cc)$/.test(f));
const rooms = ['proto/base', 'proto/wire', 'proto/http', 'proto/store', 'replication', 'edge', 'origin', 'deploy/ctl'];
const roomOf = (file) => rooms.find((room) => file.startsWith(room + '/'));

function includes(file) {
    const found = [];
    readFileSync(path.join(root, file), 'utf8').split('\n').forEach((line, i) => {
        const match = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(line);
        if (match) found.push({ header: match[1], at: `${file}:${i + 1}` });
    });
    return found;
}

// Each third-party library has one home.
const homes = [
    [/^mbedtls\//, ['proto/base']],
    [/^zstd\.h|^zdict\.h/, ['proto/base']],
    [/^brotli\//, ['proto/base']],
    [/^zlib\.h/, ['proto/base']],
    [/^cyaml\//, ['proto/base']],
    [/^msgpack(\.h|\/)/, ['proto/wire']],
    [/^simdjson/, ['proto/wire']],
    [/^yajl\//, ['proto/wire']],
    [/^h2o(\.h|\/)/, ['proto/http']],
    [/^openssl\/(evp|sha)\.h/, ['proto/base']], // libcrypto's primitives
    [/^openssl\/(?!(evp|sha)\.h)/, ['proto/http']], // TLS
    [/^rocksdb\//, ['proto/store']],
    [/^nng\//, ['replication']],
    [/^curl\//, ['deploy/ctl']],
];

test('every third-party header is included in one room only', () => {
    const strays = [];
    for (const file of cFiles) {
        const room = roomOf(file);
        if (!room) continue;
        for (const { header, at } of includes(file)) {
            const home = homes.find(([pattern]) => pattern.test(header));
            if (home && !home[1].includes(room)) strays.push(`${at} includes <${header}>, whose home is ${home[1]}`);
        }
    }
    assert.deepEqual(strays, []);
});

// What a room may include besides itself.
const left = {
    'proto/base': [],
    'proto/wire': ['proto/base'],
    'proto/http': ['proto/base', 'proto/wire'],
    'proto/store': ['proto/base', 'proto/wire'],
    replication: ['proto/base', 'proto/wire'],
    edge: ['proto/base', 'proto/wire', 'proto/http', 'proto/store', 'replication'],
    origin: ['proto/base', 'proto/wire', 'proto/http', 'proto/store', 'replication'],
    'deploy/ctl': ['proto/base', 'proto/wire'],
};

test('includes point left only', () => {
    const wrong = [];
    for (const file of cFiles) {
        const room = roomOf(file);
        if (!room) continue;
        for (const { header, at } of includes(file)) {
            const target = roomOf(header);
            if (target && target !== room && !left[room].includes(target)) {
                wrong.push(`${at}: ${room} may not include ${header}`);
            }
        }
    }
    assert.deepEqual(wrong, []);
});

// The origin's rooms, each of which may include what stands left of it; and what does otherwise,
// a list that only gets shorter.
const originRooms = ['keyring', 'vault', 'journal', 'accounts', 'intake', 'subjects', 'lifecycle', 'api'];
const arrowsBack = [
    'origin/accounts/accounts.h: origin/intake/intake.h',
    'origin/accounts/processing_record.c: origin/intake/dedupe.h',
    'origin/accounts/suppressions.h: origin/subjects/event_ids.h',
    'origin/intake/intake.h: origin/subjects/erasures.h',
    'origin/journal/audit.h: origin/accounts/tokens.h',
    'origin/subjects/erasures.h: origin/lifecycle/cutoffs.h',
    'origin/vault/export.h: origin/accounts/day_counts.h',
];

test('within the origin, includes point left but for the known ones', () => {
    const roomIn = (file) => originRooms.indexOf(/^origin\/([^/]+)\//.exec(file)?.[1]);
    const found = [];
    for (const file of cFiles.filter((f) => roomIn(f) >= 0)) {
        for (const { header } of includes(file)) {
            if (roomIn(header) > roomIn(file)) found.push(`${file}: ${header}`);
        }
    }
    assert.deepEqual(found.sort(), arrowsBack);
    const folders = new Set(cFiles.map((f) => /^origin\/([^/]+)\//.exec(f)?.[1]).filter(Boolean));
    assert.deepEqual([...folders].sort(), [...originRooms].sort());
});

test('sources are formatted', () => {
    let complaints = '';
    try {
        execFileSync('clang-format', ['--dry-run', '-Werror', ...cFiles], { cwd: root, stdio: 'pipe', maxBuffer: 1 << 26 });
    } catch (error) {
        complaints = String(error.stderr);
    }
    const files = new Set(complaints.split('\n').map((line) => /^(\S+?):\d+:\d+: error/.exec(line)?.[1]).filter(Boolean));
    assert.deepEqual([...files], []);
});

test('C, one C++ file, JavaScript and shell: nothing else is code', () => {
    const others = tracked.filter((f) => /\.(py|pl|rb|ts|go|rs|lua|cc|cpp|cxx|hpp)$/.test(f) && f !== 'proto/wire/json_read.cc');
    assert.deepEqual(others.filter((f) => !f.startsWith('tests/bench/')), []);
});

test('nothing is left marked as to be done', () => {
    const marks = new RegExp('\\b(' + ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|') + ')\\b');
    const found = [];
    for (const file of tracked.filter((f) => /\.(c|h|cc|js|mjs|cmake)$/.test(f))) {
        readFileSync(path.join(root, file), 'utf8').split('\n').forEach((line, i) => {
            if (marks.test(line)) found.push(`${file}:${i + 1}`);
        });
    }
    assert.deepEqual(found, []);
});

test('the lock file of the test clients names no registry', () => {
    for (const file of tracked.filter((f) => f.endsWith('package-lock.json'))) {
        assert.doesNotMatch(readFileSync(path.join(root, file), 'utf8'), /"resolved"/);
    }
});

test('what builds and shows Polder runs on the Node.js of Debian 12, which is 18', () => {
    const newer = /\bimport\.meta\.(dirname|filename)\b|\.(toSorted|toReversed|toSpliced)\(|\b(Object|Map)\.groupBy\(|\bwithResolvers\(/;
    const shown = tracked.filter((f) => /^(deploy|edge|tests\/bench)\/.*\.mjs$/.test(f));
    assert.ok(shown.includes('edge/snippet/build.mjs'));
    assert.deepEqual(shown.filter((f) => newer.test(readFileSync(path.join(root, f), 'utf8'))), []);
});

test('every top-level folder and room says what lives there', () => {
    for (const folder of ['.', 'proto', 'replication', 'edge', 'origin', 'deploy', 'tests']) {
        assert.ok(tracked.includes(path.normalize(path.join(folder, 'README.md'))), `${folder}/README.md is missing`);
    }
});

// `spool*.c`; `link.h`; `dialects/`, for all that is in it.
function namesIn(readme) {
    const names = readFileSync(path.join(root, readme), 'utf8').matchAll(/`([a-z0-9_*]+)(\.[ch]|\/)`/g);
    return [...names].map(([, name, end]) => new RegExp(`/${name.replaceAll('*', '[^/]*')}${end === '/' ? '/' : '\\.c$'}`));
}

test('every source has a line in its room\'s README', () => {
    const readmes = { edge: 'edge/README.md', origin: 'origin/README.md', replication: 'replication/README.md', 'deploy/ctl': 'deploy/README.md' };
    for (const [room, readme] of Object.entries(readmes)) {
        const names = namesIn(readme);
        const sources = cFiles.filter((f) => f.startsWith(`${room}/`) && f.endsWith('.c'));
        assert.deepEqual(sources.filter((f) => !names.some((name) => name.test(f.slice(room.length)))), [], readme);
    }
});

test('public headers open with what they promise', () => {
    const silent = cFiles.filter((f) => f.endsWith('.h') && roomOf(f))
        .filter((f) => !readFileSync(path.join(root, f), 'utf8').startsWith('/*'));
    assert.deepEqual(silent, []);
});
