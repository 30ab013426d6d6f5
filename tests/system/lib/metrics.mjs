// What Prometheus would make of /metrics.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

const HEAD = /^# (HELP|TYPE) (polder_[a-z0-9_]+) (.+)$/;
const SAMPLE = /^((polder_[a-z0-9_]+?)((?:_bucket|_sum|_count)?)(?:\{((?:[a-z]+="(?:[^"\\]|\\["\\n])*",?)+)\})?) (-?[0-9.e+-]+)$/;

// Throws for what the text format forbids. Gives { types, samples, histograms }: types by metric,
// values by sample, and { buckets: [[le, count] …], sum, count } by histogram.
export function parseMetrics(text) {
    const types = new Map(), samples = new Map(), histograms = new Map();
    for (const line of text.trimEnd().split('\n')) {
        const head = HEAD.exec(line);
        if (head?.[1] === 'TYPE') {
            assert.ok(!types.has(head[2]), `${head[2]} is declared twice`);
            types.set(head[2], head[3]);
            if (head[3] === 'histogram') histograms.set(head[2], { buckets: [] });
            continue;
        }
        if (head) continue;
        const [, sample, base, part, labels, value] = SAMPLE.exec(line) ?? assert.fail(line);
        assert.ok(!samples.has(sample), `${sample} stands twice`);
        samples.set(sample, Number(value));
        const histogram = part && histograms.get(base);
        if (!histogram) {
            assert.equal(types.get(base + part) === 'counter', sample.split('{')[0].endsWith('_total'), line);
        } else if (part === '_bucket') {
            const le = /^le="([^"]+)"$/.exec(labels)[1];
            histogram.buckets.push([le === '+Inf' ? Infinity : Number(le), Number(value)]);
        } else {
            histogram[part.slice(1)] = Number(value);
        }
    }
    for (const [name, { buckets, sum, count }] of histograms) {
        assert.ok(buckets.every(([le, n], i) => i === 0 || (le > buckets[i - 1][0] && n >= buckets[i - 1][1])), `${name} does not ascend`);
        assert.deepEqual(buckets.at(-1), [Infinity, count], name);
        assert.ok(sum >= 0, name);
    }
    return { types, samples, histograms };
}

// Prometheus' own opinion.
function checkWithPromtool(text) {
    const { status, error, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    assert.equal(status, 0, `promtool: ${error ?? stdout + stderr}`);
}

export async function metricsOf(url) {
    const text = await (await fetch(`${url}/metrics`)).text();
    checkWithPromtool(text);
    return { text, ...parseMetrics(text) };
}

// Its values alone, by sample.
export const samplesOf = async (url) => (await metricsOf(url)).samples;
