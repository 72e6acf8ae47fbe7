/**
 * Passwords, tokens and keys go where they belong, and nowhere else: no log, trace, answer, metric
 * or title of a process has them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type OtlpReceiver, startOtlpReceiver } from '../../deploy/local/otlp-receiver.js';
import { projectRoot, servicesProgram } from '../../deploy/local/project.js';
import { connectCraft } from '../../shared/client/index.js';
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

/** In an address some of it is encoded. */
const PLANTED = 'plant#ed';
const secret = (of: string) => encodeURIComponent(`${PLANTED} for ${of}`);
const FOUND = /plant(?:#|%23)ed/gi;

let nats: TestNats;
let monitorPort: number;
let database: TestPostgres;
let folder: TemporaryFolder;
let receiver: OtlpReceiver;
let admin: postgres.Sql;
const running: ChildProcess[] = [];
/** Everything that was said anywhere, with where. */
const said: [where: string, text: string][] = [];

beforeAll(async () => {
  monitorPort = await freePort();
  [nats, database, folder, receiver] = await Promise.all([
    startTestNats({ monitorPort }),
    startTestPostgres(['craft']),
    temporaryFolder('secrets'),
    startOtlpReceiver(),
  ]);
  admin = postgres(database.url('craft'), { onnotice: () => undefined });
  const password = decodeURIComponent(secret('postgres'));
  await admin.unsafe(`create role planted superuser login password '${password}'`);
});
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await admin?.end();
  await receiver?.stop();
  await Promise.all([nats?.stop(), database?.stop()]);
  await folder?.remove();
});

function databaseUrl(password: string): string {
  return `postgres://planted:${password}@127.0.0.1:${database.port}/craft`;
}

function run(program: string, words: readonly string[], more: NodeJS.ProcessEnv = {}) {
  const env = {
    ...process.env,
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1',
    CRAFT_DATA_DIR: folder.path,
    CRAFT_LOG_LEVEL: 'trace',
    CRAFT_NATS_URL: `nats://services:${secret('nats')}@127.0.0.1:${nats.port}`,
    CRAFT_DATABASE_URL: databaseUrl(secret('postgres')),
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer ${secret('traces')}`,
    OTEL_BSP_SCHEDULE_DELAY: '100',
    ...more,
  };
  const child = spawn(process.execPath, [program, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  const exit = once(child, 'exit').then(() => said.push([`${program} (${Object.keys(more)})`, text]));
  const says = (pattern: RegExp) =>
    eventually(`${pattern} in what it says`, () => pattern.test(text), { timeoutMs: 30_000 });
  return { child, exit, says, text: () => text };
}

it('a server at trace level, with its databases, its NATS and its traces lost and found', async () => {
  const metricsPort = await freePort();
  const server = run(servicesProgram(), ['replica', 'merger', 'applier'], { CRAFT_METRICS_PORT: String(metricsPort) });
  const client = await connectCraft({ servers: nats.url, timeoutMs: 30_000 });
  try {
    await client.kv.put('key', 1);
    await eventually('its spans', () => receiver.spans.length > 0);
    said.push(['traces', JSON.stringify(receiver.spans)]);
    said.push(['title of the process', await readFile(`/proc/${server.child.pid}/cmdline`, 'utf8')]);
    said.push(['sessions', JSON.stringify(await admin`select application_name, query from pg_stat_activity`)]);
    const connections = await fetch(`http://127.0.0.1:${monitorPort}/connz?auth=1`);
    said.push(['connections', await connections.text()]);

    await receiver.stop();
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'planted'`;
    await database.kill('SIGKILL');
    void client.kv.put('key', 2).catch(() => undefined);
    await server.says(/the state machine does not take the next entries|ECONNREFUSED/);
    await database.restart();
    await nats.kill('SIGKILL');
    await server.says(/the connection to NATS is lost/);
    await nats.restart();
    const { index } = await client.kv.put('key', 3);
    expect(index).toBeGreaterThan(1);
    await server.says(/span export failed/);
    said.push(['status', JSON.stringify(await client.status())]);
    said.push(['description', JSON.stringify(await client.describe())]);
    const metrics = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
    said.push(['metrics', await metrics.text()]);
  } finally {
    await client.close();
  }
  server.child.kill('SIGTERM');
  await server.exit;
  expect(server.text().split('\n').length).toBeGreaterThan(10);
}, 90_000);

it('servers and craft with settings that are wrong', async () => {
  const key = join(folder.path, 'key');
  await writeFile(key, secret('the file of a key'));
  const away = `nats://services:${secret('nats')}@127.0.0.1:${await freePort()}`;
  const servers: [more: NodeJS.ProcessEnv, says: RegExp][] = [
    [{ CRAFT_DATABASE_URL: `postgres://planted:${secret('postgres')}@no host:x/craft` }, /CRAFT_DATABASE_URL/],
    [{ CRAFT_DATABASE_URL: databaseUrl(secret('another')) }, /password authentication failed/],
    [{ CRAFT_NATS_URL: away }, /NATS cannot be reached/],
    [{ CRAFT_NATS_TOKEN: secret('a token'), CRAFT_NATS_URL: away }, /NATS cannot be reached/],
    [{ CRAFT_NATS_NKEY: key }, /cannot start/],
    [{ CRAFT_NATS_CREDS: key }, /cannot start/],
    [
      { CRAFT_NATS_TLS_CA: key, CRAFT_NATS_TLS_CERT: key, CRAFT_NATS_TLS_KEY: key },
      /NATS cannot be reached|cannot start/,
    ],
  ];
  const starts = servers.map(async ([more, says], at) => {
    const own = { CRAFT_CLUSTER: `wrong${at}`, CRAFT_DATA_DIR: join(folder.path, `wrong${at}`) };
    const server = run(servicesProgram(), ['replica', 'merger', 'applier'], { ...own, ...more });
    await Promise.race([server.exit, server.says(says)]);
    server.child.kill('SIGTERM');
    await server.exit;
    expect(server.text(), `${Object.keys(more)}`).toMatch(says);
  });
  await Promise.all(starts);
  const calls: string[][] = [
    ['--nats', away, 'status', '--json'],
    ['--nats', `nats://u:${secret('nats')}@no host:x`, 'status'],
    ['--nats', nats.url, '--token', secret('a token'), 'status'],
    ['--nats', nats.url, '--nkey', key, 'status'],
  ];
  const called = calls.map(async (words) => {
    const call = run(join(projectRoot(), 'dist/services/cli/main.js'), words, { XDG_CONFIG_HOME: folder.path });
    await call.exit;
    expect(call.text()).not.toBe('');
  });
  await Promise.all(called);
}, 120_000);

it('say none of them', () => {
  const found = said.flatMap(([where, text]) => {
    const [line] = text.split('\n').filter((one) => one.match(FOUND));
    return line === undefined ? [] : [[where, line]];
  });
  expect(found).toEqual([]);
  // What was planted would be found.
  expect(decodeURIComponent(secret('x'))).toMatch(FOUND);
});
