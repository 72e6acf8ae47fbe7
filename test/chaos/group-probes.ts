/**
 * One client a group that asks the leader of just that group for a write, at a steady pace and
 * whether or not the last one has been answered. So it shows to the tick how long the group had no
 * leader.
 */
import { headers, type NatsConnection } from 'nats';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { Requester } from '../../shared/client/requester.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { ask } from './request.js';
import type { Counts, Told, Workload } from './workload.js';

export interface GroupProbesOptions {
  readonly cluster: LocalCluster;
  /** One for each group. */
  readonly connections: readonly NatsConnection[];
  /** Between two requests to a group (milliseconds). */
  readonly everyMs: number;
  readonly timeoutMs: number;
  /** Microseconds. */
  readonly nowUs: () => number;
}

export class GroupProbes implements Workload {
  readonly name = 'group probes';
  private readonly acknowledged: Told[] = [];
  /** By group: times of success, ascending. */
  private readonly times: readonly number[][];
  private readonly outcomes = { ok: 0, fail: 0, unknown: 0 };

  constructor(private readonly options: GroupProbesOptions) {
    this.times = options.connections.map(() => []);
  }

  async prepare(): Promise<void> {}

  async run(isOver: () => boolean): Promise<void> {
    await Promise.all(this.options.connections.map((connection, group) => this.probe(group, connection, isOver)));
  }

  async settle(): Promise<string[]> {
    return [];
  }

  told(): readonly Told[] {
    return this.acknowledged;
  }

  /** Of one group. */
  successesOf(group: number): readonly number[] {
    return this.times[group] ?? [];
  }

  /** The groups that have not taken a command since then (microseconds). */
  silentSince(us: number): number[] {
    return this.times.flatMap((times, group) => ((times.at(-1) ?? Number.NEGATIVE_INFINITY) > us ? [] : [group]));
  }

  successes(): number[] {
    return this.times.flat().sort((a, b) => a - b);
  }

  counts(): Counts {
    return this.outcomes;
  }

  /** At most `timeoutMs / everyMs` requests are under way. */
  private async probe(group: number, connection: NatsConnection, isOver: () => boolean): Promise<void> {
    const { everyMs } = this.options;
    const requester = new Requester(connection).start();
    const underWay = new Set<Promise<void>>();
    for (let n = 0; !isOver(); n++) {
      const one = this.ask(requester, group, n).finally(() => underWay.delete(one));
      underWay.add(one);
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
    await Promise.all(underWay);
    requester.close();
  }

  private async ask(requester: Requester, group: number, n: number): Promise<void> {
    const { cluster, timeoutMs, nowUs } = this.options;
    const id = `probe-${group}-${n}`;
    const header = headers();
    header.set('Nats-Msg-Id', id);
    const subject = new Subjects(cluster.cluster).groupCommand(group, 'kv.put');
    const input = { key: `probe/${group}`, value: n };
    const answer = await ask(requester, { subject, input, header, id }, timeoutMs);
    this.outcomes[answer.outcome] += 1;
    if (answer.outcome !== 'ok') return;
    this.times[group]?.push(nowUs());
    const { timestamp, index } = answer.success;
    if (timestamp !== undefined) this.acknowledged.push({ id, group: answer.success.group, timestamp, index });
  }
}
