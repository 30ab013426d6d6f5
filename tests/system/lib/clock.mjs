// A process whose wall clock is wrong, and nothing else.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

const source = `
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ts)
{
    long rc = syscall(SYS_clock_gettime, id, ts);
    if (id == CLOCK_REALTIME)
        ts->tv_sec += SECONDS;
    return (int)rc;
}`;

// The environment that makes it so; dir is where the library is put that does it.
export function shiftedClock(dir, seconds) {
    const text = path.join(dir, `clock${seconds}.c`), library = path.join(dir, `clock${seconds}.so`);
    writeFileSync(text, source);
    execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', `-DSECONDS=${seconds}`, '-o', library, text]);
    // The sanitizers want to be told that they are not the first to be loaded.
    return { LD_PRELOAD: library, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` };
}
