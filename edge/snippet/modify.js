// What campaigns change on the page, and how it is changed back. Nothing here needs what a strict
// content security policy forbids: styles go through the CSSOM, elements made get the page's nonce.

const ELEMENTS_LIMIT = 1000; // changed in one view of the page
const WORK_MS = 200; // spent on elements that appear, in one view of the page

const nonce = script && script.nonce;
// Trusted Types: a page that requires them allows this policy by name.
const policy = page.trustedTypes && attempt('trusted types', () => trustedTypes.createPolicy(name, { createHTML: (html) => html }));

const fragmentOf = (html) => {
    const template = document.createElement('template');
    template.innerHTML = policy ? policy.createHTML(html) : html;
    if (nonce) template.content.querySelectorAll('style,link').forEach((element) => (element.nonce = nonce));
    return template.content;
};

const fill = (element, content) => {
    const before = [...element.childNodes];
    element.replaceChildren(content);
    const first = element.firstChild;
    return () => element.firstChild === first && element.replaceChildren(...before);
};

// Each changes one element and gives what changes it back, unless the page changed it meanwhile.
const changes = {
    text: (element, { value }) => fill(element, value || ''),
    html: (element, { value }) => fill(element, fragmentOf(value || '')),
    attribute: (element, { name: attribute, value }) => {
        const before = element.getAttribute(attribute);
        const set = (to) => (to === null ? element.removeAttribute(attribute) : element.setAttribute(attribute, to));
        const after = value ?? null;
        set(after);
        return () => element.getAttribute(attribute) === after && set(before);
    },
    class: ({ classList }, { value }) => {
        const undo = [];
        value.split(/\s+/).forEach((word) => {
            const off = word[0] === '-';
            const one = off ? word.slice(1) : word;
            if (one && classList.contains(one) === off) {
                classList.toggle(one, !off);
                undo.push(() => classList.toggle(one, off));
            }
        });
        return () => undo.forEach((one) => one());
    },
    style: ({ style }, { name: property, value }) => {
        const before = [style.getPropertyValue(property), style.getPropertyPriority(property)];
        const [text, important] = (value || '').split(/\s*!\s*/);
        style.setProperty(property, text, important || '');
        const after = style.getPropertyValue(property);
        return () => style.getPropertyValue(property) === after && style.setProperty(property, ...before);
    },
};

const isSelector = (selector) => attempt('selector', () => [document.createDocumentFragment().querySelector(selector)]);

// An element that was changed, or stands in what was put in its place, is not changed again.
const isDone = (element, done) => {
    for (let at = element; at; at = at.parentElement) if (done.has(at)) return true;
    return false;
};

let elements = 0;
const modify = (modification, done, undo) =>
    document.querySelectorAll(modification.selector).forEach((element) => {
        if (elements >= ELEMENTS_LIMIT || !element.isConnected || isDone(element, done)) return;
        elements++;
        done.add(element);
        const back = attempt(modification.type, changes[modification.type], element, modification);
        if (back) undo.unshift([element, back]);
    });

const root = document.documentElement;
const uncover = () => root.classList.remove('polder-wait');
// Hidden while it is left for another page; visible again if it is still here after a moment.
const cover = () => {
    root.style.setProperty('opacity', '0', 'important');
    setTimeout(() => root.style.removeProperty('opacity'), settings.antiflicker_ms ?? 500);
};
