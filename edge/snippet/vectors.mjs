// What the snippet decides, as tables that the edge's own decision is tested against:
//   node edge/snippet/vectors.mjs bucketing > tests/unit/edge/bucketing.json
//   node edge/snippet/vectors.mjs targeting > tests/unit/edge/targeting.json
import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

const source = readFileSync(new URL('decide.js', import.meta.url), 'utf8');
export const { fraction, variantFor, fits, deviceOf } = new Function(`${source}; return { fraction, variantFor, fits, deviceOf };`)();

const visitorOf = (n) => createHash('sha256').update(`visitor ${n}`).digest('hex').replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, '$1-$2-4$3-8$4-$5');
const split = (id, traffic, ...weights) => ({ id, traffic, url: [], variants: weights.map((weight, i) => ({ id: i === 0 ? 'control' : `v${i}`, weight, control: i === 0, modifications: [] })) });

export function bucketing() {
    const campaigns = [
        split('free-shipping', 1, 50, 50),
        split('half', 0.5, 1, 1, 1),
        split('uneven', 0.9, 0.1, 2.5, 1000000),
        split('nobody', 0, 1),
        split('many', 0.75, ...Array.from({ length: 16 }, (_, i) => i + 1)),
    ];
    const rows = [];
    for (let n = 0; n < 12; n++) for (const campaign of campaigns) rows.push([visitorOf(n), campaign]);
    for (const visitor of ['', 'a', 'ab', 'abc', 'abcd', 'Zoë', '訪問者', '🦊', 'x'.repeat(256), 'a/b/traffic']) rows.push([visitor, campaigns[1]]);
    return rows.map(([visitor, campaign]) => ({ visitor, campaign, variant: variantFor(visitor, campaign)?.id ?? null }));
}

const AGENTS = {
    phone: 'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36',
    iphone: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1',
    ipad: 'Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1',
    tablet: 'Mozilla/5.0 (Linux; Android 14; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    firefox: 'Mozilla/5.0 (Android 14; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0',
    mac: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15',
    linux: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    none: '',
};
const PAGE = { url: 'https://shop.example/p/boots?q=red+boots&utm_source=mail#top', locale: 'nl-NL', agent: 'linux', returning: false, now: '2026-11-22T12:00:00.000Z' };

export function targeting() {
    const rows = [];
    const add = (rule, pages) => pages.forEach((page) => rows.push([rule, { ...PAGE, ...page }]));
    const globs = ['/p/*', '/p', '/p/boots', '/p/boots?*', '/p/boots?q=red*', '*', 'https://shop.example/*', 'https://shop.example/p/boots', 'http://shop.example/*', '*/boots', '*boot', '/*b*o*t*', '/*?utm*', '/é*'];
    for (const glob of globs) add({ url: [glob] }, [{}]);
    add({ url: ['/a', '/b'] }, [{ url: 'https://shop.example/b' }, { url: 'https://shop.example/c' }]);
    add({ url: ['/'] }, [{ url: 'https://shop.example' }, { url: 'https://shop.example/?x' }, { url: 'https://shop.example/#/cart' }]);
    for (const query of [[{ name: 'q', equals: 'red boots' }], [{ name: 'q', contains: 'red' }], [{ name: 'q', contains: 'Red' }], [{ name: 'q', equals: 'red' }], [{ name: 'q', exists: true }], [{ name: 'q', exists: false }], [{ name: 'x', exists: false }], [{ name: 'x', equals: '' }], [{ name: 'q', exists: true }, { name: 'utm_source', equals: 'mail' }], [{ name: 'q', exists: true }, { name: 'utm_source', equals: 'ads' }]])
        add({ query }, [{}]);
    add({ query: [{ name: 'a', equals: '2' }] }, [{ url: 'https://shop.example/?a=1&a=2' }, { url: 'https://shop.example/?a=%32' }, { url: 'https://shop.example/?b=a%3D2' }]);
    for (const device of [['mobile'], ['tablet'], ['desktop'], ['mobile', 'tablet']]) add({ device }, Object.keys(AGENTS).map((agent) => ({ agent })));
    for (const locale of [['nl'], ['en'], ['NL-nl'], ['nl-BE', 'en'], ['n']]) add({ locale }, [{}, { locale: 'en' }, { locale: 'nl-BE' }, { locale: '' }]);
    for (const audience of ['new', 'returning']) add({ audience }, [{}, { returning: true }]);
    add({ from: '2026-11-22T12:00:00.000Z' }, [{}, { now: '2026-11-22T11:59:59.999Z' }]);
    add({ until: '2026-11-22T12:00:00.000Z' }, [{}, { now: '2026-11-22T11:59:59.999Z' }]);
    add({ url: ['/p/*'], device: ['desktop'], locale: ['nl'], audience: 'new' }, [{}, { locale: 'de' }, { agent: 'phone' }]);
    return rows.map(([rule, { url, locale, agent, returning, now }]) => {
        const campaign = { id: 'c', traffic: 1, url: [], ...rule, variants: [{ id: 'v', weight: 1, control: false, modifications: [] }] };
        const here = { url: new URL(url), locale, device: deviceOf(AGENTS[agent], 0), returning, now: Date.parse(now) };
        return { campaign, page: { url, locale, user_agent: AGENTS[agent], returning, now }, fits: fits(campaign, here) };
    });
}

export const text = (rows) => `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`;

const tables = { bucketing, targeting };
if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(text(tables[process.argv[2]]()));
