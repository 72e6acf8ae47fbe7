/**
 * A state machine's module: which versions it has, what is refused, and when two builds have the
 * same fingerprint.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadStateMachine } from '../../../shared/engine/loading.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';

let folder: TemporaryFolder;
let folders = 0;

beforeAll(async () => {
  folder = await temporaryFolder('loading');
});
afterAll(() => folder?.remove());

/** Writes files into a folder of their own; gives the path of the first. */
async function write(files: Readonly<Record<string, string>>): Promise<string> {
  const path = join(folder.path, `m${folders++}`);
  await mkdir(path);
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return join(path, Object.keys(files)[0] ?? '');
}

const machine = (more: string) => `{ name: 'bank', commands: {}, queries: {}, ${more} }`;
const module = (more: string) => `export default ${machine(more)};`;

it('has version 1 unless it says another one', async () => {
  expect(await loadStateMachine(await write({ 'a.mjs': module('') }))).toMatchObject({
    name: 'bank',
    newest: { version: 1, fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown },
  });
  expect((await loadStateMachine(await write({ 'a.mjs': module('version: 7') }))).newest.version).toBe(7);
  expect(await loadStateMachine(undefined)).toMatchObject({ name: 'kv', versions: [{ version: 1 }] });
});

it('has earlier versions, in their order, each with the fingerprint that it had before', async () => {
  const helper = { 'help.mjs': 'export const help = 1;' };
  const one = { 'one.mjs': `import { help } from './help.mjs'; ${module('version: 1, help')}` };
  const two = { 'two.mjs': module('version: 2') };
  const before = await loadStateMachine(await write({ ...one, ...helper }));
  const index =
    "import one from './one.mjs'; import two from './two.mjs'; export default two; export const earlier = [one];";
  const after = await loadStateMachine(await write({ 'index.mjs': index, ...one, ...helper, ...two }));
  expect(after.versions.map(({ version }) => version)).toEqual([1, 2]);
  expect(after.newest).toBe(after.versions[1]);
  expect(after.versions[0].fingerprint).toBe(before.newest.fingerprint);
  expect(after.versions[1]?.fingerprint).not.toBe(before.newest.fingerprint);
});

it('has another fingerprint when the module, a file that it imports, or a migration is another one', async () => {
  const files = { 'a.mjs': `import './b.mjs'; ${module("migrations: import.meta.dirname + '/sql'")}`, 'b.mjs': '' };
  const print = async (given: Readonly<Record<string, string>>, sql: string) => {
    const path = await write(given);
    const migrations = join(path, '..', 'sql');
    await mkdir(join(migrations, 'meta'), { recursive: true });
    const entries = [{ idx: 0, version: '7', when: 1, tag: '0000_a', breakpoints: true }];
    await writeFile(join(migrations, 'meta', '_journal.json'), JSON.stringify({ entries }));
    await writeFile(join(migrations, '0000_a.sql'), sql);
    return (await loadStateMachine(path)).newest.fingerprint;
  };
  const first = await print(files, 'select 1');
  expect(await print(files, 'select 1')).toBe(first);
  const others = [
    await print({ ...files, 'a.mjs': `${files['a.mjs']} // changed` }, 'select 1'),
    await print({ ...files, 'b.mjs': 'export {};' }, 'select 1'),
    await print(files, 'select 2'),
  ];
  expect(new Set([first, ...others]).size).toBe(4);
});

it.each([
  ['a version that is no number', module("version: '2'"), /no integer from 1/],
  ['version 0', module('version: 0'), /no integer from 1/],
  ['a version that is no integer', module('version: 1.5'), /no integer from 1/],
  ['a version that is too large', module('version: 2 ** 31'), /no integer from 1/],
  ['no name', "export default { name: '', commands: {}, queries: {} };", /no state machine/],
  [
    'earlier versions that are no array',
    `${module('version: 2')} export const earlier = 1;`,
    /"earlier" of .* is no array/,
  ],
  [
    'earlier versions that are none',
    `${module('version: 2')} export const earlier = [{}];`,
    /"earlier"\[0\] of .* is no state machine/,
  ],
  [
    'one version twice',
    `${module('version: 1')} export const earlier = [${machine('')}];`,
    /has version 1 of bank twice/,
  ],
  [
    'an earlier version that is newer',
    `${module('version: 2')} export const earlier = [${machine('version: 3')}];`,
    /not the newest/,
  ],
  [
    'an earlier version of another machine',
    `${module('version: 2')} export const earlier = [{ name: 'shop', commands: {}, queries: {} }];`,
    /"shop"/,
  ],
])('is refused with %s', async (_, text, message) => {
  await expect(write({ 'a.mjs': text }).then(loadStateMachine)).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(message) as unknown,
  });
});
