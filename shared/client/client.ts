/**
 * The TypeScript client. Everything it does is open to any NATS client; it adds ids, retries, typed failures and the
 * timestamps that keep one client's commands in order.
 *
 *     const craft = await connectCraft({ servers: 'nats://127.0.0.1:4222' });
 *     const { result, index } = await craft.kv.put('a', { n: 1 });
 *     await craft.kv.get('a');                                 // sees it, at whatever server
 *     await craft.close();
 */
import { randomUUID } from 'node:crypto';
import { context, isSpanContextValid, trace } from '@opentelemetry/api';
import {
  connect,
  headers,
  InvalidArgumentError as InvalidNatsArgument,
  type MsgHdrs,
  type NatsConnection,
  NoRespondersError,
} from 'nats';
import type { z } from 'zod';
import { formatTraceparent } from '../telemetry/traceparent.js';
import { natsAddress } from '../wire/connection.js';
import { Subjects } from '../wire/subjects.js';
import { InvalidArgumentError, OutcomeUnknownError, PayloadTooLargeError, UnavailableError } from './errors.js';
import { Kv } from './kv.js';
import type { CallOptions, CommandOptions, CommandReply, CraftOptions, QueryOptions } from './options.js';
import { type ServerStatus, type Success, serverStatus, stateStatus, syncReply } from './reply.js';
import { Requester } from './requester.js';
import { call } from './retry.js';

/** Connects and returns a client. Rejects as the NATS client does when no server can be reached. */
export async function connectCraft(options: CraftOptions = {}): Promise<CraftClient> {
  const connection =
    options.connection ??
    (await connect({
      ...natsAddress([options.servers ?? 'nats://127.0.0.1:4222'].flat().join(',')),
      name: 'craft client',
      maxReconnectAttempts: -1,
      noAsyncTraces: true,
    }));
  return new CraftClient(connection, options);
}

export class CraftClient {
  /** The built-in key-value machine. */
  readonly kv = new Kv(this);
  private readonly requester: Requester;
  private readonly subjects: Subjects;
  private readonly timeoutMs: number;
  private readonly attemptTimeoutMs: number;
  private newest = 0;
  /** The largest timestamp that was acknowledged as committed and that no later acknowledgement is known to be ordered after. */
  private unordered = 0;

  /** Use `connectCraft`. */
  constructor(
    readonly connection: NatsConnection,
    private readonly options: CraftOptions,
  ) {
    this.requester = new Requester(connection);
    this.subjects = new Subjects(options.cluster ?? 'craft');
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.attemptTimeoutMs = options.attemptTimeoutMs ?? 2_500;
  }

  /** The largest timestamp seen so far (microseconds since the Unix epoch), 0 before the first reply; for `after` of another client. */
  get timestamp(): number {
    return this.newest;
  }

  /**
   * Runs a command exactly once. Throws RejectedError, InvalidArgumentError, UnknownCommandError, PayloadTooLargeError or
   * InternalError (not executed), UnavailableError (deadline passed, not executed) or OutcomeUnknownError (deadline passed, may have been
   * executed: call again with the same id).
   */
  async command(name: string, input: unknown, options: CommandOptions = {}): Promise<CommandReply> {
    const ack = options.ack ?? 'applied';
    const id = options.id ?? randomUUID();
    const header = headers();
    header.set('Nats-Msg-Id', id);
    if (ack !== 'applied') header.set('Craft-Ack', ack);
    // A committed command is not ordered yet, so what this client does next must say that it comes later (T7).
    const after = Math.max(options.after ?? 0, ack === 'committed' ? this.newest : this.unordered);
    if (after > 0) header.set('Craft-After', String(after));
    const subject =
      options.group === undefined ? this.subjects.command(name) : this.subjects.groupCommand(options.group, name);

    const reply = await this.call(subject, input, header, options, id);
    if (reply.group === undefined || reply.timestamp === undefined) {
      throw new OutcomeUnknownError('malformed reply', id);
    }
    if (ack === 'committed') this.unordered = Math.max(this.unordered, reply.timestamp);
    else if (reply.timestamp > this.unordered) this.unordered = 0;
    return {
      id,
      group: reply.group,
      timestamp: reply.timestamp,
      ...(reply.index === undefined ? {} : { index: reply.index, result: reply.result }),
    };
  }

  /** Reads; throws InvalidArgumentError, UnknownCommandError, UnavailableError or InternalError. */
  async query(name: string, input: unknown, options: QueryOptions = {}): Promise<unknown> {
    const header = options.consistency === undefined ? undefined : headers();
    header?.set('Craft-Consistency', options.consistency ?? '');
    return (await this.call(this.subjects.query(name), input, header, options)).result;
  }

  /**
   * Waits until plain SQL on that server's database sees every write acknowledged before this call (T6); returns the merged
   * index and timestamp that it shows at least. Throws UnavailableError when it does not answer in time.
   */
  async sync(server: string, options: CallOptions = {}): Promise<{ index: number; timestamp: number }> {
    const reply = syncReply.safeParse(await this.call(this.subjects.sync(server), {}, undefined, options));
    if (!reply.success) throw new UnavailableError(`malformed reply of ${server}`, { cause: reply.error });
    return { index: reply.data.index, timestamp: reply.data.timestamp };
  }

  /** What every server that answers within `timeoutMs` (default 1,000 ms) says about itself, in order of name. */
  async status(options: { timeoutMs?: number } = {}): Promise<ServerStatus[]> {
    const { timeoutMs = 1_000 } = options;
    const [servers, states] = await Promise.all([
      this.askAll('status', serverStatus, timeoutMs),
      this.askAll('applied', stateStatus, timeoutMs),
    ]);
    return servers
      .map((server) => {
        const state = states.find((one) => one.server === server.server);
        return state === undefined ? server : { ...server, state };
      })
      .sort((a, b) => (a.server < b.server ? -1 : 1));
  }

  /** The last answer of every server that answers in time. */
  private async askAll<S extends z.ZodType<{ server: string }>>(
    verb: string,
    schema: S,
    timeoutMs: number,
  ): Promise<z.output<S>[]> {
    const options = { strategy: 'stall', stall: 200, maxWait: timeoutMs } as const;
    const answers = new Map<string, z.output<S>>();
    try {
      for await (const message of await this.connection.requestMany(this.subjects.admin(verb), '{}', options)) {
        const answer = schema.safeParse(parse(message.string()));
        if (answer.success) answers.set(answer.data.server, answer.data);
      }
    } catch (error) {
      // Nobody is there, or only servers of an older version, which do not know the question.
      if (!(error instanceof NoRespondersError)) throw error;
    }
    return [...answers.values()];
  }

  /** Ends calls in flight (commands as unknown) and closes the connection, unless it is the caller's own. */
  async close(): Promise<void> {
    this.requester.close();
    if (this.options.connection === undefined) await this.connection.drain();
  }

  private async call(
    subject: string,
    input: unknown,
    given: MsgHdrs | undefined,
    options: CallOptions,
    id?: string,
  ): Promise<Success> {
    const payload = JSON.stringify(input);
    if (payload === undefined) throw new InvalidArgumentError('the input is not a JSON value');
    let header = given;
    const active = trace.getSpanContext(context.active());
    if (active !== undefined && isSpanContextValid(active)) {
      header ??= headers();
      header.set('traceparent', formatTraceparent(active));
    }
    const reply = await call(
      {
        id: id ?? '',
        timeoutMs: options.timeoutMs ?? this.timeoutMs,
        attemptTimeoutMs: this.attemptTimeoutMs,
        signal: options.signal,
        harmless: id === undefined,
      },
      async (timeoutMs) => {
        try {
          return await this.requester.request(subject, payload, header, timeoutMs);
        } catch (cause) {
          if (!(cause instanceof InvalidNatsArgument)) throw new UnavailableError('cannot send', { cause });
          throw new PayloadTooLargeError('larger than the NATS server takes', { cause });
        }
      },
    );
    if (reply.timestamp !== undefined && reply.timestamp > this.newest) this.newest = reply.timestamp;
    return reply;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
