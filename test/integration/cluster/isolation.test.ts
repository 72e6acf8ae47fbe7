/**
 * What an applier cannot do without is gone: the replica of its server serves on, and the applier
 * comes back by itself. One process a server.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { CHECKPOINT_INTERVAL } from '../../../shared/merge/merge.js';
import {
  eventually,
  startTestCluster,
  startTestPostgres,
  type TestCluster,
  type TestPostgres,
} from '../../harness/index.js';
import { type Database, readDatabase } from './inspect.js';

const GROUPS = [0, 1, 2];
/** A command that waits for no database is answered within this (milliseconds). */
const AT_ONCE_MS = 5_000;
const SERVERS = ['s1', 's2', 's3'];

let test: TestCluster;
let client: CraftClient;
const notices: string[] = [];

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly service: string;
  readonly failed?: string;
  readonly err?: { readonly message: string };
  readonly attempt?: number;
  readonly delayMs?: number;
}

async function logOf(server: string): Promise<Line[]> {
  const text = await readFile(join(test.cluster.dataDir, server, `${server}.log`), 'utf8');
  return text.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : []));
}

/** Waits for a line of the log of `server` that is written from now on. */
async function untilSaid(server: string, pattern: RegExp, action: () => Promise<unknown>): Promise<Line> {
  const before = (await logOf(server)).length;
  await action();
  return eventually(
    `${server} says ${pattern}`,
    async () => (await logOf(server)).slice(before).find(({ msg }) => pattern.test(msg)),
    { timeoutMs: 30_000 },
  );
}

/** Through the leader of every group: a quorum of replicas is there, and each of them is led. */
async function expectCommitted(name: string, input: (id: string) => object): Promise<void> {
  for (const group of GROUPS) {
    const startMs = performance.now();
    await client.command(name, input(`committed-${Math.random()}`), { group, ack: 'committed' });
    expect(performance.now() - startMs).toBeLessThan(AT_ONCE_MS);
  }
}

/** No service has ended that had started, and no process since they had these ids. */
async function expectNeverStopped(servers: readonly string[], pids: Readonly<Record<string, number>>): Promise<void> {
  expect(test.cluster.pids).toEqual(pids);
  for (const server of servers) {
    expect((await logOf(server)).filter(({ msg }) => /cannot go on: |stays down/.test(msg))).toEqual([]);
  }
  expect(notices).toEqual([]);
}

async function run<T extends object>(url: string, text: string): Promise<T[]> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return (await sql.unsafe(text)) as unknown as T[];
  } finally {
    await sql.end();
  }
}

describe('the built-in machine, with the databases of two of three servers on another Postgres', () => {
  let other: TestPostgres;
  const urlOf = (server: string) => (server === 's1' ? test.cluster.databaseUrl(server) : other.url(`other_${server}`));
  const put = (id: string) => ({ key: id, value: 1 });

  async function expectEqual(mergedIndex: number): Promise<void> {
    const all = await eventually(
      `all databases from ${mergedIndex} on`,
      async () => {
        const found: Database[] = await Promise.all(SERVERS.map((server) => readDatabase(urlOf(server))));
        const places = new Set(found.map((one) => one.mergedIndex));
        return places.size === 1 && (found[0]?.mergedIndex ?? 0) >= mergedIndex ? found : undefined;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  }

  beforeAll(async () => {
    other = await startTestPostgres(['other_s2', 'other_s3']);
    await other.kill('SIGKILL');
    test = await startTestCluster({
      environmentOf: (server) => (server === 's1' ? {} : { CRAFT_DATABASE_URL: other.url(`other_${server}`) }),
      onNotice: (line) => notices.push(line),
    });
    client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 30_000 });
  });
  afterAll(async () => {
    await client?.close();
    await test?.stop();
    await other?.stop();
  });

  it('commands are committed at once while it is away, and its appliers come by themselves when it is back', async () => {
    const { pids } = test.cluster;
    await expectCommitted('kv.put', put);
    for (const server of ['s2', 's3']) {
      const line = await eventually(`a third failed try of ${server}`, async () =>
        (await logOf(server)).find(({ attempt }) => (attempt ?? 0) > 3),
      );
      expect(line.failed).toBe('applier');
      expect(line.msg).toMatch(
        /^the applier cannot start: the database of server s[23] does not answer: .*ECONNREFUSED/,
      );
      expect(line.msg).toMatch(/; try 4 in 1000 ms$/);
      // One line a failed try, and nothing else about it.
      const of = (await logOf(server)).filter(({ msg }) => msg.includes('ECONNREFUSED'));
      expect(of.every(({ service }) => service === 'main')).toBe(true);
    }
    await other.restart();
    const { index = 0 } = await client.kv.put('last', {});
    await expectEqual(index);
    expect(test.cluster.pids).toEqual(pids);
    expect(notices).toEqual([]);
  }, 120_000);

  it('a table that is dropped at one server comes back by itself, on an idle cluster, while the rest serves', async () => {
    const { pids } = test.cluster;
    const { index = 0 } = await client.kv.put('before', 1);
    await expectEqual(index);
    await untilSaid('s3', /^a snapshot is installed$/, () => run(urlOf('s3'), 'drop table kv'));
    const said = (await logOf('s3'))
      .filter(({ msg }) => msg === 'the state cannot go on')
      .map(({ err }) => err?.message);
    expect(said).toContainEqual(expect.stringContaining('public.kv is missing'));
    // Nothing was written for it.
    await expectEqual(index);
    await expectCommitted('kv.put', put);
    const { index: last = 0 } = await client.kv.put('last', {});
    await expectEqual(last);
    await expectNeverStopped(['s3'], pids);
  }, 120_000);

  it('a database that is replaced by an empty one is filled again, on an idle cluster', async () => {
    const { pids } = test.cluster;
    const { index = 0 } = await client.kv.put('before', 2);
    await expectEqual(index);
    // In one go: nothing may find the half of it.
    await run(urlOf('s2'), 'drop schema craft cascade; drop table kv');
    // Nothing was written for it.
    await expectEqual(index);
    await expectCommitted('kv.put', put);
    const { index: last = 0 } = await client.kv.put('last', {});
    await expectEqual(last);
    await expectNeverStopped(['s2'], pids);
  }, 120_000);
});

describe("a user's machine", () => {
  const add = (id: string) => ({ id });
  const urlOf = (server: string) => test.cluster.databaseUrl(server);

  beforeAll(async () => {
    notices.length = 0;
    const machine = join(projectRoot(), 'dist/test/integration/cluster/ledger-machine.js');
    test = await startTestCluster({
      environment: { CRAFT_STATE_MACHINE: machine },
      onNotice: (line) => notices.push(line),
    });
    client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 30_000 });
  });
  afterAll(async () => {
    await client?.close();
    await test?.stop();
  });

  async function expectEqual(servers: readonly string[], index: number): Promise<void> {
    const rows = await eventually(`${servers} from ${index} on`, async () => {
      const all = await Promise.all(
        servers.map(async (server) => {
          const text = `select (select max(at) from ledger) as last, md5(string_agg(ledger::text, ';' order by id)) as hash from ledger`;
          return (await run<{ last: string; hash: string }>(urlOf(server), text))[0];
        }),
      );
      const isThere = all.every((one) => Number(one?.last) >= index) && new Set(all.map((one) => one?.last)).size === 1;
      return isThere ? all : undefined;
    });
    expect(new Set(rows.map((one) => one?.hash)).size).toBe(1);
  }

  it('whose migration fails at one server keeps that applier from starting: the log names it, and the rest serves', async () => {
    const { index: first = 0 } = await client.command('add', add('first'));
    await expectEqual(SERVERS, first);
    await test.cluster.kill('s3', 'SIGTERM');
    await run(urlOf('s3'), 'create table kept as table craft.machine_migrations; delete from craft.machine_migrations');
    const said = await untilSaid('s3', /^the applier cannot start/, () => test.cluster.restart('s3'));
    await test.cluster.waitReady();
    expect(said.msg).toBe(
      'the applier cannot start: migration 0000_ledger of state machine ledger failed: ' +
        'relation "ledger" already exists (SQLSTATE 42P07); try 2 in 250 ms',
    );
    const pids = test.cluster.pids;
    await expectCommitted('add', add);
    // The second statement of the second one: the first one has been undone each time.
    const mended =
      'insert into craft.machine_migrations select * from kept order by created_at limit 1; drop table kept';
    await run(urlOf('s3'), `alter table ledger drop column amount; ${mended}`);
    await untilSaid(
      's3',
      /: migration 0001_amounts of state machine ledger failed: relation "ledger_at" already exists/,
      () => Promise.resolve(),
    );
    await run(urlOf('s3'), 'drop index ledger_at');
    const { index = 0 } = await client.command('add', add('second'));
    await expectEqual(SERVERS, index);
    expect(test.cluster.pids).toEqual(pids);
    expect(notices).toEqual([]);
  }, 120_000);

  it('whose table is dropped at one server, under load, comes back by itself, and no command has another outcome', async () => {
    const { pids } = test.cluster;
    await untilSaid('s3', /^a snapshot is installed$/, async () => {
      await run(urlOf('s3'), 'drop table ledger');
      for (let sent = 0; sent <= CHECKPOINT_INTERVAL; sent += 100) {
        const some = Array.from({ length: 100 }, (_, at) => `many-${sent + at}`);
        await Promise.all(some.map((id) => client.command('add', add(id), { ack: 'committed' })));
      }
    });
    const { index = 0 } = await client.command('add', add('third'));
    await expectEqual(SERVERS, index);
    expect((await client.status()).map(({ state }) => state?.divergence)).toEqual([undefined, undefined, undefined]);
    await expectNeverStopped(['s3'], pids);
  }, 120_000);
});
