/**
 * Which command subjects this server listens to: those of the groups that it leads. While it leads
 * any, also `<c>.cmd.>`, `<c>.batch` and the same two with its own name in them. All in one queue
 * group, so that a command reaches exactly one server also while leadership moves.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import type { GroupId, ServerId } from '../../shared/raft/entry.js';
import { LEADERS_QUEUE, type Subjects } from '../../shared/wire/subjects.js';

/**
 * The group whose log has the services' own commands: a restored file (T10), a comparison of rows
 * (T4), a switch (T12).
 */
const SERVICES_GROUP: GroupId = 0;

/** What takes the messages that a leader gets. */
export interface LeaderHandlers {
  readonly take: (message: Msg, name: string, group: GroupId) => void;
  readonly takeBatch: (message: Msg, group: GroupId) => void;
  readonly takeRestore: (message: Msg, group: GroupId) => void;
  readonly takeVerify: (message: Msg, group: GroupId) => void;
  readonly takeMachine: (message: Msg, group: GroupId) => void;
}

const ANY_GROUP: GroupId = 0;

export class LeaderSubscriptions {
  private readonly byGroup = new Map<GroupId, readonly Subscription[]>();
  /** Of what names no group; none while this server leads nothing. */
  private any: readonly Subscription[] = [];
  /** Which led group takes the next message that names none. */
  private turn = 0;
  private isDrained = false;

  constructor(
    private readonly connection: NatsConnection,
    private readonly subjects: Subjects,
    private readonly server: ServerId,
    private readonly handlers: LeaderHandlers,
  ) {}

  start(group: GroupId): void {
    if (this.byGroup.has(group) || this.isDrained) return;
    const { subjects, handlers } = this;
    const prefix = subjects.groupCommand(group, '');
    const all = [
      this.listen(`${prefix}>`, (message) => handlers.take(message, message.subject.slice(prefix.length), group)),
      this.listen(subjects.groupBatch(group), (message) => handlers.takeBatch(message, group)),
    ];
    if (group === SERVICES_GROUP) {
      all.push(this.listen(subjects.restore(), (message) => handlers.takeRestore(message, group)));
      all.push(this.listen(subjects.verify(), (message) => handlers.takeVerify(message, group)));
      all.push(this.listen(subjects.machine(), (message) => handlers.takeMachine(message, group)));
    }
    this.byGroup.set(group, all);
    if (this.any.length === 0) this.any = this.subscribeAny();
  }

  /**
   * No new commands of this group; resolves when those that were on their way have been delivered.
   * To just unsubscribe would drop what the NATS server has sent already, and the client that sent
   * it would wait for a refusal in vain (T9).
   */
  async stop(group: GroupId): Promise<void> {
    const ended = [...(this.byGroup.get(group) ?? [])];
    this.byGroup.delete(group);
    if (this.byGroup.size === 0) {
      ended.push(...this.any);
      this.any = [];
    }
    // One that cannot be drained has no connection any more, and nothing on its way.
    await Promise.allSettled(ended.map((subscription) => subscription.drain()));
  }

  /** No new commands from here on; resolves as `stop` does. */
  async drain(): Promise<void> {
    this.isDrained = true;
    await Promise.all([...this.byGroup.keys()].map((group) => this.stop(group)));
  }

  private subscribeAny(): Subscription[] {
    const { subjects, server, handlers } = this;
    const commands = (prefix: string) =>
      this.listen(`${prefix}>`, (message) => {
        handlers.take(message, message.subject.slice(prefix.length), this.nextGroup());
      });
    const batches = (subject: string) =>
      this.listen(subject, (message) => handlers.takeBatch(message, this.nextGroup()));
    return [
      commands(subjects.command('')),
      commands(subjects.serverCommand(server, '')),
      batches(subjects.batch()),
      batches(subjects.serverBatch(server)),
    ];
  }

  private nextGroup(): GroupId {
    const led = [...this.byGroup.keys()];
    this.turn = (this.turn + 1) % Math.max(1, led.length);
    // Where none is led, any group refuses the command, and says who leads.
    return led[this.turn] ?? led[0] ?? ANY_GROUP;
  }

  private listen(subject: string, take: (message: Msg) => void): Subscription {
    return this.connection.subscribe(subject, {
      queue: LEADERS_QUEUE,
      callback: (error, message) => {
        if (error === null) take(message);
      },
    });
  }
}
