/**
 * Starts that fail, wait, or are given up: nothing stays open, and the process ends when it is
 * asked to. On a real NATS server, and processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { connect as createOnward, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { servicesProgram } from '../../deploy/local/project.js';
import { startApplier } from '../../services/applier/start.js';
import { startMerger } from '../../services/merger/start.js';
import { Runner } from '../../services/replica/runner.js';
import { startReplica } from '../../services/replica/start.js';
import { connectCraft } from '../../shared/client/index.js';
import { applierConfig, replicaConfig } from '../../shared/config/config.js';
import type { Service } from '../../shared/config/service.js';
import { SegmentLogStore } from '../../shared/log-store/segments/store.js';
import {
  eventually,
  freePort,
  startTestNats,
  startTestPostgres,
  sumOf,
  type TemporaryFolder,
  type TestNats,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';
import { MemoryEngine } from '../memory/engine.js';

/**
 * The subscription of a service at which its connection to NATS refuses, counted from the
 * connection on; none by default.
 */
const refusing = vi.hoisted(() => ({ at: Number.POSITIVE_INFINITY, count: 0 }));
vi.mock('../../shared/wire/connection.js', async (original) => {
  const actual = await original<typeof import('../../shared/wire/connection.js')>();
  const connectNats: typeof actual.connectNats = async (...given) => {
    const connection = await actual.connectNats(...given);
    const subscribe = connection.subscribe.bind(connection);
    refusing.count = 0;
    connection.subscribe = (...about) => {
      if (++refusing.count === refusing.at) throw new Error(`subscription ${refusing.at} is refused`);
      return subscribe(...about);
    };
    return connection;
  };
  return { ...actual, connectNats };
});

/** An order to stop is carried out within this when nothing is in flight (milliseconds). */
const STOP_MS_MAX = 5_000;

let nats: TestNats;
let monitorPort: number;
let database: TestPostgres;
let folder: TemporaryFolder;
let running: ChildProcess | undefined;
const listening: Server[] = [];
const sockets: Socket[] = [];
/** Of the servers of this test. */
let cluster = '';
let clusters = 0;

beforeAll(async () => {
  monitorPort = await freePort();
  [nats, database] = await Promise.all([startTestNats({ monitorPort }), startTestPostgres()]);
});
beforeEach(async () => {
  folder = await temporaryFolder('starts');
  cluster = `starts${clusters++}`;
  await database.createDatabases([cluster]);
});
afterEach(async () => {
  running?.kill('SIGKILL');
  running = undefined;
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(listening.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  await folder.remove();
});
afterAll(async () => {
  await nats?.stop();
  await database?.stop();
});

function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return {
    CRAFT_CLUSTER: cluster,
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1',
    CRAFT_NATS_URL: nats.url,
    CRAFT_DATA_DIR: folder.path,
    CRAFT_DATABASE_URL: database.url(cluster),
    ...more,
  };
}

interface Running {
  readonly process: ChildProcess;
  /** Waits for something in what it says. */
  said(pattern: RegExp): Promise<string>;
}

function start(services: readonly string[], more: NodeJS.ProcessEnv): Running {
  const env = { ...process.env, ...environment(more) };
  const child = spawn(process.execPath, [servicesProgram(), ...services], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  running = child;
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  const said = (pattern: RegExp) =>
    eventually(`${pattern} in what it says`, () => (pattern.test(text) ? text : ''), { timeoutMs: 20_000 });
  return { process: child, said };
}

async function expectStops({ process: child }: Running): Promise<void> {
  expect(child.exitCode).toBeNull();
  const startMs = performance.now();
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
  expect(performance.now() - startMs).toBeLessThan(STOP_MS_MAX);
}

/** A port on which something accepts, and never says a word; `connections` counts. */
async function silentPort(): Promise<{ port: number; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined).resume();
    sockets.push(socket);
  });
  listening.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return { port: typeof address === 'object' ? (address?.port ?? 0) : 0, connections: () => connections };
}

async function metricsOf(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

it('an applier between two tries: its metrics are there, and the process stops in order', async () => {
  const metricsPort = await freePort();
  const server = start(['replica', 'merger', 'applier'], {
    CRAFT_DATABASE_URL: `postgres://craft@127.0.0.1:${await freePort()}/none`,
    CRAFT_METRICS_PORT: String(metricsPort),
  });
  await server.said(/the applier cannot start: the database of server s1 does not answer: .*; try 4 in 1000 ms/);
  const text = await metricsOf(metricsPort);
  expect(sumOf(text, 'craft_service_restarts_total', { cluster, service: 'applier', server: 's1' })).toBeGreaterThan(1);
  expect(sumOf(text, 'craft_service_restarts_total', { service: 'replica', server: 's1' })).toBe(0);
  expect(sumOf(text, 'craft_groups_led', { service: 'replica', server: 's1' })).toBeDefined();
  await expectStops(server);
}, 60_000);

it('an applier that comes back has its metrics again, on the same port', async () => {
  const metricsPort = await freePort();
  const port = await freePort();
  const server = start(['applier'], {
    CRAFT_DATABASE_URL: `postgres://craft:craft@127.0.0.1:${port}/${cluster}`,
    CRAFT_METRICS_PORT: String(metricsPort),
  });
  await server.said(/try 3 in 500 ms/);
  expect(await metricsOf(metricsPort)).not.toContain('craft_applied_index');
  // The way to the database is there now.
  const way = createServer((socket) => {
    const onward = createOnward(database.port, '127.0.0.1');
    socket.pipe(onward).pipe(socket);
    for (const one of [socket, onward]) {
      one.on('error', () => undefined);
      sockets.push(one);
    }
  });
  listening.push(way);
  way.listen(port, '127.0.0.1');
  await server.said(/the applier has started again/);
  expect(sumOf(await metricsOf(metricsPort), 'craft_applied_index', { service: 'applier', server: 's1' })).toBe(0);
  await expectStops(server);
}, 60_000);

it('an applier whose database says nothing: its start is given up', async () => {
  const silent = await silentPort();
  const server = start(['applier'], { CRAFT_DATABASE_URL: `postgres://craft@127.0.0.1:${silent.port}/none` });
  await eventually('a connection', () => silent.connections() > 0, { timeoutMs: 20_000 });
  await expectStops(server);
}, 60_000);

it('a replica, a merger, an applier whose NATS is away: their starts are given up', async () => {
  const silent = await silentPort();
  for (const service of ['replica', 'merger', 'applier']) {
    const before = silent.connections();
    const server = start([service], { CRAFT_NATS_URL: `nats://127.0.0.1:${silent.port}` });
    await eventually('a connection', () => silent.connections() > before, { timeoutMs: 20_000 });
    await expectStops(server);
  }
}, 60_000);

const LOG_STORES = [{ CRAFT_LOG_STORE: 'segments' }, { CRAFT_LOG_STORE: 'jetstream', CRAFT_LOG_STORE_SYNC: 'vouched' }];

it.each(LOG_STORES)(
  'services that NATS refuses for a while are started again, with the log that was there: $CRAFT_LOG_STORE',
  async (kind) => {
    let isRefusing = false;
    const refused = `INFO {"server_id":"x","version":"2.10.0","proto":1,"max_payload":1048576}\r\n-ERR 'Authorization Violation'\r\n`;
    const through = new Set<Socket>();
    const way = createServer((socket) => {
      socket.on('error', () => undefined);
      sockets.push(socket);
      if (isRefusing) {
        socket.end(refused);
        return;
      }
      const onward = createOnward(nats.port, '127.0.0.1');
      onward.on('error', () => undefined);
      socket.pipe(onward).pipe(socket);
      // Else NATS would go on sending to a subscriber that is gone.
      socket.once('close', () => onward.destroy());
      sockets.push(onward);
      through.add(socket);
    });
    listening.push(way);
    const port = await freePort();
    way.listen(port, '127.0.0.1');
    const server = start(['replica', 'merger', 'applier'], { CRAFT_NATS_URL: `nats://127.0.0.1:${port}`, ...kind });
    const client = await connectCraft({ servers: nats.url, cluster, timeoutMs: 20_000 });
    try {
      const first = await client.kv.put('key', 1);
      isRefusing = true;
      for (const socket of through) socket.destroy();
      for (const name of ['replica', 'merger', 'applier']) {
        await server.said(
          new RegExp(`the ${name} cannot go on: the NATS connection is closed for good; try 2 in 250 ms`),
        );
        await server.said(new RegExp(`the ${name} cannot start: .*Authorization Violation.*; try 3 in 500 ms`, 'i'));
      }
      isRefusing = false;
      for (const name of ['replica', 'merger', 'applier'])
        await server.said(new RegExp(`the ${name} has started again`));
      const second = await client.kv.put('key', 2);
      expect([first.result?.version, second.result?.version]).toEqual([1, 2]);
      expect(second.index).toBe((first.index ?? 0) + 1);
    } finally {
      await client.close();
    }
    await expectStops(server);
  },
  60_000,
);

it('a replica whose folder cannot be written is tried again, and the others begin when it has started', async () => {
  await writeFile(join(folder.path, 'log'), 'in the way');
  const server = start(['replica', 'merger', 'applier'], {});
  const before = await server.said(/the replica cannot start: .*; try 3 in 500 ms/);
  expect(before).not.toMatch(/"service":"(merger|applier)"/);
  await rm(join(folder.path, 'log'));
  await server.said(/the replica has started again/);
  await server.said(/"service":"merger".*"merging"/);
  await server.said(/"service":"applier".*"applying"/);
  await expectStops(server);
}, 60_000);

it('wrong configuration of any service ends the process before anything is started', async () => {
  const wrong: [NodeJS.ProcessEnv, RegExp][] = [
    [{ CRAFT_APPLY_COMMANDS_MAX: '0' }, /CRAFT_APPLY_COMMANDS_MAX/],
    [{ CRAFT_STATE_MACHINE: join(folder.path, 'none.js') }, /CRAFT_STATE_MACHINE: .*none\.js does not load/],
  ];
  for (const [more, message] of wrong) {
    const server = start(['replica', 'merger', 'applier'], more);
    const exit = once(server.process, 'exit');
    expect(await server.said(/wrong configuration/)).toMatch(message);
    expect(await exit).toEqual([2, null]);
    expect(await readdir(folder.path)).toEqual([]);
  }
}, 60_000);

/**
 * What a start opens and a start that fails has closed again: at NATS, at Postgres, in the folder.
 */
async function expectNothingOpen(): Promise<void> {
  await eventually('no connection to NATS', async () => {
    const found = await fetch(`http://127.0.0.1:${monitorPort}/connz`);
    return ((await found.json()) as { num_connections: number }).num_connections === 0;
  });
  const sql = postgres(database.url('postgres'), { max: 1, onnotice: () => undefined });
  await eventually('no session in the database', async () => {
    const [found] = await sql`select count(*)::int as n from pg_stat_activity where application_name like 'craft %'`;
    return found?.['n'] === 0;
  });
  await sql.end();
  const store = await SegmentLogStore.open({ cluster, server: 's1', groups: 3, folder: join(folder.path, 'log') });
  await store.close();
}

const STARTS: Readonly<Record<string, (more: NodeJS.ProcessEnv, signal?: AbortSignal) => Promise<Service>>> = {
  replica: (more, signal) => startReplica(replicaConfig(environment(more)), undefined, {}, signal),
  merger: (more, signal) => startMerger(replicaConfig(environment(more)), {}, signal),
  applier: (more, signal) => startApplier(applierConfig(environment(more)), {}, signal),
};

for (const [name, startOne] of Object.entries(STARTS)) {
  it(`a start of the ${name} that cannot have its port closes what it has opened; the next one succeeds`, async () => {
    const taken = await silentPort();
    const more = { CRAFT_METRICS_PORT: String(taken.port), CRAFT_LOG_LEVEL: 'silent' };
    await expect(startOne(more)).rejects.toThrow(`the metrics port ${taken.port} cannot be opened: `);
    await expectNothingOpen();
    const service = await startOne({ CRAFT_METRICS_PORT: String(await freePort()), CRAFT_LOG_LEVEL: 'silent' });
    await service.stop();
    await expectNothingOpen();
  });

  it(`a start of the ${name} that fails at any of its subscriptions leaves nothing open, and no timer`, async () => {
    const ticking = watchIntervals();
    // What a replica does with a log store that is closed ends its turns, too.
    const failed = vi.spyOn(Runner.prototype, 'fail' as never);
    try {
      let service: Service | undefined;
      for (refusing.at = 1; service === undefined; refusing.at++) {
        service = await startOne({ CRAFT_LOG_LEVEL: 'silent' }).catch((error: Error) => {
          expect(error.message).toBe(`subscription ${refusing.at} is refused`);
          return undefined;
        });
        if (service !== undefined) break;
        await expectNothingOpen();
        await eventually('no timer', () => ticking.size === 0);
        expect(failed).not.toHaveBeenCalled();
      }
      expect(refusing.at).toBeGreaterThan(2);
      expect(ticking.size).toBeGreaterThan(0);
      await service.stop();
      await expectNothingOpen();
      await eventually('no timer', () => ticking.size === 0);
    } finally {
      refusing.at = Number.POSITIVE_INFINITY;
      vi.restoreAllMocks();
    }
  }, 60_000);
}

/** The intervals that begin from now on and have not ended. */
function watchIntervals(): ReadonlySet<unknown> {
  const ticking = new Set<unknown>();
  const { setInterval: begin, clearInterval: end } = globalThis;
  vi.spyOn(globalThis, 'setInterval').mockImplementation(((...given: Parameters<typeof begin>) => {
    const timer = begin(...given);
    ticking.add(timer);
    return timer;
  }) as typeof begin);
  vi.spyOn(globalThis, 'clearInterval').mockImplementation((timer) => {
    ticking.delete(timer);
    end(timer);
  });
  return ticking;
}

it('a stop leaves a database that does not answer after its deadline, says so, and closes the rest', async () => {
  class HungEngine extends MemoryEngine {
    override close(): Promise<void> {
      return new Promise(() => undefined);
    }
  }
  const engine = new HungEngine({ resultWindowMs: 60_000 });
  const said: string[] = [];
  const logger = pino({ level: 'error' }, { write: (line) => void said.push(line) });
  const service = await startApplier(applierConfig(environment({})), { engine, logger });
  const startMs = performance.now();
  // Another applier may open the database: it takes over (T8).
  await service.stop();
  expect(said.join('')).toContain('closing the database: not within');
  expect(performance.now() - startMs).toBeLessThan(7_000);
  await expectNothingOpen();
}, 20_000);

it('starts that are given up close what they have opened, and leave the connection that they waited for', async () => {
  const silent = await silentPort();
  const more = { CRAFT_NATS_URL: `nats://127.0.0.1:${silent.port}`, CRAFT_LOG_LEVEL: 'silent' };
  for (const startOne of Object.values(STARTS)) {
    const before = silent.connections();
    const stop = new AbortController();
    const starting = startOne(more, stop.signal);
    await eventually('a connection', () => silent.connections() > before);
    stop.abort(new Error('given up'));
    await expect(starting).rejects.toThrow('given up');
  }
  await expectNothingOpen();
});

it('a cluster whose name differs from that of another one only in case is refused, and the other one goes on', async () => {
  const first = start(['replica', 'merger', 'applier'], {});
  await first.said(/applying/);
  const client = await connectCraft({ servers: nats.url, cluster, timeoutMs: 20_000 });
  try {
    await client.kv.put('key', 1);
    const name = `${cluster}_other`;
    await database.createDatabases([name]);
    const other = environment({ CRAFT_CLUSTER: cluster.toUpperCase(), CRAFT_DATABASE_URL: database.url(name) });
    const refusal = {
      code: 'OTHER_CLUSTER',
      message: expect.stringMatching(new RegExp(`stream .*"${cluster}".*"${cluster.toUpperCase()}".*case`)) as unknown,
    };
    // One after the other: each finds it out by itself. The replica needs its register to start,
    // and does not wait for another one.
    const startMs = performance.now();
    const folder = { CRAFT_DATA_DIR: join(other['CRAFT_DATA_DIR'] ?? '', 'other'), CRAFT_LOG_LEVEL: 'silent' };
    await expect(startReplica(replicaConfig({ ...other, ...folder }))).rejects.toMatchObject(refusal);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    for (const service of ['merger', 'applier']) {
      const config = applierConfig({ ...other, CRAFT_LOG_LEVEL: 'silent' });
      const started = await (service === 'merger' ? startMerger(config) : startApplier(config));
      expect(await started.failed).toMatchObject(refusal);
      await started.stop();
    }
    expect((await client.kv.put('key', 2)).result).toMatchObject({ version: 2 });
  } finally {
    await client.close();
  }
  await expectStops(first);
});
