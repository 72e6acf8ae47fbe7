/**
 * What the storage engine alone costs: batches of puts with ids, given straight to the Postgres
 * engine, without NATS and without a log.
 *
 *     npm run bench:engine -- --sizes 1,16,128,512
 *
 * For each size of batch: time per command, and processor time per command of this process and of
 * the database's session for it. `--machine own` has a user's machine do the same, a handler a
 * command; `--machine together` one with `applyBatch`. `--open 1000000` measures instead how long
 * an engine takes to open when so many ids are in the window, and what they take in memory. Compare
 * runs on the same machine, several in turn: processor time depends on what else runs.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { z } from 'zod';
import type { PostgresTransaction } from '../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../services/applier/postgres/engine.js';
import type { EngineBatch, MergedCommand } from '../../shared/engine/port.js';
import type { StateMachine } from '../../shared/engine/state-machine.js';
import { startTestPostgres } from '../harness/index.js';

interface Options {
  readonly sizes: string;
  readonly keys: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly ids: boolean;
  readonly machine: string;
  readonly open: number;
  readonly json: boolean;
}

function parseOptions(): Options {
  return new Command('engine')
    .option('--sizes <list>', 'commands in a batch', '1,16,128,512')
    .option('--keys <n>', 'keys that are overwritten, at random', Number, 10_000)
    .option('--value-bytes <n>', 'of a value', Number, 128)
    .option('--seconds <n>', 'measured for each size, after half as long to warm up', Number, 3)
    .option('--no-ids', 'commands without ids')
    .option('--machine <name>', 'built-in, own or together', 'built-in')
    .option('--open <n>', 'ids in the window, of batches of the first size', Number, 0)
    .option('--json', 'print JSON')
    .parse()
    .opts<Options>();
}

const put = z.strictObject({ key: z.string(), value: z.string() });
type Put = z.output<typeof put>;

/** What the built-in machine does for a put, as a user would write it. */
const own: StateMachine<PostgresTransaction> = {
  name: 'own',
  commands: {
    'kv.put': {
      input: put,
      handle: async (tx, { key, value }: Put) => {
        const [row] = await tx.execute<{ version: number }>(sql`insert into own (key, value, version)
          values (${key}, ${value}, 1) on conflict (key) do update set value = excluded.value, version = own.version + 1
          returning version::int`);
        return { version: row?.version };
      },
    },
  },
  queries: {},
};

const together: StateMachine<PostgresTransaction> = {
  ...own,
  applyBatch: async (tx, commands) => {
    const puts = new Map(commands.map(({ input }) => [(input as Put).key, (input as Put).value]));
    await tx.execute(sql`insert into own (key, value, version)
      select key, value, 1 from json_each_text(${JSON.stringify(Object.fromEntries(puts))}::json)
      on conflict (key) do update set value = excluded.value, version = own.version + 1`);
    return commands.map(() => ({ ok: true, json: 'null' }));
  },
};

const MACHINES: Readonly<Record<string, StateMachine<PostgresTransaction>>> = { own, together };

const TICKS_PER_SECOND = 100;

/** Of the process `pid`, in microseconds: in steps of 10 ms. */
function processorUs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

function ownUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The log that is applied: made before the clock runs. */
class Log {
  private last = 0;
  private readonly payloads: readonly Uint8Array[];

  constructor(private readonly options: Options) {
    this.payloads = Array.from({ length: options.keys }, (_, at) =>
      Buffer.from(JSON.stringify({ key: `key-${String(at).padStart(8, '0')}`, value: text(options.valueBytes) })),
    );
  }

  batches(count: number, size: number): EngineBatch[] {
    return Array.from({ length: count }, () => {
      const commands = Array.from({ length: size }, () => this.command());
      return { commands, checksum: this.last.toString(16).padStart(16, '0') };
    });
  }

  private command(): MergedCommand {
    const mergedIndex = ++this.last;
    return {
      mergedIndex,
      group: mergedIndex % 3,
      index: Math.floor(mergedIndex / 3) + 1,
      term: 1,
      timestamp: 1_790_000_000_000_000 + mergedIndex * 100,
      name: 'kv.put',
      payload: this.payloads[Math.floor(Math.random() * this.payloads.length)] ?? new Uint8Array(),
      id: this.options.ids ? randomUUID() : '',
      server: 's1',
      reply: '',
      traceparent: '',
      replyFormat: 'json',
    };
  }
}

function text(bytes: number): string {
  return Array.from(
    { length: bytes },
    () => 'abcdefghijklmnopqrstuvwxyz 0123456789'[Math.floor(Math.random() * 37)],
  ).join('');
}

interface Row {
  readonly size: number;
  readonly perSecond: number;
  /** Microseconds per command. */
  readonly elapsed: number;
  readonly node: number;
  readonly session: number;
}

async function measure(engine: PostgresEngine, log: Log, size: number, seconds: number, pid: number): Promise<Row> {
  const totals = { commands: 0, elapsed: 0, node: 0, session: 0 };
  const session = { from: 0, to: 0 };
  const startMs = performance.now();
  let isWarm = false;
  for (;;) {
    const spentMs = performance.now() - startMs;
    if (!isWarm && spentMs > seconds * 500) {
      isWarm = true;
      session.from = processorUs(pid);
    }
    if (isWarm && totals.elapsed > seconds * 1e6) break;
    const batches = log.batches(Math.max(1, Math.ceil(2_048 / size)), size);
    const [nodeUs, beginMs] = [ownUs(), performance.now()];
    for (const batch of batches) await engine.apply(batch);
    if (!isWarm) continue;
    totals.node += ownUs() - nodeUs;
    totals.elapsed += (performance.now() - beginMs) * 1e3;
    totals.commands += batches.length * size;
  }
  session.to = processorUs(pid);
  const { commands } = totals;
  return {
    size,
    perSecond: Math.round(commands / (totals.elapsed / 1e6)),
    elapsed: totals.elapsed / commands,
    node: totals.node / commands,
    session: (session.to - session.from) / commands,
  };
}

/** Opens a second engine, which has to read what the first one has stored. */
async function measureOpening(
  first: PostgresEngine,
  second: PostgresEngine,
  log: Log,
  options: Options,
): Promise<void> {
  const size = Number(options.sizes.split(',')[0]);
  for (let done = 0; done < options.open; done += size) {
    for (const batch of log.batches(1, size)) await first.apply(batch);
  }
  const [bytes, nodeUs, startMs] = [process.memoryUsage().arrayBuffers, ownUs(), performance.now()];
  await second.open();
  const [ms, ownMs] = [performance.now() - startMs, (ownUs() - nodeUs) / 1e3];
  const megabytes = (process.memoryUsage().arrayBuffers - bytes) / 1e6;
  console.log(`opened in ${ms.toFixed(0)} ms, CPU ${ownMs.toFixed(0)} ms, tables of ids ${megabytes.toFixed(1)} MB`);
}

async function main(): Promise<void> {
  const options = parseOptions();
  const server = await startTestPostgres(['bench']);
  const databaseUrl = server.url('bench');
  const admin = postgres(databaseUrl, { max: 1, onnotice: () => undefined });
  let engine: PostgresEngine | undefined;
  try {
    await admin`create table own (key text primary key, value text not null, version bigint not null)`;
    const machine = MACHINES[options.machine];
    const settings = { databaseUrl, server: 's1', resultWindowMs: 600_000 };
    const make = () => new PostgresEngine(machine === undefined ? settings : { ...settings, machine });
    engine = make();
    await engine.open();
    const log = new Log(options);
    for (const batch of log.batches(20, 512)) await engine.apply(batch);
    const [found] = await admin`select pid from pg_stat_activity
      where application_name = 'craft applier s1' and datname = current_database()`;
    if (options.open > 0) {
      const second = make();
      await measureOpening(engine, second, log, options).finally(() => second.close());
      return;
    }
    const rows: Row[] = [];
    for (const size of options.sizes.split(',').map(Number)) {
      rows.push(await measure(engine, log, size, options.seconds, Number(found?.['pid'])));
    }
    print(rows, options);
  } finally {
    await engine?.close();
    await admin.end();
    await server.stop();
  }
}

function print(rows: readonly Row[], { json }: Options): void {
  if (json) {
    console.log(JSON.stringify(rows));
    return;
  }
  console.log('batch   commands/s   us/command   CPU us/command: node   session   both');
  for (const { size, perSecond, elapsed, node, session } of rows) {
    const figures = [elapsed.toFixed(1).padStart(12), node.toFixed(1).padStart(22), session.toFixed(1).padStart(9)];
    console.log(
      `${String(size).padStart(5)} ${String(perSecond).padStart(12)} ${figures.join(' ')} ${(node + session).toFixed(1).padStart(6)}`,
    );
  }
}

await main();
