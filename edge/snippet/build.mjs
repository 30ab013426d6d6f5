// Minifies polder.js and writes it as the C array that edge/sdk.c serves.
//   node build.mjs OUT.inc
import { readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';
import path from 'node:path';
import { minify } from 'terser';

const LIMIT_BROTLI_BYTES = 6000; // what a page pays for us, at most

const [out] = process.argv.slice(2);
const source = readFileSync(path.join(import.meta.dirname, 'polder.js'), 'utf8');
const { code } = await minify(`(()=>{${source}})();`, {
    ecma: 2020,
    compress: { passes: 3 },
    mangle: true,
    format: { ascii_only: true },
});
const compressed = brotliCompressSync(Buffer.from(code)).length;
if (compressed > LIMIT_BROTLI_BYTES) {
    console.error(`the SDK is ${compressed} B with brotli, over its limit of ${LIMIT_BROTLI_BYTES} B`);
    process.exit(1);
}
const bytes = [...Buffer.from(code)];
const rows = [];
for (let i = 0; i < bytes.length; i += 20) rows.push('    ' + bytes.slice(i, i + 20).join(', ') + ',');
writeFileSync(out, rows.join('\n') + '\n');
console.log(`SDK: ${code.length} B, ${compressed} B with brotli`);
