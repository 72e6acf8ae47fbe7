/** The bank: money moves between accounts, and none is made or lost. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { NatsConnection } from 'nats';
import type { LocalCluster } from '../../../deploy/local/cluster.js';
import { connectCraft } from '../../../shared/client/index.js';
import type { Random } from '../random.js';
import type { Counts, Told, Workload } from '../workload.js';
import { type BankReport, checkBank } from './check.js';
import type { BankEvent } from './format.js';
import { accountKey, BankProcess } from './process.js';

export interface BankWorkloadOptions {
  readonly cluster: LocalCluster;
  /** One for each client. */
  readonly connections: readonly NatsConnection[];
  /** Where the history goes; overwritten. */
  readonly historyFile: string;
  readonly random: Random;
  readonly accounts: number;
  /** Of each account at the beginning. */
  readonly balance: number;
  readonly timeoutMs: number;
  readonly thinkMs: number;
  /** Microseconds. */
  readonly nowUs: () => number;
}

const PREPARE_MS_MAX = 30_000;

export class BankWorkload implements Workload {
  readonly name = 'bank';
  private readonly events: BankEvent[] = [];
  private readonly file: WriteStream;
  private readonly processes: readonly BankProcess[];

  constructor(private readonly options: BankWorkloadOptions) {
    const { connections, random, accounts, timeoutMs, thinkMs, nowUs } = options;
    this.file = createWriteStream(options.historyFile);
    const record = (event: BankEvent): void => {
      this.events.push(event);
      this.file.write(`${JSON.stringify(event)}\n`);
    };
    const common = { cluster: options.cluster.cluster, accounts, timeoutMs, thinkMs, nowUs, record };
    this.processes = connections.map((connection, number) => {
      return new BankProcess(number, { ...common, connection, random: random.fork() });
    });
  }

  /** All accounts are opened at once. */
  async prepare(): Promise<void> {
    const { cluster, connections, accounts, balance } = this.options;
    for (const process of this.processes) process.start();
    const [connection] = connections;
    if (connection === undefined) throw new RangeError('no clients');
    const client = await connectCraft({ connection, cluster: cluster.cluster, timeoutMs: PREPARE_MS_MAX });
    const ops = Array.from({ length: accounts }, (_, account) => ({
      put: { key: accountKey(account), value: { balance, by: '' }, ifVersion: 0 },
    }));
    await client.kv.txn(ops);
    await client.close();
  }

  async run(isOver: () => boolean): Promise<void> {
    await Promise.all(this.processes.map((process) => process.run(isOver)));
  }

  async settle(isTooLate: () => boolean): Promise<string[]> {
    const read = await Promise.all(this.processes.map((process) => process.readSurely(isTooLate)));
    return read.every(Boolean) ? [] : ['the accounts could not be read after the faults'];
  }

  told(): Told[] {
    return this.events.flatMap((event) => {
      if (event.type !== 'ok' || event.f !== 'transfer' || event.timestamp === undefined) return [];
      const { id, group, timestamp, index } = event;
      return [{ id, group, timestamp, index }];
    });
  }

  successes(): number[] {
    return this.events.flatMap(({ type, time }) => (type === 'ok' ? [time] : []));
  }

  /**
   * An optimistic transfer that came too late has failed, but is not counted: nothing is wrong with
   * it.
   */
  counts(): Counts {
    const counts = { ok: 0, fail: 0, unknown: 0 };
    for (const event of this.events) {
      if (event.type === 'invoke') continue;
      if (event.type === 'fail' && event.error === 'REJECTED') continue;
      counts[event.type] += 1;
    }
    return counts;
  }

  report(): BankReport {
    const { accounts, balance } = this.options;
    return checkBank(this.events, { accounts, total: accounts * balance });
  }

  /** Resolves when the history is complete. */
  async close(): Promise<void> {
    this.file.end();
    await finished(this.file);
  }
}
