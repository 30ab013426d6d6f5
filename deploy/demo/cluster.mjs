// A whole Polder on one machine: one origin and edges as child processes, with keys and
// certificates made by polderctl. `deploy/try` shows it to people; the system tests break it.
import { spawn, execFile } from 'node:child_process';
import { mkdirSync, rmdirSync, openSync, closeSync, readFileSync, existsSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

// Offsets from the base port.
export const PORTS = { origin: 0, eu: 1, us: 2, apac: 3, demo: 4, link: 10 };

const POLL_MS = 25;

// Asks until `ask` gives something truthy; what was last wrong is in the error.
export async function until(what, timeoutMs, ask) {
    const end = Date.now() + timeoutMs;
    let last = '';
    for (;;) {
        try {
            const answer = await ask();
            if (answer) return answer;
        } catch (error) {
            last = `: ${error.cause?.code ?? error.message}`;
        }
        if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs / 1000} s${last}`);
        await delay(POLL_MS);
    }
}

export async function portIsFree(port) {
    return new Promise((resolve) => {
        const server = net.createServer();
        server.once('error', () => resolve(false));
        server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
}

// One that browsers and fetch never ask, whoever listens there: the Fetch standard's bad ports.
export function portIsBad(port) {
    return fetch(`http://127.0.0.1:${port}/`).then(() => false, (error) => error.cause?.message === 'bad port');
}

// A base whose ports are all good and free, and nobody else's who asks here: a folder holds the place until
// this process ends, so that two test runs on one machine never share a node's port.
export async function freeBasePort() {
    for (;;) {
        const base = 10000 + Math.floor(Math.random() * 1100) * 20;
        const claim = path.join(os.tmpdir(), `polder-ports-${base}`);
        try {
            mkdirSync(claim);
        } catch (error) {
            if (error.code !== 'EEXIST') throw error;
            continue;
        }
        process.once('exit', () => rmdirSync(claim));
        const fit = await Promise.all(Object.values(PORTS).map(async (offset) => (await portIsFree(base + offset)) && !(await portIsBad(base + offset))));
        if (fit.every(Boolean)) return base;
    }
}

// However this process ends, short of SIGKILL, its nodes are told to.
const running = new Set();
process.once('exit', () => {
    for (const child of running) child.kill('SIGTERM');
});

// One child process with its log file. Dies with us.
export class Node {
    constructor(name, command, args, { logDir, env = {} }) {
        this.name = name;
        this.command = command;
        this.args = args;
        this.logFile = path.join(logDir, `${name}.log`);
        this.env = env;
        this.child = null;
        this.ends = []; // of all its runs: { name, code, signal, killed }, killed as it was asked for
    }

    start(env = {}) {
        const fd = openSync(this.logFile, 'a');
        this.child = spawn(this.command, this.args, {
            stdio: ['ignore', fd, fd],
            env: { ...process.env, ...this.env, ...env },
        });
        closeSync(fd);
        const child = this.child;
        running.add(child);
        this.killing = false;
        this.exited = new Promise((resolve) => {
            this.child.once('error', (error) => resolve({ code: -1, signal: null, error }));
            this.child.once('exit', (code, signal) => resolve({ code, signal }));
        });
        this.running = true;
        this.exited.then(({ code, signal }) => {
            running.delete(child);
            this.running = false;
            this.ends.push({ name: this.name, code, signal, killed: this.killing && signal === 'SIGKILL' });
        });
    }

    get pid() {
        return this.child?.pid;
    }

    logTail(lines = 15) {
        return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8').split('\n').slice(-lines).join('\n') : '';
    }

    async untilUp(url, timeoutMs, accept = (reply) => reply.status === 200) {
        await until(`${this.name} at ${url}`, timeoutMs, async () => {
            if (!this.running) {
                const { code, signal } = await this.exited;
                throw new Error(`${this.name} ended (${signal ?? `exit ${code}`}); its log says:\n${this.logTail()}`);
            }
            const reply = await fetch(url, { signal: AbortSignal.timeout(2000) });
            await reply.arrayBuffer();
            return accept(reply);
        });
    }

    // SIGTERM, then wait; a process that does not end in time is a defect, so say so.
    async stop(timeoutMs = 20000) {
        if (!this.running) return this.exited;
        this.child.kill('SIGTERM');
        const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
        const result = await this.exited;
        clearTimeout(timer);
        return result;
    }

    async kill() {
        if (this.running) {
            this.killing = true;
            this.child.kill('SIGKILL');
        }
        return this.exited;
    }
}

export class Cluster {
    // bin: folder of the binaries. startTimeoutMs: sanitizers need more.
    constructor({ dir, bin, basePort, startTimeoutMs = 30000 }) {
        this.dir = path.resolve(dir);
        this.bin = path.resolve(bin);
        this.basePort = basePort;
        this.startTimeoutMs = startTimeoutMs;
        this.nodes = new Map();
        this.logDir = path.join(this.dir, 'log');
    }

    port(name) {
        return this.basePort + PORTS[name];
    }

    url(name) {
        return `http://127.0.0.1:${this.port(name)}`;
    }

    get token() {
        return readFileSync(path.join(this.dir, 'operator.token'), 'utf8').trim();
    }

    async init() {
        mkdirSync(this.dir, { recursive: true });
        await this.ctl('init', this.dir, '--base-port', String(this.basePort));
        mkdirSync(this.logDir, { recursive: true });
    }

    // Runs polderctl; gives its standard output. The error carries what it said.
    ctl(...args) {
        const env = { ...process.env, POLDER_ORIGIN: this.url('origin') };
        if (existsSync(path.join(this.dir, 'operator.token'))) env.POLDER_TOKEN = this.token;
        return new Promise((resolve, reject) => {
            execFile(path.join(this.bin, 'polderctl'), args, { env, maxBuffer: 1 << 30 }, (error, stdout, stderr) => {
                if (!error) resolve(stdout);
                else reject(Object.assign(new Error(`polderctl ${args.join(' ')}: ${stderr || error.message}`), { exitCode: error.code, stdout, stderr }));
            });
        });
    }

    async ctlJson(...args) {
        return JSON.parse(await this.ctl(...args, '--json'));
    }

    async startOrigin(env = {}) {
        const config = path.join(this.dir, 'origin', 'origin.yaml');
        return this.#start('origin', 'polder-origin', config, env, (reply) => reply.status === 200);
    }

    async enrollEdge(name, { region = name, originUrl } = {}) {
        const args = ['edge', 'enroll', name, '--region', region, '--dir', this.dir, '--listen', `127.0.0.1:${this.port(name)}`];
        if (originUrl) args.push('--link', originUrl);
        return this.ctl(...args);
    }

    // ready: wait until it can take events; else until it answers at all (origin may be away).
    async startEdge(name, { env = {}, ready = true } = {}) {
        const config = path.join(this.dir, 'edges', name, 'edge.yaml');
        return this.#start(name, 'polder-edge', config, env, (reply) => !ready || reply.status === 200);
    }

    async #start(name, program, config, env, accept) {
        let node = this.nodes.get(name);
        if (!node) {
            node = new Node(name, path.join(this.bin, program), ['--config', config], { logDir: this.logDir });
            this.nodes.set(name, node);
        }
        node.start(env);
        await node.untilUp(`${this.url(name)}/ready`, this.startTimeoutMs, accept);
        return node;
    }

    async replication(name) {
        const reply = await fetch(`${this.url(name)}/replication`, { signal: AbortSignal.timeout(5000) });
        return reply.json();
    }

    // What the books say of each edge, in one look. `settled` when everything an edge accepted is
    // accounted for at the origin.
    async books(names) {
        const origin = await this.replication('origin');
        const rows = [];
        for (const name of names) {
            const edge = await this.replication(name);
            const there = origin.edges.find((candidate) => candidate.id === edge.edge_id);
            rows.push({
                region: edge.region,
                accepted: edge.accepted_events,
                pending: edge.pending_events,
                lost: edge.lost_events,
                stored: there?.stored ?? 0,
                duplicate: there?.duplicate ?? 0,
                dropped: there?.dropped ?? 0,
                lagSeconds: edge.oldest_pending_seconds,
                edgeStatus: edge.status,
                reasons: edge.reasons,
            });
        }
        const settled = rows.every((row) => row.pending === 0 && row.accepted === row.stored + row.duplicate + row.dropped);
        return { rows, settled, originStatus: origin.status, originReasons: origin.reasons, alarms: origin.alarms };
    }

    async untilSettled(names, timeoutMs) {
        let last;
        try {
            return await until('the origin holds every accepted event', timeoutMs, async () => {
                last = await this.books(names);
                return last.settled && last;
            });
        } catch (error) {
            throw new Error(`${error.message}\n${JSON.stringify(last, null, 1)}`);
        }
    }

    // Gives how every run of every node ended, this and earlier ones.
    async stop() {
        const edges = [...this.nodes.values()].filter((node) => node.name !== 'origin');
        await Promise.all(edges.map((node) => node.stop()));
        await this.nodes.get('origin')?.stop();
        return [...this.nodes.values()].flatMap((node) => node.ends);
    }
}
