// The table: how figures are written, and where it stands in README.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const README = fileURLToPath(new URL('README.md', import.meta.url));
const BEGIN = '<!-- table: written by tests/bench/run -->';
const END = '<!-- /table -->';
const COLUMNS = ['what', 'measured', 'reference', 'ratio', 'target', 'met'];

// Three figures that mean something.
export function figure(value) {
    if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
    if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
    if (value >= 1000) return value.toFixed(0);
    return value.toPrecision(3);
}

export const rate = (value, of) => `${figure(value)} ${of}/s`;
export const micros = (value) => `${value.toFixed(2)} µs`;

// measured and against are numbers; as says how they are written; most/least is the target that
// the ratio (or, without a reference, the measured number) must meet.
export function row({ what, measured, as, reference, against, least, most, note }) {
    const value = against === undefined ? measured : measured / against;
    const target = least !== undefined ? `≥ ${target_of(least, against, as)}` : most !== undefined ? `≤ ${target_of(most, against, as)}` : '';
    const met = least !== undefined ? value >= least : most !== undefined ? value <= most : undefined;
    return {
        what,
        measured: as(measured) + (note ? ` (${note})` : ''),
        reference: against === undefined ? '' : `${reference}: ${as(against)}`,
        ratio: against === undefined ? '' : value.toFixed(2),
        target,
        met: met === undefined ? '' : met ? 'yes' : '**no**',
    };
}

function target_of(target, against, as) {
    return against === undefined ? as(target) : String(target);
}

export function markdown(rows) {
    const line = (cells) => `| ${cells.join(' | ')} |`;
    return [line(COLUMNS), line(COLUMNS.map(() => '---')), ...rows.map((r) => line(COLUMNS.map((column) => r[column])))].join('\n');
}

export function plain(rows) {
    const cells = [COLUMNS, ...rows.map((r) => COLUMNS.map((column) => r[column].replaceAll('**', '')))];
    const widths = COLUMNS.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
    return cells.map((line) => line.map((cell, i) => cell.padEnd(widths[i])).join('  ').trimEnd()).join('\n');
}

// about: machine, commit, busy, stolen (the largest share during any row).
export function writeReadme(about, rows) {
    const text = readFileSync(README, 'utf8');
    const from = text.indexOf(BEGIN);
    const to = text.indexOf(END);
    if (from < 0 || to < from) throw new Error(`${README} has lost its markers ${BEGIN} and ${END}`);
    const missed = rows.filter((r) => r.met === '**no**').length;
    const words = missed === 0 ? 'Every target is met.' : `**${missed} of ${rows.filter((r) => r.met).length} targets are missed**; "What bounds it" says why.`;
    const busy = about.busy ? ' **The machine was busy with other work: measure again before quoting.**' : '';
    const stolen = ` Its host gave up to ${(100 * about.stolen).toFixed(0)} % of its processors' time to others during a row.`;
    writeFileSync(README, `${text.slice(0, from)}${BEGIN}\n\n${about.machine}. Commit ${about.commit}.${stolen}${busy}\n\n${markdown(rows)}\n\n${words}\n\n${text.slice(to)}`);
}
