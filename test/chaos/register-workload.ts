/**
 * The registers: many clients that read and write few keys. What they see is judged by the checker
 * of histories.
 */
import type { NatsConnection } from 'nats';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import type { Recorder } from './history/recorder.js';
import type { Random } from './random.js';
import { RegisterProcess } from './register-process.js';
import type { Counts, Told, Workload } from './workload.js';

export interface RegisterWorkloadOptions {
  readonly cluster: LocalCluster;
  /** One for each client. */
  readonly connections: readonly NatsConnection[];
  readonly recorder: Recorder;
  readonly random: Random;
  readonly keys: number;
  readonly timeoutMs: number;
  readonly thinkMs: number;
}

export class RegisterWorkload implements Workload {
  readonly name = 'registers';
  private readonly keys: readonly [string, ...string[]];
  private readonly processes: readonly RegisterProcess[];
  private readonly recorder: Recorder;

  constructor({ cluster, connections, recorder, random, keys, timeoutMs, thinkMs }: RegisterWorkloadOptions) {
    this.recorder = recorder;
    this.keys = ['k0', ...Array.from({ length: keys - 1 }, (_, i) => `k${i + 1}`)];
    const common = { cluster: cluster.cluster, groups: cluster.groups, keys: this.keys, recorder, timeoutMs, thinkMs };
    const seen = { timestamp: 0 };
    this.processes = connections.map((connection, number) => {
      return new RegisterProcess(number, { ...common, connection, seen, random: random.fork() });
    });
  }

  /** Registers begin absent. */
  async prepare(): Promise<void> {
    for (const process of this.processes) process.start();
  }

  async run(isOver: () => boolean): Promise<void> {
    await Promise.all(this.processes.map((process) => process.run(isOver)));
  }

  async settle(isTooLate: () => boolean): Promise<string[]> {
    const complaints: string[] = [];
    const reads = this.processes.map(async (process) => {
      for (const key of this.keys) {
        if (!(await process.readSurely(key, isTooLate)))
          complaints.push(`key ${key} could not be read after the faults`);
      }
    });
    await Promise.all(reads);
    return complaints;
  }

  told(): Told[] {
    return this.recorder.events.flatMap((event) =>
      event.type === 'ok' && event.timestamp !== undefined
        ? [{ id: event.id, group: event.group, timestamp: event.timestamp, index: event.index }]
        : [],
    );
  }

  successes(): number[] {
    return this.recorder.events.flatMap(({ type, time }) => (type === 'ok' ? [time] : []));
  }

  counts(): Counts {
    const counts = { ok: 0, fail: 0, unknown: 0 };
    for (const { type } of this.recorder.events) if (type !== 'invoke' && type !== 'info') counts[type] += 1;
    return counts;
  }
}
