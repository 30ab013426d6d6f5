// A TCP relay that stands between two nodes and makes their path long or broken: every chunk and
// every close passes after a delay, or waits for as long as the path is cut. Nothing overtakes,
// nothing is lost, and like a real path it holds only so many bytes.
import net from 'node:net';

const HELD_BYTES_MAX = 64 << 20; // a source that is this far ahead is not read

// One direction of one connection.
class Pipe {
    constructor(relay, from, to) {
        this.relay = relay;
        this.from = from;
        this.to = to;
        this.line = []; // {due, chunk}; no chunk: the source has closed
        this.heldBytes = 0;
        this.timer = null;
        from.on('data', (chunk) => this.#take(chunk));
        from.on('end', () => this.#take(null));
        to.on('drain', () => this.pump());
    }

    #take(chunk) {
        this.line.push({ due: performance.now() + this.relay.delayMs, chunk });
        this.heldBytes += chunk?.length ?? 0;
        if (this.heldBytes > HELD_BYTES_MAX) this.from.pause();
        if (!this.timer) this.pump();
    }

    pump() {
        clearTimeout(this.timer);
        this.timer = null;
        while (this.line.length && !this.relay.isCut && !this.to.destroyed && !this.to.writableNeedDrain) {
            const wait = this.line[0].due - performance.now();
            if (wait > 0) {
                this.timer = setTimeout(() => this.pump(), wait);
                return;
            }
            const { chunk } = this.line.shift();
            if (!chunk) {
                this.to.end();
                return;
            }
            this.to.write(chunk);
            this.heldBytes -= chunk.length;
            if (this.heldBytes <= HELD_BYTES_MAX) this.from.resume();
        }
    }

    stop() {
        clearTimeout(this.timer);
    }
}

export class Relay {
    // delayMs: one way; it may be set at any time and counts for what comes after.
    constructor({ targetPort, delayMs = 0 }) {
        this.targetPort = targetPort;
        this.delayMs = delayMs;
        this.isCut = false;
        this.pairs = new Set();
        this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#join(near));
    }

    async listen(port) {
        await new Promise((resolve, reject) => {
            this.server.once('error', reject);
            this.server.listen(port, '127.0.0.1', resolve);
        });
    }

    #join(near) {
        const far = net.connect({ port: this.targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
        const pair = { near, far, pipes: [new Pipe(this, near, far), new Pipe(this, far, near)] };
        this.pairs.add(pair);
        // A side that breaks takes the other along, which over a cut path it only hears later.
        const breakOff = () => {
            pair.broken = true;
            if (!this.isCut) this.#drop(pair);
        };
        for (const socket of [near, far]) {
            socket.on('error', breakOff);
            socket.on('close', () => near.destroyed && far.destroyed && breakOff());
        }
    }

    #drop(pair) {
        for (const pipe of pair.pipes) pipe.stop();
        pair.near.destroy();
        pair.far.destroy();
        this.pairs.delete(pair);
    }

    // From now on nothing gets through, and nobody is told: as when a cable is pulled.
    cut() {
        this.isCut = true;
    }

    restore() {
        this.isCut = false;
        for (const pair of this.pairs) {
            if (pair.broken) this.#drop(pair);
            else for (const pipe of pair.pipes) pipe.pump();
        }
    }

    async close() {
        for (const pair of this.pairs) this.#drop(pair);
        await new Promise((resolve) => this.server.close(resolve));
    }
}
