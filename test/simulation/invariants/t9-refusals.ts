/** T9: after a definite refusal nothing of that attempt is ever in any log. */
import type { GroupId } from '../../../shared/raft/entry.js';
import type { Operation } from '../clients.js';
import type { Created } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class Refusals implements Invariant {
  readonly name = 'T9';
  private readonly refused = new Set<string>();
  private readonly appended = new Set<string>();

  onCreated(_: SimulatedServer, group: GroupId, { command }: Created): void {
    if (command === null) return;
    const { reply } = command;
    hold(!this.refused.has(reply), this.name, () => `attempt ${reply} was refused and appended`, group);
    hold(!this.appended.has(reply), this.name, () => `attempt ${reply} was appended twice`, group);
    this.appended.add(reply);
  }

  onRefused(_: Operation, tag: string): void {
    hold(!this.appended.has(tag), this.name, () => `attempt ${tag} was appended and refused`);
    this.refused.add(tag);
  }
}
