/**
 * The peer at one site: a durable pull consumer that applies the stream to a database in batches, each one a transaction
 * together with its position. What a careful team writes by hand when it has JetStream and Postgres. The first site answers the clients.
 */
import { AckPolicy, type JsMsg, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import { REPLY_TO } from './peer-protocol.js';

export interface PeerSite {
  readonly natsUrls: readonly string[];
  readonly stream: string;
  readonly name: string;
  readonly databaseUrl: string;
  readonly answers: boolean;
  readonly batchMax: number;
}

interface Put {
  readonly key: string;
  readonly value: string;
  readonly count: number;
  readonly sequence: number;
}

async function consume(site: PeerSite): Promise<void> {
  const connection = await connect({ servers: [...site.natsUrls], name: `bench ${site.name}`, noAsyncTraces: true });
  const manager = await jetstreamManager(connection);
  await manager.consumers.add(site.stream, {
    durable_name: site.name,
    ack_policy: AckPolicy.All,
    max_ack_pending: -1,
    mem_storage: true,
    num_replicas: 1,
  });
  const sql = postgres(site.databaseUrl, { max: 1, onnotice: () => undefined });
  await sql`set synchronous_commit = off`;
  const consumer = await jetstream(connection).consumers.get(site.stream, site.name);
  const waiting: JsMsg[] = [];
  let wake: () => void = () => undefined;
  await consumer.consume({
    max_messages: 4096,
    callback: (message) => {
      waiting.push(message);
      wake();
    },
  });
  process.send?.('ready');
  for (;;) {
    if (waiting.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const batch = waiting.splice(0, site.batchMax);
    await apply(sql, batch);
    batch.at(-1)?.ack();
    if (!site.answers) continue;
    for (const message of batch) {
      connection.publish(message.headers?.get(REPLY_TO) ?? '', `{"ok":true,"index":${message.seq}}`);
    }
  }
}

async function apply(sql: postgres.Sql, batch: readonly JsMsg[]): Promise<void> {
  const puts = new Map<string, Put>();
  for (const message of batch) {
    const { key, value } = message.json<{ key: string; value: unknown }>();
    const count = (puts.get(key)?.count ?? 0) + 1;
    puts.set(key, { key, value: JSON.stringify(value), count, sequence: message.seq });
  }
  const rows = [...puts.values()];
  await sql.begin(async (tx) => {
    await tx`
      insert into kv as current (key, value, version, sequence)
      select * from unnest(${rows.map((row) => row.key)}::text[], ${rows.map((row) => row.value)}::text[]::jsonb[],
        ${rows.map((row) => row.count)}::bigint[], ${rows.map((row) => row.sequence)}::bigint[])
      on conflict (key) do update set value = excluded.value, version = current.version + excluded.version,
        sequence = excluded.sequence`;
    await tx`update position set sequence = ${batch.at(-1)?.seq ?? 0}`;
  });
}

process.on('message', (site: PeerSite) => {
  consume(site).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit(0));
