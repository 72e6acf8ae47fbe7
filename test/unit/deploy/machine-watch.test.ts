/** When the sources of a state machine count as changed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Changes, watchedPaths } from '../../../deploy/local/machine-watch.js';

const told = (changes: Changes, ...looks: string[]) => looks.map((look) => changes.see(look));

it('tells of a change once, when two looks find the same', () => {
  const changes = new Changes('a');
  expect(told(changes, 'a', 'b', 'b', 'b')).toEqual([false, false, true, false]);
  expect(told(changes, 'c', 'd', 'e', 'e', 'e')).toEqual([false, false, false, true, false]);
});

it('does not tell of what was changed and changed back before it came to rest', () => {
  expect(told(new Changes('a'), 'b', 'a', 'a')).toEqual([false, false, false]);
});

it('tells of what was changed back afterwards', () => {
  expect(told(new Changes('a'), 'b', 'b', 'a', 'a')).toEqual([false, true, false, true]);
});

it('looks at files that a module imports since it last loaded, and still at the ones before', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'craft-watch-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [machine, before, added] = ['machine.ts', 'before.ts', 'added.ts'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(machine, "import './added.ts';\n");
  expect(watchedPaths({ paths: [machine, before] }, machine)).toEqual([machine, before]);
  await writeFile(added, 'export const broken = (;\n');
  expect(watchedPaths({ paths: [machine, before] }, machine)).toEqual([machine, before, added]);
});
