/** The file of named connection settings. */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ContextError, Contexts, contextsPath } from '../../../services/cli/contexts.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';

let folder: TemporaryFolder;
let path: string;
beforeEach(async () => {
  folder = await temporaryFolder('contexts');
  path = contextsPath({ XDG_CONFIG_HOME: folder.path });
});
afterEach(() => folder.remove());

it('keeps contexts and which one is selected, for its user alone', async () => {
  const contexts = await Contexts.read(path);
  expect([contexts.names, contexts.selected]).toEqual([[], undefined]);
  await contexts.put('b', { nats: 'nats://u:p@b:4222', timeout: 500 });
  await contexts.put('a', { cluster: 'other' });
  await contexts.select('b');
  const again = await Contexts.read(path);
  expect([again.names, again.selected]).toEqual([['a', 'b'], 'b']);
  expect(again.get('b')).toEqual({ nats: 'nats://u:p@b:4222', timeout: 500 });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await again.remove('b');
  expect([again.names, again.selected]).toEqual([['a'], undefined]);
  expect((await Contexts.read(path)).selected).toBeUndefined();
  expect(await readdir(dirname(path))).toEqual(['contexts.json']);
});

it('loses none of several that are added at once', async () => {
  const names = Array.from({ length: 20 }, (_, number) => `c${String(number).padStart(2, '0')}`);
  const each = await Promise.all(names.map(() => Contexts.read(path)));
  await Promise.all(names.map((name, number) => each[number]?.put(name, { cluster: name })));
  expect((await Contexts.read(path)).names).toEqual(names);
  expect(await readdir(dirname(path))).toEqual(['contexts.json']);
});

it('names the lock that a killed one has left, and leaves everything as it is', async () => {
  const contexts = await Contexts.read(path);
  await contexts.put('one', {});
  await writeFile(`${path}.lock`, '');
  await expect(contexts.put('two', {})).rejects.toThrow(`remove ${path}.lock`);
  expect((await Contexts.read(path)).names).toEqual(['one']);
});

it('refuses names that are none, and contexts that there are none of', async () => {
  const contexts = await Contexts.read(path);
  for (const name of ['', '../x', 'a b', '-a', 'x'.repeat(65)]) {
    await expect(contexts.put(name, {}), name).rejects.toThrow(ContextError);
  }
  await contexts.put('one', {});
  for (const name of ['two', 'constructor', '__proto__']) {
    await expect(contexts.select(name), name).rejects.toThrow(/there is no context ".*"; there are one/);
  }
});

it('refuses a file that is something else, names it, and leaves it alone', async () => {
  await mkdir(dirname(path), { recursive: true });
  for (const text of ['{', '[]', '{"contexts":{"a":{"nats":7}}}', '{"contexts":{},"other":1}']) {
    await writeFile(path, text);
    await expect(Contexts.read(path), text).rejects.toThrow(`${path} is not a file of contexts`);
    expect(await readFile(path, 'utf8')).toBe(text);
  }
  await expect(Contexts.read(dirname(path))).rejects.toThrow('cannot be read');
});

it('lies where the platform keeps settings', () => {
  expect(contextsPath({ HOME: '/home/a' })).toBe(join('/home/a', '.config', 'craft', 'contexts.json'));
});
