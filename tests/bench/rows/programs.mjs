// What needs no server: the dialects, the origin's intake, and what an event weighs when stored.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../../deploy/demo/cluster.mjs';
import { writeEvents } from '../events.mjs';
import { median } from '../machine.mjs';
import { row, rate } from '../table.mjs';

const run = promisify(execFile);
const POOL_EVENTS = 20000;
const WRITE_KEY = '00112233445566778899aabbccddeeff';

async function prepare({ dir }) {
    const file = path.join(dir, 'events.ndjson');
    return { file, bytes: await writeEvents(file, { count: POOL_EVENTS, writeKey: WRITE_KEY, seed: 3 }) };
}

export const dialect = {
    title: 'dialects',
    async measure(context) {
        const { file } = await prepare(context);
        const { stdout } = await run(path.join(context.bin, 'bench_dialect'), [file]);
        const found = JSON.parse(stdout);
        const golden = (await run(path.join(context.bin, 'bench_dialect'), ['--golden', path.join(root, 'tests/golden')])).stdout;
        const rows = golden.trim().split('\n').map((line) => JSON.parse(line));
        const segment = rows.find((each) => each.dialect === 'segment');
        const as = (value) => `${(value / 1000).toFixed(2)} µs/event`;
        return [
            row({ what: `segment, single: body to encoded event, ${Math.round(found.json_bytes)} B`, measured: found.single_ns, as, reference: 'parsing its JSON', against: found.single_parse_ns }),
            row({ what: 'with personal data masked', measured: found.single_masked_ns, as, reference: 'parsing its JSON', against: found.single_parse_ns }),
            row({ what: 'segment, in batches of 50', measured: found.batch_ns, as, reference: 'parsing its JSON', against: found.batch_parse_ns }),
            row({ what: 'with personal data masked', measured: found.batch_masked_ns, as, reference: 'parsing its JSON', against: found.batch_parse_ns }),
            ...rows.map((each) => row({ what: `${each.dialect}: its golden requests, masked, ${Math.round(each.bytes)} B an event`, measured: each.masked_ns, as, reference: "Segment's", against: segment.masked_ns })),
        ];
    },
};

export const intake = {
    title: 'origin intake',
    async measure(context) {
        const { bin, dir, intakeEvents, rounds } = context;
        const { file, bytes } = await prepare(context);
        const encoded = path.join(dir, 'events.bin');
        const work = path.join(dir, 'intake');
        rmSync(work, { recursive: true, force: true });
        await run(path.join(bin, 'bench_dialect'), [file, '--encode', encoded]);
        const { stdout } = await run(path.join(bin, 'bench_intake'), [encoded, work, String(intakeEvents), String(Math.ceil(rounds / 2))]);
        const found = stdout.trim().split('\n').map((line) => JSON.parse(line));
        const of = (pick) => median(found.map(pick));
        const perCpu = (value) => `${rate(value, 'events').replace('/s', '/CPU-s')}`;
        const stored = of((f) => f.intake.table_bytes / f.events);
        return [
            row({ what: 'origin intake, dedupe and compaction included', measured: of((f) => f.events / f.intake.whole_cpu_s), as: perCpu, least: 100000 }),
            row({ what: '', measured: of((f) => f.events / f.intake.whole_cpu_s), as: perCpu, reference: 'RocksDB, the same writes', against: of((f) => f.events / f.bare.whole_cpu_s), least: 0.4 }),
            row({ what: 'by the clock, without the last compaction', measured: of((f) => f.events / f.intake.wall_s), as: (v) => rate(v, 'events'), reference: 'RocksDB, the same writes', against: of((f) => f.events / f.bare.wall_s) }),
            row({ what: 'bytes stored per event, index and ledger included', measured: stored, as: (v) => `${v.toFixed(0)} B`, reference: 'its JSON', against: bytes, most: 0.35 }),
        ];
    },
};
