// The browser SDK. An edge serves it at /sdk.js, and behind one line with the write key and the
// campaign config at /s/KEY.js (`polderBoot`). Sites talk to it through a queue that exists before
// it does: polder('page'), polder('track', name, props) … (README.md).
//
// Promise: it never throws into the page; it works without storage, without network and when
// loaded twice; nothing is sent or kept of a visitor who said no.

const TITLE_MS = 50; // after a navigation within the page, until its title is the new one

// ---- views of the page

// Hash routers navigate by fragments that begin with "#/" or "#!".
const address = () => location.href.replace(/#(?![/!]).*/, '');
let current = address();
let { referrer } = document;
let told = false; // has this view been told of?
let telling; // what is about to tell of it

const where = () => ({ url: location.href, path: location.pathname, search: location.search, referrer });

const whenReady = (work) => (document.readyState === 'loading' ? document.addEventListener('DOMContentLoaded', work) : work());

const announce = (ms) => {
    if (settings.page_views === false || (waiting && waiting.manual)) return;
    const view = where();
    const tell = () => {
        if (telling !== tell) return;
        telling = undefined;
        if (!told) commands.page(undefined, undefined, view);
    };
    telling = tell;
    const later = () => setTimeout(() => attempt('page', tell), ms);
    if (document.prerendering) document.addEventListener('prerenderingchange', later, { once: true });
    else whenReady(later);
};

const navigated = () => {
    const now = address();
    if (now === current) return;
    if (telling) telling();
    referrer = current;
    current = now;
    told = false;
    decide();
    announce(TITLE_MS);
};

const watchHistory = () => {
    ['pushState', 'replaceState'].forEach((method) => {
        const original = history[method];
        history[method] = function (...args) {
            const result = original.apply(this, args);
            attempt(method, navigated);
            return result;
        };
    });
    addEventListener('popstate', () => attempt('popstate', navigated));
};

// ---- consent

let answer = Promise.resolve(); // of the choices told so far
const afterwards = (work) => {
    answer = answer.then(work).catch(() => {});
};

// base: where the choice is about what that edge has in its cookie; else any edge will do.
const tellChoice = (what, choice, base, tries = 5) =>
    post(what, JSON.stringify({ writeKey: key, ...choice }), { keepalive: true }, base)
        .then((reply) => {
            if (reply.status === 429 || reply.status >= 500) throw reply;
            return reply.json();
        })
        .catch(() => {
            if (!base) elsewhere();
            return tries > 1 && new Promise((resolve) => setTimeout(() => resolve(tellChoice(what, choice, base, tries - 1)), RETRY_FIRST_MS));
        });

// Says the no that no edge has taken yet, and in whose name: pages tell it until one has. Its
// request id makes one opt-out of all tellings, for an answer may get lost. One page at a time.
const tellNo = async () => {
    const untold = read('untold');
    if (!untold) return;
    const who = JSON.parse(untold);
    const said = await tellChoice('optout', who);
    if (!(said && said.success)) return;
    if (read('untold') === untold) write('untold');
    if (said.consent_id && (who.visitorId || who.userId || !read('consent'))) write('consent', said.consent_id);
};
const sayNo = () =>
    read('untold') &&
    afterwards(() => {
        const { locks } = navigator;
        return locks ? locks.request(slot('choice'), { ifAvailable: true }, (lock) => lock && tellNo()).catch(tellNo) : tellNo();
    });

// What the edge knows of this browser's choice: it may have been made by a link.
const askChoice = () =>
    fetch(`${home}/v1/consent?write_key=${key}`, { credentials: 'include' })
        .then((reply) => reply.json())
        .catch(() => ({}));

const hearNo = async () => {
    const { opted_out: out, consent_id: id } = await askChoice();
    if (!out) return;
    forget();
    write('optout', '1');
    if (id) write('consent', id);
};

const forget = () => {
    queue = [];
    runs.clear();
    nobody();
    fields.forEach((field) => field !== 'consent' && field !== 'untold' && write(field));
    stored((storage) => Object.keys(storage).forEach((item) => item.startsWith(slot('queue')) && keep(item)));
    stored((storage) => ['redirect', 'tab'].forEach((field) => storage.removeItem(slot(field))), 'sessionStorage');
};

// Names the opt-out it takes back; until home has heard it, later pages say it again. Each edge has
// a cookie of its own that may say no.
const takeBack = async () => {
    const consentId = read('consent') || (await askChoice()).consent_id;
    const tell = (base) => tellChoice('optin', consentId && { consentId }, base);
    bases.forEach((base) => base !== home && tell(base));
    const said = await tell(home);
    if (said && said.success) write('consent');
    else if (said && said.error) attempt('optin', () => { throw said; }); // for who set the site up
};

// ---- commands

const commands = {
    page: (title, properties, view) => {
        told = true;
        enqueue('page', { ...(title && { name: String(title) }), properties: properties || {} }, view);
    },
    track: (event, properties) => {
        if (!event) throw Error('no name');
        enqueue('track', { event: String(event), properties: properties || {} });
    },
    identify: (id, traits) => {
        if (saidNo()) return;
        const named = id && typeof id !== 'object';
        if (named) write('user', String(id));
        enqueue('identify', { traits: (named || !id ? traits : id) || {} });
    },
    update: (traits) => enqueue('identify', { traits: traits || {}, context: { polder: { update: true } } }),
    optout: () => {
        if (read('optout') === '1' && read('consent')) return;
        const who = { visitorId: read('visitor'), userId: read('user'), requestId: uuid() };
        forget();
        write('optout', '1');
        if (who.visitorId || who.userId || !read('untold')) write('untold', JSON.stringify(who));
        sayNo();
    },
    optin: () => {
        write('optout');
        write('untold');
        afterwards(takeBack);
    },
    variant: (id, callback) => {
        const campaign = !saidNo() && config.campaigns.find((one) => one.id === id);
        callback((campaign && variantNow(campaign, here())) || null);
    },
    respond: (id, kind) => runs.has(id) && respond(runs.get(id), kind),
};

const unknown = () => { throw Error('no such command'); };
const api = (command, ...args) => attempt(command, () => (commands[command] || unknown)(...args));
api.version = '0.2.0';
page[name] = api;

// ---- the start

((waiting && waiting.q) || []).forEach((call) => api(...call));
attempt('campaigns', decide);
attempt('guard', uncover);
attempt('history', watchHistory);
attempt('page', announce, 0);
schedule(FLUSH_MS); // what an earlier page left
if (read('consent') && read('optout') !== '1') afterwards(takeBack);
sayNo();
attempt('clicks', () => document.addEventListener('click', (event) => attempt('click', clicked, event), true));
const left = () => attempt('beacon', leave);
addEventListener('pagehide', left);
addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && left());
addEventListener('online', () => {
    sayNo();
    clearTimeout(timer);
    timer = 0;
    schedule(0);
});
// Another tab's word counts here, too.
addEventListener('storage', ({ key: item, newValue }) => {
    const field = fields.find((one) => slot(one) === item);
    if (field) memory[field] = newValue ?? undefined;
    if (field === 'optout' && newValue === '1') {
        queue = [];
        runs.clear();
        nobody();
    }
});
