/**
 * T12 on real processes: a bank goes from version 1 to version 2 under load, server by server, with
 * a kill -9 in the middle. Then servers come from nothing, from an emptied database and from a
 * backup of version 1. A migration that fails leaves everything as it was. Two builds of one
 * version are told.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { machineStatus, switchMachine } from '../../../services/cli/machine.js';
import { machineProblems } from '../../../services/cli/machine-problems.js';
import { MembersAdmin } from '../../../services/cli/members.js';
import { restoreSnapshot, saveSnapshot } from '../../../services/cli/snapshots.js';
import { verify } from '../../../services/cli/verify.js';
import { type CraftClient, connectCraft, RejectedError } from '../../../shared/client/index.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';

const ACCOUNTS = 20;
const BALANCE = 1_000;
/** Between two commands of each worker (milliseconds): together about 200 a second. */
const PACE_MS = 20;
const WORKERS = 4;
const WAIT_MS = 120_000;

let test: TestCluster;
let connection: NatsConnection;
let client: CraftClient;
const modules = new Map<string, string>();

const moduleOf = (version: number) => join(projectRoot(), `dist/test/integration/cluster/bank-${version}.js`);
const session = () => ({ connection, client, subjects: new Subjects(test.cluster.cluster) });
const nothing = () => undefined;

beforeAll(async () => {
  test = await startTestCluster({
    environmentOf: (server) => ({ CRAFT_STATE_MACHINE: modules.get(server) ?? moduleOf(1) }),
  });
  connection = await connect({ servers: test.cluster.natsUrl, maxReconnectAttempts: -1 });
  client = await connectCraft({ connection, timeoutMs: 30_000 });
});
afterAll(async () => {
  await connection?.close();
  await test?.stop();
});

async function restartWith(server: string, module: string, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  const { cluster } = test;
  modules.set(server, module);
  await cluster.kill(server, signal);
  await cluster.restart(server);
  await cluster.waitReady({ servers: cluster.servers });
}

/** Every server's version in force, and those that it has loaded. */
async function versions(): Promise<[number, ...number[]][]> {
  const lines: { version?: number; loaded?: { version: number }[] }[] = [];
  await machineStatus(session(), (line) => void lines.push(line as object)).catch(nothing);
  return lines.map(({ version = 0, loaded = [] }) => [version, ...loaded.map((one) => one.version)]);
}

/**
 * A server that was just started has not said yet what it has loaded; a switch is refused until
 * then.
 */
function untilLoaded(server: string, wanted: number) {
  return eventually(
    `${server} has loaded version ${wanted}`,
    async () => {
      const state = (await client.status()).find((one) => one.server === server)?.state;
      return state?.machine?.loaded.some(({ version }) => version === wanted);
    },
    { timeoutMs: WAIT_MS },
  );
}

function untilVersions(expected: [number, ...number[]]) {
  return eventually(
    `${expected} at every server`,
    async () => {
      const found = await versions();
      return found.length === test.cluster.servers.length && found.every((one) => one.join() === expected.join());
    },
    { timeoutMs: WAIT_MS, everyMs: 200 },
  );
}

/** Waits until all databases are at one place, with equal rows; gives the sum of the balances. */
async function equalRows(mergedIndex = 0): Promise<{ total: number; columns: string }> {
  return eventually(
    `equal rows from ${mergedIndex} on`,
    async () => {
      const all = await Promise.all(
        test.cluster.servers.map(async (server) => {
          const sql = postgres(test.cluster.databaseUrl(server), { max: 1, onnotice: nothing });
          try {
            const [row] = await sql`select p.merged_index::int as at, p.results_checksum as results, p.version, (
                select md5(coalesce(string_agg(a::text, ';' order by name), '')) from account a) as rows,
              (select coalesce(sum(balance), 0)::int from account) as total,
              (select string_agg(column_name, ',' order by ordinal_position) from information_schema.columns
                where table_schema = 'public' and table_name = 'account') as columns
              from craft.position p`;
            return row;
          } catch {
            // Its tables are being made.
            return undefined;
          } finally {
            await sql.end();
          }
        }),
      );
      const [first] = all;
      const isEqual = first !== undefined && new Set(all.map((one) => JSON.stringify(one))).size === 1;
      if (!isEqual || Number(first['at']) < mergedIndex) return undefined;
      return { total: Number(first['total']), columns: String(first['columns']) };
    },
    { timeoutMs: WAIT_MS, everyMs: 200 },
  );
}

/** Transfers until `stop`; what came of them that was no result and no rejection. */
function load(prefix: string): { stop(): Promise<{ done: number; last: number; failures: string[] }> } {
  let isOver = false;
  let done = 0;
  let last = 0;
  const failures: string[] = [];
  const worker = async (number: number) => {
    for (let n = 0; !isOver; n++) {
      const [from, to] = [(number + n) % ACCOUNTS, (number + 7 * n + 1) % ACCOUNTS];
      const input = { from: `a${from}`, to: `a${from === to ? (to + 1) % ACCOUNTS : to}`, amount: 1 + (n % 50) };
      try {
        const { index = 0 } = await client.command('transfer', input, { id: `${prefix}-${number}-${n}` });
        last = Math.max(last, index);
      } catch (error) {
        if (!(error instanceof RejectedError)) failures.push(String(error));
      }
      done += 1;
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  };
  const working = Promise.all(Array.from({ length: WORKERS }, (_, number) => worker(number)));
  return {
    stop: async () => {
      isOver = true;
      await working;
      return { done, last, failures };
    },
  };
}

it('goes from version 1 to 2 under load, with a kill -9 in the middle: nothing is lost, and all rows are equal', async () => {
  for (let at = 0; at < ACCOUNTS; at++) await client.command('open', { name: `a${at}`, balance: BALANCE });
  await saveSnapshot(session(), join(test.folder, 'version-1'), WAIT_MS, nothing);
  const loading = load('upgrade');
  await restartWith('s1', moduleOf(2));
  await untilLoaded('s1', 2);
  await expect(switchMachine(session(), 2, WAIT_MS, nothing)).rejects.toMatchObject({
    code: 'REJECTED',
    message: expect.stringMatching(/not every member has loaded version 2: s2, s3/) as unknown,
  });
  await restartWith('s2', moduleOf(2));
  await restartWith('s3', moduleOf(2));
  await untilVersions([1, 1, 2]);
  // Old and new module have the same build of version 1.
  expect(machineProblems(await client.status())).toEqual([]);
  // One that is killed meanwhile comes to the switch when it is back; not the one that answers.
  const { cluster } = test;
  const [answering] = await cluster.waitReady({ servers: cluster.servers });
  const victim = answering === 's2' ? 's3' : 's2';
  const { subjects } = session();
  const input = JSON.stringify({ name: 'bank', version: 2 });
  const switching = connection.request(subjects.machine(), input, { timeout: WAIT_MS });
  await cluster.kill(victim, 'SIGKILL');
  expect((await switching).json()).toMatchObject({ ok: true, result: { name: 'bank', version: 2 } });
  await cluster.restart(victim);
  await cluster.waitReady({ servers: cluster.servers });
  await untilLoaded(victim, 2);
  await switchMachine(session(), 2, WAIT_MS, nothing);
  const { result, index = 0 } = await client.command('charge', { name: 'a0', fee: 10 });
  expect(result).toEqual({ version: 2 });
  const { done, last, failures } = await loading.stop();
  expect(failures).toEqual([]);
  expect(done).toBeGreaterThan(200);
  const { total, columns } = await equalRows(Math.max(index, last));
  expect([total, columns]).toEqual([ACCOUNTS * BALANCE - 10, 'name,balance,credit']);
  await untilVersions([2, 1, 2]);
}, 240_000);

it('a fourth server joins from nothing, and an emptied database comes back, with the version in force', async () => {
  const { cluster } = test;
  for (const server of [...cluster.servers, 's4']) modules.set(server, moduleOf(2));
  await cluster.addServer('s4');
  const { subjects } = session();
  await new MembersAdmin({ connection, subjects, groups: 3, timeoutMs: WAIT_MS, print: nothing }).add('s4');
  const sql = postgres(cluster.databaseUrl('s3'), { max: 1, onnotice: nothing });
  await sql.unsafe('drop schema craft cascade; drop schema public cascade; create schema public');
  await sql.end();
  const { index = 0 } = await client.command('charge', { name: 'a1', fee: 5 });
  expect((await equalRows(index)).total).toBe(ACCOUNTS * BALANCE - 15);
  await untilVersions([2, 1, 2]);
}, 180_000);

it('a migration that fails on the rows fails the switch everywhere: version 2 goes on, and the error names it', async () => {
  for (const server of test.cluster.servers) await restartWith(server, moduleOf(3));
  await untilVersions([2, 1, 2, 3]);
  await expect(switchMachine(session(), 3, WAIT_MS, nothing)).rejects.toMatchObject({
    code: 'INTERNAL',
    message: expect.stringMatching(
      /version 2 stays in force: migration 0002_rich failed: .*\(SQLSTATE 23514\); its statement: alter table account add constraint rich/,
    ) as unknown,
  });
  const { index = 0, result } = await client.command('charge', { name: 'a2', fee: 5 });
  expect(result).toEqual({ version: 2 });
  expect((await equalRows(index)).total).toBe(ACCOUNTS * BALANCE - 20);
  await untilVersions([2, 1, 2, 3]);
}, 240_000);

it('a backup of version 1 comes back with version 1, and is switched from there', async () => {
  const file = join(test.folder, 'version-1');
  await restoreSnapshot(session(), file, { replace: true, timeoutMs: WAIT_MS }, nothing);
  await untilVersions([1, 1, 2, 3]);
  expect(await equalRows()).toEqual({ total: ACCOUNTS * BALANCE, columns: 'name,balance' });
  await switchMachine(session(), 2, WAIT_MS, nothing);
  const { index = 0 } = await client.command('charge', { name: 'a0', fee: 1 });
  expect(await equalRows(index)).toEqual({ total: ACCOUNTS * BALANCE - 1, columns: 'name,balance,credit' });
}, 180_000);

it('a backup of version 1 is restored into a new cluster, and is switched from there', async () => {
  const other = await startTestCluster({
    servers: ['n1'],
    cluster: 'other',
    environment: { CRAFT_STATE_MACHINE: moduleOf(3) },
  });
  const theirs = await connect({ servers: other.cluster.natsUrl });
  const sql = postgres(other.cluster.databaseUrl('n1'), { max: 1, onnotice: nothing });
  try {
    const one = await connectCraft({ connection: theirs, cluster: 'other', timeoutMs: 30_000 });
    const there = { connection: theirs, client: one, subjects: new Subjects('other') };
    await restoreSnapshot(there, join(test.folder, 'version-1'), { replace: false, timeoutMs: WAIT_MS }, nothing);
    const inForce = async () => (await one.status()).map(({ state }) => state?.machine?.version);
    expect(await inForce()).toEqual([1]);
    await switchMachine(there, 2, WAIT_MS, nothing);
    expect(await inForce()).toEqual([2]);
    expect((await one.command('charge', { name: 'a0', fee: 1 })).result).toEqual({ version: 2 });
    const [row] =
      await sql`select sum(balance)::int as total, count(*)::int as accounts, max(credit)::int as credit from account`;
    expect(row).toEqual({ total: ACCOUNTS * BALANCE - 1, accounts: ACCOUNTS, credit: 100 });
  } finally {
    await sql.end();
    await theirs.close();
    await other.stop();
  }
}, 120_000);

it('one server with other code under the same number is told in status, and by the comparison of rows', async () => {
  const module = join(test.folder, 'other.mjs');
  const bank = JSON.stringify(moduleOf(2));
  await writeFile(
    module,
    `import bank, { earlier } from ${bank};
     const charge = { ...bank.commands.charge };
     const { handle } = charge;
     charge.handle = (tx, input, context) => handle(tx, { ...input, fee: 2 * input.fee }, context);
     export { earlier };
     export default { ...bank, commands: { ...bank.commands, charge } };`,
  );
  await restartWith('s1', module);
  await eventually(
    'two builds of version 2',
    async () => machineProblems(await client.status()).find((one) => one.startsWith('version 2 of bank')),
    { timeoutMs: 5_000 },
  );
  await client.command('charge', { name: 'a0', fee: 1 });
  await expect(verify(session(), WAIT_MS, nothing)).rejects.toThrow(/s1 .*differ/);
  const differs = (await client.status()).flatMap(({ server, state }) => (state?.trusted === false ? [server] : []));
  expect(differs).toEqual(['s1']);
}, 60_000);
