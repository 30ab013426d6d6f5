// Load generators, and runs that take turns.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, median } from './machine.mjs';

const run = promisify(execFile);
const script = fileURLToPath(new URL('load.lua', import.meta.url));

// The generator gets the other half of the machine.
export const THREADS = Math.max(1, Math.floor(os.cpus().length / 2));

// bodies: a file, one a line; none: GET. Throws when anything was not answered with success.
export async function wrk(url, { connections = 256, seconds, bodies, path: to, unique, delayMs, mayRefuse = false }) {
    const args = ['-t', String(THREADS), '-c', String(connections), '-d', `${seconds}s`, '--timeout', '10s', '-s', script, url];
    if (bodies) {
        args.push('--', bodies);
        if (to) args.push('--path', to);
        if (unique) args.push('--unique', unique);
        if (delayMs) args.push('--delay-ms', String(delayMs));
    }
    const { stdout } = await run('wrk', args, { maxBuffer: 1 << 24 });
    const report = /^REPORT (.*)$/m.exec(stdout);
    if (!report) throw new Error(`wrk ${url} gave no report:\n${stdout}`);
    const result = JSON.parse(report[1]);
    if (result.requests === 0 || result.failed > 0 || (result.refused > 0 && !mayRefuse)) {
        throw new Error(`${url}: of ${result.requests} requests ${result.failed} failed and ${result.refused} were refused`);
    }
    return result;
}

export async function h2load(url, { clients = 32, streams = 16, seconds }) {
    const { stdout } = await run('h2load', ['-D', String(seconds), '-c', String(clients), '-m', String(streams), '-t', String(THREADS), url], { maxBuffer: 1 << 24 });
    const took = /^finished in ([\d.]+)(s|ms)/m.exec(stdout);
    const counts = /^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored/m.exec(stdout);
    const ok = /^status codes: (\d+) 2xx/m.exec(stdout);
    if (!took || !counts || !ok || counts[1] !== ok[1] || counts[1] === '0') throw new Error(`h2load ${url} was not served:\n${stdout}`);
    return { requests: Number(counts[1]), seconds: Number(took[1]) / (took[2] === 'ms' ? 1000 : 1) };
}

// Runs the contenders in turn, there and back again, so that a machine that slows down or warms
// up does so for all. Each is { name, pids: () => [pid…], load: (seconds) => { requests, seconds } };
// gives medians: { name: { perSecond, cpuMicroseconds } } per request.
export async function takeTurns(contenders, { rounds, seconds, settle = async () => {} }) {
    const found = Object.fromEntries(contenders.map(({ name }) => [name, { perSecond: [], cpuMicroseconds: [] }]));
    for (const contender of contenders) await contender.load(1);
    for (let round = 0; round < rounds; round++) {
        for (const { name, pids, load } of round % 2 ? [...contenders].reverse() : contenders) {
            await settle(name);
            const before = cpuSeconds(pids());
            const { requests, seconds: took } = await load(seconds);
            found[name].cpuMicroseconds.push(((cpuSeconds(pids()) - before) / requests) * 1e6);
            found[name].perSecond.push(requests / took);
        }
    }
    for (const result of Object.values(found)) {
        result.perSecond = median(result.perSecond);
        result.cpuMicroseconds = median(result.cpuMicroseconds);
    }
    return found;
}
