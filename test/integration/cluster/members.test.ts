/**
 * T11 on real processes, under load: three servers become five, a dead leader is taken out, and
 * what would lose the quorum is refused.
 */
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MembersAdmin } from '../../../services/cli/members.js';
import { recover } from '../../../services/cli/recover.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { replicaConfig } from '../../../shared/config/config.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged } from './inspect.js';

let test: TestCluster;
let client: CraftClient;
let connection: NatsConnection;
let keys = 0;

beforeAll(async () => {
  test = await startTestCluster();
  connection = await connect({ servers: test.cluster.natsUrl, maxReconnectAttempts: -1 });
  client = await connectCraft({ connection, timeoutMs: 60_000 });
});
afterAll(async () => {
  await connection?.close();
  await test?.stop();
});

function adminOf(timeoutMs = 90_000): MembersAdmin {
  const { cluster } = test;
  const subjects = new Subjects(cluster.cluster);
  return new MembersAdmin({ connection, subjects, groups: cluster.groups, timeoutMs, print: () => undefined });
}

/**
 * Commands, eight at a time, for as long as `during` takes: each key once, so a doubled command
 * would be rejected.
 */
async function underLoad(during: () => Promise<void>): Promise<void> {
  let isOver = false;
  const worker = async () => {
    while (!isOver) await client.kv.put(`key-${keys++}`, {}, { ifVersion: 0 });
  };
  const working = Promise.all(Array.from({ length: 8 }, worker));
  try {
    await during();
  } finally {
    isOver = true;
  }
  await working;
}

async function expectWhole(): Promise<void> {
  const { index = 0 } = await client.kv.put(`key-${keys++}`, {}, { ifVersion: 0 });
  const all = await converged(test.cluster, index, 60_000);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(all[0]?.keys).toBe(keys);
}

async function votersOf(): Promise<string[][]> {
  return (await adminOf(10_000).list()).map(({ voters }) => [...voters].sort());
}

it('three become five while commands go on', async () => {
  await underLoad(async () => {
    await test.cluster.addServer('s4');
    await adminOf().add('s4');
    await test.cluster.addServer('s5');
    await adminOf().add('s5');
  });
  expect(await votersOf()).toEqual(Array(3).fill(['s1', 's2', 's3', 's4', 's5']));
  await expectWhole();
}, 240_000);

it('a leader that is dead is taken out, then one that is alive, and five are three again', async () => {
  await underLoad(async () => {
    await test.cluster.kill('s1', 'SIGKILL');
    await adminOf().remove('s1');
    await adminOf().remove('s2');
    // It may go on for as long as it likes: nobody listens to it.
    await test.cluster.waitReady({ servers: ['s3', 's4', 's5'] });
  });
  await test.cluster.kill('s2', 'SIGTERM');
  test.cluster.forget('s1');
  test.cluster.forget('s2');
  expect(await votersOf()).toEqual(Array(3).fill(['s3', 's4', 's5']));
  await expectWhole();
}, 240_000);

it('pitfall: two of three servers replaced at once: what would leave no quorum of live voters is refused, and so is what skips a step', async () => {
  await test.cluster.kill('s5', 'SIGKILL');
  await test.cluster.waitReady({ servers: ['s3', 's4'] });
  await expect(adminOf(20_000).remove('s4')).rejects.toMatchObject({ code: 'REJECTED' });
  const ask = async (change: object) =>
    (await connection.request(new Subjects('craft').configure(0), JSON.stringify(change))).json();
  expect(await ask({ type: 'promote', server: 's9' })).toMatchObject({
    ok: false,
    error: { code: 'INVALID_ARGUMENT' },
  });
  expect(await ask({ type: 'remove', server: 's3' })).toMatchObject({ ok: false, error: { code: 'INVALID_ARGUMENT' } });
  expect(await ask({ type: 'grow' })).toMatchObject({ ok: false, error: { code: 'INVALID_ARGUMENT' } });
  await expect(adminOf(500).add('s9')).rejects.toMatchObject({
    code: 'REJECTED',
    message: expect.stringMatching(/^s9 does not answer/),
  });
  await expect(adminOf().remove('s9')).rejects.toMatchObject({
    code: 'REJECTED',
    message: 's9 is no member; members are s3, s4, s5',
  });
  const members = await adminOf(10_000).list();
  expect(members.map(({ voters, learners }) => [[...voters].sort(), learners])).toEqual(
    Array(3).fill([['s3', 's4', 's5'], []]),
  );
}, 120_000);

it('after the quorum is lost for good, the survivor goes on alone, and grows again', async () => {
  const { cluster } = test;
  await cluster.kill('s4', 'SIGKILL');
  await cluster.kill('s3', 'SIGTERM');
  const environment = { CRAFT_SERVER: 's3', CRAFT_SERVERS: 's3', CRAFT_DATA_DIR: `${cluster.dataDir}/s3` };
  const store = replicaConfig({ ...process.env, ...environment });
  const about = { store, survivors: ['s3'] };
  const lines: string[] = [];
  const print = (line: string) => lines.push(line);
  await expect(recover({ ...about, survivors: ['s4'], confirm: 'craft' }, print)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  const elsewhere = { ...about, store: { ...store, dataDir: `${cluster.dataDir}/none` }, confirm: 'craft' };
  await expect(recover(elsewhere, print)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await recover({ ...about, confirm: undefined }, print);
  expect(lines[0]).toMatch(/^group 0: log up to \d+, .*voters s3, s4, s5$/);
  expect(lines.at(-1)).toMatch(/nothing is changed/);
  await recover({ ...about, confirm: 'craft' }, print);
  cluster.forget('s4');
  cluster.forget('s5');
  await cluster.restart('s3');
  await cluster.waitReady({ servers: ['s3'] });
  await expectWhole();
  await underLoad(async () => {
    await cluster.addServer('s6');
    await adminOf().add('s6');
  });
  expect(await votersOf()).toEqual(Array(3).fill(['s3', 's6']));
  await expectWhole();
}, 240_000);
