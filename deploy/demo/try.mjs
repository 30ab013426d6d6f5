// The second half of deploy/try: starts everything, sends events, shows the books.
import { mkdtempSync, writeFileSync, rmSync, existsSync, readdirSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cluster, PORTS, portIsBad, portIsFree, until } from './cluster.mjs';
import { serveShop } from './shop.mjs';
import { sendVisits } from './visitors.mjs';

const REGIONS = ['eu', 'us', 'apac'];
const EVENTS_PER_EDGE = 300;

// Of keeping all state there. An empty name would be the folder that this is called in.
function whatIsInTheWay(dir) {
    if (dir === '') return 'is empty; name a new folder';
    if (!existsSync(dir)) return undefined;
    if (!statSync(dir).isDirectory()) return 'is no folder; name a new one';
    return readdirSync(dir).length > 0 ? 'is not empty; name a new folder, or remove it if it is from an earlier try' : undefined;
}

let options;
try {
    options = parseArgs({
        options: {
            once: { type: 'boolean', default: false },
            dir: { type: 'string' },
            'base-port': { type: 'string', default: '8080' },
            bin: { type: 'string', default: 'build/release' },
        },
    }).values;
} catch (error) {
    console.error(`${error.message}\nusage: deploy/try [--once] [--dir DIR] [--base-port N]`);
    process.exit(2);
}
const basePort = Number(options['base-port']);
if (!Number.isInteger(basePort) || basePort < 1 || basePort > 65525) {
    console.error(`--base-port ${options['base-port']}: must be a whole number from 1 to 65525`);
    process.exit(2);
}
const inTheWay = options.dir === undefined ? undefined : whatIsInTheWay(options.dir);
if (inTheWay) {
    console.error(`--dir ${options.dir}: ${inTheWay}`);
    process.exit(2);
}

for (const offset of Object.values(PORTS)) {
    if (!(await portIsFree(basePort + offset))) {
        console.error(`port ${basePort + offset} of 127.0.0.1 is in use, by another deploy/try perhaps: stop that, or move all ports of this one with --base-port N`);
        process.exit(1);
    }
    if (await portIsBad(basePort + offset)) { // asks there, and whoever listens might not answer
        console.error(`port ${basePort + offset} is one that browsers refuse to ask: move all ports with another --base-port`);
        process.exit(2);
    }
}

const dir = options.dir ?? mkdtempSync(path.join(os.tmpdir(), 'polder-try-'));
const cluster = new Cluster({ dir, bin: options.bin, basePort });
let shop;
let stopping = false;

async function stop(code) {
    if (stopping) return;
    stopping = true;
    shop?.close();
    const results = await cluster.stop();
    if (results.some(({ code: exit, signal }) => exit !== 0 || signal)) {
        console.error(`a node did not stop cleanly; see ${cluster.logDir}`);
        code = code || 1;
    } else if (!options.dir) {
        rmSync(dir, { recursive: true, force: true });
    }
    process.exit(code);
}
// Closing the terminal is an end like any other; and nobody looks at output that goes nowhere.
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) process.on(signal, () => stop(128 + number));
process.stdout.on('error', () => stop(1));
process.stderr.on('error', () => stop(1));

// Starts nothing once all is being stopped: what a step starts then, nobody would stop.
async function step(what, work) {
    if (stopping) await new Promise(() => {});
    const began = Date.now();
    process.stdout.write(`${what} ... `);
    const result = await work();
    process.stdout.write(`${((Date.now() - began) / 1000).toFixed(1)} s\n`);
    return result;
}

function table(rows) {
    const columns = ['region', 'accepted', 'stored', 'duplicate', 'dropped', 'lag'];
    const cells = [columns, ...rows.map((row) => [row.region, row.accepted, row.stored, row.duplicate, row.dropped, `${row.lagSeconds ?? 0} s`])];
    const widths = columns.map((_, i) => Math.max(...cells.map((line) => String(line[i]).length)));
    return cells.map((line) => '  ' + line.map((cell, i) => (i === 0 ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]))).join('   ')).join('\n');
}

try {
    const urls = Object.fromEntries(REGIONS.map((region) => [region, cluster.url(region)]));
    await step('making keys and certificates', () => cluster.init());
    await step('starting the origin', () => cluster.startOrigin());
    await step('enrolling three edges', async () => {
        for (const region of REGIONS) await cluster.enrollEdge(region);
    });
    await step('starting them', () => Promise.all(REGIONS.map((region) => cluster.startEdge(region))));
    const account = await step('creating an account and publishing its campaigns', async () => {
        const created = await cluster.ctlJson('account', 'create', 'demo-shop');
        await cluster.ctl('config', 'publish', created.id, fileURLToPath(new URL('campaign.json', import.meta.url)));
        for (const region of REGIONS) {
            await until(`the ${region} edge serves the config`, 10000, async () => {
                const reply = await fetch(`${urls[region]}/v1/config/${created.write_key}`);
                return reply.ok && (await reply.json()).version >= 1;
            });
        }
        return created;
    });
    shop = await serveShop({ port: cluster.port('demo'), edges: urls, writeKey: account.write_key });
    writeFileSync(
        path.join(dir, 'try.env'),
        [
            ...REGIONS.map((region) => `POLDER_EDGE_${region.toUpperCase()}=${urls[region]}`),
            `POLDER_ORIGIN=${cluster.url('origin')}`,
            `POLDER_TOKEN=${cluster.token}`,
            `POLDER_ACCOUNT=${account.id}`,
            `POLDER_WRITE_KEY=${account.write_key}`,
            `POLDER_DEMO_PAGE=http://127.0.0.1:${cluster.port('demo')}/`,
            `POLDER_PID_ORIGIN=${cluster.nodes.get('origin').pid}`,
            ...REGIONS.map((region) => `POLDER_PID_EDGE_${region.toUpperCase()}=${cluster.nodes.get(region).pid}`),
            `POLDER_PID_TRY=${process.pid}`,
            '',
        ].join('\n'),
        { mode: 0o600 },
    );
    await step(`sending ${EVENTS_PER_EDGE} events through each edge`, () =>
        Promise.all(REGIONS.map((region) => sendVisits(urls[region], account.write_key, 'https://shop.example', EVENTS_PER_EDGE))));
    const books = await step('waiting until the origin holds every one', () => cluster.untilSettled(REGIONS, 30000));

    console.log(`\n${table(books.rows)}\n`);
    const whole = books.rows.every((row) => row.accepted >= EVENTS_PER_EDGE && row.stored >= EVENTS_PER_EDGE && row.dropped === 0);
    if (!whole || books.alarms.length > 0) {
        console.error(`the books do not balance: ${JSON.stringify(books, null, 1)}`);
        await stop(1);
    }
    console.log('the books balance: every accepted event is at the origin, once');
    if (options.once) await stop(0);
    console.log(`
  demo shop   http://127.0.0.1:${cluster.port('demo')}/eu   /us   /apac
  origin      ${cluster.url('origin')}/replication
  edges       ${REGIONS.map((region) => urls[region]).join('   ')}
  state       ${dir}   (try.env has the addresses, the token and the pids)

  export      . ${dir}/try.env; export POLDER_ORIGIN POLDER_TOKEN; ${path.relative('.', options.bin)}/polderctl events export $POLDER_ACCOUNT
`);
    console.log('Ctrl-C stops everything.');
} catch (error) {
    if (!stopping) console.error(`\n${error.message}`);
    await stop(1);
}
