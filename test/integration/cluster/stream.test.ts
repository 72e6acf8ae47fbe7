/**
 * A merged-log stream that lost what its applier still needs, on an idle cluster of one server.
 * Nothing else has it but the groups' logs, and no new command comes that would show the loss
 * (T10).
 */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';

const STREAM = new Subjects('craft').logStream('s1');

let test: TestCluster;
let client: CraftClient;
let puts = 0;
beforeAll(async () => {
  test = await startTestCluster({ layout: 'service', servers: ['s1'], groups: 2 });
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 20_000 });
});
afterAll(async () => {
  await client?.close();
  await test?.stop();
});

async function put(count: number, ack: 'applied' | 'committed'): Promise<void> {
  for (let n = 0; n < count; n++) await client.kv.put('n', ++puts, { ack });
}

async function version(): Promise<number> {
  const sql = postgres(test.cluster.databaseUrl('s1'), { max: 1, onnotice: () => undefined });
  try {
    const [row] = await sql`select version::int from kv where key = 'n'`;
    return Number(row?.['version'] ?? 0);
  } finally {
    await sql.end();
  }
}

/**
 * While the applier is away ten commands are committed and merged; then the stream loses messages.
 */
async function loseWhileBehind(seqOf: (last: number) => number): Promise<void> {
  await put(10, 'applied');
  await test.cluster.kill('s1.applier');
  await put(10, 'committed');
  const connection = await connect({ servers: test.cluster.natsUrl });
  try {
    const manager = await jetstreamManager(connection);
    let last = 0;
    await eventually(
      'an end of the stream that stays',
      async () => {
        const { state } = await manager.streams.info(STREAM);
        const isSame = state.last_seq === last;
        last = state.last_seq;
        return isSame;
      },
      { everyMs: 300 },
    );
    await manager.streams.purge(STREAM, { seq: seqOf(last) });
  } finally {
    await connection.close();
  }
  await test.cluster.restart('s1.applier');
}

it.each([
  ['all of it', (last: number) => last + 1],
  ['all but its last message', (last: number) => last],
])(
  'is written again when it lost %s',
  async (_, seqOf) => {
    await loseWhileBehind(seqOf);
    await eventually('all commands in the database', async () => (await version()) === puts, { timeoutMs: 40_000 });
    await put(1, 'applied');
    expect(await version()).toBe(puts);
  },
  90_000,
);
