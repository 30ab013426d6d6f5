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
//   origin/dictionary.mjs > origin/dictionary_v1.c      needs Debian's zstd
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const VERSION = 1;
const DICTIONARY_ID = 0x504f4c01;
const FOUND_BYTES = 8 * 1024;
const SHOPS = 400;
const EVENTS_PER_SHOP = 20;

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

// xorshift32, seeded: Math.random cannot be.
class Shop {
    constructor(seed) {
        this.state = (seed * 2654435761 + 1) >>> 0 || 1;
        for (let i = 0; i < 8; i++) this.next();
        this.site = `https://${this.of(['shop', 'store', 'www', 'www'])}.${this.word()}${this.word()}.${this.of(words('com nl de fr eu co.uk'))}`;
        this.now = 1764000000000 + this.below(2 ** 34);
    }

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

    word() {
        let text = '';
        for (let n = 2 + this.below(3); n > 0; n--) text += this.of('bcdfghjklmnprstvw') + this.of('aeiou');
        return text;
    }

    title() {
        const word = this.word();
        return word[0].toUpperCase() + word.slice(1);
    }

    price() {
        const price = 3 + this.below(40000) / 100;
        return this.chance(0.8) ? price : Math.round(price);
    }

    product() {
        const slug = `${this.word()}-${this.word()}-${this.word()}`;
        const whole = {
            product_id: String(10000 + this.below(10 ** 7)),
            sku: `${this.word().slice(0, 2).toUpperCase()}-${1000 + this.below(99999)}`,
            name: `${this.title()} ${this.title()} ${this.title()}`,
            brand: this.title(),
            category: this.title(),
            price: this.price(),
            quantity: 1 + this.below(3),
            currency: 'EUR',
            url: `${this.site}/products/${slug}`,
        };
        return Object.fromEntries(Object.entries(whole).filter(() => this.chance(0.75)));
    }

    page() {
        const path = this.of(['/', '/cart', '/checkout', `/products/${this.word()}-${this.word()}-${this.below(10 ** 5)}`,
            `/collections/${this.word()}`, `/${this.of(['en', 'nl', 'de'])}/${this.word()}/${this.word()}`, '/search']);
        const search = this.of(['', '', '', `?q=${this.word()}`, `?page=${2 + this.below(8)}`,
            `?utm_source=google&utm_medium=cpc&utm_campaign=${this.word()}`]);
        return {
            path,
            referrer: this.of(['', 'https://www.google.com/', `${this.site}/`, 'https://www.facebook.com/']),
            search,
            title: `${this.title()} ${this.word()} | ${this.title()}`,
            url: this.site + path + search,
        };
    }

    properties(event, page) {
        if (event === undefined) return page;
        if (/^(Product |Cart)/.test(event)) return this.product();
        if (/^(Order|Checkout)/.test(event))
            return { order_id: String(this.below(10 ** 8)), total: this.price(), currency: 'EUR', products: [this.product()] };
        return Object.fromEntries(Array.from({ length: 2 + this.below(4) }, () =>
            [this.of(PROPERTIES), this.of([this.word(), this.below(1000), true, this.price()])]));
    }

    // What differs between Segment's library of today and of yesterday, our own snippet, and those
    // who send by hand.
    context(agent, page) {
        const which = this.next();
        const context = {};
        if (which < 0.6)
            context.message = { integrations: {}, _metadata: { bundled: ['Segment.io'], unbundled: [], bundledIds: [] } };
        if (which < 0.4 && agent.includes('Chrome/')) {
            const version = agent.split('Chrome/')[1].split('.')[0];
            const mobile = agent.includes('Mobile');
            context.userAgentData = {
                brands: [{ brand: 'Google Chrome', version }, { brand: 'Chromium', version }, { brand: 'Not_A Brand', version: '24' }],
                mobile,
                platform: mobile ? 'Android' : this.of(['Windows', 'macOS', 'Linux']),
            };
        }
        const own = which > 0.75;
        if (own && which > 0.9) for (const name of ['referrer', 'search', 'title']) delete page[name];
        context.library = own
            ? { name: 'polder', version: `0.${1 + this.below(8)}.0` }
            : { name: 'analytics.js', version: `npm:next-1.${60 + this.below(30)}.${this.below(4)}` };
        return { context, own };
    }

    // A call in canonical form, as event_slim leaves it: without account, times and UUIDs.
    event() {
        this.now += this.below(40000);
        const page = this.page();
        const kind = this.next();
        const name = kind < 0.7 ? this.of([...EVENTS, ...Array(12).fill('Product Viewed'), ...Array(6).fill('Product Added')]) : undefined;
        const agent = this.of([...AGENTS, ...AGENTS.slice(-6), ...AGENTS.slice(-6)]).replace('131', String(118 + this.below(22)));
        const { context, own } = this.context(agent, page);
        const types = { 'Product Viewed': 3, 'Product Added': 5, 'Product Clicked': 2, 'Product Removed': 6, 'Order Completed': 9, 'Checkout Started': 8 };
        const type = name === undefined ? (kind < 0.95 ? 1 : 12) : types[name] ?? 17;
        const fields = new Map([[2, type], [3, 1], [5, this.of(['eu', 'eu', 'us', 'apac'])],
            [8, !own && this.chance(0.6) ? `ajs-next-${this.now}-` : ''], [9, '']]);
        if (this.chance(0.2)) fields.set(10, this.of([`u_${this.below(10 ** 7)}`, '']));
        if (name !== undefined) fields.set(15, name);
        for (const [field, member] of [[20, 'url'], [21, 'path'], [22, 'referrer'], [23, 'title'], [24, 'search']])
            if (member in page) fields.set(field, page[member]);
        if (this.chance(0.15)) fields.set(28, this.word()).set(29, 'google').set(30, 'cpc');
        fields.set(34, agent).set(35, this.of(LOCALES));
        if (!own) fields.set(36, this.of(ZONES));
        if (own || this.chance(0.3)) fields.set(37, 1920).set(38, 1080);
        this.commerce(fields, type, type === 12 ? {} : this.properties(name, page));
        if (type === 12)
            fields.set(65, pack(Object.fromEntries(Array.from({ length: 4 }, () => [this.of(TRAITS), this.word()]))));
        fields.set(66, pack(context));
        return pack(new Map([...fields].sort((a, b) => a[0] - b[0])));
    }

    commerce(fields, type, properties) {
        const rest = { ...properties };
        if ([2, 3, 5, 6, 8, 9].includes(type)) {
            if (rest.products) fields.set(40, pack(rest.products));
            if (rest.order_id) fields.set(41, rest.order_id);
            if (rest.total) fields.set(42, new Float(rest.total));
            if (rest.currency) fields.set(47, rest.currency);
            for (const name of ['products', 'order_id', 'total', 'currency']) delete rest[name];
        }
        if (Object.keys(rest).length > 0) fields.set(64, pack(rest));
    }
}

// ---- the dictionary

function train(samples) {
    const dir = mkdtempSync(join(tmpdir(), 'polder-dictionary-'));
    try {
        const files = samples.map((sample, i) => {
            const file = join(dir, String(i).padStart(6, '0'));
            writeFileSync(file, sample);
            return file;
        });
        writeFileSync(join(dir, 'list'), files.join('\n'));
        const made = spawnSync('zstd', ['-q', '--train', '--filelist', join(dir, 'list'), `--maxdict=${FOUND_BYTES}`,
            `--dictID=${DICTIONARY_ID}`, '-o', join(dir, 'dictionary')], { encoding: 'utf8' });
        if (made.status !== 0) throw new Error(`zstd --train failed: ${made.error ?? made.stderr}`);
        return readFileSync(join(dir, 'dictionary'));
    } finally {
        rmSync(dir, { recursive: true });
    }
}

const samples = Array.from({ length: SHOPS }, (_, seed) => {
    const shop = new Shop(seed + 1);
    return Array.from({ length: EVENTS_PER_SHOP }, () => shop.event());
}).flat();
// zstd's own begins with tables of statistics; whatever follows them is content, so what is
// written down here may go at the end.
const dictionary = Buffer.concat([train(samples),
    ...[...COMMERCE, ...TRAITS, ...PROPERTIES, ...LOCALES, ...ZONES, ...EVENTS].map(pack), ...ADDRESSES.map((text) => Buffer.from(text))]);

const lines = [];
for (let i = 0; i < dictionary.length; i += 20) lines.push(`    ${[...dictionary.subarray(i, i + 20)].join(',')},`);
process.stdout.write(`/* Made by dictionary.mjs, which says what it is made of. Never changes: stored values are
 * read with it. */
#include "origin/dictionary.h"

/* clang-format off */
const uint8_t dictionary_v${VERSION}[] = {
${lines.join('\n')}
};
const size_t dictionary_v${VERSION}_bytes = sizeof(dictionary_v${VERSION});
`);
