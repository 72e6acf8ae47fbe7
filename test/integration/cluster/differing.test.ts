/**
 * T4 on real processes: a server that differs is found, refuses what is read from it, spreads
 * nothing, and is made whole again, while the others serve all the time.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { headers } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { rebuild } from '../../../services/cli/rebuild.js';
import { listSnapshots, restoreSnapshot, saveSnapshot, takeSnapshot } from '../../../services/cli/snapshots.js';
import { statusTable } from '../../../services/cli/status.js';
import type { VerifyLine } from '../../../services/cli/verification.js';
import { verify } from '../../../services/cli/verify.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import {
  eventually,
  expectAbove,
  freePortRow,
  startTestCluster,
  sumOf,
  type TestCluster,
} from '../../harness/index.js';
import { converged, readDatabase } from './inspect.js';

const SERVERS = ['s1', 's2', 's3'];
const OTHERS = ['s1', 's3'];
const VERIFY_MS_MAX = 60_000;
const REBUILD_MS_MAX = 60_000;

let test: TestCluster;
let client: CraftClient;

async function start(options: Parameters<typeof startTestCluster>[0]): Promise<void> {
  test = await startTestCluster({ ...options, metricsPort: await freePortRow(SERVERS.length) });
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 30_000 });
}

async function stop(): Promise<void> {
  await client?.close();
  await test?.stop();
}

const subjects = () => new Subjects(test.cluster.cluster);
const metricsOf = (server: string): string => test.cluster.metricsUrls.get(server) ?? '';
const session = () => ({ connection: client.connection, client, subjects: subjects() });

/** By hand, past everything. */
async function run<T extends object>(server: string, text: string): Promise<T[]> {
  const sql = postgres(test.cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
  try {
    return (await sql.unsafe(text)) as unknown as T[];
  } finally {
    await sql.end();
  }
}

interface Found {
  readonly lines: readonly VerifyLine[];
  /** What `craft verify` ends with; empty when all are equal. */
  readonly message: string;
}

async function verified(): Promise<Found> {
  const lines: VerifyLine[] = [];
  let message = '';
  await verify(session(), VERIFY_MS_MAX, (line) => lines.push(line as VerifyLine)).catch((error: Error) => {
    message = error.message;
  });
  return { lines, message };
}

interface Answer {
  readonly ok: boolean;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

async function ask(subject: string, input: object, header: Record<string, string> = {}): Promise<Answer> {
  const all = headers();
  for (const [name, value] of Object.entries(header)) all.set(name, value);
  const reply = await client.connection.request(subject, JSON.stringify(input), { timeout: 20_000, headers: all });
  return reply.json<Answer>();
}

/** So often that every server has been asked, of both kinds of reads. */
async function readOften(name: string, input: object): Promise<Answer[]> {
  const kinds = ['linearizable', 'local'].flatMap((kind) => Array.from({ length: 40 }, () => kind));
  return Promise.all(kinds.map((kind) => ask(subjects().query(name), input, { 'Craft-Consistency': kind })));
}

const REFUSED = { ok: false, error: { code: 'UNAVAILABLE', message: expect.stringContaining('servers') } };

async function expectRefused(server: string, reason: string): Promise<void> {
  const answer = await ask(subjects().sync(server), {});
  expect(answer).toMatchObject(REFUSED);
  expect(answer.error?.message).toContain(reason);
}

/**
 * Reads of both kinds: `result` from the servers that are right, refusals from those that are not;
 * these there must be, or not.
 */
async function expectReads(name: string, input: object, result: unknown, isAnyRefused: boolean): Promise<void> {
  const answers = await readOften(name, input);
  const refused = answers.filter(({ ok }) => !ok);
  for (const answer of refused) expect(answer).toMatchObject(REFUSED);
  for (const answer of answers) if (answer.ok) expect(answer.result).toEqual(result);
  expect(answers.some(({ ok }) => ok)).toBe(true);
  expect(refused.length > 0).toBe(isAnyRefused);
}

async function expectNeverStopped(servers: readonly string[]): Promise<void> {
  for (const server of servers) {
    const log = await readFile(join(test.cluster.dataDir, server, `${server}.log`), 'utf8');
    expect(log).not.toMatch(/cannot go on: |cannot start: |nothing is read from this state any more/);
  }
}

async function expectEqual(mergedIndex: number): Promise<void> {
  const all = await converged(test.cluster, mergedIndex, 60_000);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
}

const stateOf = async (server: string) => (await client.status()).find((one) => one.server === server)?.state;

/** Asks for a key again and again, as a client does who is to notice nothing. */
function readInBackground(key: string, isRight: (value: unknown) => boolean): { end(): Promise<number> } {
  let isOver = false;
  let count = 0;
  const reading = (async () => {
    while (!isOver) {
      const found = await client.kv.get(key);
      if (!isRight(found)) throw new Error(`read ${JSON.stringify(found)}`);
      count += 1;
    }
  })();
  reading.catch(() => undefined);
  return {
    end: async () => {
      isOver = true;
      await reading;
      return count;
    },
  };
}

describe('a server whose rows were changed by hand', () => {
  const ENTRIES = 200;
  const KEYS = 50;
  let written = 0;

  beforeAll(() => start({ environment: { CRAFT_SNAPSHOT_ENTRIES: String(ENTRIES) } }));
  afterAll(stop);

  async function overwrite(count: number): Promise<number> {
    let last = 0;
    for (let done = 0; done < count; done += 100) {
      const answers = Array.from({ length: 100 }, () => client.kv.put(`k${written++ % KEYS}`, { written }));
      for (const { index = 0 } of await Promise.all(answers)) last = Math.max(last, index);
    }
    return last;
  }

  const list = async () => {
    const all: { name: string; server: string; mergedIndex: number; confirmed: boolean }[] = [];
    await listSnapshots(session(), (one) => all.push(one as (typeof all)[number]));
    return all;
  };

  /** Its database, not its log, and not what the snapshots are of. */
  async function emptyDatabase(server: string): Promise<void> {
    await run(server, 'begin; drop schema craft cascade; drop table kv; drop schema if exists drizzle cascade; commit');
  }

  it('is found by craft verify, and from then on answers no read, also after a restart; the others serve', async () => {
    await expectEqual(await overwrite(100));
    await client.kv.put('read', 'right');
    expect(await verified()).toMatchObject({ message: '', lines: SERVERS.map((server) => ({ server, ok: true })) });
    await run('s2', `update kv set value = '"wrong"' where key = 'read'`);

    const { lines, message } = await verified();
    expect(message).toBe('s2 differs in kv: repair the cause, then run: craft rebuild s2');
    expect(lines).toMatchObject([
      { ok: true },
      { server: 's2', ok: false, verdict: 'differs', tables: ['kv'] },
      { ok: true },
    ]);
    const { mergedIndex, rows } = lines[0] ?? {};
    expect(lines[1]).toMatchObject({ mergedIndex, rows });

    const background = readInBackground('read', (found) => (found as { value: unknown } | null)?.value === 'right');
    const right = { value: 'right', version: 1 };
    await expectRefused('s2', "differs from the others'");
    await expectReads('kv.get', { key: 'read' }, expect.objectContaining(right), true);
    await expectAbove(metricsOf('s2'), 0, 'craft_differences_total', { whose: 'own' });
    await expectAbove(metricsOf('s1'), 0, 'craft_differences_total', { whose: 'other' });
    await expectAbove(metricsOf('s2'), 0, 'craft_reads_refused_total', { code: 'UNAVAILABLE' });
    expect(sumOf(await (await fetch(metricsOf('s2'))).text(), 'craft_state_trusted')).toBe(0);
    const table = statusTable((await client.status()).map((one) => ({ ...one, mergedIndex: 0 })));
    expect(table.replaceAll('\n  ', ' ')).toMatch(
      /s2 differs, and nothing is read from it since .* different rows at merged index .*craft rebuild s2/,
    );

    await test.cluster.kill('s2', 'SIGKILL');
    await test.cluster.restart('s2');
    await eventually('s2 again', async () => (await stateOf('s2'))?.divergence, { timeoutMs: 30_000 });
    await expectRefused('s2', "differs from the others'");
    // It applies what comes, all the same; and says so when it is asked again.
    const { index = 0 } = await client.kv.put('later', 1, { group: 0 });
    await eventually('the command at s2', async () => ((await stateOf('s2'))?.appliedIndex ?? 0) >= index);
    const again = await verified();
    expect(again.message).toContain('craft rebuild s2');
    expect(again.lines.map(({ ok }) => ok)).toEqual([true, false, true]);

    expect(await background.end()).toBeGreaterThan(10);
    await expectNeverStopped(OTHERS);
  }, 120_000);

  it('is made whole by craft rebuild', async () => {
    const printed: unknown[] = [];
    await rebuild(session(), 's2', REBUILD_MS_MAX, (value) => printed.push(value));
    expect(printed).toEqual([{ server: 's2', mergedIndex: expect.any(Number) }]);
    const { index = 0 } = await client.kv.put('healed', 1);
    await expectEqual(index);
    expect(await ask(subjects().sync('s2'), {})).toMatchObject({ ok: true });
    await expectReads('kv.get', { key: 'read' }, expect.objectContaining({ value: 'right' }), false);
    expect(await verified()).toMatchObject({ message: '', lines: SERVERS.map((server) => ({ server, ok: true })) });
    await expectNeverStopped(OTHERS);
  }, 120_000);

  it('spreads nothing: no snapshot of it counts, and a server that needs one gets a right one', async () => {
    // So much that logs and streams begin later: nobody comes back without a snapshot.
    await eventually(
      'logs of s3 begin later',
      async () => {
        await overwrite(ENTRIES);
        return (await client.status()).at(-1)?.groups.every(({ baseIndex = 0 }) => baseIndex > 0);
      },
      { timeoutMs: 60_000 },
    );
    const { index: changedAt = 0 } = await client.kv.put('read', 'right');
    await client.sync('s2');
    await run('s2', `update kv set value = '"wrong"' where key = 'read'`);
    const taking = ask(subjects().admin('snapshot', 's2'), {});
    await eventually('the verdict', async () => (await stateOf('s2'))?.divergence, { timeoutMs: 60_000 });
    await expect(taking).resolves.toMatchObject({ ok: false, error: { code: 'UNAVAILABLE' } });
    await eventually('no snapshot of s2', async () =>
      (await list()).every(({ server, mergedIndex }) => server !== 's2' || mergedIndex < changedAt),
    );

    const background = readInBackground('k1', (found) => found !== null);
    await emptyDatabase('s3');
    const { index = 0 } = await client.kv.put('meanwhile', 1, { ack: 'ordered' }).then(() => client.sync('s1'));
    const [right, , back] = await eventually(
      's3 is where s1 is',
      async () => {
        const all = await Promise.all(SERVERS.map((server) => readDatabase(test.cluster.databaseUrl(server))));
        return all[2]?.mergedIndex === all[0]?.mergedIndex && (all[0]?.mergedIndex ?? 0) >= index ? all : undefined;
      },
      { timeoutMs: 60_000 },
    );
    expect(back).toEqual(right);
    await expectRefused('s2', "differs from the others'");
    expect(await background.end()).toBeGreaterThan(0);

    await rebuild(session(), 's2', REBUILD_MS_MAX, () => undefined);
    const { index: last = 0 } = await client.kv.put('last', 1);
    await expectEqual(last);
    expect(await client.kv.get('read')).toMatchObject({ value: 'right' });
    // One that is whole takes snapshots that count.
    const taken: unknown[] = [];
    await takeSnapshot(session(), VERIFY_MS_MAX, (one) => taken.push(one));
    expect(taken).toMatchObject([{ confirmed: true }]);
    await expectNeverStopped(['s1']);
  }, 180_000);
});

describe('a server at which a handler comes to something else, and which leads group 0', () => {
  let mood: string | undefined = 'leave me alone';
  const greet = (id: string) => client.command('greet', { id }, { group: 0, ack: 'ordered' });

  beforeAll(() =>
    start({
      environment: { CRAFT_STATE_MACHINE: join(projectRoot(), 'dist/test/integration/cluster/moody-machine.js') },
      environmentOf: (server) => (server === 's1' && mood !== undefined ? { MOOD: mood } : {}),
    }),
  );
  afterAll(stop);

  it('is found by time, without anything being asked for, and its answers are worth nothing', async () => {
    await greet('first');
    const why = await eventually('the verdict', async () => (await stateOf('s1'))?.divergence, { timeoutMs: 60_000 });
    expect(why).toMatch(
      /different outcomes of the same commands at merged index \d+: .*not deterministic.*craft rebuild s1$/,
    );
    await expectRefused('s1', 'different outcomes');
    await expectReads('greeted', {}, [{ id: 'first' }], true);
    // A command through a group that it leads is executed, and what its client hears of it is
    // nothing definite.
    await eventually('every server with the group that it prefers', async () => {
      const led = (await client.status()).flatMap(({ groups }) => groups.filter(({ role }) => role === 'leader'));
      return [0, 1, 2].every((group) => led.some((one) => one.group === group && one.leader === SERVERS[group]));
    });
    const answer = await ask(subjects().groupCommand(0, 'greet'), { id: 'second' }, { 'Nats-Msg-Id': 'second' });
    expect(answer).toMatchObject({ ok: false, error: { code: 'TIMEOUT_UNKNOWN' } });
    // The same id through another leader: its result.
    const again = await client.command('greet', { id: 'second' }, { id: 'second', group: 1 });
    expect(again.result).toBe('hello');
    const { lines, message } = await verified();
    expect(message).toContain('craft rebuild s1');
    expect(lines.map(({ ok }) => ok)).toEqual([false, true, true]);
    await expectNeverStopped(['s2', 's3']);
  }, 120_000);

  it('is whole again once the cause is gone and it is rebuilt', async () => {
    mood = undefined;
    await test.cluster.kill('s1', 'SIGTERM');
    await test.cluster.restart('s1');
    await test.cluster.waitReady();
    await eventually('s1 with its verdict', async () => (await stateOf('s1'))?.divergence, { timeoutMs: 30_000 });
    await rebuild(session(), 's1', REBUILD_MS_MAX, () => undefined);
    await greet('third');
    expect(await verified()).toMatchObject({ message: '', lines: SERVERS.map((server) => ({ server, ok: true })) });
    await expectReads(
      'greeted',
      {},
      ['first', 'second', 'third'].map((id) => ({ id })),
      false,
    );
  }, 120_000);
});

describe('servers that all differ', () => {
  beforeAll(() => start({ environment: { CRAFT_VERIFY_MS: '2000' } }));
  afterAll(stop);

  it('all refuse reads, found by time, until a good backup is the state of all', async () => {
    for (const server of SERVERS) await client.kv.put(`of-${server}`, 'right');
    const file = join(test.folder, 'good.snapshot');
    await saveSnapshot(session(), file, VERIFY_MS_MAX, () => undefined);
    for (const server of SERVERS) await client.sync(server);
    for (const server of SERVERS) await run(server, `update kv set value = '"wrong"' where key = 'of-${server}'`);
    await client.kv.put('lost', 1, { ack: 'ordered' });

    await eventually(
      'nobody is trusted',
      async () => (await client.status()).every(({ state }) => state?.trusted === false),
      { timeoutMs: 60_000 },
    );
    for (const server of SERVERS) await expectRefused(server, 'no majority');
    for (const answer of await readOften('kv.get', { key: 'lost' })) expect(answer).toMatchObject(REFUSED);
    const { lines, message } = await verified();
    expect(lines.map(({ verdict }) => verdict)).toEqual(['undecided', 'undecided', 'undecided']);
    expect(message).toContain('craft snapshot restore FILE --replace');

    const printed: unknown[] = [];
    await restoreSnapshot(session(), file, { replace: true, timeoutMs: VERIFY_MS_MAX }, (one) => printed.push(one));
    expect(printed).toMatchObject([{ servers: SERVERS }]);
    const { index = 0 } = await client.kv.put('last', 1);
    await expectEqual(index);
    for (const server of SERVERS) {
      await expectReads('kv.get', { key: `of-${server}` }, expect.objectContaining({ value: 'right' }), false);
    }
    expect(await client.kv.get('lost')).toBeNull();
    expect(await verified()).toMatchObject({ message: '', lines: SERVERS.map((server) => ({ server, ok: true })) });
  }, 120_000);
});
