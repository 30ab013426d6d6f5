// Durable collecting: the edge against a libh2o that reads the same bodies and drops them. The
// origin is away while events come in, as it shares no machine with an edge in production; what
// handing them over costs the edge afterwards is measured too, and counted in.
import { writeFileSync } from 'node:fs';
import { Polder, startBare } from '../servers.mjs';
import { wrk, takeTurns } from '../load.mjs';
import { events, writeEvents } from '../events.mjs';
import { cpuSeconds } from '../machine.mjs';
import { row, rate, micros } from '../table.mjs';

export const title = 'durable collect';
const POOL_EVENTS = 20000;
const BATCH = 50;
const DRAIN_MS = 600000;

function writeBatches(file, writeKey) {
    const all = [...events({ count: POOL_EVENTS, seed: 2 })];
    const lines = [];
    for (let i = 0; i < all.length; i += BATCH) lines.push(`{"batch":[${all.slice(i, i + BATCH).join(',')}],"writeKey":"${writeKey}","sentAt":"2026-10-30T12:00:00.000Z"}`);
    writeFileSync(file, `${lines.join('\n')}\n`);
}

// Processor time that the edge spends on handing over what it has spooled, per event.
async function drain(polder) {
    const before = cpuSeconds(polder.edgePids());
    const pending = (await polder.cluster.replication('eu')).pending_events;
    await polder.startOrigin();
    await polder.settled(DRAIN_MS);
    return ((cpuSeconds(polder.edgePids()) - before) / pending) * 1e6;
}

async function compare(polder, bare, { bodies, path, batch, rounds, seconds }) {
    await polder.settled(DRAIN_MS);
    await polder.origin.stop();
    const found = await takeTurns(
        [
            { name: 'edge', pids: polder.edgePids, load: (n) => wrk(`http://127.0.0.1:${polder.edgePort}`, { seconds: n, bodies, path }) },
            { name: 'bare', pids: bare.pids, load: (n) => wrk(`http://127.0.0.1:${bare.port}`, { seconds: n, bodies, path: '/collect' }) },
        ],
        { rounds, seconds },
    );
    return { ...found, drainMicroseconds: (await drain(polder)) * batch };
}

export async function measure({ bin, dir, rounds, seconds }) {
    const polder = await Polder.start(bin, `${dir}/polder`);
    let bare;
    try {
        bare = await startBare(bin, dir, { basePort: polder.basePort, certificate: polder.certificate });
        const singles = `${dir}/singles.ndjson`;
        const batches = `${dir}/batches.ndjson`;
        const bytes = Math.round(await writeEvents(singles, { count: POOL_EVENTS, writeKey: polder.account.write_key }));
        writeBatches(batches, polder.account.write_key);
        const one = await compare(polder, bare, { bodies: singles, batch: 1, rounds, seconds });
        const many = await compare(polder, bare, { bodies: batches, path: '/v1/batch', batch: BATCH, rounds, seconds });
        const perEvent = (value) => `${micros(value / BATCH)}/event`;
        return [
            row({ what: `durable collect, one ${bytes} B event a POST: requests`, measured: one.edge.perSecond, as: (v) => rate(v, 'req'), reference: 'bare libh2o, 204', against: one.bare.perSecond, least: 0.6 }),
            row({ what: 'its server CPU per request, to the fsync', measured: one.edge.cpuMicroseconds, as: micros, reference: 'bare libh2o, 204', against: one.bare.cpuMicroseconds, most: 2 }),
            row({ what: 'and with handing over to the origin', measured: one.edge.cpuMicroseconds + one.drainMicroseconds, as: micros, reference: 'bare libh2o, 204', against: one.bare.cpuMicroseconds, most: 2 }),
            row({ what: `durable collect, ${BATCH} events a POST, one loop`, measured: many.edge.perSecond * BATCH, as: (v) => rate(v, 'events'), least: 400000 }),
            row({ what: 'its server CPU, to the fsync', measured: many.edge.cpuMicroseconds, as: perEvent, reference: 'bare libh2o, 204', against: many.bare.cpuMicroseconds }),
            row({ what: 'and with handing over to the origin', measured: many.edge.cpuMicroseconds + many.drainMicroseconds, as: perEvent, reference: 'bare libh2o, 204', against: many.bare.cpuMicroseconds }),
        ];
    } finally {
        await bare?.node.stop();
        await polder.stop();
    }
}
