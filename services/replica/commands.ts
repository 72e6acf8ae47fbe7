/**
 * Commands from clients: from a NATS message to queued commands, and the replica's part of the
 * answers (T7, T9).
 *
 * Everything that can be refused is refused here, before anything is appended, with a typed error.
 * What the applier answers (`applied`, the default) leaves no trace in this service: the reply
 * subject travels in the entry.
 *
 * The commands of a batch are judged one by one, and those that are accepted enter the queue of one
 * group together, in their order. Answers that one turn gives to one inbox leave in one message.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import type { Admission } from '../../shared/engine/admission.js';
import { VERIFY_COMMAND, verifyRequest } from '../../shared/engine/verify.js';
import type { GroupId, Timestamp } from '../../shared/raft/entry.js';
import { itemAt } from '../../shared/raft/lists.js';
import { receivedAttributes } from '../../shared/telemetry/conventions.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { formatOrigin } from '../../shared/telemetry/traceparent.js';
import type { RequestSpan, Tracing } from '../../shared/telemetry/tracing.js';
import { type Answers, answersOver, type ReplyAddress } from '../../shared/wire/answers.js';
import { decodeCommand, encodeCommand, type ReplyFormat } from '../../shared/wire/command.js';
import { type BatchCommand, type CommandBatch, decodeCommandBatch } from '../../shared/wire/command-batch.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import { CraftError, type ErrorCode } from '../../shared/wire/errors.js';
import { RequestHeaders } from '../../shared/wire/headers.js';
import { isFromOtherAccount } from '../../shared/wire/inbox.js';
import { parseJson } from '../../shared/wire/json.js';
import { MACHINE_COMMAND, machineInput } from '../../shared/wire/machine.js';
import { encodeBatchRefusal } from '../../shared/wire/reply-batch.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import { RESERVED_PREFIX, RESTORE_COMMAND, restoreInput } from '../../shared/wire/restore.js';
import { WireError } from '../../shared/wire/wire-error.js';
import type { Acknowledgement, CommandRefusal, FailedEffect, Placed, QueuedCommand } from './core/effect.js';

/** A command on its way into a log, with what is needed to answer it. */
export interface ClientCommand extends QueuedCommand, ReplyAddress {
  readonly name: string;
  /** The timestamp that the entry must come after (T7); 0 for none. */
  readonly after: Timestamp;
  readonly span: RequestSpan | undefined;
  /**
   * When it was received (microseconds since the Unix epoch), and on which subject; 0 and empty for
   * one that is not sampled.
   */
  readonly receivedUs: number;
  readonly subject: string;
}

/** What a command says besides its name and payload. */
interface Envelope {
  readonly id: string;
  readonly acknowledgement: Acknowledgement;
  readonly after: Timestamp;
  readonly traceparent: string | undefined;
}

export interface IngressOptions {
  readonly server: string;
  readonly replies: Pick<ReplyGuard, 'allowsClient'>;
  readonly machine: Pick<Admission, 'prepare' | 'requireSwitch'>;
  /** Largest payload now (bytes). */
  readonly payloadBytesMax: () => number;
  /** Why no command enters the queue of this group now, or null. Asked before anything is read. */
  readonly refusal: (group: GroupId, acknowledgement: Acknowledgement) => CommandRefusal | null;
  /** Queues commands of one group, in their order; returns for each one why not, or null. */
  readonly offer: (group: GroupId, commands: readonly ClientCommand[]) => readonly (CommandRefusal | null)[];
  /** A command, or a batch as a whole, is refused. */
  readonly onRefused: (code: ErrorCode) => void;
  /** Something failed that no client is to blame for; clients hear INTERNAL, or nothing. */
  readonly onFailure: (what: string, error: unknown) => void;
}

/** Longest idempotency id (characters). */
const ID_LENGTH_MAX = 256;

const NO_HEADERS: Envelope = { id: '', acknowledgement: 'applied', after: 0, traceparent: undefined };

export class Ingress {
  private readonly answers: Answers;
  /** Answers leave at the end of this turn. */
  private isFlushing = false;

  constructor(
    private readonly options: IngressOptions,
    private readonly connection: NatsConnection,
    private readonly tracing: Tracing,
  ) {
    this.answers = answersOver(connection);
  }

  /**
   * Takes a message for the given group; answers at once when it is refused. `receivedUs`: when it
   * was received (microseconds since the Unix epoch), or 0 while tracing is off.
   */
  take(message: Msg, name: string, group: GroupId, receivedUs: number): void {
    this.takeAlone(message, name, group, receivedUs, (format) => this.validate(name, message.data, format));
  }

  /** Takes the services' own request that the state be replaced (T10). */
  takeRestore(message: Msg, group: GroupId): void {
    this.takeAlone(message, RESTORE_COMMAND, group, this.nowUs(), () => {
      parseJson(message.data, restoreInput);
      return message.data;
    });
  }

  /** Takes the services' own request that all servers compare their rows (T4). */
  takeVerify(message: Msg, group: GroupId): void {
    this.takeAlone(message, VERIFY_COMMAND, group, this.nowUs(), () => {
      parseJson(message.data, verifyRequest);
      return message.data;
    });
  }

  /**
   * Takes the services' own request that the state machine be switched to another version (T12).
   */
  takeMachine(message: Msg, group: GroupId): void {
    this.takeAlone(message, MACHINE_COMMAND, group, this.nowUs(), () => {
      this.options.machine.requireSwitch(parseJson(message.data, machineInput));
      return message.data;
    });
  }

  /**
   * Takes the commands of a batch for the given group; returns how many there are. `receivedUs`:
   * see `take`.
   */
  takeBatch(message: Msg, group: GroupId, receivedUs: number): number {
    const refusal = this.options.refusal(group, 'applied');
    const isBehind = refusal === 'behind';
    if (refusal !== null && !isBehind) {
      this.refuseBatch(message, refusalError(refusal));
      return 0;
    }
    const batch = this.readBatch(message);
    if (batch === undefined) return 0;
    const { firstNumber, commands } = batch;
    const reply = inboxOfBatch(message, batch);
    const accepted: ClientCommand[] = [];
    for (const [at, command] of commands.entries()) {
      const to: ReplyAddress = { reply, replyFormat: 'protobuf', replyNumber: firstNumber + at };
      try {
        accepted.push(this.prepareOfBatch(command, to, message, receivedUs, isBehind));
      } catch (error) {
        if (this.tracing.enabled && !(command instanceof WireError)) {
          this.traceRefusal(command.name, command.traceparent, message, receivedUs, error);
        }
        this.fail(to, error);
      }
    }
    this.offer(group, accepted);
    return commands.length;
  }

  /** Refuses a message unread: too many wait to be read. */
  shed(message: Msg): void {
    let replyFormat: ReplyFormat = 'json';
    try {
      if (message.headers !== undefined) replyFormat = formatOf(new RequestHeaders(message.headers));
    } catch (error) {
      // A content type that there is not: it would have been refused for that.
      if (!(error instanceof CraftError)) throw error;
    }
    this.fail({ reply: message.reply ?? '', replyFormat, replyNumber: 0 }, refusalError('overloaded'));
  }

  /** The same for a batch. */
  shedBatch(message: Msg): void {
    this.refuseBatch(message, refusalError('overloaded'));
  }

  private takeAlone(
    message: Msg,
    name: string,
    group: GroupId,
    receivedUs: number,
    validate: (format: ReplyFormat) => Uint8Array,
  ): void {
    const reply = message.reply ?? '';
    let replyFormat: ReplyFormat = 'json';
    let headers: RequestHeaders | undefined;
    let command: ClientCommand;
    try {
      headers = message.headers === undefined ? undefined : new RequestHeaders(message.headers);
      replyFormat = formatOf(headers);
      const head = readHeaders(headers);
      // The services' own are not held up by a state that they may be the remedy for.
      const isOwn = name.startsWith(RESERVED_PREFIX);
      const refusal = this.options.refusal(group, isOwn ? 'committed' : head.acknowledgement);
      if (refusal !== null) throw refusalError(refusal);
      const payload = validate(replyFormat);
      command = this.prepare(name, payload, head, { reply, replyFormat, replyNumber: 0 }, message, receivedUs);
    } catch (error) {
      if (this.tracing.enabled) this.traceRefusal(name, headers?.only('traceparent'), message, receivedUs, error);
      this.fail({ reply, replyFormat, replyNumber: 0 }, error);
      return;
    }
    this.offer(group, [command]);
  }

  /** Undefined when the batch is refused as a whole: then that is answered. */
  private readBatch(message: Msg): CommandBatch | undefined {
    try {
      const batch = decodeCommandBatch(message.data);
      if (this.options.replies.allowsClient(inboxOfBatch(message, batch))) return batch;
      throw new WireError('inbox: a subject of the services');
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.refuseBatch(message, new CraftError('INVALID_ARGUMENT', error.message));
      return undefined;
    }
  }

  /** As a whole. */
  private refuseBatch(message: Msg, { code, message: text }: CraftError): void {
    this.options.onRefused(code);
    if (message.reply) this.connection.publish(message.reply, encodeBatchRefusal(code, text));
  }

  private prepareOfBatch(
    command: BatchCommand | WireError,
    to: ReplyAddress,
    message: Msg,
    receivedUs: number,
    isBehind: boolean,
  ): ClientCommand {
    if (command instanceof WireError) throw new CraftError('INVALID_ARGUMENT', command.message);
    const { name, acknowledgement, after, traceparent } = command;
    if (isBehind && acknowledgement === 'applied') throw refusalError('behind');
    const head = { id: readId(command.id), acknowledgement, after, traceparent: traceparent || undefined };
    const payload = this.validate(name, command.payload, command.payloadFormat);
    return this.prepare(name, payload, head, to, message, receivedUs);
  }

  private prepare(
    name: string,
    payload: Uint8Array,
    { id, acknowledgement, after, traceparent }: Envelope,
    to: ReplyAddress,
    message: Msg,
    receivedUs: number,
  ): ClientCommand {
    const span = this.tracing.enabled ? this.tracing.begin('craft.command', name, traceparent, receivedUs) : undefined;
    const subject = span === undefined ? '' : message.subject;
    const isAppliers = acknowledgement === 'applied';
    const { reply, replyFormat, replyNumber } = to;
    const body = encodeCommand({
      name,
      payload,
      id,
      server: this.options.server,
      reply: isAppliers ? reply : '',
      traceparent: span?.traceparent ?? '',
      replyFormat,
      replyNumber: isAppliers ? replyNumber : 0,
      traceOrigin:
        span === undefined ? '' : formatOrigin({ receivedUs, callerSpanId: span.callerSpanId, isAppliers, subject }),
    });
    const isWatched = span !== undefined;
    return {
      body,
      acknowledgement,
      isAwaited: reply !== '',
      isWatched,
      name,
      after,
      reply,
      replyFormat,
      replyNumber,
      span,
      receivedUs,
      subject,
    };
  }

  private offer(group: GroupId, commands: readonly ClientCommand[]): void {
    if (commands.length === 0) return;
    for (const [at, refusal] of this.options.offer(group, commands).entries()) {
      if (refusal === null) continue;
      const command = itemAt(commands, at);
      const error = refusalError(refusal);
      const { name, subject } = command;
      command.span?.end(spanTimeUs(), { command: name, error: error.code, more: receivedAttributes(subject) });
      this.fail(command, error);
    }
  }

  private nowUs(): number {
    return this.tracing.enabled ? spanTimeUs() : 0;
  }

  /**
   * A command that is refused before it has a span gets one for the refusal, when it is sampled.
   */
  private traceRefusal(
    name: string,
    traceparent: string | undefined,
    message: Msg,
    receivedUs: number,
    error: unknown,
  ): void {
    const { code, message: text } = error instanceof CraftError ? error : new CraftError('INTERNAL', String(error));
    this.tracing.begin('craft.command', name, traceparent || undefined, receivedUs)?.end(spanTimeUs(), {
      command: name,
      error: code,
      message: text,
      more: receivedAttributes(message.subject),
    });
  }

  /** T7: `committed` and `ordered` are answered here, before execution. */
  acknowledge(group: GroupId, { command, timestamp }: Placed<ClientCommand>): void {
    this.answers.succeed(command, { group, timestamp });
    this.flushLater();
  }

  /** A definite refusal (T9); returns what the client is told. */
  refuse(command: ClientCommand, reason: CommandRefusal): CraftError {
    const error = refusalError(reason);
    this.fail(command, error);
    return error;
  }

  /**
   * Commands that this server stamped as a leader and that are not committed: what is known of them
   * (T9).
   */
  answerLost({ outcome, entries, waiting }: FailedEffect<ClientCommand>): void {
    const error =
      outcome === 'replaced'
        ? refusalError(outcome)
        : new CraftError(
            'TIMEOUT_UNKNOWN',
            'leadership was lost, and the outcome of the command is unknown: send it again with the same id',
          );
    // One that the applier answers waits here for its trace only; its address is in the entry.
    for (const { command } of waiting) if (command.acknowledgement !== 'applied') this.tell(command, error);
    for (const entry of entries) this.fail(decodeCommand(entryBody(entry)), error);
  }

  private validate(name: string, data: Uint8Array, format: ReplyFormat): Uint8Array {
    const { payloadBytesMax, machine } = this.options;
    return machine.prepare(name, data, format, payloadBytesMax());
  }

  private fail(to: ReplyAddress, error: unknown): void {
    this.options.onRefused(error instanceof CraftError ? error.code : 'INTERNAL');
    this.tell(to, error);
  }

  private tell(to: ReplyAddress, error: unknown): void {
    this.answers.failWith(to, error);
    this.flushLater();
    if (!(error instanceof CraftError)) this.options.onFailure('failed on a command', error);
  }

  /** All of one turn: it ends before microtasks run. */
  private flushLater(): void {
    if (!this.answers.isWaiting || this.isFlushing) return;
    this.isFlushing = true;
    queueMicrotask(() => {
      this.isFlushing = false;
      try {
        this.answers.flush();
      } catch (error) {
        this.options.onFailure('answers could not be sent', error);
      }
    });
  }
}

function formatOf(headers: RequestHeaders | undefined): ReplyFormat {
  const type = headers?.get('content-type') ?? '';
  if (type === '' || type.startsWith('application/json')) return 'json';
  if (type.startsWith('application/protobuf')) return 'protobuf';
  throw new CraftError(
    'INVALID_ARGUMENT',
    `Content-Type: ${type} is neither application/json nor application/protobuf`,
  );
}

function readHeaders(headers: RequestHeaders | undefined): Envelope {
  if (headers === undefined) return NO_HEADERS;
  return {
    id: readId(headers.get('nats-msg-id')),
    acknowledgement: readAcknowledgement(headers.get('craft-ack')),
    after: readAfter(headers.get('craft-after')),
    traceparent: headers.only('traceparent'),
  };
}

/**
 * Bytes that are no UTF-8 have become U+FFFD on their way here: two ids may have become the same.
 */
function readId(id: string): string {
  if (id.length > ID_LENGTH_MAX || /[\0\ufffd]/.test(id)) {
    throw new CraftError(
      'INVALID_ARGUMENT',
      `Nats-Msg-Id: at most ${ID_LENGTH_MAX} characters of UTF-8, neither NUL nor U+FFFD`,
    );
  }
  return id;
}

function readAcknowledgement(text: string): Acknowledgement {
  if (text === '' || text === 'applied') return 'applied';
  if (text === 'ordered' || text === 'committed') return text;
  throw new CraftError('INVALID_ARGUMENT', `Craft-Ack: ${text} is not one of applied, ordered, committed`);
}

function readAfter(text: string): Timestamp {
  if (text === '') return 0;
  const after = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(after)) {
    throw new CraftError('INVALID_ARGUMENT', `Craft-After: ${text} is not a timestamp in microseconds`);
  }
  return after;
}

/**
 * Where the answers to the commands of a batch go; empty: there are none. A message without a reply
 * subject does not tell its account, and its inbox may be that of another client.
 */
function inboxOfBatch({ reply }: Msg, { inbox }: CommandBatch): string {
  if (!reply) return '';
  return inbox === '' || isFromOtherAccount(reply) ? reply : inbox;
}

/** Made once: an overloaded server has many to give, and a stack is expensive to take. */
const REFUSALS: Readonly<Record<CommandRefusal, CraftError>> = {
  'not-leader': new CraftError('NOT_LEADER', 'this server does not lead the group now'),
  replaced: new CraftError(
    'NOT_LEADER',
    'leadership was lost before the command was committed: it will not be executed',
  ),
  overloaded: new CraftError('OVERLOADED', 'too much is waiting to be committed; try again later'),
  behind: new CraftError('OVERLOADED', 'too much is waiting to be applied at this server; try again later'),
  clock: new CraftError('UNAVAILABLE', "this server's clock is too far ahead to stamp commands"),
  'after-beyond-bound': new CraftError('INVALID_ARGUMENT', "Craft-After lies beyond the bound of this server's clock"),
};

function refusalError(reason: CommandRefusal): CraftError {
  return REFUSALS[reason];
}
