/**
 * T3: a closed timestamp that counts anywhere is below the durable promise limit of a quorum, so no
 * crash can undo it.
 */
import type { GroupId } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { GroupState } from '../../../shared/raft/state.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class DurablePromises implements Invariant {
  readonly name = 'T3';
  private readonly world: World;
  private readonly quorum: number;
  /** Of what has been looked at, by group: the largest closed timestamp. */
  private readonly checked: number[];

  constructor({ world }: Surroundings) {
    const { groups, servers, spares } = world.options;
    this.world = world;
    // With members that change, what a quorum was is not told by the disks.
    this.quorum = spares > 0 ? 0 : (servers >> 1) + 1;
    this.checked = new Array<number>(groups).fill(0);
  }

  onMoved(server: SimulatedServer, group: GroupId, core: Group): void {
    const { validTimestamp } = (Reflect.get(core, 'state') as GroupState).closedTimestamps;
    if (validTimestamp <= (this.checked[group] ?? 0)) return;
    this.checked[group] = validTimestamp;
    const durable = this.world.servers.filter(({ disk }) => disk.promiseLimit >= validTimestamp);
    hold(
      durable.length >= this.quorum,
      this.name,
      () =>
        `${server.name} counts ${validTimestamp} of group ${group} as closed, which only ${durable.map(({ name }) => name)} have promised durably`,
      group,
    );
  }
}
