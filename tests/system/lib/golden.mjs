// Golden files: what a client sends, what it is answered, and what the origin exports of it.
// tests/golden/DIALECT/NAME.json; README.md there says what stands in one.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../../deploy/demo/cluster.mjs';
import { ask } from './http.mjs';

const home = path.join(root, 'tests/golden');

export const dialects = readdirSync(home, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();

export function goldenFiles(dialect) {
    return readdirSync(path.join(home, dialect))
        .filter((file) => file.endsWith('.json'))
        .sort()
        .map((file) => ({ name: `${dialect}/${file.slice(0, -5)}`, ...JSON.parse(readFileSync(path.join(home, dialect, file), 'utf8')) }));
}

// ${KEY} and ${ALIAS} in every text of it, then ${BASE64(text)}.
export function filledIn(value, names) {
    if (typeof value === 'string')
        return value.replace(/\$\{(KEY|ALIAS)\}/g, (_, name) => names[name]).replace(/\$\{BASE64\((.*?)\)\}/gs, (_, text) => Buffer.from(text).toString('base64'));
    if (Array.isArray(value)) return value.map((item) => filledIn(item, names));
    if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filledIn(item, names)]));
    return value;
}

export function send(url, { method = 'GET', path: target, headers = {}, body, body_base64: base64 }, options = {}) {
    const bytes = base64 !== undefined ? Buffer.from(base64, 'base64') : typeof body === 'object' ? JSON.stringify(body) : body;
    return ask(url + target, { method, headers, body: bytes, ...options });
}
