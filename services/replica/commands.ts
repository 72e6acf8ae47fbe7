/**
 * Commands from clients: from a NATS message to a queued command, and the replica's part of the answers (T7, T9).
 *
 * Everything that can be refused is refused here, before anything is appended, with a typed error. What the applier answers
 * (`applied`, the default) leaves no trace in this service: the reply subject travels in the entry.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { prepareCommand, type StateMachineContract } from '../../shared/engine/registry.js';
import { VERIFY_COMMAND, verifyRequest } from '../../shared/engine/verify.js';
import type { GroupId, Timestamp } from '../../shared/raft/entry.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { CommandSpan, Tracing } from '../../shared/telemetry/tracing.js';
import { decodeCommand, encodeCommand, type ReplyFormat } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import { CraftError } from '../../shared/wire/errors.js';
import { RequestHeaders } from '../../shared/wire/headers.js';
import { parseJson } from '../../shared/wire/json.js';
import { encodeError, encodeSuccess, type Reply } from '../../shared/wire/reply.js';
import { RESTORE_COMMAND, restoreInput } from '../../shared/wire/restore.js';
import type { Acknowledgement, CommandRefusal, FailedEffect, Placed, QueuedCommand } from './core/effect.js';

/** A command on its way into a log, with what is needed to answer it. */
export interface ClientCommand extends QueuedCommand {
  readonly name: string;
  /** Where this service answers; empty when the applier does, or no client waits. */
  readonly reply: string;
  readonly format: ReplyFormat;
  readonly span: CommandSpan | undefined;
  /** When it was queued (microseconds), for a sampled command; else 0. */
  readonly stampedAtUs: Timestamp;
}

/** What the headers of a command say. */
interface Envelope {
  readonly id: string;
  readonly acknowledgement: Acknowledgement;
  readonly after: Timestamp;
  readonly format: ReplyFormat;
  readonly traceparent: string | undefined;
}

export interface IngressOptions {
  readonly server: string;
  readonly contract: StateMachineContract;
  /** Largest payload (bytes). */
  readonly payloadBytesMax: number;
}

/** Longest idempotency id (characters). */
const ID_LENGTH_MAX = 256;

const NO_HEADERS: Envelope = { id: '', acknowledgement: 'applied', after: 0, format: 'json', traceparent: undefined };

export class Ingress {
  constructor(
    private readonly options: IngressOptions,
    private readonly connection: NatsConnection,
    private readonly tracing: Tracing,
    /** Queues a command; returns why not, or null. */
    private readonly offer: (group: GroupId, command: ClientCommand, after: Timestamp) => CommandRefusal | null,
  ) {}

  /** Takes a message for the given group; answers at once when it is refused. */
  take(message: Msg, name: string, group: GroupId): void {
    this.queue(message, name, group, (format) => this.validate(name, message.data, format));
  }

  /** Takes the services' own request that the state be replaced (T10). */
  takeRestore(message: Msg, group: GroupId): void {
    this.queue(message, RESTORE_COMMAND, group, () => {
      parseJson(message.data, restoreInput);
      return message.data;
    });
  }

  /** Takes the services' own request that all servers compare their rows (T4). */
  takeVerify(message: Msg, group: GroupId): void {
    this.queue(message, VERIFY_COMMAND, group, () => {
      parseJson(message.data, verifyRequest);
      return message.data;
    });
  }

  private queue(message: Msg, name: string, group: GroupId, validate: (format: ReplyFormat) => Uint8Array): void {
    const replyTo = message.reply ?? '';
    let format: ReplyFormat = 'json';
    let span: CommandSpan | undefined;
    try {
      const headers = message.headers === undefined ? undefined : new RequestHeaders(message.headers);
      format = formatOf(headers);
      const head = readHeaders(headers, format);
      const payload = validate(format);
      const stampedAtUs = this.tracing.enabled ? spanTimeUs() : 0;
      span = this.tracing.enabled ? this.tracing.startCommand(head.traceparent, stampedAtUs) : undefined;
      const isAppliers = head.acknowledgement === 'applied';
      const body = encodeCommand({
        name,
        payload,
        id: head.id,
        server: this.options.server,
        reply: isAppliers ? replyTo : '',
        traceparent: span?.traceparent ?? '',
        replyFormat: format,
      });
      const { acknowledgement } = head;
      const reply = isAppliers ? '' : replyTo;
      const isWatched = span !== undefined;
      const command = { body, acknowledgement, isWatched, name, reply, format, span, stampedAtUs };
      const refusal = this.offer(group, command, head.after);
      if (refusal !== null) throw refusalError(refusal);
    } catch (error) {
      span?.end(spanTimeUs(), { command: name, error: error instanceof CraftError ? error.code : 'INTERNAL' });
      this.answer(replyTo, encodeError(error, format));
      if (!(error instanceof CraftError)) throw error;
    }
  }

  /** T7: `committed` and `ordered` are answered here, before execution. */
  acknowledge(group: GroupId, { command, timestamp }: Placed<ClientCommand>): void {
    if (command.reply !== '') this.answer(command.reply, encodeSuccess({ group, timestamp }, command.format));
  }

  /** A definite refusal (T9). `replyTo` of an `applied` command is in its body only. */
  refuse(replyTo: string, format: ReplyFormat, reason: CommandRefusal): void {
    this.answer(replyTo, encodeError(refusalError(reason), format));
  }

  /** Commands that this server stamped as a leader and that are not committed: what is known of them (T9). */
  answerLost({ outcome, entries, waiting }: FailedEffect<ClientCommand>): void {
    const error =
      outcome === 'replaced'
        ? refusalError(outcome)
        : new CraftError(
            'TIMEOUT_UNKNOWN',
            'leadership was lost, and it could not be found out in time whether the command is committed',
          );
    for (const { command } of waiting) this.answer(command.reply, encodeError(error, command.format));
    for (const entry of entries) {
      const { reply, replyFormat } = decodeCommand(entryBody(entry));
      this.answer(reply, encodeError(error, replyFormat));
    }
  }

  private validate(name: string, data: Uint8Array, format: ReplyFormat): Uint8Array {
    const { payloadBytesMax, contract } = this.options;
    if (data.length > payloadBytesMax) {
      throw new CraftError('PAYLOAD_TOO_LARGE', `payload of ${data.length} bytes, at most ${payloadBytesMax}`);
    }
    return prepareCommand(contract, name, data, format);
  }

  private answer(replyTo: string, reply: Reply): void {
    if (replyTo === '') return;
    this.connection.publish(replyTo, reply.data, reply.headers === undefined ? {} : { headers: reply.headers });
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

function readHeaders(headers: RequestHeaders | undefined, format: ReplyFormat): Envelope {
  if (headers === undefined) return NO_HEADERS;
  return {
    id: readId(headers.get('nats-msg-id')),
    acknowledgement: readAcknowledgement(headers.get('craft-ack')),
    after: readAfter(headers.get('craft-after')),
    format,
    traceparent: headers.only('traceparent'),
  };
}

/** Bytes that are no UTF-8 have become U+FFFD on their way here: two ids may have become the same. */
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
    throw new CraftError('INVALID_ARGUMENT', `Craft-After: ${text} is no timestamp in microseconds`);
  }
  return after;
}

function refusalError(reason: CommandRefusal): CraftError {
  switch (reason) {
    case 'not-leader':
      return new CraftError('NOT_LEADER', 'this server does not lead the group now');
    case 'replaced':
      return new CraftError(
        'NOT_LEADER',
        'leadership was lost before the command was committed: it will not be executed',
      );
    case 'overloaded':
      return new CraftError('OVERLOADED', 'too much is waiting to be committed; try again later');
    case 'clock':
      return new CraftError('UNAVAILABLE', "this server's clock is too far ahead to stamp commands");
    case 'after-beyond-bound':
      return new CraftError('INVALID_ARGUMENT', "Craft-After lies beyond the bound of this server's clock");
  }
}
