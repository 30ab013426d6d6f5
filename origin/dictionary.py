#!/usr/bin/env python3
"""Makes dictionary_v1.c: the zstd dictionary that single events are compressed with.

Its content is written down here: names of fields and properties, enumerations, shapes of URLs,
user agents and envelopes that public clients share. Samples are invented by this program, with
words that mean nothing, so that only what is typical repeats. Nothing comes from a visitor.

A published dictionary never changes: stored values can be read with it alone. To improve on it,
add a version beside it (dictionary.c) and leave this one's file as it is.

    origin/dictionary.py > origin/dictionary_v1.c        needs libzstd.so.1
    origin/dictionary.py --measure                       sizes of fresh samples with it
"""
import ctypes
import json
import random
import re
import struct
import sys

VERSION = 1
DICTIONARY_ID = 0x504F4C01
SIZE = 8 * 1024  # of the part that is found in samples

# ---- the content, least useful first: what stands near the end is cheapest to refer to

COMMERCE = """
order_id checkout_id products product_id sku category name brand variant price quantity coupon
position image_url url affiliation value currency revenue shipping tax discount total subtotal
list_id promotion_id creative filters sorts type step shipping_method payment_method cart_id
query results rating review_id review_body wishlist_id share_via share_message recipient
""".split()

TRAITS = """
email firstName lastName phone address street city state postalCode country age gender birthday
company industry employees plan title username website avatar createdAt description logins
newsletter loyalty_tier total_orders lifetime_value
""".split()

PROPERTIES = """
label action element element_id element_class element_text href target text section component
placement slot experiment experiment_id variation variation_id variant_name campaign_id
impression_id principle scarcity social_proof authority reciprocity commitment liking unity
viewport scroll_depth duration_ms time_on_page video_id seconds progress form_id form_name field
error message code status method success source medium referrer_domain is_logged_in device_type
availability in_stock stock size color material original_price sale_price currency_code
""".split()

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
]
LOCALES = "de-DE fr-FR nl-NL it-IT es-ES pl-PL sv-SE da-DK en-IE en-GB en-US de fr nl en".split()
ZONES = ["Asia/Tokyo", "Asia/Singapore", "Australia/Sydney", "America/Los_Angeles",
         "America/Chicago", "America/New_York", "Europe/Madrid", "Europe/Rome", "Europe/Warsaw",
         "Europe/Paris", "Europe/London", "Europe/Berlin", "Europe/Amsterdam"]
EVENTS = ["Account Created", "Signed Up", "Signed In", "Signed Out", "Form Submitted",
          "Video Playback Started", "Button Clicked", "Link Clicked", "Element Clicked",
          "Experiment Viewed", "Newsletter Subscribed", "Coupon Applied", "Coupon Removed",
          "Payment Info Entered", "Order Refunded", "Order Cancelled", "Order Updated",
          "Order Completed", "Checkout Started", "Checkout Step Viewed",
          "Checkout Step Completed", "Cart Viewed", "Cart Shared", "Product Shared",
          "Product Reviewed", "Product Added to Wishlist", "Product Removed from Wishlist",
          "Products Searched", "Product List Filtered", "Product List Viewed",
          "Promotion Viewed", "Promotion Clicked", "Product Removed", "Product Clicked",
          "Product Added", "Product Viewed"]

# ---- msgpack, as the wire writes it


def pack(v):
    if v is None:
        return b"\xc0"
    if v is True:
        return b"\xc3"
    if v is False:
        return b"\xc2"
    if isinstance(v, float):
        return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, int):
        if v < 0:
            for low, tag, form in ((-32, None, None), (-128, 0xd0, ">b"), (-2**15, 0xd1, ">h"),
                                   (-2**31, 0xd2, ">i"), (-2**63, 0xd3, ">q")):
                if v >= low:
                    return struct.pack("b", v) if tag is None else bytes([tag]) + struct.pack(form, v)
        if v < 128:
            return bytes([v])
        for high, tag, form in ((2**8, 0xcc, ">B"), (2**16, 0xcd, ">H"), (2**32, 0xce, ">I"),
                                (2**64, 0xcf, ">Q")):
            if v < high:
                return bytes([tag]) + struct.pack(form, v)
    if isinstance(v, str):
        b = v.encode()
        n = len(b)
        head = (bytes([0xa0 | n]) if n < 32 else bytes([0xd9, n]) if n < 256
                else b"\xda" + struct.pack(">H", n))
        return head + b
    if isinstance(v, bytes):
        n = len(v)
        return (bytes([0xc4, n]) if n < 256 else b"\xc5" + struct.pack(">H", n)) + v
    if isinstance(v, dict):
        n = len(v)
        head = bytes([0x80 | n]) if n < 16 else b"\xde" + struct.pack(">H", n)
        return head + b"".join(pack(k) + pack(x) for k, x in v.items())
    if isinstance(v, list):
        n = len(v)
        head = bytes([0x90 | n]) if n < 16 else b"\xdc" + struct.pack(">H", n)
        return head + b"".join(pack(x) for x in v)
    raise TypeError(v)


# ---- invented events, as a client's JSON and in canonical form

WORDS = """shoe jacket winter summer classic running trail cotton organic men women kids sale new
outdoor denim leather wool basic premium sport travel home kitchen lamp table chair garden tool
phone case charger cable watch band glass bottle mug tea coffee bean roast dark light blue red
green black white grey large small medium slim wide""".split()
SHOPS = "shop store www boutique market".split()
TLDS = "com nl de fr eu co.uk".split()


class Invent:
    def __init__(self, seed, babble=False):
        self.r = random.Random(seed)
        self.babble = babble
        self.shop = "https://%s.%s.%s" % (self.r.choice(SHOPS), self.word() + self.word(),
                                           self.r.choice(TLDS))
        self.account = self.r.getrandbits(64) | 1
        self.now = 1764000000000 + self.r.getrandbits(34)

    def word(self):
        if self.babble:
            return "".join(self.r.choice("bcdfghjklmnprstvw") + self.r.choice("aeiou")
                           for _ in range(self.r.randrange(2, 5)))
        return self.r.choice(WORDS)

    def uuid(self):
        h = "%032x" % self.r.getrandbits(128)
        return "-".join((h[:8], h[8:12], "4" + h[13:16], self.r.choice("89ab") + h[17:20], h[20:]))

    def price(self):
        p = round(self.r.uniform(3, 400), 2)
        return p if self.r.random() < .8 else int(p)

    def product(self):
        slug = "-".join(self.word() for _ in range(3))
        return {"product_id": "%d" % self.r.randrange(10**4, 10**7),
                "sku": "%s-%d" % (self.word()[:2].upper(), self.r.randrange(1000, 99999)),
                "name": slug.replace("-", " ").title(), "brand": self.word().title(),
                "category": self.word().title(), "price": self.price(),
                "quantity": self.r.randrange(1, 4), "currency": "EUR",
                "url": "%s/products/%s" % (self.shop, slug)}

    def page(self):
        r = self.r
        path = r.choice(["/", "/cart", "/checkout", "/products/%s-%s-%d" % (
            self.word(), self.word(), r.randrange(10**5)), "/collections/" + self.word(),
            "/%s/%s/%s" % (r.choice(["en", "nl", "de"]), self.word(), self.word()),
            "/search"])
        search = r.choice(["", "", "", "?q=" + self.word(), "?utm_source=google&utm_medium=cpc&utm_campaign="
                           + self.word(), "?page=%d" % r.randrange(2, 9)])
        return {"path": path, "referrer": r.choice(["", "https://www.google.com/", self.shop + "/",
                                                    "https://www.facebook.com/"]),
                "search": search, "title": "%s %s | %s" % (self.word().title(), self.word(),
                                                           self.shop.split(".")[1].title()),
                "url": self.shop + path + search}

    def client(self, msg):
        """What differs between Segment's library of today and of yesterday, our own snippet, and
        those who send by hand."""
        which = self.r.random()
        context = msg["context"]
        if which < .4:
            return
        context.pop("userAgentData", None)
        if which < .6:
            return
        del msg["integrations"], msg["_metadata"]
        if which < .75:
            return
        context["library"] = {"name": "polder", "version": "0.%d.0" % self.r.randrange(1, 9)}
        del context["timezone"]
        context["screen"] = {"width": 1920, "height": 1080}
        if which > .9:
            context["page"] = {k: context["page"][k] for k in ("path", "url")}

    def message(self):
        """A call as @segment/analytics-next (mostly) puts it on the wire."""
        r = self.r
        self.now += r.randrange(40000)
        page = self.page()
        kind = r.choices(["track", "page", "identify"], [70, 25, 5])[0]
        msg = {"timestamp": self.now - r.randrange(20, 900), "integrations": {},
               "anonymousId": self.uuid(), "type": kind}
        if kind == "track":
            msg["event"] = r.choice(EVENTS + ["Product Viewed"] * 12 + ["Product Added"] * 6)
            if msg["event"].startswith(("Product ", "Cart")):
                p = self.product()
                for k in list(p):
                    if r.random() < .25:
                        del p[k]
                msg["properties"] = p
            elif msg["event"].startswith(("Order", "Checkout")):
                msg["properties"] = {"order_id": "%d" % r.randrange(10**8), "total": self.price(),
                                     "currency": "EUR", "products": [self.product()]}
            else:
                msg["properties"] = {k: r.choice([self.word(), r.randrange(1000), True, self.price()])
                                     for k in r.sample(PROPERTIES, r.randrange(2, 6))}
        elif kind == "page":
            msg["properties"] = dict(page)
        else:
            msg["traits"] = {k: self.word() for k in r.sample(TRAITS, 4)}
        if r.random() < .2:
            msg["userId"] = r.choice(["u_%d" % r.randrange(10**7), self.uuid()])
        agent = r.choice(AGENTS + AGENTS[-6:] * 3).replace("131", "%d" % r.randrange(118, 140))
        mobile = "Mobile" in agent
        context = {"page": page, "userAgent": agent}
        if "Chrome" in agent:
            v = agent.split("Chrome/")[1].split(".")[0]
            context["userAgentData"] = {
                "brands": [{"brand": "Google Chrome", "version": v},
                           {"brand": "Chromium", "version": v},
                           {"brand": "Not_A Brand", "version": "24"}],
                "mobile": mobile, "platform": "Android" if mobile else
                r.choice(["Windows", "macOS", "Linux"])}
        context.update({"locale": r.choice(LOCALES), "library": {
            "name": "analytics.js", "version": "npm:next-1.%d.%d" % (r.randrange(60, 90), r.randrange(4))},
            "timezone": r.choice(ZONES)})
        if r.random() < .3:
            context["screen"] = {"width": 1920, "height": 1080}
        if r.random() < .15:
            context["campaign"] = {"name": self.word(), "source": "google", "medium": "cpc"}
        msg["context"] = context
        msg["messageId"] = r.choice(["ajs-next-%d-%s" % (self.now, self.uuid()), self.uuid()])
        msg["sentAt"] = self.now
        msg["_metadata"] = {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []}
        self.client(msg)
        return msg


HOMES = {"url": 20, "path": 21, "referrer": 22, "title": 23, "search": 24}
KINDS = {"page": 1, "identify": 12, "Product Viewed": 3, "Product Added": 5, "Product Clicked": 2,
         "Product Removed": 6, "Order Completed": 9, "Checkout Started": 8}


UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


def slimmed(e):
    """As proto/wire/event_slim.h has it: (event, bytes taken out)."""
    e, out = dict(e), 1
    del e[1], e[4]
    for field in (8, 9, 10):
        if field in e and UUID.search(e[field]):
            e[field] = UUID.sub("", e[field])
            out += 16
    if all(f in e for f in (12, 13, 14)):
        del e[12], e[13], e[14]
        out += 5
    return pack(e), out


def canonical(msg, account, now, region):
    e = {1: account, 2: KINDS.get(msg["type"], KINDS.get(msg.get("event"), 17)), 3: 1, 4: now,
         5: region, 8: msg["messageId"], 9: msg["anonymousId"], 12: msg["timestamp"],
         13: msg["sentAt"], 14: now - (msg["sentAt"] - msg["timestamp"])}
    if "userId" in msg:
        e[10] = msg["userId"]
    if "event" in msg:
        e[15] = msg["event"]
    c = dict(msg["context"])
    for k, v in c.pop("page").items():
        e[HOMES[k]] = v
    for k, f in (("name", 28), ("source", 29), ("medium", 30)):
        if k in c.get("campaign", {}):
            e[f] = c["campaign"][k]
    c.pop("campaign", None)
    for k, f in (("userAgent", 34), ("locale", 35), ("timezone", 36)):
        if k in c:
            e[f] = c.pop(k)
    if "screen" in c:
        e[37], e[38] = 1920, 1080
        del c["screen"]
    props = dict(msg.get("properties", {}))
    if e[2] in (3, 5, 2, 6, 9, 8) and "event" in msg:
        if "products" in props:
            e[40] = pack(props.pop("products"))
        for k, f in (("order_id", 41), ("total", 42), ("currency", 47)):
            if k in props:
                e[f] = float(props.pop(k)) if f == 42 else props.pop(k)
    if props:
        e[64] = pack(props)
    if "traits" in msg:
        e[65] = pack(msg["traits"])
    left = {k: msg[k] for k in ("integrations", "_metadata") if k in msg}
    e[66] = pack({**({"message": left} if left else {}), **c})
    return dict(sorted(e.items()))


def as_json(msg):
    out = dict(msg)
    for k in ("timestamp", "sentAt"):
        out[k] = "2026-11-22T13:03:%02d.%03dZ" % (out[k] // 1000 % 60, out[k] % 1000)
    return json.dumps(out, separators=(",", ":")).encode()


def content():
    """Names that are worth having even where the samples have them seldom."""
    parts = [pack(w) for w in COMMERCE + TRAITS + PROPERTIES + LOCALES + ZONES + EVENTS]
    parts += [b"https://www.facebook.com/", b"https://www.instagram.com/", b"https://www.bing.com/",
              b"https://duckduckgo.com/", b"https://www.google.com/", b".html", b"?gclid=", b"?fbclid=",
              b"&utm_term=", b"&utm_content=", b"?utm_source=newsletter&utm_medium=email&utm_campaign=",
              b"?utm_source=google&utm_medium=cpc&utm_campaign=", b"?variant=", b"&page=", b"?page=",
              b"/search?q=", b"/account/login", b"/checkout/payment", b"/checkout/shipping", b"/cart",
              b"/category/", b"/blog/", b"/collections/", b"/products/"]
    return b"".join(parts)


# ---- zstd


class Params(ctypes.Structure):
    _fields_ = [("level", ctypes.c_int), ("notify", ctypes.c_uint), ("id", ctypes.c_uint)]


def make():
    z = ctypes.CDLL("libzstd.so.1")
    for f in ("ZDICT_trainFromBuffer", "ZDICT_finalizeDictionary", "ZDICT_getDictHeaderSize"):
        getattr(z, f).restype = ctypes.c_size_t
    samples = []
    for seed in range(400):
        inv = Invent(seed, babble=True)
        samples += [slimmed(canonical(inv.message(), inv.account, inv.now + 80, inv.r.choice(
            ["eu", "eu", "us", "apac"])))[0] for _ in range(20)]
    joined = b"".join(samples)
    sizes = (ctypes.c_size_t * len(samples))(*map(len, samples))
    out = ctypes.create_string_buffer(SIZE)
    n = z.ZDICT_trainFromBuffer(out, ctypes.c_size_t(SIZE), joined, sizes, len(samples))
    if z.ZDICT_isError(ctypes.c_size_t(n)):
        sys.exit("ZDICT_trainFromBuffer failed")
    typical = out.raw[z.ZDICT_getDictHeaderSize(out, ctypes.c_size_t(n)):n]
    text = content() + typical
    out = ctypes.create_string_buffer(len(text) + 1024)
    n = z.ZDICT_finalizeDictionary(out, ctypes.c_size_t(len(out)), text, ctypes.c_size_t(len(text)),
                                   joined, sizes, len(samples), Params(LEVEL, 0, DICTIONARY_ID))
    if z.ZDICT_isError(ctypes.c_size_t(n)):
        sys.exit("ZDICT_finalizeDictionary failed")
    return text, out.raw[:n]


def measure(dictionary, level, count=4000):
    z = ctypes.CDLL("libzstd.so.1")
    for f in ("ZSTD_createCCtx", "ZSTD_createCDict"):
        getattr(z, f).restype = ctypes.c_void_p
    z.ZSTD_compress2.restype = ctypes.c_size_t
    cctx = ctypes.c_void_p(z.ZSTD_createCCtx())
    cdict = ctypes.c_void_p(z.ZSTD_createCDict(dictionary, ctypes.c_size_t(len(dictionary)), level))
    z.ZSTD_CCtx_setParameter(cctx, 200, 0)
    z.ZSTD_CCtx_setParameter(cctx, 202, 0)
    z.ZSTD_CCtx_refCDict(cctx, cdict)
    out = ctypes.create_string_buffer(1 << 17)
    raw = enc = small = n = 0
    for seed in range(count // 50):
        inv = Invent(10_000 + seed)
        for _ in range(50):
            msg = inv.message()
            whole = canonical(msg, inv.account, inv.now + 80, "eu")
            e, out_of_it = slimmed(whole)
            raw += len(as_json(msg))
            enc += len(pack(whole))
            small += out_of_it - 4 + z.ZSTD_compress2(
                cctx, out, ctypes.c_size_t(len(out)), e, ctypes.c_size_t(len(e)))
            n += 1
    return raw / n, enc / n, small / n


LEVEL = 3

if __name__ == "__main__":
    text, dictionary = make()
    if "--measure" in sys.argv:
        for name, d in (("none", b""), ("content", text), ("dictionary", dictionary)):
            for level in (1, 3, 6, 9):
                print("%-10s %6d B  level %d  json %.0f  event %.0f  compressed %.0f" %
                      ((name, len(d), level) + measure(d, level)))
        sys.exit(0)
    print("/* Made by dictionary.py, which says what it is made of. Never changes: stored values are")
    print(" * read with it. */")
    print('#include "origin/dictionary.h"\n')
    print("/* clang-format off */")
    print("const uint8_t dictionary_v%d[] = {" % VERSION)
    for i in range(0, len(dictionary), 20):
        print("    " + "".join("%d," % b for b in dictionary[i:i + 20]))
    print("};")
    print("const size_t dictionary_v%d_bytes = sizeof(dictionary_v%d);" % (VERSION, VERSION))
