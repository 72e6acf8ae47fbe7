/**
 * Commands over NATS: does what `batches.ts` decides. One subscription hears the answers to all
 * batches, one hears of batches as a whole; one timer serves all deadlines.
 */
import { InvalidArgumentError as InvalidNatsArgument, type Msg, type NatsConnection, type Subscription } from 'nats';
import { batchHeaderLength, encodeCommandBatch } from '../wire/command-batch.js';
import { messageBytesMax } from '../wire/connection.js';
import { inboxOf } from '../wire/inbox.js';
import { isPubAck } from '../wire/pub-ack.js';
import { decodeReplyBatch, type NumberedReply, type ReplyBatch } from '../wire/reply-batch.js';
import type { Subjects } from '../wire/subjects.js';
import { WireError } from '../wire/wire-error.js';
import type { Attempts } from './attempts.js';
import { CommandBatches, CommandCall, type Effect } from './batches.js';
import { errorOf, PayloadTooLargeError, UnavailableError } from './errors.js';
import type { ServerPreference } from './preference.js';

/** A call with what its caller waits for. */
class WaitingCall extends CommandCall {
  constructor(
    frame: Uint8Array,
    group: number | undefined,
    id: string,
    attempts: Attempts,
    readonly resolve: (reply: NumberedReply) => void,
    readonly reject: (error: unknown) => void,
  ) {
    super(frame, group, id, attempts);
  }
}

export class CommandSender {
  private readonly batches = new CommandBatches<WaitingCall>(Math.random);
  private readonly inbox: string;
  private readonly headerBytes: number;
  private readonly messageBytesMax: () => number;
  private subscriptions: readonly Subscription[] = [];
  private isScheduled = false;
  private timer: NodeJS.Timeout | undefined;
  private timerAtMs = 0;

  /** @param onRefused hears when NATS does not let this user: there are no answers then */
  constructor(
    private readonly connection: NatsConnection,
    private readonly subjects: Subjects,
    private readonly preference: ServerPreference,
    private readonly onRefused: (error: Error) => void,
  ) {
    this.inbox = inboxOf(connection);
    this.headerBytes = batchHeaderLength(this.inbox);
    this.messageBytesMax = messageBytesMax(connection);
  }

  /**
   * Listens on an inbox of its own, once, until `close`, or until the connection closes. Before
   * anything is sent. Throws when the connection is closed.
   */
  start(): void {
    this.subscriptions = [
      this.listen(this.inbox, (message) => this.onReplies(read(message))),
      this.listen(`${this.inbox}.*`, (message) => this.onBatch(message)),
    ];
    void this.connection.closed().then(() => this.close());
  }

  /**
   * Sends a command until it has an outcome, with all others of this turn of the event loop.
   * `frame`: of `encodeBatchCommand`. Rejects with a CraftError of errors.ts, or with the signal's
   * reason when it was aborted and nothing can have happened.
   */
  send(
    frame: Uint8Array,
    group: number | undefined,
    id: string,
    attempts: Attempts,
    signal: AbortSignal | undefined,
  ): Promise<NumberedReply> {
    return new Promise((resolve, reject) => {
      if (signal === undefined) {
        this.add(new WaitingCall(frame, group, id, attempts, resolve, reject));
        return;
      }
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        this.batches.abort(call, signal.reason);
        this.execute();
      };
      const done =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          signal.removeEventListener('abort', onAbort);
          then(value);
        };
      const call = new WaitingCall(frame, group, id, attempts, done(resolve), done(reject));
      signal.addEventListener('abort', onAbort, { once: true });
      this.add(call);
    });
  }

  /** Ends all commands under way as unknown and gives the inbox back. The connection stays open. */
  close(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.batches.close();
    this.execute();
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private listen(subject: string, onMessage: (message: Msg) => void): Subscription {
    return this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(message);
        else this.onRefused(error);
      },
    });
  }

  private add(call: WaitingCall): void {
    this.batches.add(call);
    this.schedule();
  }

  /** When the event loop has no more input at hand: what is issued in one turn travels together. */
  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.run();
    });
  }

  private run(): void {
    this.batches.run(performance.now(), this.messageBytesMax() - this.headerBytes);
    this.execute();
    this.wakeLater();
  }

  private execute(): void {
    for (const effect of this.batches.takeEffects()) {
      if (effect.type === 'send') this.publish(effect);
      else if (effect.type === 'succeeded') {
        const { preferred } = effect.call.attempts;
        if (preferred !== undefined) this.preference.succeeded('command', preferred);
        effect.call.resolve(effect.reply);
      } else effect.call.reject(effect.error);
    }
  }

  private publish({ firstNumber, group, isFirst, calls }: Effect<WaitingCall> & { type: 'send' }): void {
    const subject = group === undefined ? this.subjectOfAny(isFirst, calls) : this.subjects.groupBatch(group);
    const frames = calls.map(({ frame }) => frame);
    const reply = `${this.inbox}.${firstNumber}`;
    try {
      this.connection.publish(subject, encodeCommandBatch(firstNumber, this.inbox, frames), { reply });
    } catch (cause) {
      const error =
        cause instanceof InvalidNatsArgument
          ? new PayloadTooLargeError('larger than the NATS server takes', { cause })
          : new UnavailableError('cannot send', { cause });
      this.batches.unsent(firstNumber, error);
      // Nothing that this gives is to be sent.
      this.execute();
    }
  }

  /**
   * Where commands for any leader go: first to the preferred server, and when that does not take
   * them to any.
   */
  private subjectOfAny(isFirst: boolean, calls: readonly WaitingCall[]): string {
    const { preference, subjects } = this;
    const server = isFirst ? preference.serverFor('command', performance.now()) : undefined;
    for (const { attempts } of calls) attempts.preferred = server;
    return server === undefined ? subjects.batch() : subjects.serverBatch(server);
  }

  private onReplies(batch: ReplyBatch | undefined): void {
    // What cannot be read is no answer: the attempts end by their time.
    if (batch === undefined) return;
    const nowMs = performance.now();
    for (const reply of batch.replies) this.batches.replied(reply, nowMs);
    this.execute();
    if (this.batches.isHolding) this.schedule();
    this.wakeLater();
  }

  /**
   * Of a whole batch: NATS knows no server that listens, or the leader could not read it. Where the
   * services are in another account of NATS, also the answers to its commands.
   */
  private onBatch(message: Msg): void {
    if (isPubAck(message.data)) return;
    const firstNumber = Number(message.subject.slice(this.inbox.length + 1));
    const nowMs = performance.now();
    // Only an empty message can be the server's word that nobody listens: no need to parse headers
    // of others.
    if (message.data.length === 0 && message.headers?.code === 503) {
      this.batches.refused(firstNumber, 'no-responders', nowMs);
    } else {
      const batch = read(message);
      if (batch !== undefined && batch.replies.length > 0) {
        this.onReplies(batch);
        return;
      }
      const error = batch?.error;
      const failure = error === undefined ? 'malformed' : errorOf(error.code, error.message, '');
      this.batches.refused(firstNumber, failure, nowMs);
    }
    this.execute();
    this.wakeLater();
  }

  private wakeLater(): void {
    const atMs = this.batches.wakeAtMs;
    if (atMs === null || (this.timer !== undefined && this.timerAtMs <= atMs)) return;
    clearTimeout(this.timer);
    this.timerAtMs = atMs;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.run();
      },
      Math.max(1, atMs - performance.now()),
    );
  }
}

function read(message: Msg): ReplyBatch | undefined {
  try {
    return decodeReplyBatch(message.data);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
