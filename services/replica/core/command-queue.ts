/**
 * Commands of one group that wait to be stamped. Queued and uncommitted together are bounded by
 * uncommittedBytesMax.
 */
import type { Timestamp } from '../../../shared/raft/entry.js';
import type { QueuedCommand } from './effect.js';

export class CommandQueue<C extends QueuedCommand> {
  private commands: C[] = [];
  /** Of their bodies. */
  bytes = 0;
  /** The largest timestamp that one of them is to come after (T7). */
  after: Timestamp = 0;

  get length(): number {
    return this.commands.length;
  }

  add(command: C, after: Timestamp): void {
    this.after = Math.max(this.after, after);
    this.commands.push(command);
    this.bytes += command.body.length;
  }

  /** At most `count`, the oldest first, with what all that are queued are to come after. */
  take(count: number): { commands: C[]; after: Timestamp } {
    const { after } = this;
    const commands = this.commands.splice(0, count);
    for (const { body } of commands) this.bytes -= body.length;
    if (this.commands.length === 0) this.after = 0;
    return { commands, after };
  }
}
