// The servers that are measured: an edge with its origin, bare libh2o, nginx.
import { mkdirSync, writeFileSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import { Cluster, Node, freeBasePort, until } from '../../deploy/demo/cluster.mjs';
import { childrenOf } from './machine.mjs';
import { THREADS } from './load.mjs';

const EDGE = 'eu';
// Beside those of the cluster (PORTS).
const OFFSETS = { edgeTls: 5, bare: 6, bareTls: 7, nginx: 8, nginxTls: 9 };
// libh2o writes these by itself.
const OWN_HEADERS = new Set(['date', 'connection', 'content-length', 'keep-alive', 'transfer-encoding']);

function makeCertificate(dir) {
    const files = { cert: path.join(dir, 'tls.crt'), key: path.join(dir, 'tls.key') };
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost', '-days', '30', '-keyout', files.key, '-out', files.cert], { stdio: 'pipe' });
    return files;
}

// A config of the size that a shop with a dozen campaigns has.
function sampleConfig() {
    const campaigns = Array.from({ length: 12 }, (_, i) => ({
        id: `campaign-${i}`,
        name: `Campaign ${i}`,
        traffic: 0.9,
        url: [i % 3 ? '/p/*' : '*'],
        variants: [
            { id: 'control', weight: 50, control: true },
            {
                id: 'treated',
                weight: 50,
                principle: ['scarcity', 'social-proof', 'authority'][i % 3],
                modifications: [{ type: 'text', selector: `#offer-${i} .headline`, value: `Seen by ${100 + 7 * i} others today` }],
            },
        ],
    }));
    return JSON.stringify({ campaigns, settings: { session_timeout_minutes: 30, honour_dnt: true } });
}

// An origin and one edge with an account that has a config, both with as many http loops as the
// load generator leaves cores.
export class Polder {
    static async start(bin, dir, { loops = THREADS } = {}) {
        const polder = new Polder();
        rmSync(dir, { recursive: true, force: true });
        polder.basePort = await freeBasePort();
        polder.cluster = new Cluster({ dir, bin, basePort: polder.basePort });
        polder.edgePort = polder.cluster.port(EDGE);
        polder.edgeTlsPort = polder.basePort + OFFSETS.edgeTls;
        const { cluster } = polder;
        await cluster.init();
        polder.certificate = makeCertificate(dir);
        polder.edgeEnv = {
            POLDER_LOOPS: String(loops),
            POLDER_HTTPS_LISTEN: `127.0.0.1:${polder.edgeTlsPort}`,
            POLDER_TLS_CERT_FILE: polder.certificate.cert,
            POLDER_TLS_KEY_FILE: polder.certificate.key,
            POLDER_LOG_LEVEL: 'warn',
        };
        try {
            await polder.startOrigin();
            await cluster.enrollEdge(EDGE);
            await polder.startEdge();
            polder.account = await polder.createAccount('bench-shop');
            const config = path.join(dir, 'config.json');
            writeFileSync(config, sampleConfig());
            await cluster.ctl('config', 'publish', polder.account.id, config);
            await until('the edge serves the config', 10000, async () => {
                const reply = await fetch(polder.configUrl);
                return reply.ok && (await reply.json()).version >= 1;
            });
        } catch (error) {
            await polder.stop();
            throw error;
        }
        return polder;
    }

    get configPath() {
        return `/v1/config/${this.account.write_key}`;
    }

    // Of the same length and letters, for servers that take what is below /config: HTTP/2 sends
    // paths Huffman-coded every time.
    get referencePath() {
        return `/config/v1/${this.account.write_key}`;
    }

    get configUrl() {
        return `http://127.0.0.1:${this.edgePort}${this.configPath}`;
    }

    get edge() {
        return this.cluster.nodes.get(EDGE);
    }

    get origin() {
        return this.cluster.nodes.get('origin');
    }

    edgePids = () => [this.edge.pid];

    startOrigin() {
        return this.cluster.startOrigin({ POLDER_LOG_LEVEL: 'warn' });
    }

    startEdge() {
        return this.cluster.startEdge(EDGE, { env: this.edgeEnv });
    }

    // Known at the edge when this returns.
    async createAccount(name) {
        const account = await this.cluster.ctlJson('account', 'create', name);
        await until(`the edge knows the account ${name}`, 10000, async () => {
            const reply = await fetch(`http://127.0.0.1:${this.edgePort}/v1/track`, {
                method: 'POST',
                body: JSON.stringify({ writeKey: account.write_key, anonymousId: 'hello', event: 'Hello' }),
            });
            await reply.arrayBuffer();
            return reply.ok;
        });
        return account;
    }

    books() {
        return this.cluster.books([EDGE]);
    }

    settled(timeoutMs) {
        return this.cluster.untilSettled([EDGE], timeoutMs);
    }

    // The config reply as it stands on the wire: header lines and bytes.
    configReply() {
        return new Promise((resolve, reject) => {
            http.get(this.configUrl, { headers: { 'Accept-Encoding': 'identity' } }, (reply) => {
                const chunks = [];
                reply.on('data', (chunk) => chunks.push(chunk));
                reply.on('end', () => {
                    const headers = [];
                    for (let i = 0; i < reply.rawHeaders.length; i += 2) {
                        if (!OWN_HEADERS.has(reply.rawHeaders[i].toLowerCase())) headers.push(`${reply.rawHeaders[i]}: ${reply.rawHeaders[i + 1]}`);
                    }
                    resolve({ headers, body: Buffer.concat(chunks) });
                });
            }).on('error', reject);
        });
    }

    stop() {
        return this.cluster.stop();
    }
}

export async function startBare(bin, dir, { basePort, certificate, headers = [], body = Buffer.from('{}') }) {
    const file = path.join(dir, 'bare-body');
    writeFileSync(file, body);
    const port = basePort + OFFSETS.bare;
    const tlsPort = basePort + OFFSETS.bareTls;
    const args = ['--port', port, '--tls-port', tlsPort, '--cert', certificate.cert, '--key', certificate.key, '--loops', THREADS, '--body', file];
    const node = new Node('bare', path.join(bin, 'bare_h2o'), [...args.map(String), ...headers.flatMap((header) => ['--header', header])], { logDir: dir });
    node.start();
    await node.untilUp(`http://127.0.0.1:${port}/config`, 5000);
    return { node, port, tlsPort, pids: () => [node.pid] };
}

// As fast as nginx serves one small file; of sendfile on and off, off was the faster one.
export async function startNginx(dir, { basePort, certificate, headers, body, path: at }) {
    const root = path.join(dir, 'nginx');
    mkdirSync(root, { recursive: true });
    const file = path.join(root, 'config.json');
    writeFileSync(file, body);
    const port = basePort + OFFSETS.nginx;
    const tlsPort = basePort + OFFSETS.nginxTls;
    const type = headers.find((header) => /^content-type:/i.test(header))?.replace(/^[^:]*: */, '') ?? 'application/json';
    // nginx makes its own ETag, of the same size.
    const others = headers.filter((header) => !/^(content-type|etag|server|accept-ranges|last-modified):/i.test(header));
    const quote = (text) => `"${text.replace(/["\\$]/g, '\\$&')}"`;
    const conf = path.join(root, 'nginx.conf');
    writeFileSync(conf, `
${process.getuid() === 0 ? 'user root;' : ''} daemon off; pid ${root}/pid; error_log stderr warn; worker_processes ${THREADS};
events { worker_connections 4096; }
http {
    access_log off; etag on; server_tokens off; keepalive_requests 1000000000; keepalive_timeout 60s;
    sendfile off; open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;
    client_body_temp_path ${root}/a; proxy_temp_path ${root}/b; fastcgi_temp_path ${root}/c; uwsgi_temp_path ${root}/d; scgi_temp_path ${root}/e;
    ssl_certificate ${certificate.cert}; ssl_certificate_key ${certificate.key}; ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:${port} reuseport; listen 127.0.0.1:${tlsPort} ssl http2 reuseport;
        location = ${at} {
            alias ${file}; types {} default_type ${quote(type)};
            ${others.map((header) => `add_header ${quote(header.slice(0, header.indexOf(':')))} ${quote(header.slice(header.indexOf(':') + 1).trim())};`).join('\n            ')}
        }
    }
}
`);
    const node = new Node('nginx', 'nginx', ['-c', conf, '-p', root], { logDir: dir });
    node.start();
    await node.untilUp(`http://127.0.0.1:${port}${at}`, 5000);
    return { node, port, tlsPort, pids: () => childrenOf(node.pid) };
}
