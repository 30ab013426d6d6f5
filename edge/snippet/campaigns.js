// Campaigns on this page: who takes part, what is shown, what came of it.

const REDIRECT_MS = 10000; // a tab is not redirected twice within this

const runs = new Map(); // campaign id: what is going on

const here = () => ({
    url: new URL(location.href),
    locale: navigator.language || '',
    device: deviceOf(navigator.userAgent, navigator.maxTouchPoints),
    returning: session().index > 1,
    now: Date.now(),
});

// The variant of a campaign that is for this page and this visitor, or null.
const variantNow = (campaign, place) => (fits(campaign, place) ? variantFor(visitor(), campaign) : null);

const selectorsOf = ({ variants }) => variants.flatMap(({ modifications }) => modifications.map(({ selector }) => selector)).filter((selector) => selector && isSelector(selector));

const report = (event, { campaign, variant, offer }, more) =>
    enqueue('track', {
        event,
        properties: {
            promotion_id: campaign.id,
            creative: variant.id,
            ...(variant.principle && { principle: variant.principle }),
            ...(variant.control && { control: true }),
            config_version: config.version,
            offer_id: offer,
            ...more,
        },
    });

// An offer is shown when what the campaign is about is on the page: for its control as for its
// other variants, so that their numbers can be compared.
const show = (run) => {
    if (run.shown || (run.selectors.length && !document.querySelector(run.selectors.join()))) return;
    run.shown = true;
    report('Promotion Viewed', run);
};

const respond = (run, kind) => {
    if (run.responded) return;
    run.responded = true;
    report('Promotion Clicked', run, { response: kind });
};

const plain = (address) => address.replace(/#.*/, '');

// The page to leave for: none where it is this one; undefined where it was just left, or the tab
// was redirected a moment ago. The mark is the tab's; where it cannot be kept, nobody is redirected.
const targetOf = (value) => {
    const target = new URL(value, location.href);
    new URLSearchParams(location.search).forEach((text, param) => target.searchParams.has(param) || target.searchParams.append(param, text));
    if (!target.hash) target.hash = location.hash;
    const [to, now] = [plain(target.href), Date.now()];
    if (to === plain(location.href)) return '';
    if (to === plain(document.referrer) || now - sessionStorage.getItem(slot('redirect')) < REDIRECT_MS) return undefined;
    sessionStorage.setItem(slot('redirect'), now);
    return target.href;
};

// True when the page is being left.
const redirect = (run, { value }) => {
    const target = attempt('redirect', targetOf, value);
    if (target === '') return false;
    if (!target) return runs.delete(run.campaign.id) && false; // this visitor does not see it
    report('Promotion Viewed', run);
    cover();
    location.replace(target);
    return true;
};

const apply = (run) => {
    show(run); // first: what is changed may no longer be found
    run.modifications.forEach((modification, i) => modify(modification, run.done[i], run.undo));
};

// Before the browser paints: observers run when the script that changed the page ends.
const observer = page.MutationObserver && new MutationObserver(() => {
    const began = performance.now();
    runs.forEach(apply);
    observer.takeRecords(); // our own
    workMs += performance.now() - began;
    if (workMs > WORK_MS || elements >= ELEMENTS_LIMIT) observer.disconnect();
});
let workMs = 0;

const start = (campaign, variant) => {
    const selectors = selectorsOf(campaign);
    const modifications = variant.modifications.filter(({ selector }) => selectors.includes(selector));
    const run = { campaign, variant, offer: uuid(), selectors, modifications, undo: [], done: modifications.map(() => new WeakSet()) };
    runs.set(campaign.id, run);
    variant.modifications.forEach(({ type, name: event, value }) => {
        const detail = { campaign: campaign.id, variant: variant.id, value };
        if (type === 'event') whenReady(() => page.dispatchEvent(new CustomEvent(event, { detail })));
    });
    return variant.modifications.some((modification) => modification.type === 'redirect' && redirect(run, modification));
};

const stop = (run) => {
    runs.delete(run.campaign.id);
    run.undo.forEach(([, back]) => attempt('undo', back));
};

// For every view of the page, navigation within it included.
const decide = () => {
    if (saidNo() || !key || !config.campaigns.length) return;
    const place = here();
    elements = workMs = 0;
    const chosen = config.campaigns.map((campaign) => [campaign, variantNow(campaign, place)]);
    [...runs.values()].reverse().forEach((run) => {
        if (!chosen.some(([campaign, variant]) => campaign === run.campaign && variant)) stop(run);
        else Object.assign(run, { shown: false, responded: false, offer: uuid(), undo: run.undo.filter(([element]) => element.isConnected) });
    });
    for (const [campaign, variant] of chosen) if (variant && !runs.has(campaign.id) && start(campaign, variant)) return;
    runs.forEach(apply);
    if (observer && [...runs.values()].some((run) => run.selectors.length)) observer.observe(document, { childList: true, subtree: true });
    uncover();
};

const clicked = ({ target }) => {
    if (!target || !target.closest || saidNo()) return;
    const closest = (selector) => attempt(selector, () => target.closest(selector));
    (settings.clicks || []).forEach(({ selector, name: label }) => {
        const element = closest(selector);
        if (element) enqueue('track', { event: 'Element Clicked', properties: { name: label, selector, href: element.href, text: (element.textContent || '').trim().slice(0, 80) } });
    });
    runs.forEach((run) => {
        const { responses } = run.campaign;
        if ((responses || run.selectors).some(closest) || (!responses && run.undo.some(([element]) => element.contains(target)))) respond(run, 'click');
    });
};
