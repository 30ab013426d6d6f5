// Visits to invented shops, as Segment's browser library puts them on the wire: what every
// benchmark sends. Each event is 600 to 900 bytes of JSON with ids, addresses and products of its
// own; the words are not those that origin/vault/dictionary.mjs uses. The same seed gives the same events.
//   node tests/bench/events.mjs COUNT [WRITE_KEY] > events.ndjson
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';

export const EVENT_BYTES = { least: 600, most: 900 };
const EVENTS_PER_VISITOR = 12;

// xorshift128+, seeded: Math.random cannot be.
class Dice {
    constructor(seed) {
        this.a = (seed * 2654435761 + 1) >>> 0 || 1;
        this.b = (seed ^ 0x9e3779b9) >>> 0 || 2;
        for (let i = 0; i < 16; i++) this.next();
    }

    next() {
        let t = this.a;
        t ^= t << 13;
        t ^= t >>> 17;
        t ^= t << 5;
        this.a = this.b;
        this.b = (t ^ (this.b * 5 + 0x6d2b79f5)) >>> 0;
        return (this.a + this.b) >>> 0;
    }

    below(n) {
        return Math.floor((this.next() / 4294967296) * n);
    }

    chance(p) {
        return this.next() / 4294967296 < p;
    }

    of(list) {
        return list[this.below(list.length)];
    }

    hex(digits) {
        let text = '';
        while (text.length < digits) text += this.next().toString(16).padStart(8, '0');
        return text.slice(0, digits);
    }

    uuid() {
        return `${this.hex(8)}-${this.hex(4)}-4${this.hex(3)}-${this.of(['8', '9', 'a', 'b'])}${this.hex(3)}-${this.hex(12)}`;
    }
}

const ADJECTIVES = 'quilted brushed recycled waterproof velvet oak ceramic folded striped merino insulated vintage stackable cordless marbled adjustable foldable padded handmade enamel'.split(' ');
const THINGS = 'parka duvet kettle stool ottoman rucksack sandal cardigan blender curtain tricycle helmet lantern planter mirror apron poncho saucepan hammock bookcase'.split(' ');
const COLOURS = 'ochre teal ivory charcoal burgundy mint sand coral indigo rust'.split(' ');
const BRANDS = 'Norhav Lumera Kestrel&Co Vantoor Oberland Pikari Dunewell Tjalk Arboris Fennmoor'.split(' ');
const AISLES = [['Bedroom', 'Bedding'], ['Outdoor', 'Camping'], ['Kids', 'Ride-ons'], ['Kitchen', 'Cookware'], ['Living', 'Lighting'], ['Clothing', 'Knitwear'], ['Shoes', 'Sandals']];
const SHOPS = ['https://www.zeewind.nl', 'https://shop.halbinsel.de', 'https://www.thornfield-home.co.uk', 'https://mistralmaison.fr', 'https://www.kanalhuset.dk', 'https://lagunacasa.it'];
const PLACES = ['nl-NL', 'de-DE', 'en-GB', 'fr-FR', 'da-DK', 'it-IT'];
const ZONES = ['Europe/Amsterdam', 'Europe/Berlin', 'Europe/London', 'Europe/Paris', 'Europe/Copenhagen', 'Europe/Rome'];
const CURRENCIES = ['EUR', 'EUR', 'GBP', 'EUR', 'DKK', 'EUR'];
const CAME_FROM = ['', '', 'https://www.google.com/', 'https://www.pinterest.com/', 'https://l.instagram.com/', 'https://duckduckgo.com/'];

function userAgent(dice) {
    const chrome = 124 + dice.below(16);
    return dice.of([
        `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${chrome}.0.0.0 Safari/537.36`,
        `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${chrome}.0.0.0 Safari/537.36`,
        `Mozilla/5.0 (iPhone; CPU iPhone OS ${16 + dice.below(3)}_${dice.below(7)} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${16 + dice.below(3)}.${dice.below(7)} Mobile/15E148 Safari/604.1`,
        `Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${chrome}.0.0.0 Mobile Safari/537.36`,
        `Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:${chrome}.0) Gecko/20100101 Firefox/${chrome}.0`,
    ]);
}

function newVisitor(dice) {
    const shop = dice.below(SHOPS.length);
    return {
        shop: SHOPS[shop],
        locale: PLACES[shop],
        timezone: ZONES[shop],
        currency: CURRENCIES[shop],
        anonymousId: dice.uuid(),
        userId: dice.chance(0.2) ? `kd-${100000 + dice.below(9000000)}` : undefined,
        agent: userAgent(dice),
        version: `1.${60 + dice.below(30)}.${dice.below(4)}`,
        referrer: dice.of(CAME_FROM),
        campaign: dice.chance(0.15) ? { name: `${dice.of(COLOURS)}-${dice.of(['week', 'days', 'outlet'])}-${dice.below(50)}`, source: dice.of(['google', 'pinterest', 'mailing']), medium: dice.of(['cpc', 'email', 'social']) } : undefined,
        lean: dice.chance(0.4), // an own integration that sends less of the page
        screen: dice.chance(0.3) ? dice.of([[1920, 1080], [390, 844], [1440, 900], [412, 915]]) : undefined,
        now: Date.UTC(2026, 9, 1 + dice.below(28), 6 + dice.below(17), dice.below(60), dice.below(60)),
    };
}

function product(dice, visitor) {
    const words = [dice.of(COLOURS), dice.of(ADJECTIVES), dice.of(THINGS)];
    const [department, aisle] = dice.of(AISLES);
    const id = String(20000 + dice.below(80000));
    return {
        product_id: id,
        sku: `${words[2].slice(0, 3).toUpperCase()}-${id}-${dice.below(90)}`,
        name: words.map((word) => word[0].toUpperCase() + word.slice(1)).join(' '),
        brand: dice.of(BRANDS),
        category: `${department}/${aisle}`,
        price: (400 + dice.below(40000)) / 100,
        currency: visitor.currency,
        url: `${visitor.shop}/p/${words.join('-')}-${id}`,
    };
}

function pick(from, ...names) {
    return Object.fromEntries(names.map((name) => [name, from[name]]));
}

function track(dice, visitor, shown) {
    const cart = { ...pick(shown, 'product_id', 'sku', 'name', 'price', 'currency'), quantity: 1 + dice.below(3) };
    return dice.of([
        () => ({ event: 'Product Viewed', properties: shown }),
        () => ({ event: 'Product Viewed', properties: pick(shown, 'product_id', 'sku', 'name', 'brand', 'price', 'currency') }),
        () => ({ event: 'Product Added', properties: { ...cart, cart_id: dice.hex(16) } }),
        () => ({ event: 'Product Clicked', properties: { ...pick(shown, 'product_id', 'sku', 'category', 'name'), position: 1 + dice.below(24) } }),
        () => ({ event: 'Products Searched', properties: { query: `${dice.of(COLOURS)} ${dice.of(THINGS)}`, results: dice.below(180) } }),
        () => ({ event: 'Checkout Started', properties: { order_id: dice.hex(10), value: cart.price * cart.quantity, currency: visitor.currency, products: [cart] } }),
        () => ({ event: 'Order Completed', properties: { order_id: dice.hex(10), total: Math.round(cart.price * cart.quantity * 121) / 100, currency: visitor.currency, products: [cart] } }),
        () => ({ event: dice.of(['Filter Opened', 'Size Guide Read', 'Stock Alert Set', 'Review Expanded']), properties: { place: dice.of(['list', 'detail', 'footer']), position: dice.below(12), colour: dice.of(COLOURS) } }),
    ])();
}

function candidate(dice, visitor, writeKey) {
    const shown = product(dice, visitor);
    const path = dice.chance(0.5) ? new URL(shown.url).pathname : dice.of(['/', '/basket', `/c/${dice.of(THINGS)}`, `/c/${dice.of(COLOURS)}/${dice.of(THINGS)}`]);
    const search = dice.chance(0.2) ? `?page=${2 + dice.below(8)}&sort=${dice.of(['new', 'price', 'rating'])}` : '';
    const full = { path, referrer: visitor.referrer, search, title: `${shown.name} | ${new URL(visitor.shop).host}`, url: visitor.shop + path + search };
    const page = visitor.lean ? pick(full, 'path', 'url') : full;
    const isPage = dice.chance(0.3);
    const at = new Date((visitor.now += 500 + dice.below(60000)));
    const body = {
        timestamp: at.toISOString(),
        ...(isPage ? { type: 'page', properties: page } : { type: 'track', ...track(dice, visitor, shown) }),
        ...(visitor.userId && { userId: visitor.userId }),
        context: {
            page,
            userAgent: visitor.agent,
            locale: visitor.locale,
            timezone: visitor.timezone,
            library: { name: 'analytics.js', version: `npm:next-${visitor.version}` },
            ...(visitor.campaign && { campaign: visitor.campaign }),
            ...(visitor.screen && { screen: { width: visitor.screen[0], height: visitor.screen[1] } }),
        },
        anonymousId: visitor.anonymousId,
        messageId: `ajs-next-${at.getTime()}-${dice.uuid()}`,
        ...(writeKey && { writeKey }),
        sentAt: new Date(at.getTime() + 5 + dice.below(400)).toISOString(),
    };
    visitor.referrer = full.url;
    return JSON.stringify(body);
}

// Gives `count` events, each as JSON text. Visitors come and go.
export function* events({ count, writeKey, seed = 1 }) {
    const dice = new Dice(seed);
    const visitors = Array.from({ length: Math.max(1, Math.min(2000, Math.ceil(count / EVENTS_PER_VISITOR))) }, () => newVisitor(dice));
    for (let made = 0; made < count;) {
        const at = dice.below(visitors.length);
        if (dice.chance(1 / EVENTS_PER_VISITOR)) visitors[at] = newVisitor(dice);
        const text = candidate(dice, visitors[at], writeKey);
        const bytes = Buffer.byteLength(text);
        if (bytes < EVENT_BYTES.least || bytes > EVENT_BYTES.most) continue;
        made += 1;
        yield text;
    }
}

// Writes them one a line; gives their mean size in bytes.
export async function writeEvents(file, options) {
    const out = createWriteStream(file);
    let bytes = 0;
    let lines = [];
    for (const text of events(options)) {
        bytes += Buffer.byteLength(text);
        lines.push(text);
        if (lines.length === 1000) {
            if (!out.write(`${lines.join('\n')}\n`)) await once(out, 'drain');
            lines = [];
        }
    }
    out.end(lines.length ? `${lines.join('\n')}\n` : '');
    await once(out, 'finish');
    return bytes / options.count;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
    const [count, writeKey] = process.argv.slice(2);
    if (!Number.isInteger(Number(count)) || Number(count) < 1) {
        console.error('usage: node tests/bench/events.mjs COUNT [WRITE_KEY] > events.ndjson');
        process.exit(2);
    }
    for (const text of events({ count: Number(count), writeKey })) process.stdout.write(`${text}\n`);
}
