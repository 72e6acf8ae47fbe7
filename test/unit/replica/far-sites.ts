/**
 * Servers at sites that lie far apart, each of which leads a group. A write takes half a
 * millisecond.
 */
import type { ServerId } from '../../../shared/raft/entry.js';
import { Timeline } from './timeline.js';

export class FarSites {
  /** @param wayMs One way between two servers (milliseconds). */
  constructor(
    private readonly servers: readonly ServerId[],
    private readonly wayMs: (from: ServerId, to: ServerId) => number,
  ) {}

  /** Each of these groups is led by its preferred server, and has said all that it has to say. */
  settled(groups: number): Timeline {
    const timeline = new Timeline(this.servers, { groups, latencyMs: this.wayMs, diskMs: 0.5 });
    timeline.pass(6_000);
    for (let group = 0; group < groups; group++) {
      timeline.offer(this.leaderOf(group), group, 'ordered');
      timeline.pass(400);
    }
    timeline.begin();
    return timeline;
  }

  /**
   * Median of how long a command takes to be ordered, by group, while these groups always have one
   * under way (milliseconds).
   */
  ordered(groups: number, writing: readonly number[]): number[] {
    const timeline = this.settled(groups);
    const begun = new Map<number, number>();
    const begin = (group: number) => {
      begun.set(group, timeline.nowMs);
      timeline.offer(this.leaderOf(group), group, 'ordered');
    };
    const times = new Map<number, number[]>(writing.map((group) => [group, []]));
    for (const group of writing) begin(group);
    const endMs = timeline.nowMs + 5_000;
    for (let seen = 0; timeline.nowMs < endMs; timeline.pass(0.1)) {
      for (; seen < timeline.told.length; seen++) {
        const [, what, group] = timeline.told[seen]?.text.split(' ') ?? [];
        if (what !== 'ordered') continue;
        times.get(Number(group))?.push(timeline.nowMs - (begun.get(Number(group)) ?? 0));
        begin(Number(group));
      }
    }
    return [...times.values()].map((all) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0);
  }

  private leaderOf(group: number): ServerId {
    return this.servers[group] ?? '';
  }
}
