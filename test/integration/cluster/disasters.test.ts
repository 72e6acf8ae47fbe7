/**
 * What operators and machines do to a cluster. Each is told within five seconds, by status and
 * metrics, with what to do. The cluster goes on by itself once it is over, and the databases are
 * equal.
 *
 * Elsewhere: full disks and clocks (answers.test.ts), databases that are replaced
 * (isolation.test.ts), states that differ (differing.test.ts). Also kill -9 of every part under
 * load (faults.test.ts), and NATS servers of a cluster that are restarted one after the other
 * (nats-nodes.test.ts).
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type JetStreamManager, jetstream, jetstreamManager, type StreamConfig } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { troublesOf } from '../../../services/cli/conditions.js';
import { assess } from '../../../services/cli/health.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import {
  eventually,
  expectAbove,
  freePortRow,
  startTestCluster,
  sumOf,
  type TestCluster,
} from '../../harness/index.js';
import { converged } from './inspect.js';

/** From a disaster until it is told (milliseconds). */
const TOLD_MS = 5_000;
const SERVERS = ['s1', 's2', 's3'];
const stream = (server: string): string => `CRAFT_LOG_${server}`;

let test: TestCluster;
let connection: NatsConnection;
let client: CraftClient;
let manager: JetStreamManager;
let puts = 0;

beforeAll(async () => {
  const metricsPort = await freePortRow(SERVERS.length);
  test = await startTestCluster({ servers: SERVERS, groups: 2, natsFileStoreMax: '48MB', metricsPort });
  connection = await connect({ servers: test.cluster.natsUrl, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  client = await connectCraft({ connection, timeoutMs: 60_000 });
  manager = await jetstreamManager(connection);
  await expectWell();
});
afterEach(() => expectWell());
afterAll(async () => {
  await connection?.close();
  await test?.stop();
});

const urlOf = (server: string): string => test.cluster.metricsUrls.get(server) ?? '';

async function scrape(server: string, path = '/metrics'): Promise<string> {
  return (await fetch(new URL(path, urlOf(server)))).text();
}

const put = (ack: 'applied' | 'committed' = 'committed') => client.kv.put('n', ++puts, { ack });

async function verdict() {
  const [servers, healths] = await Promise.all([client.status(), client.health()]);
  return assess(servers, healths);
}

/** The verdict of `craft status`; one look may fall into a change of leaders. */
async function expectLevel(level: string): Promise<void> {
  const what = `a cluster that is ${level}`;
  await eventually(what, async () => (await verdict()).level === level, { timeoutMs: TOLD_MS, everyMs: 100 });
}

/** Everything is applied everywhere, the databases are equal, and nobody complains. */
async function expectWell(): Promise<void> {
  const { index = 0 } = await put('applied');
  const all = await converged(test.cluster, index, 60_000);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  await eventually(
    'a healthy cluster',
    async () => {
      const { level, problems } = await verdict();
      if (level !== 'healthy') throw new Error(problems.join('\n'));
      return true;
    },
    { timeoutMs: 30_000, everyMs: 200 },
  );
}

interface Told {
  readonly by: readonly string[];
  readonly condition: string;
  readonly why: RegExp;
  readonly remedy: RegExp;
}

/**
 * By the status, as `craft status` prints it, and by the metrics. `condition`: with its service,
 * for example `merger publish`.
 */
async function expectTold({ by, condition, why, remedy }: Told): Promise<void> {
  const [service = '', code = ''] = condition.split(' ');
  await eventually(
    `${condition} told by ${by.join(', ')}`,
    async () => {
      const healths = await client.health();
      const all = healths.flatMap((one) => troublesOf(one, true));
      for (const server of by) {
        const line = all.find((text) => text.startsWith(`${server} ${service}: `) && text.includes(`(${code}, since `));
        expect(line ?? all).toEqual(expect.stringMatching(why));
        expect(line).toMatch(remedy);
        expect(sumOf(await scrape(server), 'craft_health', { service, server, condition: code })).toBe(0);
      }
      return true;
    },
    { timeoutMs: TOLD_MS, everyMs: 100 },
  );
}

async function onDatabase<T>(server: string, work: (sql: postgres.Sql) => Promise<T>, database?: string): Promise<T> {
  const url = new URL(test.cluster.databaseUrl(server));
  if (database !== undefined) url.pathname = `/${database}`;
  const sql = postgres(url.href, { max: 1, onnotice: () => undefined });
  try {
    return await work(sql);
  } finally {
    await sql.end();
  }
}

async function limit(server: string, limits: Partial<StreamConfig>): Promise<void> {
  await manager.streams.update(stream(server), limits);
}

describe('consumers', () => {
  it('are not there to be deleted, paused or stolen', async () => {
    await put('applied');
    for await (const { config, state } of manager.streams.list()) {
      expect([config.name, state.consumer_count]).toEqual([config.name, 0]);
    }
  });
});

describe('the stream of a merged log', () => {
  it('goes on when it is emptied, and when it is deleted', async () => {
    await manager.streams.purge(stream('s1'));
    await put('applied');
    await manager.streams.delete(stream('s1'));
    await put('applied');
    await eventually('the stream again', async () => (await manager.streams.info(stream('s1'))).state.messages > 0);
  });

  it('says that it is sealed, and is made anew when it is deleted', async () => {
    await limit('s2', { sealed: true });
    try {
      await put();
      const told = { by: ['s2'], remedy: /nats stream rm CRAFT_LOG_s2/ };
      await expectTold({ ...told, condition: 'merger publish', why: /sealed/ });
      await expectTold({ ...told, condition: 'merger limits', why: /sealed/ });
      await expectAbove(urlOf('s2'), 0, 'craft_publish_errors_total');
      await expectLevel('degraded');
    } finally {
      await manager.streams.delete(stream('s2'));
    }
  });

  it.each([
    ['max_msgs', { max_msgs: 1, discard: 'new' }, { max_msgs: -1, discard: 'old' }, /maximum messages exceeded/],
    ['max_msg_size', { max_msg_size: 20 }, { max_msg_size: -1 }, /message size exceeds maximum/],
  ] as const)('says that its %s refuses what is merged', async (name, limits, none, why) => {
    await limit('s3', limits);
    try {
      await put();
      const remedy = new RegExp(`nats stream edit CRAFT_LOG_s3 .*--${name.replaceAll('_', '-')}=-1`);
      await expectTold({ by: ['s3'], condition: 'merger publish', why, remedy });
      await expectTold({ by: ['s3'], condition: 'merger limits', why: new RegExp(name), remedy });
    } finally {
      await limit('s3', none);
    }
    await put();
  });

  it('says that max_age drops what is merged', async () => {
    await limit('s3', { max_age: 1_000_000_000, duplicate_window: 1_000_000_000 });
    try {
      await expectTold({ by: ['s3'], condition: 'merger limits', why: /max_age 1 s/, remedy: /--max-age=-1/ });
    } finally {
      await limit('s3', { max_age: 0 });
    }
  });

  it('says that JetStream is full', async () => {
    await manager.streams.add({ name: 'JUNK', subjects: ['junk'] });
    try {
      await expectFull();
    } finally {
      await manager.streams.delete('JUNK');
    }
  });

  async function expectFull(): Promise<void> {
    const junk = Buffer.alloc(1024 * 1024);
    await expect(
      (async () => {
        for (let n = 0; n < 64; n++) await jetstream(connection).publish('junk', junk);
      })(),
    ).rejects.toThrow(/insufficient|resource/);
    await put();
    const remedy = /max_file_store|remove other streams/;
    await expectTold({ by: SERVERS, condition: 'merger publish', why: /insufficient|resource/, remedy });
    await expectLevel('not serving');
    connection.publish('craft.admin.snapshot');
    const server = await eventually(
      'a snapshot that cannot be saved',
      async () => {
        const texts = await Promise.all(SERVERS.map((one) => scrape(one)));
        return SERVERS.find((_, at) => (sumOf(texts[at] ?? '', 'craft_snapshot_failures_total') ?? 0) > 0);
      },
      { timeoutMs: 30_000 },
    );
    const full = { why: /insufficient|resource/, remedy: /nats object info/ };
    await expectTold({ by: [server], condition: 'applier snapshots', ...full });
  }
});

it('the bucket of snapshots and the registry of log stores are made anew when they are deleted', async () => {
  await eventually('the bucket', async () => (await manager.streams.info('OBJ_CRAFT_SNAPSHOTS')).config.name);
  await manager.streams.delete('OBJ_CRAFT_SNAPSHOTS');
  await manager.streams.delete('CRAFT_REGISTER');
  await test.cluster.kill('s3', 'SIGTERM');
  await test.cluster.restart('s3');
  const registry = async () => (await manager.streams.info('CRAFT_REGISTER')).state.messages > 0;
  await eventually('the registry', registry, { timeoutMs: 30_000 });
  await eventually('the bucket again', async () => (await manager.streams.info('OBJ_CRAFT_SNAPSHOTS')).config.name);
});

describe('the database', () => {
  it('names the session that holds a lock', async () => {
    await onDatabase('s2', async (sql) => {
      await sql.begin(async (transaction) => {
        await transaction`lock table kv in access exclusive mode`;
        const [{ pid } = {}] = await transaction`select pg_backend_pid() as pid`;
        await put();
        const remedy = new RegExp(`pg_terminate_backend\\(${pid}\\)`);
        await expectTold({
          by: ['s2'],
          condition: 'applier batch',
          why: /merged index \d+ .*it waits for process/,
          remedy,
        });
        await expectAbove(urlOf('s2'), 0, 'craft_behind_entries');
      });
    });
  });

  it('says that it may only be read', async () => {
    const set = (value: string) =>
      onDatabase(
        's2',
        async (sql) => {
          await sql.unsafe(`alter database craft_s2 ${value}`);
          await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = 'craft_s2'`;
        },
        'postgres',
      );
    await set('set default_transaction_read_only = on');
    await put();
    await expectTold({ by: ['s2'], condition: 'applier database', why: /read-only/, remedy: /make it writable/ });
    await set('reset default_transaction_read_only');
  });

  it('without a connection left says so, and goes on when there is one again', async () => {
    const taken: postgres.Sql[] = [];
    const take = async (): Promise<boolean> => {
      const sql = postgres(test.cluster.databaseUrl('s1'), { max: 1, onnotice: () => undefined });
      taken.push(sql);
      return sql`select`.then(
        () => true,
        () => false,
      );
    };
    try {
      // The server that is faster has the place of a session that is ended.
      await eventually('a server without a session', async () => {
        while ((await Promise.all(Array.from({ length: 20 }, take))).includes(true));
        const [first] = taken;
        if (first === undefined) throw new Error('none was taken');
        const ended = await first`select pg_terminate_backend(pid) from pg_stat_activity where datname = 'craft_s2'`;
        return ended.length === 0;
      });
      await put();
      const why = /too many clients already \(SQLSTATE 53300\)/;
      await expectTold({ by: ['s2'], condition: 'applier database', why, remedy: /raise max_connections/ });
    } finally {
      await Promise.all(taken.map((sql) => sql.end({ timeout: 1 })));
    }
  });

  it('whose table is dropped says so, and gets it back from a snapshot', async () => {
    const remedy = /a snapshot restores what is missing/;
    await onDatabase('s3', (holder) =>
      holder.begin(async (sql) => {
        // Else the snapshot may be there before it was asked for.
        await sql`lock table craft.position in access share mode`;
        await onDatabase('s3', (other) => other`drop table kv`);
        await expectTold({ by: ['s3'], condition: 'applier database', why: /kv/, remedy });
      }),
    );
  });

  it('with a trigger that raises says so, and goes on without it', async () => {
    await onDatabase('s3', (sql) =>
      sql.unsafe(`create function no() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
        create trigger no before insert or update on kv for each row execute function no()`),
    );
    await put();
    const why = /the database refuses: no \(SQLSTATE P0001\)/;
    await expectTold({ by: ['s3'], condition: 'applier database', why, remedy: /drop the trigger/ });
    await expectAbove(urlOf('s3'), 0, 'craft_apply_retries_total');
    await onDatabase('s3', (sql) => sql.unsafe('drop trigger no on kv; drop function no'));
  });

  it('that hangs is told on an idle cluster', async () => {
    // The one that applies, and the one that looks at an idle database.
    const sessions = await onDatabase('s2', (sql) =>
      eventually('both sessions', async () => {
        const found = await sql<{ pid: number }[]>`
          select pid from pg_stat_activity where application_name in ('craft applier s2', 'craft queries s2')`;
        return found.length >= 2 ? [...found] : undefined;
      }),
    );
    for (const { pid } of sessions) process.kill(pid, 'SIGSTOP');
    try {
      const why = /the database does not answer/;
      await expectTold({ by: ['s2'], condition: 'applier database', why, remedy: /Postgres runs/ });
    } finally {
      for (const { pid } of sessions) process.kill(pid, 'SIGCONT');
    }
  });

  it('that is stopped is told by all servers', async () => {
    await test.cluster.kill('postgres', 'SIGINT');
    await put();
    const why = /ECONNREFUSED|connection/;
    await expectTold({ by: SERVERS, condition: 'applier database', why, remedy: /Postgres runs/ });
    await test.cluster.restart('postgres');
  });

  it('that is killed is told by all servers, also by one that starts without it', async () => {
    await test.cluster.kill('postgres', 'SIGKILL');
    await put();
    await expectTold({
      by: SERVERS,
      condition: 'applier database',
      why: /ECONNREFUSED|connection/,
      remedy: /Postgres runs/,
    });
    await expectLevel('not serving');
    expect((await fetch(new URL('/readyz', urlOf('s1')))).status).toBe(503);
    expect(sumOf(await scrape('s1'), 'craft_serves', { service: 'applier' })).toBe(0);
    await expect(client.query('kv.get', { key: 'n' }, { timeoutMs: 2_000 })).rejects.toThrow();
    await eventually('refused reads in the metrics', async () => {
      const texts = await Promise.all(SERVERS.map((one) => scrape(one)));
      return texts.some((text) => (sumOf(text, 'craft_reads_refused_total', { code: 'UNAVAILABLE' }) ?? 0) > 0);
    });
    await test.cluster.kill('s3', 'SIGTERM');
    await test.cluster.restart('s3');
    await expectTold({
      by: ['s3'],
      condition: 'applier running',
      why: /the applier cannot start/,
      remedy: /Postgres runs/,
    });
    await test.cluster.restart('postgres');
  });
});

describe('NATS', () => {
  it('that is away is told by the metrics of all servers', async () => {
    await test.cluster.kill('nats', 'SIGKILL');
    await eventually(
      'all services without NATS',
      async () => {
        for (const server of SERVERS) {
          const text = await scrape(server);
          for (const service of ['replica', 'merger', 'applier']) {
            expect(sumOf(text, 'craft_health', { service, server, condition: 'nats' })).toBe(0);
          }
          expect(await scrape(server, '/readyz')).toMatch(/replica nats: .*NATS servers run/);
          expect(await scrape(server, '/healthz')).toBe('ok\n');
        }
        return true;
      },
      { timeoutMs: TOLD_MS, everyMs: 100 },
    );
    await test.cluster.restart('nats');
    for (const server of SERVERS) {
      for (const service of ['replica', 'merger', 'applier']) {
        await expectAbove(urlOf(server), 0, 'craft_nats_reconnects_total', { service });
      }
    }
  });

  it('in lame duck mode is told, and craft works until it leaves', async () => {
    const { nats } = test.cluster.pids;
    if (nats === undefined) throw new Error('NATS does not run');
    process.kill(nats, 'SIGUSR2');
    const told = { by: SERVERS, why: /in lame duck mode/, remedy: /another NATS server/ };
    for (const service of ['replica', 'merger', 'applier'])
      await expectTold({ ...told, condition: `${service} lame-duck` });
    await expectLevel('degraded');
    await put('applied');
    await test.cluster.kill('nats', 'SIGKILL');
    await test.cluster.restart('nats');
  });

  it('that takes smaller messages than craft needs is told, and takes larger ones again', async () => {
    const file = join(test.cluster.dataDir, 'nats', 'nats.conf');
    const text = await readFile(file, 'utf8');
    const reload = async (bytes: string) => {
      await writeFile(file, text.replace('max_payload: 4MB', `max_payload: ${bytes}`));
      const { nats } = test.cluster.pids;
      if (nats === undefined) throw new Error('NATS does not run');
      process.kill(nats, 'SIGHUP');
    };
    await reload('256KB');
    const large = 'x'.repeat(200_000);
    await expectTold({ by: SERVERS, condition: 'replica max-payload', why: /262144/, remedy: /raise max_payload/ });
    await reload('4MB');
    await eventually('a large value', async () => (await client.kv.put('large', large)).index, { timeoutMs: 20_000 });
  });
});

it('every metric of the alerts and of the dashboard is there, with its labels', async () => {
  await put('applied');
  await expect(client.command('nothing.such', {})).rejects.toThrow(/nothing/);
  const files = ['prometheus/alerts.yaml', 'grafana/craft.json'].map((file) => join(projectRoot(), 'deploy', file));
  const used = (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('\n');
  const names = [...new Set([...used.matchAll(/\b(?:craft|nodejs|process)_\w+/g)].map(([name]) => name))];
  expect(names.length).toBeGreaterThan(40);
  const all = async () => (await Promise.all(SERVERS.map((server) => scrape(server)))).join('\n');
  const text = await eventually(
    'all metrics; those of snapshots are there when they have been listed',
    async () => {
      const found = await all();
      const known = new Set([...found.matchAll(/^(\w+)\{/gm)].map(([, name = '']) => name));
      expect(names.filter((name) => !known.has(name))).toEqual([]);
      return found;
    },
    { timeoutMs: 30_000, everyMs: 500 },
  );
  expect(sumOf(text, 'craft_serves', { service: 'merger', server: 's2' })).toBe(1);
  for (const stage of ['durable', 'committed', 'merged', 'applied', 'answered']) {
    expect(sumOf(text, 'craft_command_seconds_count', { stage }), stage).toBeGreaterThan(0);
  }
  expect(sumOf(text, 'craft_group_leads', { group: '1' })).toBe(1);
  expect(sumOf(text, 'craft_group_leader', { group: '1' })).toBe(SERVERS.length);
  expect(sumOf(text, 'craft_commands_refused_total', { code: 'UNKNOWN_COMMAND' })).toBe(1);
  expect(text.match(/^craft_follower_lag_entries\{/gm)).toHaveLength(2 * (SERVERS.length - 1));
  expect(sumOf(text, 'craft_log_write_seconds_count', { server: 's2' })).toBeGreaterThan(0);
});

it('servers without a quorum say so, and the cluster is not serving', async () => {
  await Promise.all(['s2', 's3'].map((server) => test.cluster.kill(server, 'SIGKILL')));
  await expectTold({ by: ['s1'], condition: 'replica leader', why: /no leader/, remedy: /quorum is lost/ });
  await expectLevel('not serving');
  expect(sumOf(await scrape('s1'), 'craft_groups_led')).toBe(0);
  await expectAbove(urlOf('s1'), 0, 'craft_leaderships_lost_total');
  const wins = sumOf(await scrape('s1'), 'craft_elections_won_total') ?? 0;
  await expect(scrape('s2')).rejects.toThrow();
  await Promise.all(['s2', 's3'].map((server) => test.cluster.restart(server)));
  await expectAbove(urlOf('s1'), wins, 'craft_elections_won_total');
});
