/**
 * Every command of every `sh` block is there: scripts of npm, commands of craft, programs, files
 * and options. test/README.md, "Commands of the pages", lists the blocks that also run, with where,
 * and why the others do not.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { blocksOf } from '../../harness/shell.js';
import { filesIn, read } from './files.js';

const scriptLines = (manifest: string) =>
  z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(read(manifest))).scripts;
const scripts = (manifest: string) => Object.keys(scriptLines(manifest));
const ownScriptLines = scriptLines('package.json');
const ownScripts = Object.keys(ownScriptLines);
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

/** Programs that take a file, or a folder. */
const FILE_OF =
  /^(?:node|sh|python3(?! -m)|pip install -r|go -C|docker (?:compose|build) -f|kubectl (?:-n craft )?apply -k|npx vitest run) (\S+)/;

function exists(command: string, page: string): boolean {
  const manifest = join(dirname(page), 'package.json');
  const known = existsSync(join(projectRoot(), manifest)) ? [...ownScripts, ...scripts(manifest)] : ownScripts;
  const craft = /^(?:npm run -s craft --|npx craft|craft) (.+)$/.exec(command)?.[1];
  if (craft !== undefined) return craftCommands.some((one) => `${craft} `.startsWith(`${one} `));
  const script = /^npm (?:run (?:-s )?)?([a-z:-]+)/.exec(command)?.[1];
  if (script !== undefined)
    return [...known, ...writtenScripts].includes(script) || ['ci', 'install', 'pack'].includes(script);
  const file = FILE_OF.exec(command)?.[1];
  const isOther =
    /^(?:psql|export|cd|cp|mkdir|echo|openssl|python3 -m|go install|nats-server|docker push|kubectl -n|useradd|install|systemctl|journalctl) |^generated=/.test(
      command,
    );
  return file === undefined ? isOther : isFile(file);
}

/** Where the program of a script of this project, or of craft, has its options. */
function sourcesOf(command: string): readonly string[] {
  if (/^(?:npm run -s craft --|npx craft|craft) /.test(command)) return filesIn('services/cli', '.ts');
  const script = /^npm run (?:-s )?([a-z:-]+)/.exec(command)?.[1] ?? '';
  const [, folder = '', file = ''] = /dist\/(.+)\/(.+)\.js$/.exec(ownScriptLines[script] ?? '') ?? [];
  return folder === '' ? [] : [`${folder}/${file}.ts`, ...filesIn(folder, 'options.ts')];
}

/** The options of a command that its program does not have. */
function unknownOptions(command: string): string[] {
  const [, ours = ''] = /^(?:npm run (?:-s )?[a-z:-]+ -- |npx |(?=craft ))(.+)$/.exec(command) ?? [];
  const options = [...ours.matchAll(/(?:^| )--([a-z][a-z-]+)/g)].map(([, option = '']) => option);
  if (options.length === 0) return [];
  const text = sourcesOf(command).map(read).join('\n');
  const isThere = (option: string) =>
    option === 'help' ||
    new RegExp(`--${option}\\b|\\b${camel(option)}: (?:\\{|text|flag)`).test(text) ||
    text.includes(`'${option}': {`);
  return options.filter((option) => !isThere(option));
}

const camel = (option: string) => option.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

const all = filesIn('', '.md').flatMap((page) =>
  blocksOf(read(page)).flatMap((block) => commandsOf(block).map((command) => ({ page, command }))),
);

it('every command of every block exists', () => {
  expect(all).toContainEqual({ page: 'README.md', command: 'npm ci' });
  expect(all.length).toBeGreaterThan(30);
  const missing = all.filter(({ command, page }) => !exists(command, page));
  expect(missing).toEqual([]);
});

it('every option of a command of this project is one of its program', () => {
  const withOptions = all.filter(({ command }) => command.includes(' --'));
  expect(withOptions.length).toBeGreaterThan(15);
  const unknown = withOptions.flatMap(({ command }) => unknownOptions(command).map((option) => ({ command, option })));
  expect(unknown).toEqual([]);
  expect(unknownOptions('npm run bench -- --quick --absent')).toEqual(['absent']);
  expect(unknownOptions('craft snapshot restore FILE --replace --absent')).toEqual(['absent']);
});

it('test/README.md says of every block whether it runs', () => {
  const section = /^### Commands of the pages$([\s\S]*?)^#/m.exec(`${read('test/README.md')}\n#`)?.[1] ?? '';
  const rows = [...section.matchAll(/^\| `?([\w/.-]+\.md)`?,? ?([^|]*)\|/gm)];
  const listed = new Set(rows.map(([, page]) => page));
  const pages = [...new Set(all.map(({ page }) => page))];
  expect(pages.filter((page) => !listed.has(page))).toEqual([]);
  expect([...listed].filter((page) => !pages.includes(page ?? ''))).toEqual([]);
});

it('tells what is not there', () => {
  const wrong = [
    'npm run none',
    'craft fly',
    'npx craft members',
    'node dist/none.js',
    'docker compose -f none',
    'kubectl apply -k none',
    'sh none.sh',
    'python3 none.py',
    'go -C none run .',
    'fly',
  ];
  expect(wrong.filter((command) => exists(command, 'README.md'))).toEqual([]);
  expect(exists('npm run server', 'README.md')).toBe(false);
  expect(exists('npm run dev', 'deploy/examples/bank/README.md')).toBe(true);
});
