/**
 * Every command of every `sh` block is there: scripts of npm, commands of craft, programs and files. Those of README.md, of the guide for
 * versions and of the clients also run, against clusters that are there anyway: test/contract/public/cli.test.ts,
 * test/integration/local-start.test.ts.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { blocksOf } from '../../harness/shell.js';
import { filesIn, read } from './files.js';

const scripts = (manifest: string) =>
  Object.keys(z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(read(manifest))).scripts);
const ownScripts = scripts('package.json');
/** Of a project that `craft init` writes. */
const writtenScripts = scripts('deploy/examples/bank/package.json');

/** What deploy/README.md lists; that these are all, test/integration/help.test.ts shows. */
const craftCommands = [...read('deploy/README.md').matchAll(/^\| `craft ([a-z-]+(?: [a-z]+)?)/gm)].map(
  ([, command = '']) => command,
);

/** The commands of a block, without comments and without the variables in front. */
function commandsOf(block: string): string[] {
  const lines = block.split('\n').map((line) => line.replace(/(^|\s)#.*$/, ''));
  const commands = lines.flatMap((line) => line.split('&&')).map((command) => command.trim());
  return commands.map((command) => command.replace(/^(?:[A-Z_0-9]+=\S+ +)+/, '')).filter((command) => command !== '');
}

/** A built file is there when its source is. */
const isFile = (path: string) =>
  existsSync(join(projectRoot(), path.replace(/^dist\/(.*)\.js$/, '$1.ts'))) || existsSync(join(projectRoot(), path));

function exists(command: string, page: string): boolean {
  const manifest = join(dirname(page), 'package.json');
  const known = existsSync(join(projectRoot(), manifest)) ? [...ownScripts, ...scripts(manifest)] : ownScripts;
  const craft = /^(?:npm run -s craft --|npx craft|craft) (.+)$/.exec(command)?.[1];
  if (craft !== undefined) return craftCommands.some((one) => `${craft} `.startsWith(`${one} `));
  const script = /^npm (?:run (?:-s )?)?([a-z:-]+)/.exec(command)?.[1];
  if (script !== undefined)
    return [...known, ...writtenScripts].includes(script) || ['ci', 'install', 'pack'].includes(script);
  const file = /^(?:node|sh|python3(?! -m)|pip install -r|go -C|docker compose -f) (\S+)/.exec(command)?.[1];
  const isOther = /^(?:psql|export|cd|cp|python3 -m|go install|nats-server) |^generated=/.test(command);
  return file === undefined ? isOther : isFile(file);
}

const all = filesIn('', '.md').flatMap((page) =>
  blocksOf(read(page)).flatMap((block) => commandsOf(block).map((command) => ({ page, command }))),
);

it('every command of every block exists', () => {
  expect(all).toContainEqual({ page: 'README.md', command: 'npm ci' });
  expect(all.length).toBeGreaterThan(30);
  const missing = all.filter(({ command, page }) => !exists(command, page));
  expect(missing).toEqual([]);
});

it('tells what is not there', () => {
  const wrong = [
    'npm run none',
    'craft fly',
    'npx craft members',
    'node dist/none.js',
    'docker compose -f none',
    'sh none.sh',
    'python3 none.py',
    'go -C none run .',
    'fly',
  ];
  expect(wrong.filter((command) => exists(command, 'README.md'))).toEqual([]);
  expect(exists('npm run server', 'README.md')).toBe(false);
  expect(exists('npm run dev', 'deploy/examples/bank/README.md')).toBe(true);
});
