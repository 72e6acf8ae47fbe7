/**
 * Clock guard: while most clocks are right nothing is committed with a timestamp far in the future,
 * whatever the clock of its leader shows.
 */
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import { EPOCH_US } from '../clock.js';
import { CLOCK_OFFSET_US_MAX } from '../options.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

/** What drift and round trips may add (microseconds). */
const SLACK_US = 400_000;

export class ClockBound implements Invariant {
  readonly name = 'clock guard';
  private readonly world: World;

  constructor({ world }: Surroundings) {
    this.world = world;
  }

  onCommitted(_: SimulatedServer, group: GroupId, entry: LogEntry, __: Group, isFirst: boolean): void {
    if (this.world.queue.nowUs < this.world.clocksMixedUntilUs) return;
    const { servers, core } = this.world.options;
    // One clock has nobody to compare itself with; of five, two wrong ones and one that hears
    // nobody else are a quorum.
    if (!isFirst || servers < 3 || servers > 4) return;
    const most = this.world.queue.nowUs + core.clockOffsetUsMax + core.promiseWindowUs + CLOCK_OFFSET_US_MAX + SLACK_US;
    const ahead = entry.timestamp - EPOCH_US;
    hold(
      ahead <= most,
      this.name,
      () => `entry ${entry.index} of group ${group} is ${(ahead - this.world.queue.nowUs) / 1e6} s ahead`,
      group,
    );
  }
}
