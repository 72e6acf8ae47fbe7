/**
 * What a service says, and how it ends, when its disk, its data or a second copy of it is wrong;
 * and that the others go on meanwhile. On real processes, one for each service.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot, servicesProgram } from '../../../deploy/local/project.js';
import { serverEnvironment } from '../../../deploy/local/server-environment.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import {
  eventually,
  expectAbove,
  freePortRow,
  startTestCluster,
  sumOf,
  type TestCluster,
} from '../../harness/index.js';
import { converged, readDatabase, readMergedLog } from './inspect.js';

/**
 * A file that may not grow further fails a write, like a full disk, only when the signal that comes
 * with it is not deadly.
 */
const SURVIVE_LIMIT = ['--import', 'data:text/javascript,process.on("SIGXFSZ",()=>{})'];
const IN_FLIGHT = 16;
/** Servers compare every five seconds where they are. */
const LATE = { timeoutMs: 30_000 };
const QUIET = { max: 1, onnotice: () => undefined };

let test: TestCluster;
let client: CraftClient;
/** What the launcher says of processes that have ended by themselves. */
const notices: string[] = [];
const copies: ChildProcess[] = [];
/** By how much the clock of a server is wrong from its next start on (milliseconds). */
const clockOffsetsMs = new Map<string, number>();
/** Keys that were written; each once. */
let written = 0;

beforeAll(async () => {
  test = await startTestCluster({
    layout: 'service',
    metricsPort: await freePortRow(9),
    nodeArguments: SURVIVE_LIMIT,
    environmentOf: (server): NodeJS.ProcessEnv => {
      const offsetMs = clockOffsetsMs.get(server);
      return offsetMs === undefined ? {} : { CRAFT_TEST_CLOCK_OFFSET_MS: String(offsetMs) };
    },
    onNotice: (line) => notices.push(line),
  });
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 60_000 });
});
afterAll(async () => {
  for (const copy of copies) copy.kill('SIGKILL');
  await client?.close();
  await test?.stop();
});

/** Writes a new key: executed twice it would be rejected. Returns its merged index. */
async function put(group?: number, size = 1): Promise<number> {
  const input = { key: `key-${written++}`, value: 'x'.repeat(size), ifVersion: 0 };
  const { index = Number.NaN } = await client.command('kv.put', input, group === undefined ? {} : { group });
  return index;
}

/**
 * Commands through the leaders, some at a time, for as long as `during` takes; every one of them
 * is answered.
 */
async function underLoad(during: () => Promise<void>): Promise<void> {
  let isOver = false;
  const worker = async () => {
    while (!isOver) await put();
  };
  const working = Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  try {
    await during();
  } finally {
    isOver = true;
    await Promise.allSettled([working]);
  }
  await working;
}

/** All databases and merged logs are the same: no entry twice, none missing, and every key once. */
async function expectWhole(): Promise<void> {
  const databases = await converged(test.cluster, await put(), 60_000);
  expect(new Set(databases.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(databases[0]?.keys).toBe(written);
  const logs = await Promise.all(test.cluster.servers.map((server) => readMergedLog(test.cluster, server)));
  const [first] = logs;
  expect(first?.entries.map(({ mergedIndex }) => mergedIndex)).toEqual(first?.entries.map((_, at) => at + 1));
  for (const log of logs) expect(log).toEqual(first);
  expect(first?.checksum).toBe(databases[0]?.checksum);
}

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly kind?: string;
  readonly err?: { readonly message: string; readonly code?: string };
}

const FATAL = 60;

/** What a part of the cluster has logged so far. */
async function logOf(part: string): Promise<Line[]> {
  const [server = ''] = part.split('.');
  const text = await readFile(join(test.cluster.dataDir, server, `${part}.log`), 'utf8');
  return text.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : []));
}

/**
 * The part has ended by itself, with an exit code that a supervisor takes for a failure; the last
 * reason that it gave.
 */
async function reasonOfEnd(part: string): Promise<string> {
  await eventually(`the end of ${part}`, () => test.cluster.pids[part] === undefined, { timeoutMs: 30_000 });
  const fatal = (await logOf(part)).filter(({ level }) => level === FATAL);
  const last = fatal.at(-1);
  // The terminal shows it, and the log has it once, with one stack.
  const notice = () => notices.filter((line) => line.startsWith(`${part} `)).at(-1);
  await eventually(`what is told of ${part}`, () => notice() === `${part} ended with code 1: ${last?.msg}`);
  expect(fatal.filter(({ err }) => err?.message === last?.err?.message)).toHaveLength(1);
  return last?.err?.message ?? '';
}

/** One more process of a service of a server, with the environment of the one that runs. */
function startCopy(server: string, service: string): { process: ChildProcess; said: () => string } {
  const { cluster } = test;
  const env = serverEnvironment({
    base: process.env,
    cluster: cluster.cluster,
    server,
    servers: cluster.servers,
    groups: cluster.groups,
    natsUrl: cluster.natsUrl,
    dataDir: join(cluster.dataDir, server),
    databaseUrl: cluster.databaseUrl(server),
    monitorUrl: undefined,
    otlpEndpoint: undefined,
    processIndex: 100 + copies.length,
    more: {},
  });
  const copy = spawn(process.execPath, [servicesProgram(), service], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  copies.push(copy);
  let text = '';
  for (const stream of [copy.stdout, copy.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return { process: copy, said: () => text };
}

async function endCopy(copy: ChildProcess): Promise<void> {
  expect(copy.exitCode).toBeNull();
  const exit = once(copy, 'exit');
  copy.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
}

/** What the command line prints, and its exit code. */
function craft(...args: string[]): { stdout: string; status: number | null } {
  const program = join(projectRoot(), 'dist/services/cli/main.js');
  const env = { ...process.env, CRAFT_NATS_URL: test.cluster.natsUrl };
  return spawnSync(process.execPath, [program, ...args], { env, encoding: 'utf8' });
}

describe('a second copy of a service, with the environment of the first', () => {
  it('of a merger: the older one ends and names the newer; no entry is doubled or missing', async () => {
    await underLoad(async () => {
      const copy = startCopy('s2', 'merger');
      const reason = await reasonOfEnd('s2.merger');
      expect(reason).toMatch(/another merger of server s2 has started .* only one may run/);
      expect(reason).toContain(`process ${copy.process.pid} `);
      const before = (await readDatabase(test.cluster.databaseUrl('s2'))).mergedIndex;
      await eventually('the copy merges', async () => {
        return (await readDatabase(test.cluster.databaseUrl('s2'))).mergedIndex > before;
      });
      // The other way round: the one of the cluster is the newer one now.
      const exit = once(copy.process, 'exit');
      await test.cluster.restart('s2.merger');
      expect(await exit).toEqual([1, null]);
      expect(copy.said()).toMatch(/another merger of server s2 has started/);
    });
    await expectWhole();
  }, 120_000);

  it('of an applier: the older one ends and says so; every command takes effect once', async () => {
    await underLoad(async () => {
      const copy = startCopy('s2', 'applier');
      const reason = await reasonOfEnd('s2.applier');
      expect(reason).toMatch(/another applier has taken over this database \(epoch \d+, this one has \d+\)/);
      expect(reason).toMatch(/only one may run/);
      await endCopy(copy.process);
      await test.cluster.restart('s2.applier');
    });
    await expectWhole();
  }, 120_000);

  it('of a replica: it does not start, and says whose log store that is', async () => {
    const copy = startCopy('s2', 'replica');
    const [code] = await once(copy.process, 'exit');
    expect(code).toBe(1);
    expect(copy.said()).toMatch(/the log store in .*s2\/log is open in another process; stop that one/);
    await expectWhole();
  }, 60_000);
});

describe('a database that differs', () => {
  it('is found by its answers, and serves nothing; what its applier says to do makes it equal again', async () => {
    const { cluster } = test;
    const { pids } = cluster;
    const key = 'made by hand';
    const sql = postgres(cluster.databaseUrl('s3'), QUIET);
    await sql`insert into kv (key, value, version, merged_index, updated_at) values (${key}, '1', 7, 1, now())`;
    await sql.end();
    // The next command on that row has another outcome at s3 than elsewhere.
    await client.kv.put(key, 'shows it', { ifVersion: 0 }).catch((error: unknown) => {
      // Through s3's group its own applier answers.
      expect(error).toMatchObject({ code: 'REJECTED' });
    });
    // The others have executed it.
    written++;
    const verdict = ({ level, msg }: Line) => level === FATAL && msg.startsWith('nothing is read from this state');
    const { msg: reason } = await eventually(
      'the verdict',
      async () => (await logOf('s3.applier')).find(verdict),
      LATE,
    );
    expect(reason).toMatch(/servers s3 and s[12] have different outcomes of the same commands at merged index \d+/);
    expect(reason).toMatch(/rows that were changed by hand/);

    // The others say so and go on.
    for (const other of ['s1', 's2']) {
      const differs = ({ msg }: Line) => msg.includes('s3') && msg.includes('a majority agrees with');
      await eventually(`${other} says so`, async () => (await logOf(`${other}.applier`)).some(differs), LATE);
    }
    for (const group of [0, 1]) await put(group);

    // Word for word.
    expect(reason).toMatch(/repair it, then run: craft rebuild s3$/);
    expect(craft('rebuild', 's3').stdout).toContain('"server":"s3"');
    await put(2);
    expect(cluster.pids).toEqual(pids);
    await expectWhole();
  }, 120_000);
});

// prlimit is Linux.
describe.skipIf(process.platform !== 'linux')('a log store that cannot be written', () => {
  it('costs its server all leaderships and acknowledgements, until there is space again; it says why', async () => {
    const { cluster } = test;
    await eventually('s1 leads its group', async () => (await cluster.waitReady())[0] === 's1', {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    // The journal becomes larger than what this process writes besides, its own log above all.
    for (let n = 0; n < 8; n++) await put(0, 100_000);
    const pid = cluster.pids['s1.replica'];
    await underLoad(async () => {
      // Nothing may be written behind what is there; and a new segment, which is what mending
      // takes, has no room.
      limitFiles(pid, usedBytes(await readFile(await newestSegment('s1'))));
      await eventually(
        'the others lead',
        async () => (await cluster.waitReady({ servers: ['s2', 's3'] })).every((leader) => leader !== 's1'),
        { timeoutMs: 30_000, everyMs: 100 },
      );
      for (const group of [0, 1, 2]) await put(group);
      const status = await eventually('s1 says so', async () => {
        const own = (await cluster.status()).find(({ server }) => server === 's1');
        return own?.logStore?.ok === false ? own : undefined;
      });
      expect(status.groups.filter(({ role }) => role === 'leader')).toEqual([]);
      await expectAbove(test.cluster.metricsUrls.get('s1.replica'), 0, 'craft_log_store_errors_total');
      expect(status.logStore?.error).toMatch(/(write failed|cannot be made): .*s1\/log/);
      const said = craft('status');
      expect(said.stdout).toMatch(/^degraded: 3 of 3 servers, 3 of 3 groups led/);
      expect(said.stdout.replaceAll('\n  ', ' ')).toMatch(
        /^s1 replica: .*s1\/log.* \(log-store, since \d{4}-.*\); make room on the disk of CRAFT_DATA_DIR/m,
      );
      expect(said.status).toBe(1);
      const logged = (await logOf('s1.replica')).map(({ msg }) => msg);
      expect(logged).toContain(
        'log store failed; this server leads nothing and acknowledges nothing until it recovers',
      );
      expect(logged.filter((msg) => msg === 'the log store takes writes again')).toEqual([]);

      limitFiles(pid, 'unlimited');
      await eventually('s1 writes again', async () => {
        const own = (await cluster.status()).find(({ server }) => server === 's1');
        return own?.logStore?.ok;
      });
    });
    await eventually('s1 leads again', async () => (await cluster.waitReady())[0] === 's1', {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    expect(cluster.pids['s1.replica']).toBe(pid);
    expect((await cluster.status()).map(({ logStore }) => logStore?.ok)).toEqual([true, true, true]);
    expect((await logOf('s1.replica')).map(({ msg }) => msg)).toContain('the log store takes writes again');
    await expectWhole();
  }, 180_000);

  function limitFiles(pid: number | undefined, bytes: number | 'unlimited'): void {
    execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`]);
  }
});

describe('pitfall: clock that is off', () => {
  it('a server whose clock is an hour ahead runs on, leads nothing and says so; commands go on, also through its group', async () => {
    const { cluster } = test;
    clockOffsetsMs.set('s2', 3_600_000);
    await cluster.kill('s2', 'SIGTERM');
    await cluster.restart('s2');
    await cluster.waitReady();
    const pids = cluster.pids;
    await underLoad(async () => {
      await eventually(
        's2 says so in its log',
        async () => {
          return (await logOf('s2.replica')).some(({ msg }) =>
            msg.startsWith('the clock of this server is too far off'),
          );
        },
        { timeoutMs: 30_000, everyMs: 100 },
      );
      for (const group of [0, 1, 2]) await put(group);
    });
    const own = (await cluster.status()).find(({ server }) => server === 's2');
    expect(own?.clock?.ok).toBe(false);
    expect(own?.clock?.offsetUs).toBeLessThan(-3_500e6);
    const metrics = await (await fetch(cluster.metricsUrls.get('s2.replica') ?? '')).text();
    expect(sumOf(metrics, 'craft_clock_offset_seconds')).toBeLessThan(-3_500);
    expect(own?.groups.filter(({ role }) => role === 'leader')).toEqual([]);
    await expectWhole();
    expect(cluster.pids).toEqual(pids);
    // Nothing was stamped by that clock.
    const { entries } = await readMergedLog(cluster, 's1');
    expect(Math.max(...entries.map(({ timestamp }) => timestamp))).toBeLessThan((Date.now() + 60_000) * 1_000);

    clockOffsetsMs.delete('s2');
    await cluster.kill('s2', 'SIGTERM');
    await cluster.restart('s2');
    await eventually('s2 leads again', async () => (await cluster.waitReady())[1] === 's2', {
      timeoutMs: 30_000,
      everyMs: 100,
    });
  }, 120_000);
});

async function newestSegment(server: string): Promise<string> {
  const folder = join(test.cluster.dataDir, server, 'log');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.segment')).sort();
  return join(folder, names.at(-1) ?? '');
}

/** Up to where a segment has been written: zeros follow. */
const usedBytes = (segment: Buffer): number => segment.findLastIndex((byte) => byte !== 0) + 1;

describe('a damaged record of a log store', () => {
  it('keeps its replica from starting, which names it and the way out; nothing of it is dropped, and the rest serves', async () => {
    const { cluster } = test;
    await cluster.kill('s3', 'SIGTERM');
    const file = await newestSegment('s3');
    const damaged = await readFile(file);
    const at = usedBytes(damaged) - 100;
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await writeFile(file, damaged);

    await cluster.restart('s3.replica');
    const reason = await reasonOfEnd('s3.replica');
    expect(reason).toContain(`the log store of server s3 is damaged`);
    expect(reason).toContain(`${file} at byte `);
    expect(reason).toMatch(/Replace the server \(deploy\/README\.md, "Replace a server"\): craft members remove s3/);
    const guide = await readFile(join(projectRoot(), 'deploy/README.md'), 'utf8');
    expect(guide).toMatch(/^### Replace a server$/m);

    expect((await readFile(file)).equals(damaged)).toBe(true);
    await cluster.waitReady({ servers: ['s1', 's2'] });
    for (const group of [0, 1, 2]) expect(await put(group)).toBeGreaterThan(0);
  }, 60_000);
});
