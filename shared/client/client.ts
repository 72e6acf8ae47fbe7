/**
 * The TypeScript client. Everything it does is open to any NATS client; it adds ids, retries, typed
 * failures and the timestamps that keep one client's commands in order. Commands that are issued in
 * one turn of the event loop travel in one message.
 *
 *     const craft = await connectCraft({ servers: 'nats://127.0.0.1:4222' });
 *     const { result, index } = await craft.kv.put('a', { n: 1 });
 *     await craft.kv.get('a');                                 // sees it, at whatever server
 *     await craft.close();
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
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
import { encodeBatchCommand } from '../wire/command-batch.js';
import { drainAndClose, natsAddress } from '../wire/connection.js';
import { SERVER_NAME, Subjects } from '../wire/subjects.js';
import { type AttemptFailure, Attempts } from './attempts.js';
import {
  InvalidArgumentError,
  OutcomeUnknownError,
  PayloadTooLargeError,
  UnavailableError,
  UnknownCommandError,
} from './errors.js';
import { Kv } from './kv.js';
import {
  type CommandCalls,
  callsByName,
  type InputOf,
  type MachineTypes,
  type NameOf,
  type QueryCalls,
  type ReplyTo,
  type ResultOf,
} from './machine.js';
import type { CallOptions, CommandOptions, CommandReply, CraftOptions, QueryOptions } from './options.js';
import { type RequestKind, type ServerAnswer, ServerPreference } from './preference.js';
import {
  type MachineDescription,
  machineDescription,
  processHealth,
  type ServerHealth,
  type ServerStatus,
  type Success,
  serverStatus,
  stateStatus,
  syncReply,
} from './reply.js';
import { Requester } from './requester.js';
import { call } from './retry.js';
import { CommandSender } from './sender.js';

/**
 * Connects and returns a client. Rejects as the NATS client does when no server can be reached, and
 * with UnavailableError when the NATS user may not hear answers. With the type of the cluster's
 * state machine, `connectCraft<typeof machine>()`, the compiler knows names, inputs and results.
 */
export async function connectCraft<M extends MachineTypes = MachineTypes>(
  options: CraftOptions = {},
): Promise<CraftClient<M>> {
  preferenceOf(options.prefer);
  const connection =
    options.connection ??
    (await connect({
      ...natsAddress([options.servers ?? 'nats://127.0.0.1:4222'].flat().join(',')),
      name: 'craft client',
      maxReconnectAttempts: -1,
      noAsyncTraces: true,
      ...options.nats,
    }));
  const client = new CraftClient<M>(connection, options);
  if (options.connection !== undefined) return client.start();
  try {
    await client.start().requireInbox();
    return client;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

export class CraftClient<M extends MachineTypes = MachineTypes> {
  /** The built-in key-value machine. */
  readonly kv = new Kv({
    command: (name, input, options) => this.run(name, input, options),
    query: (name, input, options) => this.ask(name, input, options),
  });
  /** `craft.commands['bank.open'](input)` is `craft.command('bank.open', input)`. */
  readonly commands = callsByName<CommandCalls<M['commands']>>((name, input, options) =>
    this.run(name, input, options),
  );
  /** `craft.queries['bank.balance'](input)` is `craft.query('bank.balance', input)`. */
  readonly queries = callsByName<QueryCalls<M['queries']>>((name, input, options) => this.ask(name, input, options));
  private readonly preference: ServerPreference;
  /** The measurement under way. */
  private measuring: Promise<void> | undefined;
  private readonly requester: Requester;
  private readonly sender: CommandSender;
  private readonly subjects: Subjects;
  private readonly timeoutMs: number;
  private readonly attemptTimeoutMs: number;
  /** NATS does not let this user hear the answers. */
  private refusal: Error | undefined;
  private newest = 0;
  /**
   * The largest timestamp that was acknowledged as committed and that no later acknowledgement is
   * known to be ordered after.
   */
  private unordered = 0;

  /** @internal Use `connectCraft`. */
  constructor(
    readonly connection: NatsConnection,
    private readonly options: CraftOptions,
  ) {
    this.subjects = new Subjects(options.cluster ?? 'craft');
    const onRefused = (error: Error) => {
      this.refusal = error;
    };
    this.preference = new ServerPreference(preferenceOf(options.prefer));
    this.requester = new Requester(connection, onRefused);
    this.sender = new CommandSender(connection, this.subjects, this.preference, onRefused);
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.attemptTimeoutMs = options.attemptTimeoutMs ?? 2_500;
  }

  /** @internal Listens for answers, until `close`. Throws when the connection is closed. */
  start(): this {
    try {
      this.requester.start();
      this.sender.start();
    } catch (error) {
      this.requester.close();
      throw error;
    }
    return this;
  }

  /**
   * @internal Asks NATS once, and waits for that. @throws UnavailableError when this user may not
   * hear the answers
   */
  async requireInbox(): Promise<void> {
    // A connection that is lost just now comes back by itself.
    await this.connection.flush().catch(() => undefined);
    if (this.refusal === undefined) return;
    const message = 'NATS does not let this user hear answers: set the inbox prefix that its permissions allow';
    throw new UnavailableError(`${message} (${this.refusal.message})`, { cause: this.refusal });
  }

  /**
   * The largest timestamp seen so far (microseconds since the Unix epoch), 0 before the first
   * reply; for `after` of another client.
   */
  get timestamp(): number {
    return this.newest;
  }

  /**
   * Runs a command exactly once. Throws RejectedError, InvalidArgumentError, UnknownCommandError,
   * PayloadTooLargeError or InternalError (not executed), UnavailableError (deadline passed, not
   * executed) or OutcomeUnknownError (deadline passed, may have been executed: call again with the
   * same id).
   *
   * Commands that are issued in one turn of the event loop to the same target keep their order in
   * the log. This holds for those that fit into one message (1,024 commands, 256 KiB). A command
   * that must be sent again may come after those that followed it.
   */
  command<Name extends NameOf<M['commands']>, const Options extends CommandOptions = object>(
    name: Name,
    input: InputOf<M['commands'][Name]>,
    options?: Options,
  ): Promise<ReplyTo<ResultOf<M['commands'][Name]>, Options>>;
  command(name: string, input: unknown, options?: CommandOptions): Promise<CommandReply> {
    return this.run(name, input, options);
  }

  private async run(name: string, input: unknown, options: CommandOptions = {}): Promise<CommandReply> {
    requireName(name);
    const acknowledgement = options.ack ?? 'applied';
    const isCommitted = acknowledgement === 'committed';
    const id = options.id || randomUUID();
    // A committed command is not ordered yet, so what this client does next must say that it comes
    // later (T7).
    const after = Math.max(options.after ?? 0, isCommitted ? this.newest : this.unordered);
    if (!Number.isSafeInteger(after))
      throw new InvalidArgumentError(`after: ${after} is not a timestamp in microseconds`);
    const payload = Buffer.from(jsonOf(input));
    const traceparent = activeTraceparent() ?? '';
    const frame = encodeBatchCommand({ name, payload, id, acknowledgement, after, traceparent, payloadFormat: 'json' });
    const attempts = this.attempts(options, id, 'command');
    const measured = this.measureServers(options);
    if (measured !== undefined) await measured;
    const { group, timestamp, index, resultJson } = await this.sender.send(
      frame,
      options.group,
      id,
      attempts,
      options.signal,
    );
    this.see(timestamp);
    if (isCommitted) this.unordered = Math.max(this.unordered, timestamp);
    else if (timestamp > this.unordered) this.unordered = 0;
    return index === 0 ? { id, group, timestamp } : { id, group, timestamp, index, result: resultOf(resultJson, id) };
  }

  /** Reads; throws InvalidArgumentError, UnknownCommandError, UnavailableError or InternalError. */
  query<Name extends NameOf<M['queries']>>(
    name: Name,
    input: InputOf<M['queries'][Name]>,
    options?: QueryOptions,
  ): Promise<ResultOf<M['queries'][Name]>>;
  query(name: string, input: unknown, options?: QueryOptions): Promise<unknown> {
    return this.ask(name, input, options);
  }

  private async ask(name: string, input: unknown, options: QueryOptions = {}): Promise<unknown> {
    requireName(name);
    const header = options.consistency === undefined ? undefined : headers();
    header?.set('Craft-Consistency', options.consistency ?? '');
    const attempts = this.attempts(options, '', 'read');
    const measured = this.measureServers(options);
    if (measured !== undefined) await measured;
    const subject = (isFirst: boolean) => {
      const server = isFirst ? this.preference.serverFor('read', performance.now()) : undefined;
      attempts.preferred = server;
      return server === undefined ? this.subjects.query(name) : this.subjects.serverQuery(server, name);
    };
    const { result } = await this.call(subject, input, header, options, attempts);
    if (attempts.preferred !== undefined) this.preference.succeeded('read', attempts.preferred);
    return result;
  }

  /**
   * Asks all servers when it is time to. What is returned has to be awaited: nothing is known yet.
   * It never rejects, and ends at the deadline of the call or with its signal.
   */
  private measureServers(options: CallOptions): Promise<unknown> | undefined {
    const { preference } = this;
    if (preference.takeMeasurement(performance.now())) {
      const startMs = performance.now();
      const answers: ServerAnswer[] = [];
      const onAnswer = ({ server, groups }: ServerStatus) => {
        const isLeader = groups.some(({ role }) => role === 'leader');
        answers.push({ server, roundTripMs: performance.now() - startMs, isLeader });
      };
      // Servers that cannot be asked are not near.
      this.measuring = this.askAll('status', serverStatus, MEASURE_MS_MAX, onAnswer)
        .catch(() => undefined)
        .then(() => preference.measured(answers));
    }
    if (!preference.isUnknown) return undefined;
    const waitMs = Math.min(MEASURE_MS_MAX, options.timeoutMs ?? this.timeoutMs);
    const over = delay(waitMs, undefined, { ref: false, ...(options.signal && { signal: options.signal }) });
    return Promise.race([this.measuring, over.catch(() => undefined)]);
  }

  /**
   * Waits until plain SQL on that server's database sees every write acknowledged before this call
   * (T6); returns the merged index and timestamp that it shows at least. Throws UnavailableError
   * when it does not answer in time.
   */
  async sync(server: string, options: CallOptions = {}): Promise<{ index: number; timestamp: number }> {
    const reply = syncReply.safeParse(await this.call(() => this.subjects.sync(server), {}, undefined, options));
    if (!reply.success) throw new UnavailableError(`malformed reply of ${server}`, { cause: reply.error });
    return { index: reply.data.index, timestamp: reply.data.timestamp };
  }

  /**
   * The commands and queries of the cluster, as any server has them. Throws UnavailableError;
   * UnknownCommandError of older servers.
   */
  async describe(options: CallOptions = {}): Promise<MachineDescription> {
    const { result } = await this.call(() => this.subjects.query('craft.describe'), {}, undefined, options);
    const description = machineDescription.safeParse(result);
    if (!description.success) throw new UnavailableError('malformed description', { cause: description.error });
    return description.data;
  }

  /**
   * What every server that answers within `timeoutMs` (default 1,000 ms) says about itself, in
   * order of name. Throws UnavailableError when nobody can be asked.
   */
  async status(options: { timeoutMs?: number } = {}): Promise<ServerStatus[]> {
    const { timeoutMs = 1_000 } = options;
    const [servers, states] = await Promise.all([
      this.askAll('status', serverStatus, timeoutMs),
      this.askAll('applied', stateStatus, timeoutMs),
    ]);
    const last = new Map(servers.map((one) => [one.server, one]));
    return [...last.values()]
      .map((server) => {
        const state = states.findLast((one) => one.server === server.server);
        return state === undefined ? server : { ...server, state };
      })
      .sort((a, b) => (a.server < b.server ? -1 : 1));
  }

  /**
   * How the services of every server are, also of one that cannot start, in order of the servers'
   * names. Waits up to `timeoutMs` (default 1,000 ms). Servers of older versions do not answer.
   */
  async health(options: { timeoutMs?: number } = {}): Promise<ServerHealth[]> {
    const answers = await this.askAll('health', processHealth, options.timeoutMs ?? 1_000);
    const servers = [...new Set(answers.map(({ server }) => server))].sort();
    return servers.map((server) => {
      // One process a server, or one for each of its services.
      const services = answers.filter((one) => one.server === server).flatMap((one) => one.services);
      return { server, services };
    });
  }

  /** All answers that come in time: one of each server, or of each of its processes. */
  private async askAll<S extends z.ZodType<{ server: string }>>(
    verb: string,
    schema: S,
    timeoutMs: number,
    onAnswer: (answer: z.output<S>) => void = () => undefined,
  ): Promise<z.output<S>[]> {
    const options = { strategy: 'stall', stall: 200, maxWait: timeoutMs } as const;
    const answers: z.output<S>[] = [];
    try {
      for await (const message of await this.connection.requestMany(this.subjects.admin(verb), '{}', options)) {
        const answer = schema.safeParse(parse(message.string()));
        if (!answer.success) continue;
        onAnswer(answer.data);
        answers.push(answer.data);
      }
    } catch (error) {
      // Nobody is there, or only servers of an older version, which do not know the question.
      if (!(error instanceof NoRespondersError)) throw new UnavailableError('cannot ask', { cause: error });
    }
    return answers;
  }

  /**
   * Ends calls in flight (commands as unknown) and closes the connection, unless it is the caller's
   * own. Never rejects.
   */
  async close(): Promise<void> {
    this.requester.close();
    this.sender.close();
    if (this.options.connection !== undefined) return;
    await drainAndClose(this.connection);
  }

  /** `subject`: of an attempt; told whether it is the first. */
  private async call(
    subject: (isFirst: boolean) => string,
    input: unknown,
    given: MsgHdrs | undefined,
    options: CallOptions,
    attempts: Attempts = this.attempts(options, '', 'read'),
  ): Promise<Success> {
    const payload = jsonOf(input);
    let header = given;
    const traceparent = activeTraceparent();
    if (traceparent !== undefined) {
      header ??= headers();
      header.set('traceparent', traceparent);
    }
    let isFirst = true;
    const reply = await call(attempts, options.signal, async (timeoutMs) => {
      const to = subject(isFirst);
      isFirst = false;
      try {
        return await this.requester.request(to, payload, header, timeoutMs);
      } catch (cause) {
        if (!(cause instanceof InvalidNatsArgument)) throw new UnavailableError('cannot send', { cause });
        throw new PayloadTooLargeError('larger than the NATS server takes', { cause });
      }
    });
    if (reply.timestamp !== undefined) this.see(reply.timestamp);
    return reply;
  }

  private attempts(options: CallOptions, id: string, kind: RequestKind): Attempts {
    const { timeoutMs = this.timeoutMs } = options;
    const { attemptTimeoutMs } = this;
    const isHarmless = kind === 'read';
    const onPreferredFailed = (server: string) => this.preference.failed(kind, server, performance.now());
    const own = { id, timeoutMs, attemptTimeoutMs, isHarmless, onRetry: retryEvents(), onPreferredFailed };
    return new Attempts(own, performance.now());
  }

  private see(timestamp: number): void {
    if (timestamp > this.newest) this.newest = timestamp;
  }
}

/**
 * How long all servers together may take to answer, while the nearest is looked for (milliseconds).
 */
const MEASURE_MS_MAX = 1_000;

function preferenceOf(prefer: string | undefined): string | undefined {
  if (prefer === undefined || SERVER_NAME.test(prefer)) return prefer;
  throw new InvalidArgumentError(`prefer: ${JSON.stringify(prefer)} is neither nearest nor the name of a server`);
}

/** What NATS takes as the end of a subject. */
const NAME = /^[^\s.*>]+(?:\.[^\s.*>]+)*$/;

function requireName(name: string): void {
  if (NAME.test(name)) return;
  throw new UnknownCommandError(
    `${JSON.stringify(name)} is not a valid name: names are words with dots between them, like kv.put`,
  );
}

/** Throws InvalidArgumentError for what has no form in JSON. */
function jsonOf(input: unknown): string {
  const text = JSON.stringify(input);
  if (text === undefined) throw new InvalidArgumentError('the input is not a JSON value');
  return text;
}

function resultOf(json: string, id: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new OutcomeUnknownError('malformed reply', id, { cause });
  }
}

function activeTraceparent(): string | undefined {
  const active = trace.getSpanContext(context.active());
  return active !== undefined && isSpanContextValid(active) ? formatTraceparent(active) : undefined;
}

/** Retries become events of the caller's span; undefined when that is not recorded. */
function retryEvents(): ((failure: AttemptFailure) => void) | undefined {
  const span = trace.getActiveSpan();
  if (span === undefined || !span.isRecording()) return undefined;
  return (failure) => {
    span.addEvent('craft.retry', { 'error.type': typeof failure === 'string' ? failure : failure.code });
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
