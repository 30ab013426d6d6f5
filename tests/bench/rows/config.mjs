// GET of an account's config: the edge against bare libh2o and nginx with the same bytes.
import { Polder, startBare, startNginx } from '../servers.mjs';
import { wrk, h2load, takeTurns } from '../load.mjs';
import { row, rate, micros } from '../table.mjs';

export const title = 'config GET';

function rowsOf(what, found) {
    const { edge, bare, nginx } = found;
    return [
        row({ what: `config GET, ${what}: server CPU per request`, measured: edge.cpuMicroseconds, as: micros, reference: 'bare libh2o', against: bare.cpuMicroseconds, most: 1.1 }),
        row({ what: '', measured: edge.cpuMicroseconds, as: micros, reference: 'nginx, a file', against: nginx.cpuMicroseconds, most: 1 }),
        row({ what: `config GET, ${what}: requests`, measured: edge.perSecond, as: (v) => rate(v, 'req'), reference: 'bare libh2o', against: bare.perSecond }),
        row({ what: '', measured: edge.perSecond, as: (v) => rate(v, 'req'), reference: 'nginx, a file', against: nginx.perSecond }),
    ];
}

export async function measure({ bin, dir, rounds, seconds }) {
    const polder = await Polder.start(bin, `${dir}/polder`);
    let bare, nginx;
    try {
        const common = { basePort: polder.basePort, certificate: polder.certificate, path: polder.referencePath, ...(await polder.configReply()) };
        bare = await startBare(bin, dir, common);
        nginx = await startNginx(dir, common);
        const servers = [
            { name: 'edge', pids: polder.edgePids, port: polder.edgePort, tlsPort: polder.edgeTlsPort, path: polder.configPath },
            { name: 'bare', pids: bare.pids, port: bare.port, tlsPort: bare.tlsPort, path: polder.referencePath },
            { name: 'nginx', pids: nginx.pids, port: nginx.port, tlsPort: nginx.tlsPort, path: polder.referencePath },
        ];
        const plain = servers.map((s) => ({ ...s, load: (n) => wrk(`http://127.0.0.1:${s.port}${s.path}`, { seconds: n }) }));
        const h2 = servers.map((s) => ({ ...s, load: (n) => h2load(`https://127.0.0.1:${s.tlsPort}${s.path}`, { seconds: n }) }));
        return [
            ...rowsOf(`HTTP/1.1 keep-alive, ${common.body.length} B`, await takeTurns(plain, { rounds, seconds })),
            ...rowsOf(`HTTP/2 over TLS, ${common.body.length} B`, await takeTurns(h2, { rounds, seconds })),
        ];
    } finally {
        await nginx?.node.stop();
        await bare?.node.stop();
        await polder.stop();
    }
}
