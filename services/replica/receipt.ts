/**
 * Receives what clients send to a leader. Commands and batches wait in the intake until there is
 * time to read them. The services' own commands are few, and are read at once.
 */
import type { Msg } from '@nats-io/nats-core';
import type { GroupId } from '../../shared/raft/entry.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import type { Ingress } from './commands.js';
import type { Intake } from './intake.js';
import type { ReplicaMetrics } from './metrics.js';
import type { LeaderHandlers } from './subscriptions.js';
import type { Transport } from './transport.js';

export interface ReceiptOptions {
  readonly ingress: Ingress;
  readonly intake: Intake;
  readonly replies: ReplyGuard;
  readonly transport: Transport;
  readonly counts: ReplicaMetrics;
  /** Whether the time of receipt is needed. */
  readonly isTraced: boolean;
}

export class Receipt implements LeaderHandlers {
  constructor(private readonly options: ReceiptOptions) {}

  take(message: Msg, name: string, group: GroupId): void {
    const { ingress, counts } = this.options;
    counts.commands.add();
    const receivedUs = this.receivedUs();
    const take = () => ingress.take(message, name, group, receivedUs);
    this.takeIn('command', message, take, () => ingress.shed(message));
  }

  takeBatch(message: Msg, group: GroupId): void {
    const { ingress, counts } = this.options;
    const receivedUs = this.receivedUs();
    const take = () => counts.commands.add(ingress.takeBatch(message, group, receivedUs));
    this.takeIn('batch', message, take, () => ingress.shedBatch(message));
  }

  takeRestore(message: Msg, group: GroupId): void {
    const { ingress, replies, transport } = this.options;
    if (replies.allowsService(message.reply)) transport.guard('restore', () => ingress.takeRestore(message, group));
  }

  takeVerify(message: Msg, group: GroupId): void {
    const { ingress, replies, transport } = this.options;
    if (replies.allowsClient(message.reply)) transport.guard('verify', () => ingress.takeVerify(message, group));
  }

  takeMachine(message: Msg, group: GroupId): void {
    const { ingress, replies, transport } = this.options;
    if (replies.allowsClient(message.reply)) transport.guard('machine', () => ingress.takeMachine(message, group));
  }

  private receivedUs(): number {
    return this.options.isTraced ? spanTimeUs() : 0;
  }

  private takeIn(what: string, message: Msg, take: () => void, shed: () => void): void {
    const { intake, replies, transport, counts } = this.options;
    if (!replies.allowsClient(message.reply)) return;
    intake.take({
      bytes: message.data.length,
      run: () => transport.guard(what, take),
      shed: () => {
        counts.shed.add();
        transport.guard(what, shed);
      },
    });
  }
}
