/**
 * Which command subjects this server listens to: those of the groups that it leads, and `<c>.cmd.>` while it leads any. All in
 * one queue group, so that a command reaches exactly one server also while leadership moves.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import type { GroupId } from '../../shared/raft/entry.js';
import { LEADERS_QUEUE, type Subjects } from '../../shared/wire/subjects.js';

export class LeaderSubscriptions {
  private readonly byGroup = new Map<GroupId, Subscription>();
  private any: Subscription | null = null;
  /** Which led group takes the next command that names none. */
  private turn = 0;

  constructor(
    private readonly connection: NatsConnection,
    private readonly subjects: Subjects,
    private readonly take: (message: Msg, name: string, group: GroupId) => void,
  ) {}

  start(group: GroupId): void {
    if (this.byGroup.has(group)) return;
    const prefix = this.subjects.groupCommand(group, '');
    const subscription = this.connection.subscribe(`${prefix}>`, {
      queue: LEADERS_QUEUE,
      callback: (error, message) => {
        if (error === null) this.take(message, message.subject.slice(prefix.length), group);
      },
    });
    this.byGroup.set(group, subscription);
    this.any ??= this.subscribeAny();
  }

  stop(group: GroupId): void {
    this.byGroup.get(group)?.unsubscribe();
    this.byGroup.delete(group);
    if (this.byGroup.size > 0) return;
    this.any?.unsubscribe();
    this.any = null;
  }

  /** No new commands; those on their way are still delivered before this resolves. */
  async drain(): Promise<void> {
    const all = [...this.byGroup.values(), ...(this.any === null ? [] : [this.any])];
    this.byGroup.clear();
    this.any = null;
    await Promise.allSettled(all.map((subscription) => subscription.drain()));
  }

  private subscribeAny(): Subscription {
    const prefix = this.subjects.command('');
    return this.connection.subscribe(this.subjects.commands(), {
      queue: LEADERS_QUEUE,
      callback: (error, message) => {
        if (error !== null) return;
        const led = [...this.byGroup.keys()];
        this.turn = (this.turn + 1) % Math.max(1, led.length);
        this.take(message, message.subject.slice(prefix.length), led[this.turn] ?? led[0] ?? 0);
      },
    });
  }
}
