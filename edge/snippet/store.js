// What outlives the page. Storage may be blocked, full, or emptied under our feet: memory is always
// the second copy.

const name = 'polder';
const waiting = page[name];
const boot = page.polderBoot || {};
const script = document.currentScript;
const key = boot.key || (script && script.dataset.key) || '';
const config = boot.config || { version: 0, campaigns: [], settings: {} };
const settings = config.settings || {};

const memory = {};
const fields = ['visitor', 'user', 'session', 'optout', 'consent', 'untold'];
const slot = (field) => `${name}_${field}_${key.slice(0, 8)}`;

const attempt = (what, work, ...args) => {
    try {
        return work(...args);
    } catch (error) {
        if (page.console) console.warn(`${name}: ${what}: ${error.message}`);
    }
};

// undefined where storage says no.
const stored = (work, kind = 'localStorage') => {
    try {
        return work(page[kind]);
    } catch {
        return undefined;
    }
};
const read = (field) => stored((storage) => storage.getItem(slot(field))) ?? memory[field];
const keep = (item, text) =>
    stored((storage) => {
        if (text === undefined) storage.removeItem(item);
        else storage.setItem(item, text);
        return true;
    });
const write = (field, text) => {
    memory[field] = text;
    keep(slot(field), text);
};

const uuid = () => {
    if (page.crypto.randomUUID) return page.crypto.randomUUID();
    // Not in a secure context: the same 122 bits by hand (RFC 9562, version 4).
    return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
        (digit ^ (page.crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));
};

const saidNo = () =>
    read('optout') === '1' || navigator.globalPrivacyControl === true || (settings.honour_dnt && navigator.doNotTrack === '1');

// A visitor's first pages may open in one instant: each makes an id up, before any can see what
// the others wrote. Before such a page sends anything it settles on one of them (queue.js), and
// stays with that until the others have, whatever they write meanwhile.
let made; // an id that this page made up, or took for its own
let settled; // when it did; undefined: not yet
let used; // the last that its events were given
let ended; // one that a no has ended
let release = () => {}; // what tells other pages of ours

const visitor = () => {
    if (settled && Date.now() - settled > ORPHAN_MS) made = settled = undefined;
    let id = made || read('visitor');
    if (!id) write('visitor', (id = made = uuid()));
    return become(id);
};

const nobody = () => {
    ended = used || ended;
    made = settled = used = undefined;
    release();
};

// What brought the visitor, as the address says.
const source = () => {
    const params = new URLSearchParams(location.search);
    const found = {};
    ['source', 'medium', 'campaign', 'term', 'content'].forEach((part) => {
        const value = params.get(`utm_${part}`);
        if (value) found[part === 'campaign' ? 'name' : part] = value;
    });
    return found;
};

// A session ends when nothing happens for a while, or when another campaign brings the visitor.
const session = () => {
    const now = Date.now();
    const from = JSON.stringify(source());
    let last;
    try {
        last = JSON.parse(read('session'));
    } catch {
        /* there is none */
    }
    const over = !(last && Math.abs(now - last.at) < (settings.session_timeout_minutes || 30) * 60000);
    const other = !over && from !== '{}' && from !== last.from;
    const current = over || other ? { id: uuid(), index: ((last && last.index) || 0) + 1, from } : last;
    current.at = now;
    write('session', JSON.stringify(current));
    return current;
};
