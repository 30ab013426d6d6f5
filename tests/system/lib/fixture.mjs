// What every system test needs: a cluster of its own in a folder of its own, an account in it, and
// events whose fate can be followed by their message ids.
import { mkdtempSync, rmSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { Cluster, freeBasePort, root, until } from '../../../deploy/demo/cluster.mjs';

export { until };

export const bin = path.resolve(process.env.POLDER_BUILD_DIR ?? path.join(root, 'build/address'));

// Under sanitizers a node takes its time.
const START_TIMEOUT_MS = 60000;

// A running origin, enrolled edges (started with env unless told otherwise), an account with its
// config. The test's context cleans up, whatever happens.
export async function startCluster(t, { edges = ['eu'], start = edges, env = {}, campaign = true, linkUrl } = {}) {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'polder-test-'));
    const cluster = new Cluster({ dir, bin, basePort: await freeBasePort(), startTimeoutMs: START_TIMEOUT_MS });
    const whenStopped = []; // what else has to be undone, between the nodes' end and the folder's
    t.after(async () => {
        const ends = await cluster.stop();
        for (const undo of whenStopped) await undo();
        const bad = ends.filter(({ code, killed }) => code !== 0 && !killed);
        const logs = bad.length ? [...cluster.nodes.values()].map((node) => `--- ${node.name}\n${node.logTail(40)}`).join('\n') : '';
        rmSync(dir, { recursive: true, force: true });
        if (bad.length) throw new Error(`a node did not stop cleanly: ${JSON.stringify(bad)}\n${logs}`);
    });
    await cluster.init();
    await cluster.startOrigin();
    for (const name of edges) await cluster.enrollEdge(name, { originUrl: linkUrl?.(cluster) });
    await Promise.all(start.map((name) => cluster.startEdge(name, { env })));
    const account = await cluster.ctlJson('account', 'create', 'test-shop');
    if (campaign) await cluster.ctl('config', 'publish', account.id, path.join(root, 'deploy/demo/campaign.json'));
    await Promise.all(start.map((name) => untilServed(cluster, name, account, campaign ? 1 : 0)));
    return { cluster, account, dir, whenStopped };
}

export function untilServed(cluster, edge, account, version = 1) {
    return until(`${edge} serves config version ${version}`, 15000, async () => {
        const reply = await fetch(`${cluster.url(edge)}/v1/config/${account.write_key}`, { signal: AbortSignal.timeout(2000) });
        return reply.ok && (await reply.json()).version >= version;
    });
}

export function trackEvent(fields = {}) {
    return {
        type: 'track',
        event: 'Tested',
        messageId: randomUUID(),
        anonymousId: `visitor-${randomUUID().slice(0, 8)}`,
        timestamp: new Date().toISOString(),
        properties: { plan: 'test' },
        ...fields,
    };
}

// Posts a batch; gives the status, or 0 when no answer came.
export async function postBatch(url, writeKey, events, timeoutMs = 10000) {
    try {
        const reply = await fetch(`${url}/v1/batch`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ writeKey, batch: events }),
            signal: AbortSignal.timeout(timeoutMs),
        });
        await reply.arrayBuffer();
        return reply.status;
    } catch {
        return 0;
    }
}

// The account's events as the origin exports them.
export async function exported(cluster, account) {
    const text = await cluster.ctl('events', 'export', account.id);
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

// How often each message id stands in the export.
export async function exportedIds(cluster, account) {
    const counts = new Map();
    for (const event of await exported(cluster, account)) {
        counts.set(event.message_id, (counts.get(event.message_id) ?? 0) + 1);
    }
    return counts;
}
