// Certificates as an operator makes them: with openssl, self-signed, for a host name or two.
import { execFileSync } from 'node:child_process';

// Writes cert and key (mode 0600), both PEM.
export function issue({ cert, key, names }) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
        '-keyout', key, '-out', cert, '-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}`], { stdio: 'ignore' });
}
