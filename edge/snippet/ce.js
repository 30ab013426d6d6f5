// CrossEngage's browser queue on top of ours: a site keeps its ce(…) calls and loads /ce.js from an
// edge instead. Nothing is collected, stored or loaded until ce({trackingOptIn: true}); what was
// called before that is gone, as the visitor had not agreed to it. But ce('optOut') is always told:
// an earlier page may have collected, and the edge may know the visitor by a cookie.
//   ce({apiKey: WRITE_KEY}), ce({trackingOptIn: true}), ce('identify'|'update'|'page'|'track', …),
//   ce('optOut'), ce(function (configuration) { … })

const script = document.currentScript;
const home = script && script.src ? script.src.replace(/\/ce\.js([?#].*)?$/, '') : location.origin;
const waiting = page.ce;
const configuration = { globalEventProperties: {} };
let loaded = false;
let refused = false; // by ce('optOut'), and the snippet has not been told

// The snippet reads what waits for it when it comes.
const polder = (...args) => {
    if (!page.polder) {
        page.polder = function () {
            (page.polder.q = page.polder.q || []).push(arguments);
        };
        page.polder.manual = true; // page views are told by ce('page') alone
    }
    page.polder(...args);
};

const load = () => {
    const element = document.createElement('script');
    const url = `${home}/s/${configuration.apiKey}.js`;
    const policy = page.trustedTypes && trustedTypes.createPolicy('polder-ce', { createScriptURL: (text) => text });
    element.src = policy ? policy.createScriptURL(url) : url;
    element.async = true;
    if (script && script.nonce) element.nonce = script.nonce;
    document.head.append(element);
    loaded = true;
};

const configure = (changes) => {
    const before = configuration.trackingOptIn;
    Object.assign(configuration, changes);
    const now = configuration.trackingOptIn;
    const { apiKey } = configuration;
    if (now) refused = false;
    if ((before && !now) || (refused && apiKey)) polder('optout');
    if (before === false && now && loaded) polder('optin');
    if ((now || refused) && !loaded && apiKey) load();
    if (apiKey) refused = false;
};

const optOut = () => {
    refused = true;
    configure({ trackingOptIn: false });
};

const withGlobals = (properties) => ({ ...configuration.globalEventProperties, ...properties });

const commands = {
    identify: (who, traits) => polder('identify', who, traits),
    update: (traits) => polder('update', traits),
    page: (properties) => polder('page', undefined, withGlobals(properties)),
    track: (event, properties) => polder('track', event, withGlobals(properties)),
};

const ce = (what, ...args) => {
    try {
        if (typeof what === 'function') what(Object.freeze({ ...configuration }));
        else if (typeof what === 'object') configure(what);
        else if (what === 'optOut') optOut();
        else if (configuration.trackingOptIn) commands[what](...args);
    } catch (error) {
        if (page.console) console.warn(`ce: ${what}: ${error.message}`);
    }
};
ce.version = '0.2.0';
page.ce = ce;
((waiting && waiting.q) || []).forEach((call) => ce(...call));
