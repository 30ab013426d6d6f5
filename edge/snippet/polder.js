// The browser SDK. An edge serves it at /sdk.js, and behind one line with the write key and the
// campaign config at /s/KEY.js (`polderBoot`). Sites talk to it through a queue that exists before
// it does: polder('page'), polder('track', name, props), polder('identify', id, traits),
// polder('optout'), polder('optin'), polder('variant', campaign, callback).
//
// Promise: it never throws into the page; it works without storage, without network and when
// loaded twice; nothing is sent or kept of a visitor who said no. An event leaves the queue when
// an edge has said 2xx (it is on disk there) or that it will never take it.

const QUEUE_LIMIT = 200; // events kept while the network is away; the oldest go first
const BATCH_EVENTS = 50;
const BATCH_BYTES = 200000; // well below what edges take
const EVENT_BYTES = 32768; // what edges take of one event
const BEACON_BYTES = 60000; // browsers refuse beacons over 64 KiB
const FLUSH_MS = 400;
const RETRY_FIRST_MS = 1000;
const RETRY_LAST_MS = 60000;

const page = window;
const name = 'polder';
const waiting = page[name];

if (!(waiting && waiting.version)) start();

function start() {
    const boot = page.polderBoot || {};
    const script = document.currentScript;
    const home = script && script.src ? new URL(script.src).origin : location.origin;
    const key = boot.key || (script && script.dataset.key) || '';
    const config = boot.config || { version: 0, campaigns: [], settings: {} };
    const memory = {};

    // Storage may be blocked, full, or emptied under our feet: memory is always the second copy.
    const slot = (field) => `${name}_${field}_${key.slice(0, 8)}`;
    const read = (field) => {
        try {
            const text = localStorage.getItem(slot(field));
            return text === null ? memory[field] : text;
        } catch {
            return memory[field];
        }
    };
    const write = (field, text) => {
        memory[field] = text;
        try {
            if (text === undefined) localStorage.removeItem(slot(field));
            else localStorage.setItem(slot(field), text);
        } catch {
            /* memory has it */
        }
    };

    const uuid = () => {
        if (page.crypto.randomUUID) return page.crypto.randomUUID();
        // Not in a secure context: the same 122 bits by hand (RFC 9562, version 4).
        return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
            (digit ^ (page.crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));
    };

    let queue = [];
    let timer = 0;
    let sending = false;
    let retryMs = 0;
    let share = BATCH_EVENTS; // fewer while an event that no edge takes is being looked for
    let user = read('user');

    const saidNo = () =>
        read('optout') === '1' ||
        navigator.globalPrivacyControl === true ||
        (config.settings && config.settings.honour_dnt && navigator.doNotTrack === '1');

    const visitor = () => {
        let id = read('visitor');
        if (!id) write('visitor', (id = uuid()));
        return id;
    };

    const keep = () => {
        if (queue.length > QUEUE_LIMIT) queue = queue.slice(-QUEUE_LIMIT);
        write('queue', queue.length ? JSON.stringify(queue) : undefined);
    };

    const bytes = (text) => new Blob([text]).size;

    const body = (events) => JSON.stringify({ writeKey: key, sentAt: new Date().toISOString(), batch: events });

    // As many from `from` on as fit, one at least.
    const fitting = (from, count, limit) => {
        for (;; count >>= 1) {
            const events = queue.slice(from, from + count);
            const text = body(events);
            if (count <= 1 || bytes(text) <= limit) return { events, text };
        }
    };

    const schedule = (ms) => {
        if (!timer) timer = setTimeout(flush, ms);
    };

    const sent = (events) => {
        const ids = new Set(events.map((event) => event.messageId));
        queue = queue.filter((event) => !ids.has(event.messageId));
        keep();
    };

    const flush = () => {
        timer = 0;
        if (sending || !queue.length || saidNo()) return;
        const { events, text } = fitting(0, share, BATCH_BYTES);
        sending = true;
        // text/plain needs no preflight; the edge reads JSON whatever it is called.
        fetch(`${home}/v1/batch`, {
            method: 'POST',
            body: text,
            headers: { 'Content-Type': 'text/plain' },
            credentials: 'include',
        }).then(
            (reply) => {
                const { status } = reply;
                sending = false;
                // A key that an edge has served a config for is good: 401 is an edge behind the news.
                if (status === 408 || status === 429 || status >= 500 || (status === 401 && boot.config)) {
                    backOff(Number(reply.headers.get('Retry-After')) * 1000);
                    return;
                }
                retryMs = 0;
                // One bad event spoils its batch: halves find it, so that it goes alone.
                if ((status === 400 || status === 413) && events.length > 1) {
                    share = events.length >> 1;
                } else {
                    share = Math.min(2 * share, BATCH_EVENTS);
                    sent(events);
                }
                if (queue.length) schedule(0);
            },
            () => {
                sending = false;
                backOff(0);
            },
        );
    };

    const backOff = (askedMs) => {
        retryMs = Math.min(retryMs ? retryMs * 2 : RETRY_FIRST_MS, RETRY_LAST_MS);
        schedule(Math.max(askedMs || 0, retryMs * (0.5 + Math.random() / 2)));
    };

    // The page goes away: what a beacon takes is on its way, and stays in storage until some later
    // page hears a 2xx. The message id makes the second copy harmless.
    const leave = () => {
        if (saidNo()) return;
        for (let from = 0; from < queue.length; ) {
            const { events, text } = fitting(from, BATCH_EVENTS, BEACON_BYTES);
            if (!navigator.sendBeacon(`${home}/v1/batch`, new Blob([text], { type: 'text/plain' }))) return;
            from += events.length;
        }
    };

    const context = () => ({
        page: {
            url: location.href,
            path: location.pathname,
            search: location.search,
            title: document.title,
            referrer: document.referrer,
        },
        locale: navigator.language,
        userAgent: navigator.userAgent,
        screen: { width: screen.width, height: screen.height },
        library: { name, version: api.version },
    });

    const enqueue = (type, fields) => {
        if (saidNo() || !key) return;
        const event = {
            type,
            messageId: uuid(),
            anonymousId: visitor(),
            ...(user && { userId: user }),
            timestamp: new Date().toISOString(),
            context: context(),
            ...fields,
        };
        if (bytes(JSON.stringify(event)) > EVENT_BYTES) throw new Error(`an event of more than ${EVENT_BYTES} bytes`);
        queue.push(event);
        keep();
        schedule(queue.length >= BATCH_EVENTS ? 0 : FLUSH_MS);
    };

    // A campaign's share of visitors and their variants follow from a hash of visitor and campaign:
    // sticky on every page and tab without being stored, and even across campaigns.
    const fraction = (text) => {
        let hash = 0x811c9dc5; // FNV-1a, 32 bits, then mixed: neighbours must not correlate
        for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
        hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
        hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
        return ((hash ^ (hash >>> 16)) >>> 0) / 4294967296;
    };

    const variantOf = (id) => {
        const campaign = config.campaigns.find((candidate) => candidate.id === id);
        if (!campaign || saidNo()) return null;
        if (fraction(`${visitor()}/${id}/traffic`) >= (campaign.traffic ?? 1)) return null;
        const weight = (variant) => variant.weight ?? 1;
        let point = fraction(`${visitor()}/${id}/variant`) * campaign.variants.reduce((sum, v) => sum + weight(v), 0);
        for (const variant of campaign.variants) {
            point -= weight(variant);
            if (point < 0) return variant;
        }
        return campaign.variants[campaign.variants.length - 1];
    };

    const tellConsent = (what) =>
        fetch(`${home}/v1/${what}?write_key=${key}`, { method: 'POST', credentials: 'include', keepalive: true }).catch(() => {});

    const commands = {
        page: (title, properties) => enqueue('page', { ...(title && { name: String(title) }), properties: properties || {} }),
        track: (event, properties) => enqueue('track', { event: String(event), properties: properties || {} }),
        identify: (id, traits) => {
            if (saidNo()) return;
            if (id) write('user', (user = String(id)));
            enqueue('identify', { traits: traits || {} });
        },
        optout: () => {
            queue = [];
            user = undefined;
            ['queue', 'user', 'visitor'].forEach((field) => write(field, undefined));
            write('optout', '1');
            tellConsent('optout');
        },
        optin: () => {
            write('optout', undefined);
            tellConsent('optin');
        },
        variant: (id, callback) => callback(variantOf(id)),
    };

    const api = function (command, ...args) {
        try {
            commands[command](...args);
        } catch (error) {
            if (page.console) console.warn(`${name}: ${command}: ${error.message}`);
        }
    };
    api.version = '0.1.0';
    page[name] = api;

    try {
        const kept = JSON.parse(read('queue') || '[]');
        if (Array.isArray(kept)) queue = kept.filter((event) => event && event.messageId);
    } catch {
        queue = [];
    }
    if (saidNo()) queue = [];
    if (queue.length) schedule(FLUSH_MS);
    addEventListener('pagehide', leave);
    addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && leave());
    addEventListener('online', () => schedule(0));
    for (const call of (waiting && waiting.q) || []) api(...call);
}
