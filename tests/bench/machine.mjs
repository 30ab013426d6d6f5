// What the figures were taken on, and how much of it a process used.
import { readFileSync, readdirSync, openSync, writeSync, fdatasyncSync, closeSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

// User and system seconds of all threads, those that have ended included.
export function cpuSeconds(pids) {
    let ticks = 0;
    for (const pid of pids) {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        ticks += Number(fields[11]) + Number(fields[12]);
    }
    return ticks / TICKS_PER_SECOND;
}

export function residentMiB(pid) {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
    return Number(kilobytes) / 1024;
}

export function childrenOf(pid) {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ')).filter(Boolean).map(Number);
}

export function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function percentile(values, share) {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

// Median time of writing 4 KiB and syncing it, in the folder where the databases will be.
function syncMicroseconds(dir) {
    const file = path.join(dir, 'sync-probe');
    const fd = openSync(file, 'w');
    const page = Buffer.alloc(4096, 1);
    const times = [];
    for (let i = 0; i < 200; i++) {
        const began = process.hrtime.bigint();
        writeSync(fd, page);
        fdatasyncSync(fd);
        times.push(Number(process.hrtime.bigint() - began) / 1000);
    }
    closeSync(fd);
    rmSync(file);
    return median(times);
}

// What all processors did since the machine began, in ticks; stolen: what the host of a virtual
// machine gave to others meanwhile.
function processorTicks() {
    const [user, nice, system, idle, wait, irq, softirq, stolen] = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))[1].split(' ').map(Number);
    return { stolen, used: user + nice + system + irq + softirq, all: user + nice + system + idle + wait + irq + softirq + stolen };
}

// A function that tells which shares of the processors' time were used and stolen since this call.
export function watchProcessors() {
    const before = processorTicks();
    return () => {
        const after = processorTicks();
        const all = Math.max(1, after.all - before.all);
        return { used: (after.used - before.used) / all, stolen: (after.stolen - before.stolen) / all };
    };
}

// What else runs here takes processor, cache and disk from what is measured. The load average
// would not do: it still knows the build.
export async function busyMachine() {
    const shares = watchProcessors();
    await delay(2000);
    return shares().used > 0.1;
}

export function describeMachine(dir) {
    const release = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
    const system = execFileSync('stat', ['-f', '-c', '%T', dir], { encoding: 'utf8' }).trim();
    if (/tmpfs|ramfs/.test(system)) throw new Error(`${dir} is in memory: figures without a disk under them mean nothing; set POLDER_BENCH_DIR to a folder on a disk`);
    return [
        `${os.cpus()[0].model}, ${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB`,
        `${release}, Linux ${os.release()}, ${os.arch()}`,
        `${system}, 4 KiB written and synced in ${Math.round(syncMicroseconds(dir))} µs`,
        new Date().toISOString().slice(0, 10),
    ].join('; ');
}
