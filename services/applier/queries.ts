/**
 * Reads from clients: `<c>.query.<name>` at any applier; `<c>.server.<server>.query.<name>` and
 * `<c>.sync.<server>` at this one.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { DESCRIBE_QUERY, type MachineDescription } from '../../shared/engine/describe.js';
import { JsonTextError, parseJson } from '../../shared/engine/json-text.js';
import { type EnginePosition, PositionError, type StorageEngine } from '../../shared/engine/port.js';
import type { LogIndex } from '../../shared/raft/entry.js';
import { LATENCIES, type Metrics } from '../../shared/telemetry/metrics.js';
import type { QueueLevel } from '../../shared/telemetry/queues.js';
import type { Counter, Histogram } from '../../shared/telemetry/samples.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { CraftError, ErrorCode } from '../../shared/wire/errors.js';
import { RequestHeaders } from '../../shared/wire/headers.js';
import type { MicroEndpoint, MicroStatistics } from '../../shared/wire/micro.js';
import { encodeError } from '../../shared/wire/reply.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import { APPLIERS_QUEUE, type Subjects } from '../../shared/wire/subjects.js';
import { QuerySpans } from './query-spans.js';
import { READ_MS_MAX, type ReadBarrier } from './read-barrier.js';

/** Reads under way at once; beyond it they are OVERLOADED. */
const READS_MAX = 1_024;

const encoder = new TextEncoder();
const TOO_LARGE = new CraftError('INVALID_ARGUMENT', 'the answer is larger than a message may be: ask for less');

export interface QueriesOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly replies: ReplyGuard;
  readonly server: string;
  readonly engine: Pick<StorageEngine, 'query' | 'locate'>;
  readonly barrier: ReadBarrier;
  /** The version in force; undefined while it is not loaded. */
  readonly describe: () => MachineDescription | undefined;
  /** Why nothing may be read from this state; undefined when it may. */
  readonly refusal: () => string | undefined;
  /** Why the state does not come nearer to what was acknowledged; undefined when it does. */
  readonly waiting: () => string | undefined;
  readonly tracing: Tracing;
  readonly metrics: Pick<Metrics, 'counterBy' | 'histogramBy'>;
  /** The stored state is not as far as was applied: it must be applied again from there. */
  readonly onBehind: (found: EnginePosition) => void;
  /** A read failed for a reason that is not the client's. */
  readonly onFailure: (error: unknown) => void;
}

/** Of one subject, since the start. */
class Reads implements MicroStatistics {
  requests = 0;
  errors = 0;
  lastError = '';
  processingMs = 0;

  constructor(readonly seconds: Histogram) {}
}

export class Queries {
  private underWay = 0;
  private readonly queries: Reads;
  private readonly syncs: Reads;
  private readonly refusals: Readonly<Record<ErrorCode, Counter>>;

  constructor(private readonly options: QueriesOptions) {
    const { metrics } = options;
    const seconds = metrics.histogramBy(
      'read_seconds',
      'Time of one read, answered or refused. Reads refused because too many were under way do not count',
      'kind',
      LATENCIES,
    );
    this.queries = new Reads(seconds('query'));
    this.syncs = new Reads(seconds('sync'));
    const refused = metrics.counterBy('reads_refused_total', 'Reads that were refused, by error code', 'code');
    this.refusals = Object.fromEntries(Object.keys(ErrorCode).map((code) => [code, refused(code)])) as Record<
      ErrorCode,
      Counter
    >;
  }

  /** Answers until the connection is closed. */
  start(): void {
    const { connection, subjects, server } = this.options;
    connection.subscribe(subjects.query('>'), {
      queue: APPLIERS_QUEUE,
      callback: this.onQuery(subjects.query('')),
    });
    connection.subscribe(subjects.serverQuery(server, '>'), {
      callback: this.onQuery(subjects.serverQuery(server, '')),
    });
    connection.subscribe(subjects.sync(server), {
      callback: (error, message) => {
        if (error === null) void this.answer(message, this.syncs, 'craft.sync', server, (spans) => this.sync(spans));
      },
    });
  }

  /** `prefix`: what comes before the name of the query in the subject. */
  private onQuery(prefix: string): (error: Error | null, message: Msg) => void {
    return (error, message) => {
      if (error !== null) return;
      const name = message.subject.slice(prefix.length);
      void this.answer(message, this.queries, 'craft.query', name, (spans) => this.query(message, name, spans));
    };
  }

  /** Reads under way, and how many may be. */
  get level(): QueueLevel {
    return { queue: 'reads', items: { now: this.underWay, max: READS_MAX } };
  }

  /** What clients may ask here, for lists of services. */
  get endpoints(): MicroEndpoint[] {
    const { subjects, server } = this.options;
    return [
      { name: 'query', subject: subjects.query('>'), queueGroup: APPLIERS_QUEUE, statistics: () => this.queries },
      { name: 'sync', subject: subjects.sync(server), statistics: () => this.syncs },
    ];
  }

  /** Answers whatever comes of it; never rejects. */
  private async answer(
    message: Msg,
    reads: Reads,
    request: 'craft.query' | 'craft.sync',
    label: string,
    read: (spans: QuerySpans | undefined) => Promise<string>,
  ): Promise<void> {
    if (!message.reply || !this.options.replies.allowsClient(message.reply)) return;
    reads.requests += 1;
    const { tracing } = this.options;
    const spans = tracing.enabled ? QuerySpans.begin(tracing, request, label, message) : undefined;
    if (this.underWay >= READS_MAX) {
      this.refuse(message, reads, new CraftError('OVERLOADED', 'too many reads are under way; try again later'), spans);
      return;
    }
    this.underWay += 1;
    const startMs = performance.now();
    try {
      this.requireTrust();
      const answer = encoder.encode(await read(spans));
      // It may have been found out while this was read.
      this.requireTrust();
      if (answer.length > (this.options.connection.info?.max_payload ?? Number.POSITIVE_INFINITY)) throw TOO_LARGE;
      message.respond(answer);
      spans?.end();
    } catch (error) {
      this.refuse(message, reads, error, spans);
    } finally {
      this.underWay -= 1;
      const ms = performance.now() - startMs;
      reads.processingMs += ms;
      reads.seconds.observe(ms / 1_000);
    }
  }

  /** @throws CraftError UNAVAILABLE while nothing may be read from this state. */
  private requireTrust(): void {
    const refusal = this.options.refusal();
    if (refusal !== undefined) throw new CraftError('UNAVAILABLE', refusal);
  }

  private async query(message: Msg, name: string, spans: QuerySpans | undefined): Promise<string> {
    const input = parse(message.data);
    if (name === DESCRIBE_QUERY) return answerOf(this.describe());
    const { engine } = this.options;
    const result = isLinearizable(message)
      ? await this.upToDate((positions) => engine.query(name, input, positions, spans?.onCall), spans)
      : await engine.query(name, input, [], spans?.onCall);
    return answerOf(result);
  }

  private describe(): MachineDescription {
    const description = this.options.describe();
    if (description === undefined) throw new CraftError('UNAVAILABLE', 'the version in force is not loaded here');
    return description;
  }

  private async sync(spans: QuerySpans | undefined): Promise<string> {
    const { mergedIndex, timestamp } = await this.upToDate((positions) => this.options.engine.locate(positions), spans);
    return `{"ok":true,"index":${mergedIndex},"timestamp":${timestamp}}`;
  }

  /**
   * Reads what the barrier asks for; when the database has gone back, says so and waits until it
   * has caught up.
   */
  private async upToDate<T>(
    read: (positions: readonly LogIndex[]) => Promise<T>,
    spans: QuerySpans | undefined,
  ): Promise<T> {
    const waiting = this.options.waiting();
    if (waiting !== undefined) throw new CraftError('UNAVAILABLE', `this server answers local reads only: ${waiting}`);
    const deadlineMs = performance.now() + READ_MS_MAX;
    for (;;) {
      const passed = await this.options.barrier.pass();
      spans?.passed(passed);
      try {
        return await read(passed.positions);
      } catch (error) {
        if (!(error instanceof PositionError) || performance.now() > deadlineMs) throw error;
        this.options.onBehind(error.position);
      }
    }
  }

  private refuse(message: Msg, reads: Reads, error: unknown, spans: QuerySpans | undefined): void {
    if (!(error instanceof CraftError)) this.options.onFailure(error);
    // A database that does not answer is away for a while; nothing has happened, so the client may
    // ask again.
    const typed = error instanceof CraftError ? error : new CraftError('UNAVAILABLE', 'the database does not answer');
    reads.errors += 1;
    this.refusals[typed.code].add();
    reads.lastError = `${typed.code}: ${typed.message}`;
    spans?.end(typed);
    try {
      const { data, headers } = encodeError(typed, 'json');
      message.respond(data, headers === undefined ? {} : { headers });
    } catch (cause) {
      // The connection is closed: there is no client to tell.
      this.options.onFailure(cause);
    }
  }
}

const answerOf = (result: unknown): string => `{"ok":true,"result":${JSON.stringify(result ?? null)}}`;

function isLinearizable(message: Msg): boolean {
  const { headers } = message;
  const consistency = headers === undefined ? '' : new RequestHeaders(headers).get('craft-consistency');
  if (consistency === '' || consistency === 'linearizable') return true;
  if (consistency === 'local') return false;
  throw new CraftError('INVALID_ARGUMENT', `Craft-Consistency: ${consistency} is neither linearizable nor local`);
}

function parse(data: Uint8Array): unknown {
  if (data.length === 0) return {};
  try {
    return parseJson(data);
  } catch (cause) {
    if (!(cause instanceof JsonTextError)) throw cause;
    throw new CraftError('INVALID_ARGUMENT', `the payload ${cause.message}`, { cause });
  }
}
