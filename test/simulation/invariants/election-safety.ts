/** Election safety: at most one leader in a term (Raft section 5.2). */
import type { GroupId } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class ElectionSafety implements Invariant {
  readonly name = 'election safety';
  private readonly leaders = new Map<string, string>();

  onLeader(server: SimulatedServer, group: GroupId, core: Group): void {
    const key = `${group}/${core.term}`;
    const other = this.leaders.get(key);
    hold(
      other === undefined,
      this.name,
      () => `${other} and ${server.name} lead group ${group} in term ${core.term}`,
      group,
    );
    this.leaders.set(key, server.name);
  }
}
