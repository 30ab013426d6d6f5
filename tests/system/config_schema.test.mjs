// The JSON Schema of campaign configs says what polderctl's lint says, but for what no schema can.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import { bin } from './lib/fixture.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const cases = JSON.parse(readFileSync(path.join(root, 'tests/unit/wire/config_cases.json'), 'utf8'));

const run = (...args) =>
    new Promise((resolve) => {
        execFile(path.join(bin, 'polderctl'), args, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
    });

let dir;
let schema;
let validate;
before(async () => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'polder-schema-'));
    schema = JSON.parse((await run('config', 'schema')).stdout);
    // strict: a word that means nothing to the validator is a mistake; strictTypes and
    // strictRequired ask more than the standard does.
    validate = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true, formats: { 'date-time': true } }).compile(schema);
});
after(() => rmSync(dir, { recursive: true, force: true }));

async function lint(text) {
    const file = path.join(dir, 'config.json');
    writeFileSync(file, text);
    const { code, stdout, stderr } = await run('config', 'lint', file, '--json');
    assert.equal(stderr, '');
    const { problems } = JSON.parse(stdout);
    assert.equal(code, problems.length > 0 ? 1 : 0);
    return problems;
}

// The validator's place in lint's words: "/campaigns/0/url/1" is campaigns[0].url[1].
const placeOf = ({ instancePath, params }) =>
    (instancePath + (params.missingProperty ? `/${params.missingProperty}` : params.additionalProperty ? `/${params.additionalProperty}` : ''))
        .slice(1).split('/').map((part, i) => (/^\d+$/.test(part) ? `[${part}]` : (i > 0 ? '.' : '') + part)).join('');

test('the demo\'s config is right by both', async () => {
    const text = readFileSync(path.join(root, 'deploy/demo/campaign.json'), 'utf8');
    assert.deepEqual(await lint(text), []);
    assert.ok(validate(JSON.parse(text)), JSON.stringify(validate.errors));
});

test('what one accepts the other accepts, and they point at the same place', async () => {
    let cannotSay = 0;
    for (const { config, words, path: where, schema: silent } of cases) {
        const problems = await lint(config);
        assert.equal(problems.length > 0, words !== undefined, config);
        if (silent === 'sees no text') continue;
        const document = JSON.parse(config);
        if (silent) {
            cannotSay++;
            assert.ok(validate(document), `${config}\nthe schema can say after all: ${JSON.stringify(validate.errors)}`);
        } else {
            assert.equal(validate(document), words === undefined, `${config}\nlint: ${words}, schema: ${JSON.stringify(validate.errors)}`);
            const places = (validate.errors ?? []).map(placeOf);
            if (words) assert.ok(places.includes(where), `${config}\nlint points at ${where}, the schema at ${places}`);
        }
    }
    assert.ok(cannotSay >= 5);
});

test('lint points at the line of what is wrong in meaning, too', async () => {
    const text = `{
  "campaigns": [
    { "id": "a", "variants": [{ "id": "v" }],
      "from": "2026-12-02T00:00:00Z",
      "until": "2026-12-01T00:00:00Z" },
    { "id": "b", "variants": [
      { "id": "control", "control": true,
        "modifications": [
          { "type": "event", "name": "x" }] }] },
    { "id": "a",
      "variants": [{ "id": "v", "modifications": [
        { "type": "attribute", "selector": "a",
          "name": "onclick", "value": "x()" }] }] }
  ]
}
`;
    const file = path.join(dir, 'semantic.json');
    writeFileSync(file, text);
    const { code, stdout } = await run('config', 'lint', file);
    assert.equal(code, 1);
    const said = stdout.split('\n').filter((line) => line.startsWith(file)).map((line) => line.slice(file.length + 1));
    assert.deepEqual(said, [
        '5:16: campaigns[0].until: must be later than from',
        '8:26: campaigns[1].variants[0].modifications: must be empty: a control variant shows the page as it is',
        '13:19: campaigns[2].variants[0].modifications[0].name: must not be an event handler: modifications carry no scripts',
        '10:13: campaigns[2].id: \'a\' is taken by campaigns[0] already',
    ]);
});

test('editors may be told where the schema is', async () => {
    assert.deepEqual(await lint('{"$schema": "campaign-config.schema.json", "campaigns": []}'), []);
    const described = JSON.stringify(schema).match(/"description":/g).length;
    assert.ok(described > 25, 'keys are explained');
});
