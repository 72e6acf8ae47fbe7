/**
 * T9: after a definite refusal nothing of that attempt is ever committed, in any group. Nothing of
 * it is ever in any log, unless the refusal says that it was there and has been replaced.
 */
import type { CommandRefusal } from '../../../services/replica/core/effect.js';
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Operation } from '../clients.js';
import type { Created } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class Refusals implements Invariant {
  readonly name = 'T9';
  private readonly refused = new Set<string>();
  private readonly appended = new Set<string>();
  private readonly committed = new Set<string>();

  constructor(private readonly surroundings: Surroundings) {}

  onCreated(_: SimulatedServer, group: GroupId, { command }: Created): void {
    if (command === null) return;
    const { reply } = command;
    hold(!this.refused.has(reply), this.name, () => `attempt ${reply} was refused and appended`, group);
    hold(!this.appended.has(reply), this.name, () => `attempt ${reply} was appended twice`, group);
    this.appended.add(reply);
  }

  onCommitted(_: SimulatedServer, group: GroupId, entry: LogEntry, __: Group, isFirst: boolean): void {
    const command = isFirst ? this.surroundings.ledger.find(group, entry.index, entry.term)?.command : null;
    if (!command) return;
    hold(
      !this.refused.has(command.reply),
      this.name,
      () => `attempt ${command.reply} was refused and committed`,
      group,
    );
    this.committed.add(command.reply);
  }

  onRefused(_: Operation, tag: string, reason: CommandRefusal): void {
    const isWrong = reason === 'replaced' ? this.committed.has(tag) : this.appended.has(tag);
    hold(!isWrong, this.name, () => `attempt ${tag} was in a log and refused as ${reason}`);
    this.refused.add(tag);
  }
}
