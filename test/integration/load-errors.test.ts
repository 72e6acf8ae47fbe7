/**
 * A state machine that does not load: the start says why, once, in one line with file and line, and
 * ends.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectRoot, servicesProgram } from '../../deploy/local/project.js';
import { type TemporaryFolder, temporaryFolder } from '../harness/index.js';

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder('machine');
});
afterAll(() => folder?.remove());

/** All that the start says of a machine in the file `name`. */
async function refusalOf(name: string, lines: readonly string[]): Promise<string> {
  const path = join(folder.path, name);
  await writeFile(path, lines.join('\n'));
  const env = {
    ...process.env,
    ...{ CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', CRAFT_STATE_MACHINE: path },
    ...{ CRAFT_DATABASE_URL: 'postgres://none', CRAFT_DATA_DIR: folder.path },
  };
  const services = [servicesProgram(), 'replica', 'merger', 'applier'];
  const end = await promisify(execFile)(process.execPath, services, { env }).catch((error: unknown) => error);
  expect(end).toMatchObject({ code: 2, stdout: '' });
  const text = (end as { stderr: string }).stderr.replaceAll(folder.path, '');
  expect(text.split('\n')).toEqual([expect.stringMatching(/^wrong configuration: CRAFT_STATE_MACHINE: /), '']);
  return text.trimEnd();
}

it('an error of the module itself', async () => {
  expect(await refusalOf('throws.mjs', ['const a = 1;', '', 'export default a.b.c;'])).toBe(
    'wrong configuration: CRAFT_STATE_MACHINE: /throws.mjs does not load: /throws.mjs:3: ' +
      "TypeError: Cannot read properties of undefined (reading 'c')",
  );
});

it('an error in a package, at the line that calls it', async () => {
  const library = join(folder.path, 'node_modules/library/index.mjs');
  await mkdir(dirname(library), { recursive: true });
  await writeFile(library, "export function refuse() { throw new RangeError('too far'); }");
  const lines = ["import { refuse } from './node_modules/library/index.mjs';", 'refuse();'];
  expect(await refusalOf('calls.mjs', lines)).toMatch(/: \/calls\.mjs:2: RangeError: too far$/);
});

it('a syntax error, also of a module that it imports', async () => {
  expect(await refusalOf('syntax.mjs', ['', 'export default { name: = 1 };'])).toMatch(
    /: \/syntax\.mjs does not load: \/syntax\.mjs:2: SyntaxError: Unexpected token '='$/,
  );
  expect(await refusalOf('entry.mjs', ["import machine from './syntax.mjs';", 'export default machine;'])).toMatch(
    /: \/entry\.mjs does not load: \/syntax\.mjs:2: SyntaxError: Unexpected token '='$/,
  );
});

it('TypeScript that Node.js cannot run as it is, with what to do', async () => {
  await writeFile(join(folder.path, 'schema.ts'), 'export const limit: number = 1;');
  expect(await refusalOf('typed.ts', ['const a: number = 1;', 'export default (a as any).b.c;'])).toMatch(
    /: \/typed\.ts:2: TypeError: Cannot read/,
  );
  expect(await refusalOf('enum.ts', ['enum Kind { a }', 'export default Kind;'])).toMatch(/: \/enum\.ts:1: .*enum/);
  expect(await refusalOf('import.ts', ["import { limit } from './schema.js';", 'export default limit;'])).toMatch(
    /: \/import\.ts:1: .*; there is schema\.ts: without a compiler, an import names the file with that ending$/,
  );
});

it('a module, a package or a name that cannot be found', async () => {
  expect(await refusalOf('module.mjs', ['', "import { a } from './none.mjs';"])).toMatch(
    /: \/module\.mjs:2: .*none\.mjs/,
  );
  expect(await refusalOf('package.mjs', ['', '', "import a from 'no-such-thing';"])).toMatch(
    /: \/package\.mjs:3: .*no-such-thing/,
  );
  await writeFile(join(folder.path, 'found.mjs'), 'export const a = 1;');
  expect(await refusalOf('name.mjs', ["import { b } from './found.mjs';"])).toMatch(/: \/name\.mjs:1: .*named 'b'/);
});

it('an error in what was compiled, at its place in the source', async () => {
  const map = {
    version: 3,
    sources: ['source.ts'],
    names: [],
    // The first column of the second line comes from the first column of the fifth line.
    mappings: ';AAIA',
  };
  const encoded = Buffer.from(JSON.stringify(map)).toString('base64');
  const lines = ['', "throw new Error('no');", `//# sourceMappingURL=data:application/json;base64,${encoded}`];
  expect(await refusalOf('compiled.mjs', lines)).toMatch(/: \/source\.ts:5: Error: no$/);
});

let shapes = 0;
it.each([
  ['1', 'is no state machine {name, commands, queries}'],
  ["{ name: 'm', commands: {} }", 'is no state machine {name, commands, queries}: it has no queries'],
  ["{ name: 'm', commands: { a: {} }, queries: {} }", 'has a wrong definition: commands["a"] has no input schema'],
  ["{ name: 'm', commands: { a: { input } }, queries: {} }", 'commands["a"] has no function "handle"'],
  ["{ name: 'm', commands: {}, queries: { b: { input, handle: 1 } } }", 'queries["b"] has no function "handle"'],
  ["{ name: 'm', commands: { 'craft.restore': { input, handle } }, queries: {} }", 'begin with craft. are reserved'],
  ["{ name: 'm', commands: {}, queries: { 'craft.describe': { input, handle } } }", 'begin with craft. are reserved'],
])('a default export that is no state machine: %s', async (machine, problem) => {
  const input = "const input = { '~standard': { validate() {} } }, handle = () => {};";
  expect(await refusalOf(`shape${shapes++}.mjs`, [input, `export default ${machine};`])).toContain(problem);
});

it('what defineMachine refuses, at the line that calls it', async () => {
  const entry = join(projectRoot(), 'dist/shared/engine/index.js');
  const lines = [`import { defineMachine } from '${entry}';`, '', 'export default defineMachine({ name: 1 });'];
  expect(await refusalOf('defined.mjs', lines)).toMatch(
    /: \/defined\.mjs:3: TypeError: the machine is no state machine/,
  );
});
