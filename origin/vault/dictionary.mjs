#!/usr/bin/env node
// Makes dictionary_v1.c: the zstd dictionary that single events are compressed with.
//
// Its content is names of fields and properties, enumerations, shapes of URLs, user agents and
// envelopes that public clients share: some written down here, some found by `zstd --train` in
// events that this program invents, with words that mean nothing, so that only what is typical
// repeats. Nothing comes from a visitor.
//
// A published dictionary never changes: stored values can be read with it alone. To improve on it,
// add a version beside it (dictionary.c) and leave this one's file as it is.
//
//   origin/vault/dictionary.mjs > origin/vault/dictionary_v1.c
//   origin/vault/dictionary.mjs --measure [FILE.c...]        stored bytes of fresh events with it, and
//                                                      with what such files hold
//
// Both need Debian's zstd. The same version of it makes the same bytes on every run.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const VERSION = 1;
const DICTIONARY_ID = 0x504f4c01;
const FOUND_BYTES = 8 * 1024;
// Of the pieces that are taken out of samples. 400 to 500 did best when measured; at 300 values are
// a fifth larger, and the length that zstd looks for by itself costs 2 %.
const PIECE_BYTES = 400;

const words = (text) => text.trim().split(/\s+/);

const COMMERCE = words(`
order_id checkout_id products product_id sku category name brand variant price quantity coupon
position image_url url affiliation value currency revenue shipping tax discount total subtotal
list_id promotion_id creative filters sorts type step shipping_method payment_method cart_id
query results rating review_id review_body wishlist_id share_via share_message recipient`);
const TRAITS = words(`
email firstName lastName phone address street city state postalCode country age gender birthday
company industry employees plan title username website avatar createdAt description logins
newsletter loyalty_tier total_orders lifetime_value`);
const PROPERTIES = words(`
label action element element_id element_class element_text href target text section component
placement slot experiment experiment_id variation variation_id variant_name campaign_id
impression_id principle scarcity social_proof authority reciprocity commitment liking unity
viewport scroll_depth duration_ms time_on_page video_id seconds progress form_id form_name field
error message code status method success source medium referrer_domain is_logged_in device_type
availability in_stock stock size color material original_price sale_price currency_code`);
const AGENTS = [
    'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0',
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36',
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1.1 Mobile/15E148 Safari/604.1',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
];
const LOCALES = words('de-DE fr-FR nl-NL it-IT es-ES pl-PL sv-SE da-DK en-IE en-GB en-US de fr nl en');
const ZONES = words(`
Asia/Tokyo Asia/Singapore Australia/Sydney America/Los_Angeles America/Chicago America/New_York
Europe/Madrid Europe/Rome Europe/Warsaw Europe/Paris Europe/London Europe/Berlin Europe/Amsterdam`);
const EVENTS = [
    'Account Created', 'Signed Up', 'Signed In', 'Signed Out', 'Form Submitted',
    'Video Playback Started', 'Button Clicked', 'Link Clicked', 'Element Clicked',
    'Experiment Viewed', 'Newsletter Subscribed', 'Coupon Applied', 'Coupon Removed',
    'Payment Info Entered', 'Order Refunded', 'Order Cancelled', 'Order Updated', 'Order Completed',
    'Checkout Started', 'Checkout Step Viewed', 'Checkout Step Completed', 'Cart Viewed',
    'Cart Shared', 'Product Shared', 'Product Reviewed', 'Product Added to Wishlist',
    'Product Removed from Wishlist', 'Products Searched', 'Product List Filtered',
    'Product List Viewed', 'Promotion Viewed', 'Promotion Clicked', 'Product Removed',
    'Product Clicked', 'Product Added', 'Product Viewed',
];
const ADDRESSES = [
    'https://www.facebook.com/', 'https://www.instagram.com/', 'https://www.bing.com/',
    'https://duckduckgo.com/', 'https://www.google.com/', '.html', '?gclid=', '?fbclid=',
    '&utm_term=', '&utm_content=', '?utm_source=newsletter&utm_medium=email&utm_campaign=',
    '?utm_source=google&utm_medium=cpc&utm_campaign=', '?variant=', '&page=', '?page=',
    '/search?q=', '/account/login', '/checkout/payment', '/checkout/shipping', '/cart',
    '/category/', '/blog/', '/collections/', '/products/',
];

// ---- msgpack, as the wire writes it. A Map has numbers for keys; Float is a double whatever its value.

class Float {
    constructor(value) {
        this.value = value;
    }
}

function head(n, fix, fixLimit, forms) {
    if (n < fixLimit) return Buffer.from([fix | n]);
    for (const [tag, bytes] of forms)
        if (n < 256 ** bytes) {
            const out = Buffer.alloc(1 + bytes);
            out[0] = tag;
            out.writeUIntBE(n, 1, bytes);
            return out;
        }
    throw new Error('too long');
}

function packNumber(v) {
    const out = Buffer.alloc(9);
    if (!Number.isInteger(v)) {
        out[0] = 0xcb;
        out.writeDoubleBE(v, 1);
        return out;
    }
    if (v < 2 ** 32) return head(v, 0, 128, [[0xcc, 1], [0xcd, 2], [0xce, 4]]);
    out[0] = 0xcf;
    out.writeBigUInt64BE(BigInt(v), 1);
    return out;
}

function pack(v) {
    if (v === null) return Buffer.from([0xc0]);
    if (typeof v === 'boolean') return Buffer.from([v ? 0xc3 : 0xc2]);
    if (typeof v === 'number') return packNumber(v);
    if (v instanceof Float) {
        const out = Buffer.alloc(9);
        out[0] = 0xcb;
        out.writeDoubleBE(v.value, 1);
        return out;
    }
    if (typeof v === 'string') {
        const text = Buffer.from(v);
        return Buffer.concat([head(text.length, 0xa0, 32, [[0xd9, 1], [0xda, 2]]), text]);
    }
    if (Buffer.isBuffer(v)) return Buffer.concat([head(v.length, 0, 0, [[0xc4, 1], [0xc5, 2]]), v]);
    if (Array.isArray(v)) return Buffer.concat([head(v.length, 0x90, 16, [[0xdc, 2]]), ...v.map(pack)]);
    const members = v instanceof Map ? [...v] : Object.entries(v);
    return Buffer.concat([head(members.length, 0x80, 16, [[0xde, 2]]), ...members.flat().map(pack)]);
}

// ---- invented events

const WORDS = words(`
shoe jacket winter summer classic running trail cotton organic men women kids sale new outdoor denim
leather wool basic premium sport travel home kitchen lamp table chair garden tool phone case charger
cable watch band glass bottle mug tea coffee bean roast dark light blue red green black white grey
large small medium slim wide`);
const TYPES = { 'Product Viewed': 3, 'Product Added': 5, 'Product Clicked': 2, 'Product Removed': 6, 'Order Completed': 9, 'Checkout Started': 8 };
const OFTEN = [...EVENTS, ...Array(12).fill('Product Viewed'), ...Array(6).fill('Product Added')];
const AGENTS_AS_OFTEN = [...AGENTS, ...AGENTS.slice(-6), ...AGENTS.slice(-6), ...AGENTS.slice(-6)];

const title = (word) => word[0].toUpperCase() + word.slice(1);

// One shop's events. Its words are babble where a dictionary is trained, so that none gets into it,
// and English where one is measured.
class Shop {
    constructor(seed, babble) {
        this.babble = babble;
        this.state = (seed * 2654435761 + 1) >>> 0 || 1;
        for (let i = 0; i < 8; i++) this.next();
        this.name = this.word() + this.word();
        this.site = `https://${this.of(words('shop store www boutique market'))}.${this.name}.${this.of(words('com nl de fr eu co.uk'))}`;
        this.now = 1764000000000 + this.below(2 ** 34);
    }

    // xorshift32, seeded: Math.random cannot be.
    next() {
        this.state ^= this.state << 13;
        this.state ^= this.state >>> 17;
        this.state ^= this.state << 5;
        return (this.state >>> 0) / 2 ** 32;
    }

    below(n) {
        return Math.floor(this.next() * n);
    }

    chance(p) {
        return this.next() < p;
    }

    of(list) {
        return list[this.below(list.length)];
    }

    some(list, n) {
        const left = [...list];
        return Array.from({ length: n }, () => left.splice(this.below(left.length), 1)[0]);
    }

    word() {
        if (!this.babble) return this.of(WORDS);
        let text = '';
        for (let n = 2 + this.below(3); n > 0; n--) text += this.of('bcdfghjklmnprstvw') + this.of('aeiou');
        return text;
    }

    price() {
        const price = (300 + this.below(39700)) / 100;
        return this.chance(0.8) ? price : Math.floor(price);
    }

    product() {
        const name = [this.word(), this.word(), this.word()];
        return {
            product_id: String(10 ** 4 + this.below(10 ** 7 - 10 ** 4)),
            sku: `${this.word().slice(0, 2).toUpperCase()}-${1000 + this.below(98999)}`,
            name: name.map(title).join(' '),
            brand: title(this.word()),
            category: title(this.word()),
            price: this.price(),
            quantity: 1 + this.below(3),
            currency: 'EUR',
            url: `${this.site}/products/${name.join('-')}`,
        };
    }

    page() {
        const path = this.of(['/', '/cart', '/checkout', `/products/${this.word()}-${this.word()}-${this.below(10 ** 5)}`,
            `/collections/${this.word()}`, `/${this.of(['en', 'nl', 'de'])}/${this.word()}/${this.word()}`, '/search']);
        const search = this.of(['', '', '', `?q=${this.word()}`, `?page=${2 + this.below(7)}`,
            `?utm_source=google&utm_medium=cpc&utm_campaign=${this.word()}`]);
        return {
            path,
            referrer: this.of(['', 'https://www.google.com/', `${this.site}/`, 'https://www.facebook.com/']),
            search,
            title: `${title(this.word())} ${this.word()} | ${title(this.name)}`,
            url: this.site + path + search,
        };
    }

    properties(event) {
        if (/^(Product |Cart)/.test(event))
            return Object.fromEntries(Object.entries(this.product()).filter(() => this.chance(0.75)));
        if (/^(Order|Checkout)/.test(event))
            return { order_id: String(this.below(10 ** 8)), total: this.price(), currency: 'EUR', products: [this.product()] };
        return Object.fromEntries(this.some(PROPERTIES, 2 + this.below(4)).map((name) =>
            [name, this.of([this.word(), this.below(1000), true, this.price()])]));
    }

    // What no field of its own holds. It differs between Segment's library of today and of
    // yesterday, our own snippet, and those who send by hand.
    context(client, agent) {
        const context = {};
        if (client < 0.6)
            context.message = { integrations: {}, _metadata: { bundled: ['Segment.io'], unbundled: [], bundledIds: [] } };
        if (client < 0.4 && agent.includes('Chrome/')) {
            const version = agent.split('Chrome/')[1].split('.')[0];
            const mobile = agent.includes('Mobile');
            context.userAgentData = {
                brands: [{ brand: 'Google Chrome', version }, { brand: 'Chromium', version }, { brand: 'Not_A Brand', version: '24' }],
                mobile,
                platform: mobile ? 'Android' : this.of(['Windows', 'macOS', 'Linux']),
            };
        }
        context.library = client < 0.75
            ? { name: 'analytics.js', version: `npm:next-1.${60 + this.below(30)}.${this.below(4)}` }
            : { name: 'polder', version: `0.${1 + this.below(8)}.0` };
        return context;
    }

    // A call in canonical form, as event_slim leaves it: without account, times and UUIDs, which
    // become headBytes.
    event() {
        this.now += this.below(40000);
        const [kind, client, page] = [this.next(), this.next(), this.page()];
        const agent = this.of(AGENTS_AS_OFTEN).replace('131', String(118 + this.below(22)));
        const fields = new Map([[3, 1], [5, this.of(['eu', 'eu', 'us', 'apac'])],
            [8, this.of([`ajs-next-${this.now}-`, ''])], [9, '']]);
        if (this.chance(0.2)) fields.set(10, this.of([`u_${this.below(10 ** 7)}`, '']));
        if (kind < 0.7) this.track(fields, this.of(OFTEN));
        else if (kind < 0.95) fields.set(2, 1).set(64, pack(page));
        else fields.set(2, 12).set(65, pack(Object.fromEntries(this.some(TRAITS, 4).map((name) => [name, this.word()]))));
        for (const [field, name] of [[20, 'url'], [21, 'path'], [22, 'referrer'], [23, 'title'], [24, 'search']])
            if (client < 0.9 || field < 22) fields.set(field, page[name]);
        if (this.chance(0.15)) fields.set(28, this.word()).set(29, 'google').set(30, 'cpc');
        fields.set(34, agent).set(35, this.of(LOCALES));
        if (client < 0.75) fields.set(36, this.of(ZONES));
        if (client >= 0.75 || this.chance(0.3)) fields.set(37, 1920).set(38, 1080);
        fields.set(66, pack(this.context(client, agent)));
        const uuids = fields.get(10) === '' ? 3 : 2;
        return { body: pack(new Map([...fields].sort((a, b) => a[0] - b[0]))), headBytes: 1 + 16 * uuids + 5 };
    }

    track(fields, event) {
        const properties = this.properties(event);
        fields.set(2, TYPES[event] ?? 17).set(15, event);
        if (event in TYPES) {
            if ('products' in properties) fields.set(40, pack(properties.products));
            if ('order_id' in properties) fields.set(41, properties.order_id);
            if ('total' in properties) fields.set(42, new Float(properties.total));
            if ('currency' in properties) fields.set(47, properties.currency);
            for (const name of ['products', 'order_id', 'total', 'currency']) delete properties[name];
        }
        if (Object.keys(properties).length > 0) fields.set(64, pack(properties));
    }
}

function invent(firstSeed, shops, eventsPerShop, babble) {
    return Array.from({ length: shops }, (_, i) => {
        const shop = new Shop(firstSeed + i, babble);
        return Array.from({ length: eventsPerShop }, () => shop.event());
    }).flat();
}

// ---- the dictionary

function zstd(...options) {
    const done = spawnSync('zstd', ['-q', '--single-thread', ...options], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`zstd ${options[0]} failed: ${done.error ?? done.stderr}`);
}

// Calls work with a directory and with a file that lists one file for each sample. The list is in
// the order of the samples, which the result of training depends on.
function withSamples(samples, work) {
    const dir = mkdtempSync(join(tmpdir(), 'polder-dictionary-'));
    try {
        const files = samples.map((_, i) => join(dir, String(i).padStart(6, '0')));
        samples.forEach((sample, i) => writeFileSync(files[i], sample));
        writeFileSync(join(dir, 'list'), files.join('\n'));
        return work(dir, join(dir, 'list'));
    } finally {
        rmSync(dir, { recursive: true });
    }
}

function train(samples) {
    return withSamples(samples, (dir, list) => {
        const file = join(dir, 'dictionary');
        zstd(`--train-fastcover=k=${PIECE_BYTES},d=8`, '--filelist', list, `--maxdict=${FOUND_BYTES}`,
            `--dictID=${DICTIONARY_ID}`, '-o', file);
        return readFileSync(file);
    });
}

// A dictionary is tables of statistics, the three distances to begin with, then content (RFC 8878,
// 5). What is written down here goes before what was found, because what stands near the end is
// cheapest to refer to.
function make() {
    const distances = Buffer.from([1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0]);
    const trained = train(invent(1, 400, 20, true).map((event) => event.body));
    const end = trained.indexOf(distances) + distances.length;
    if (end < distances.length) throw new Error('zstd --train made a dictionary without the usual distances');
    const written = [...COMMERCE, ...TRAITS, ...PROPERTIES, ...LOCALES, ...ZONES, ...EVENTS].map(pack);
    const content = Buffer.concat([...written, ...ADDRESSES.map((text) => Buffer.from(text)), trained.subarray(end)]);
    return { content, dictionary: Buffer.concat([trained.subarray(0, end), content]) };
}

function source(dictionary) {
    const lines = [];
    for (let i = 0; i < dictionary.length; i += 20) lines.push(`    ${[...dictionary.subarray(i, i + 20)].join(',')},`);
    return `/* Made by dictionary.mjs, which says what it is made of. Never changes: stored values are
 * read with it. */
#include "origin/vault/dictionary.h"

/* clang-format off */
const uint8_t dictionary_v${VERSION}[] = {
${lines.join('\n')}
};
const size_t dictionary_v${VERSION}_bytes = sizeof(dictionary_v${VERSION});
`;
}

function fromSource(file) {
    const numbers = /\{([\d,\s]+)\}/.exec(readFileSync(file, 'utf8'));
    if (numbers === null) throw new Error(`${file} holds no dictionary`);
    return Buffer.from(numbers[1].match(/\d+/g).map(Number));
}

// ---- what it is worth

// A value's head and frame as vault.c stores them, without what sealing adds.
function storedBytes(events, dictionary, level) {
    return withSamples(events.map((event) => event.body), (dir, list) => {
        const [file, frames] = [join(dir, 'dictionary'), join(dir, 'frames')];
        mkdirSync(frames);
        writeFileSync(file, dictionary);
        zstd(`-${level}`, '-D', file, '--no-check', '--no-dictID', '--no-content-size', '--filelist', list, '--output-dir-flat', frames);
        const magicBytes = 4;
        const sizes = readdirSync(frames).map((name) => statSync(join(frames, name)).size - magicBytes);
        return [...sizes, ...events.map((event) => event.headBytes)].reduce((a, b) => a + b) / events.length;
    });
}

function measure(files) {
    const { content, dictionary } = make();
    const events = invent(10001, 40, 25, false);
    const candidates = [['none', Buffer.alloc(0)], ['content', content], ['dictionary', dictionary],
        ...files.map((file) => [file, fromSource(file)])];
    for (const [name, bytes] of candidates) {
        const stored = [1, 3, 6, 9].map((level) => `level ${level}: ${storedBytes(events, bytes, level).toFixed(1)}`);
        console.log(`${name} (${bytes.length} B)  ${stored.join('  ')}`);
    }
}

if (process.argv[2] === '--measure') measure(process.argv.slice(3));
else process.stdout.write(source(make().dictionary));
