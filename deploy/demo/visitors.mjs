// Plays visitors of the demo shop against one edge, over Segment's HTTP tracking API.
import { randomUUID } from 'node:crypto';

const shelf = [
    { sku: 'OIL-1', name: 'Oilskin coat', price: 129 },
    { sku: 'BOOT-7', name: 'Polder boots', price: 89 },
    { sku: 'HAT-3', name: "Sou'wester", price: 39 },
];

export function visit(shop) {
    const anonymousId = randomUUID();
    const product = shelf[Math.floor(Math.random() * shelf.length)];
    const event = (type, fields) => ({
        type,
        messageId: randomUUID(),
        anonymousId,
        timestamp: new Date().toISOString(),
        context: {
            page: { url: `${shop}/products/${product.sku}`, path: `/products/${product.sku}`, title: product.name, referrer: shop },
            locale: 'nl-NL',
            userAgent: 'polder-demo',
        },
        ...fields,
    });
    return [
        event('page', { name: product.name, properties: {} }),
        event('track', { event: 'Product Viewed', properties: product }),
        event('track', { event: 'Product Added', properties: { ...product, quantity: 1, currency: 'EUR' } }),
        event('identify', { userId: `customer-${anonymousId.slice(0, 8)}`, traits: { plan: 'demo' } }),
        event('track', {
            event: 'Order Completed',
            properties: { order_id: randomUUID().slice(0, 8), total: product.price, currency: 'EUR', products: [{ ...product, quantity: 1 }] },
        }),
    ];
}

// Sends `count` events in batches; gives how many were acknowledged with a 2xx.
export async function sendVisits(edge, writeKey, shop, count) {
    let acknowledged = 0;
    while (acknowledged < count) {
        const batch = visit(shop).slice(0, count - acknowledged);
        const reply = await fetch(`${edge}/v1/batch`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ writeKey, sentAt: new Date().toISOString(), batch }),
            signal: AbortSignal.timeout(10000),
        });
        if (!reply.ok) throw new Error(`${edge} answered ${reply.status}: ${await reply.text()}`);
        await reply.arrayBuffer();
        acknowledged += batch.length;
    }
    return acknowledged;
}
