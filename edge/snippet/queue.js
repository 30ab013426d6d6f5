// Events on their way. Each has a place of its own in storage, so that tabs never write over each
// other's; whoever sends takes what all left there, under a lock where the browser has one. An
// event leaves when an edge has said 2xx (it is on disk there) or that it will never take it. The
// message id makes a second copy harmless wherever it comes from.

const QUEUE_LIMIT = 200; // events kept while the network is away; the oldest go first
const BATCH_EVENTS = 50;
const BATCH_BYTES = 200000; // well below what edges take
const EVENT_BYTES = 32768; // what edges take of one event
const BEACON_BYTES = 60000; // browsers refuse beacons over 64 KiB
const FLUSH_MS = 400;
const RETRY_FIRST_MS = 1000;
const RETRY_LAST_MS = 60000;
const ANSWER_MS = 10000; // an edge that takes longer is as good as away
const ORPHAN_MS = 5000; // another page's event that lies there so long may be of one that is gone

// Which tab this is: what an earlier page of it left need not wait.
const tab = () =>
    stored((storage) => {
        const known = storage.getItem(slot('tab')) || uuid().slice(0, 8);
        storage.setItem(slot('tab'), known);
        return known;
    }, 'sessionStorage');

// Where events go: the edge that served the script, then other regions'.
const home = script && script.src ? script.src.replace(/\/(s\/[^/]*|s(dk)?\.js)([?#].*)?$/, '') : location.origin;
const bases = [home, ...(settings.fallback || []).map((base) => base.replace(/\/$/, '')).filter((base) => base !== home)];
const elsewhere = () => bases.push(bases.shift());

let queue = []; // { id: where in storage, event, kept: whether it got there }
let count = 0;
let timer = 0;
let sending = false;
let seen = {}; // other pages' events, and since when
let young; // those of pages that may be alive
let failures = 0;
let retryMs = 0;
let share = BATCH_EVENTS; // fewer while an event that no edge takes is being looked for

const bytes = (text) => new Blob([text]).size;
const post = (path, body, more, base = bases[0]) =>
    // text/plain needs no preflight; the edge reads JSON whatever it is called.
    fetch(`${base}/v1/${path}`, {
        method: 'POST',
        body,
        headers: { 'Content-Type': 'text/plain' },
        credentials: 'include',
        signal: page.AbortSignal && AbortSignal.timeout && AbortSignal.timeout(ANSWER_MS),
        ...more,
    });

// As many from `from` on as fit, one at least.
const fitting = (from, count, limit) => {
    for (;; count >>= 1) {
        const entries = queue.slice(from, from + count);
        const text = JSON.stringify({ writeKey: key, sentAt: new Date().toISOString(), batch: entries.map(({ event }) => event) });
        if (count <= 1 || bytes(text) <= limit) return { entries, text };
    }
};

const drop = (entries) => {
    entries.forEach(({ id }) => keep(id));
    queue = queue.filter((entry) => !entries.includes(entry));
};

const put = (entry) => {
    entry.kept = keep(entry.id, JSON.stringify(entry.event));
};

// What other tabs sent goes, what others left comes in. Gives whether there is more to come: tabs
// hear of each other's storage with some delay, and while others send, too (crowded), what lies
// there may be theirs, however long that takes.
const meet = (crowded) =>
    stored((storage) => {
        const prefix = slot('queue');
        const found = Object.keys(storage).filter((id) => id.startsWith(prefix));
        if (storage.getItem(slot('visitor')) === null) queue.forEach(put); // wiped, not sent by others
        else queue = queue.filter(({ id, kept }) => !kept || found.includes(id));
        const others = found.filter((id) => !queue.some((entry) => entry.id === id));
        const own = `_${tab()}_`;
        const now = Date.now();
        seen = Object.fromEntries(others.map((id) => [id, (!crowded && seen[id]) || now]));
        const young = others.filter((id) => !id.includes(own) && now - seen[id] < ORPHAN_MS);
        others.forEach((id) => {
            if (young.includes(id)) return;
            try {
                const event = JSON.parse(storage.getItem(id));
                event.messageId.trim();
                queue.push({ id, event, kept: true });
            } catch {
                keep(id);
            }
        });
        queue.sort((a, b) => (a.id < b.id ? -1 : 1)); // ids begin with the time
        if (queue.length > QUEUE_LIMIT) drop(queue.slice(0, -QUEUE_LIMIT));
        return young.length;
    });

const schedule = (ms) => {
    if (!timer) timer = setTimeout(flush, ms);
};

const flush = (again) => {
    timer = 0;
    if (sending) return;
    sending = true;
    locked(again, async (late) => {
        const ms = await send(late);
        sending = false;
        if (ms) schedule(ms);
        else if (queue.length) flush(true); // in line again before the next one looks who is
        else if (young) setTimeout(schedule, ORPHAN_MS, 0);
    });
};

// late: another page may have sent a moment ago. A tab that was put to sleep while it held the lock
// must not keep the others from sending.
const locked = (late, work) => {
    const { locks } = navigator;
    const wait = () => locks.request(slot('lock'), { signal: AbortSignal.timeout(1.5 * ANSWER_MS) }, () => work(true)).catch(() => work(true));
    if (!(locks && page.AbortSignal && AbortSignal.timeout)) work();
    else if (late) wait();
    else locks.request(slot('lock'), { ifAvailable: true }, (lock) => (lock ? work() : void wait())).catch(wait);
};

// From now on events are this visitor's; those that are still here were, too.
const become = (id) => {
    if (id !== used)
        queue.forEach((entry) => {
            if (entry.event.anonymousId !== used) return;
            entry.event.anonymousId = id;
            put(entry);
        });
    return (used = id);
};

// Under the lock. Storage may still hide what another page wrote an instant ago; that it holds a
// lock does not. So the first to come here holds one by the name of its id for a while, and those
// who come then make it theirs. Without locks it is what storage says by now.
const settle = (held) => {
    const prefix = `${slot('visitor')}_`;
    const { locks } = navigator;
    const other = held.map(({ name }) => name).find((item) => item.startsWith(prefix) && item !== prefix + ended);
    const id = other ? other.slice(prefix.length) : locks ? made : read('visitor') || made;
    settled = Date.now();
    made = become(id);
    if (read('visitor') !== id) write('visitor', id);
    return locks && !other && new Promise((granted) => {
        const hold = () => {
            granted();
            return new Promise((done) => setTimeout((release = done), ORPHAN_MS));
        };
        locks.request(prefix + id, hold).catch(granted);
    });
};

const send = async (late) => {
    const none = { held: [], pending: [] };
    const { held, pending } = navigator.locks ? await navigator.locks.query().catch(() => none) : none;
    if (made && !settled) await attempt('settle', settle, held);
    return attempt('send', transmit, late || pending.some(({ name }) => name === slot('lock')));
};

// Gives a promise of how long to wait before more is sent, or nothing.
const transmit = (crowded) => {
    const no = saidNo();
    young = !no && meet(crowded);
    if (no) queue = [];
    if (!queue.length) return undefined;
    const { entries, text } = fitting(0, share, BATCH_BYTES);
    const [base] = bases;
    return post('batch', text).then(
        // An account may not collect in another region: what its edges refuse is for home to say.
        ({ status, headers }) => answered(entries, status === 403 && base !== home ? 0 : status, Number(headers.get('Retry-After')) * 1000),
        () => answered(entries, 0, 0),
    );
};

const answered = (entries, status, askedMs) => {
    const away = !status || status >= 500;
    // A key that an edge has served a config for is good: 401 is an edge behind the news.
    if (away || status === 408 || status === 429 || (status === 401 && boot.config)) {
        if (away) elsewhere();
        if (away && ++failures % bases.length) return 0; // each region once, then patience
        retryMs = Math.min(Math.max(retryMs * 2, RETRY_FIRST_MS), RETRY_LAST_MS);
        return Math.max(askedMs || 0, retryMs * (0.5 + Math.random() / 2));
    }
    retryMs = failures = 0;
    if (status === 403) afterwards(hearNo);
    // One bad event spoils its batch: halves find it, so that it goes alone.
    if ((status === 400 || status === 413) && entries.length > 1) {
        share = entries.length >> 1;
    } else {
        share = Math.min(2 * share, BATCH_EVENTS);
        drop(entries);
    }
    return 0;
};

// The page goes away: what a beacon takes is on its way, and stays in storage until some later
// page hears a 2xx.
const leave = () => {
    if (saidNo()) return;
    for (let from = 0; from < queue.length; ) {
        const { entries, text } = fitting(from, BATCH_EVENTS, BEACON_BYTES);
        if (!navigator.sendBeacon(`${bases[0]}/v1/batch`, new Blob([text], { type: 'text/plain' }))) return;
        from += entries.length;
    }
};

const enqueue = (type, more, view) => {
    if (saidNo() || !key) return;
    const { id, index } = session();
    const user = read('user');
    const campaign = source();
    const { context, ...rest } = more;
    const event = {
        type,
        messageId: uuid(),
        anonymousId: visitor(),
        ...(user && { userId: user }),
        timestamp: new Date().toISOString(),
        context: {
            page: { ...(view || where()), title: document.title },
            ...(campaign.source && { campaign }),
            sessionId: id,
            sessionIndex: index,
            locale: navigator.language,
            userAgent: navigator.userAgent,
            screen: { width: screen.width, height: screen.height },
            library: { name, version: api.version },
            ...context,
        },
        ...rest,
    };
    if (bytes(JSON.stringify(event)) > EVENT_BYTES) throw new Error(`an event of more than ${EVENT_BYTES} bytes`);
    const entry = { id: `${slot('queue')}_${Date.now().toString(36)}${1000 + (count++ % 1000)}_${tab()}_${event.messageId}`, event };
    put(entry);
    queue.push(entry);
    if (queue.length > QUEUE_LIMIT) drop(queue.slice(0, 1));
    schedule(queue.length >= BATCH_EVENTS ? 0 : FLUSH_MS);
};
