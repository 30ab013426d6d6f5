// Minifies the browser scripts and writes each as the C array that edge/sdk.c serves.
//   node build.mjs FOLDER
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { minify } from 'terser';

const here = path.dirname(fileURLToPath(import.meta.url));

// What a page pays, at most, in bytes of brotli. `global` says that the script ran before.
const scripts = [
    { out: 'sdk_text.inc', global: 'polder', limit: 6000, sources: ['decide.js', 'store.js', 'queue.js', 'modify.js', 'campaigns.js', 'polder.js'] },
    { out: 'ce_text.inc', global: 'ce', limit: 1000, sources: ['ce.js'] },
];

async function build({ global, sources }) {
    const text = sources.map((name) => readFileSync(path.join(here, name), 'utf8')).join('\n');
    const { code } = await minify(`((page)=>{if(page.${global}&&page.${global}.version)return;${text}})(window);`, {
        ecma: 2020,
        compress: { passes: 3, unsafe_arrows: true },
        mangle: true,
        format: { ascii_only: true },
    });
    return code;
}

async function write(folder, script) {
    const code = await build(script);
    const packed = brotliCompressSync(code, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length;
    if (packed > script.limit) throw new Error(`${script.sources.at(-1)} is ${packed} B with brotli, over its limit of ${script.limit} B`);
    const bytes = [...Buffer.from(code)];
    const rows = [];
    for (let i = 0; i < bytes.length; i += 20) rows.push('    ' + bytes.slice(i, i + 20).join(', ') + ',');
    writeFileSync(path.join(folder, script.out), rows.join('\n') + '\n');
    console.log(`${script.sources.at(-1)}: ${code.length} B, ${packed} B with brotli`);
}

const folder = process.argv[2];
if (!folder) {
    console.error('usage: node build.mjs FOLDER');
    process.exit(2);
}
mkdirSync(folder, { recursive: true });
try {
    for (const script of scripts) await write(folder, script);
} catch (error) {
    console.error(error.message);
    process.exit(1);
}
