// Who sees what. Pure functions of a campaign, a visitor and where they are; edge/decide.c gives
// the same answers to trackers that ask an edge (tests/unit/edge/bucketing.json, targeting.json).

// MurmurHash3, x86 variant, 32 bits, seed 0, over UTF-8; as a share of all its values.
const fraction = (text) => {
    const bytes = new TextEncoder().encode(text);
    const turn = (word, bits) => (word << bits) | (word >>> (32 - bits));
    const mixed = (word) => Math.imul(turn(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
    let hash = 0;
    let word = 0;
    bytes.forEach((byte, at) => {
        word |= byte << (8 * (at & 3));
        if ((at & 3) === 3) {
            hash = Math.imul(turn(hash ^ mixed(word), 13), 5) + 0xe6546b64;
            word = 0;
        }
    });
    hash ^= mixed(word) ^ bytes.length;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return ((hash ^ (hash >>> 16)) >>> 0) / 4294967296;
};

// Follows from visitor and campaign alone: the same on every page, tab and edge without being
// stored, and one campaign's choice says nothing about another's.
const variantFor = (visitor, { id, traffic, variants }) => {
    if (fraction(`${visitor}/${id}/traffic`) >= traffic) return null;
    let point = fraction(`${visitor}/${id}/variant`) * variants.reduce((sum, { weight }) => sum + weight, 0);
    return variants.find(({ weight }) => (point -= weight) < 0) || variants[variants.length - 1];
};

// `*` stands for any run of characters; all else for itself. Never slower than lengths multiplied.
const globFits = (glob, text) => {
    let at = 0;
    let star = -1;
    let mark = 0;
    for (let i = 0; i < text.length; ) {
        if (glob[at] === '*') {
            star = at++;
            mark = i;
        } else if (glob[at] === text[i]) {
            at++;
            i++;
        } else if (star < 0) {
            return false;
        } else {
            at = star + 1;
            i = ++mark;
        }
    }
    while (glob[at] === '*') at++;
    return at === glob.length;
};

// Of a path where the glob begins with "/", else of the whole address; with the query where the
// glob has a "?"; never with the fragment.
const urlFits = (glob, { origin, pathname, search }) =>
    globFits(glob, (glob[0] === '/' ? '' : origin) + pathname + (glob.includes('?') ? search : ''));

const queryFits = ({ name, equals, contains, exists }, params) => {
    const values = params.getAll(name);
    return exists !== undefined ? exists === values.length > 0 : values.some((value) => (contains === undefined ? value === equals : value.includes(contains)));
};

// RFC 4647, section 3.3.1: "en" is for en and en-GB, not for enm.
const localeFits = (range, locale) => `${locale}-`.toLowerCase().startsWith(`${range}-`.toLowerCase());

// iPads say they are Macs; only fingers tell.
const deviceOf = (agent, fingers) =>
    /ipad|tablet|kindle|silk|playbook|android(?!.*mobi)/i.test(agent) || (/macintosh/i.test(agent) && fingers > 1)
        ? 'tablet'
        : /mobi|iphone|ipod|windows phone/i.test(agent)
          ? 'mobile'
          : 'desktop';

// here: { url (a URL), locale, device, returning, now (ms) }.
const fits = ({ url, query, device, locale, audience, from, until }, here) =>
    (!url.length || url.some((glob) => urlFits(glob, here.url))) &&
    (!query || query.every((rule) => queryFits(rule, here.url.searchParams))) &&
    (!device || device.includes(here.device)) &&
    (!locale || locale.some((range) => localeFits(range, here.locale))) &&
    (!audience || audience === (here.returning ? 'returning' : 'new')) &&
    (!from || here.now >= Date.parse(from)) &&
    (!until || here.now < Date.parse(until));
