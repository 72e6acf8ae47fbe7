/**
 * The peer at one site: a process that reads the stream and makes rows of it. Written as an expert
 * would who has JetStream and Postgres, and wants speed:
 *
 * - An ordered pull consumer from the position in the database on: nothing is acknowledged, since
 *   the database knows what it has. The position moves in the transaction that writes the rows, and
 *   only from where it was: exactly once.
 * - While a transaction is under way messages collect; the next one takes them all. A key is
 *   written once a batch.
 * - One prepared statement a batch, which is its own transaction: one round trip.
 * - Commits are asynchronous, as craft's are: what a crash of Postgres forgets is read from the
 *   stream again.
 * - The first site answers, with the version that each put has made.
 */
import { DeliverPolicy, type JsMsg, jetstream } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import { REPLY_TO } from './reply-to.js';

export interface PeerSite {
  readonly natsUrl: string;
  readonly stream: string;
  readonly name: string;
  readonly databaseUrl: string;
  readonly answers: boolean;
  readonly batchMax: number;
}

interface Put {
  readonly key: string;
  /** JSON of the last one of the batch. */
  value: string;
  sequence: number;
  /** How often the batch puts the key. */
  count: number;
  /** How many of them have been answered. */
  answered: number;
}

const PREFETCH_MESSAGES = 4_096;

const APPLY = `with moved as (update position set sequence = $2 where sequence = $1 returning sequence),
  put as (
    insert into kv as current (key, value, version, sequence)
    select given.key, given.value, given.count, given.sequence
    from rows from (
      jsonb_array_elements_text($3::text::jsonb), jsonb_array_elements($4::text::jsonb),
      unnest($5::bigint[]), unnest($6::bigint[])
    ) as given (key, value, count, sequence)
    where exists (select from moved)
    on conflict (key) do update set value = excluded.value, version = current.version + excluded.version,
      sequence = excluded.sequence
    returning key, version
  )`;
const APPLY_AND_TELL = `${APPLY} select key, version::float8 as version from put`;
const APPLY_ONLY = `${APPLY} select sequence from moved`;

async function consume(site: PeerSite): Promise<void> {
  const sql = postgres(site.databaseUrl, {
    max: 1,
    onnotice: () => undefined,
    connection: { synchronous_commit: 'off' },
  });
  const [row] = await sql<{ sequence: number }[]>`select sequence::float8 as sequence from position`;
  let position = row?.sequence ?? 0;
  const connection = await connect({ servers: site.natsUrl, name: `bench ${site.name}`, noAsyncTraces: true });
  const consumer = await jetstream(connection).consumers.get(site.stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: position + 1,
  });
  const waiting: JsMsg[] = [];
  let wake: () => void = () => undefined;
  await consumer.consume({
    max_messages: PREFETCH_MESSAGES,
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
    const keys: string[] = [];
    const puts = gather(batch, keys);
    const last = batch.at(-1)?.seq ?? position;
    const rows = await sql.unsafe(site.answers ? APPLY_AND_TELL : APPLY_ONLY, parameters(position, last, puts), {
      prepare: true,
    });
    if (rows.length === 0) throw new Error(`${site.name}: another process has moved the position from ${position}`);
    position = last;
    if (!site.answers) continue;
    const versions = new Map(rows.map((one) => [String(one['key']), Number(one['version'])]));
    batch.forEach((message, at) => {
      const put = puts.get(keys[at] ?? '');
      if (put === undefined) return;
      put.answered += 1;
      const version = (versions.get(put.key) ?? 0) - put.count + put.answered;
      const answer = `{"ok":true,"index":${message.seq},"result":{"version":${version}}}`;
      connection.publish(message.headers?.get(REPLY_TO) ?? '', answer);
    });
  }
}

/** `keys` takes the key of each message. */
function gather(batch: readonly JsMsg[], keys: string[]): Map<string, Put> {
  const puts = new Map<string, Put>();
  for (const message of batch) {
    const { key, value } = message.json<{ key: string; value: unknown }>();
    keys.push(key);
    const known = puts.get(key);
    if (known === undefined) {
      puts.set(key, { key, value: JSON.stringify(value), sequence: message.seq, count: 1, answered: 0 });
      continue;
    }
    known.value = JSON.stringify(value);
    known.sequence = message.seq;
    known.count += 1;
  }
  return puts;
}

function parameters(position: number, last: number, puts: ReadonlyMap<string, Put>): string[] {
  const rows = [...puts.values()];
  return [
    String(position),
    String(last),
    JSON.stringify([...puts.keys()]),
    `[${rows.map((row) => row.value).join(',')}]`,
    `{${rows.map((row) => row.count).join(',')}}`,
    `{${rows.map((row) => row.sequence).join(',')}}`,
  ];
}

process.on('message', (site: PeerSite) => {
  consume(site).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit(0));
