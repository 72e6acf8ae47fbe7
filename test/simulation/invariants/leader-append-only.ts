/** Leader append-only: a leader never drops or replaces an entry of its log (Raft figure 3). */
import type { GroupId, LogIndex } from '../../../shared/raft/entry.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class LeaderAppendOnly implements Invariant {
  readonly name = 'leader append-only';

  onTruncated(server: SimulatedServer, group: GroupId, from: LogIndex, wasLeading: boolean): void {
    hold(!wasLeading, this.name, () => `${server.name} leads group ${group} and drops entries from ${from} on`, group);
  }
}
