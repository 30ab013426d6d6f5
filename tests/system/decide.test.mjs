// What the snippet decides, and the tables of it that the edge's own decision is tested against.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { bucketing, fraction, targeting, text, variantFor } from '../../edge/snippet/vectors.mjs';

const kept = (name) => readFileSync(path.join(import.meta.dirname, '../unit/edge', `${name}.json`), 'utf8');

test('the tables are what the snippet decides', () => {
    assert.equal(kept('bucketing'), text(bucketing()), 'run edge/snippet/vectors.mjs bucketing');
    assert.equal(kept('targeting'), text(targeting()), 'run edge/snippet/vectors.mjs targeting');
    assert.ok(bucketing().length >= 50);
});

test('shares are MurmurHash3\'s', () => {
    // Hashes that other implementations publish.
    for (const [word, hash] of [['', 0], ['hello', 0x248bfa47], ['hello, world', 0x149bbb7f], ['The quick brown fox jumps over the lazy dog', 0x2e4ff723]])
        assert.equal(fraction(word) * 2 ** 32, hash, word);
});

test('visitors are spread as the weights say, and one campaign tells nothing of another', () => {
    const counts = {};
    let both = 0;
    const rows = 20000;
    for (let i = 0; i < rows; i++) {
        const [a, b] = ['one', 'two'].map((id) => variantFor(`visitor-${i}`, { id, traffic: 1, variants: [{ id: 'a', weight: 1 }, { id: 'b', weight: 3 }] }).id);
        counts[a] = (counts[a] ?? 0) + 1;
        if (a === 'a' && b === 'a') both++;
    }
    assert.ok(Math.abs(counts.a / rows - 1 / 4) < 0.015, JSON.stringify(counts));
    assert.ok(Math.abs(both / rows - 1 / 16) < 0.01, `${both} of ${rows} in both first variants`);
});
