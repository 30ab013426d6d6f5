// Processes whose wall clock is wrong, and nothing else: Debian's libfaketime.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { bin } from './fixture.mjs';

const sanitizer = /^POLDER_SANITIZE:\w+=(\w*)$/m.exec(readFileSync(path.join(bin, 'CMakeCache.txt'), 'utf8'))?.[1];

// What a test that shifts clocks says as its `skip`: why it cannot run on this build, or false. Such
// a test is for the other build; what it also asserts at the right time belongs into a test of its own.
export const noFakeClock = sanitizer === 'thread' && 'libfaketime waits on conditions past ThreadSanitizer, which then sees no lock where there is one';

// The one for threads; its folder is the architecture's.
function library() {
    for (const triplet of readdirSync('/usr/lib')) {
        const folder = path.join('/usr/lib', triplet, 'faketime');
        try {
            if (readdirSync(folder).includes('libfaketimeMT.so.1')) return path.join(folder, 'libfaketimeMT.so.1');
        } catch {
            // not this one
        }
    }
    throw new Error('libfaketime is missing: deploy/install test');
}

let clocks = 0;

// A clock of its own for every process that is started with env. It is right until set() puts it
// ahead or behind, which the process notices within a second.
export class FakeClock {
    constructor(dir, seconds = 0) {
        if (noFakeClock) throw new Error(`the test lacks { skip: noFakeClock }: ${noFakeClock}`);
        this.file = path.join(dir, `clock-${process.pid}-${clocks++}`);
        this.set(seconds);
        this.env = {
            LD_PRELOAD: library(),
            FAKETIME_TIMESTAMP_FILE: this.file,
            FAKETIME_CACHE_DURATION: '1',
            FAKETIME_DONT_FAKE_MONOTONIC: '1',
            NO_FAKE_STAT: '1',
            // The sanitizers want to be told that they are not the first to be loaded.
            ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
        };
    }

    set(seconds) {
        writeFileSync(this.file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    }
}

// The environment of a clock that stays as far off as that.
export const shiftedClock = (dir, seconds) => new FakeClock(dir, seconds).env;
