/** deploy/README.md has what `craft --help` says: every command, and the exit codes. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { projectRoot } from '../../deploy/local/project.js';

const guide = readFileSync(join(projectRoot(), 'deploy/README.md'), 'utf8');
const [, section = ''] = guide.split('\n## Command line\n');
const [rows = ''] = section.split('\n## ');

async function help(...command: string[]): Promise<string> {
  const program = join(projectRoot(), 'dist/services/cli/main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...command, '--help']);
  return stdout;
}

/**
 * The commands below this one; the help's own is left out. One that takes nothing may have commands
 * of its own.
 */
async function commandsOf(...command: string[]) {
  const [, list = ''] = (await help(...command)).split('\nCommands:\n');
  const [lines = ''] = list.split('\n\n');
  const found = [...lines.matchAll(/^ {2}([a-z-]+)( [[<])?/gm)];
  return found.flatMap(([, name = '', takes]) => (name === 'help' ? [] : [{ name, isGroup: takes === undefined }]));
}

it('names every command, and no other', async () => {
  const all = await Promise.all(
    (await commandsOf()).map(async ({ name, isGroup }) => {
      const below = isGroup ? await commandsOf(name) : [];
      return below.length === 0 ? [name] : below.map((one) => `${name} ${one.name}`);
    }),
  );
  const documented = [...rows.matchAll(/^\| `craft ([^`A-Z]*[^`A-Z ])/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(all.flat().sort());
  expect(documented).toContain('members add');
});

it('has the exit codes', async () => {
  const [, said = ''] = (await help()).split('\nExit codes:\n');
  const codes = [...said.matchAll(/^ {2}(\d) {2}(.+)$/gm)].map(([, code, meaning]) => `${code} ${meaning}`);
  const documented = [...rows.matchAll(/^\| (\d) \| (.+) \|$/gm)].map(
    ([, code, meaning = '']) => `${code} ${meaning.replaceAll('`', '')}`,
  );
  expect(documented).toEqual(codes);
  expect(codes).toHaveLength(4);
});
