/**
 * Spans of the applier: craft.queue, craft.apply with what was sent to the database, craft.answer,
 * craft.server, and craft.command where the applier answers. While tracing is off none of this is
 * made; of a command that is not sampled only its trace field is looked at.
 */
import type { AppliedBatch, EngineBatch, MergedCommand, OnDatabaseCall } from '../../shared/engine/port.js';
import { messageOf } from '../../shared/errors.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import { type MergedIndex, NOTHING_MERGED } from '../../shared/raft/entry.js';
import { itemAt, lastOf } from '../../shared/raft/lists.js';
import { ANSWER_ATTRIBUTES, databaseAttributes, receivedAttributes } from '../../shared/telemetry/conventions.js';
import { parseOrigin, parseTraceparent } from '../../shared/telemetry/traceparent.js';
import type { SpanAttributes, SpanEvent, Tracing } from '../../shared/telemetry/tracing.js';
import { CallRecorder } from './call-recorder.js';

/** Runs whose arrival is remembered. */
const ARRIVALS_MAX = 4_096;
/** Failed tries of a batch that are told of. */
const RETRIES_MAX = 16;
/** Longest text of an error (characters). */
const MESSAGE_LENGTH_MAX = 256;

/** A run of the merged log, and when it came (microseconds since the Unix epoch). */
interface Arrival {
  readonly first: MergedIndex;
  readonly last: MergedIndex;
  readonly atUs: number;
}

export class ApplierTracing {
  /** Runs that are not wholly applied, in the order of the log. */
  private arrivals: Arrival[] = [];
  /** Of the batch under way. */
  private calls: CallRecorder | undefined;
  private firstIndex: MergedIndex = NOTHING_MERGED;
  private retries: SpanEvent[] = [];
  private startUs = 0;
  private committedUs = 0;

  constructor(
    private readonly tracing: Tracing,
    private readonly server: string,
    private readonly nowUs: () => number,
  ) {}

  /** These runs have come. */
  arrived(found: WindowAnswer): void {
    if (found === 'behind') return;
    const atUs = this.nowUs();
    for (const { firstMergedIndex, after } of found) {
      if ((this.arrivals.at(-1)?.last ?? NOTHING_MERGED) >= after.mergedIndex) this.arrivals = [];
      this.arrivals.push({ first: firstMergedIndex, last: after.mergedIndex, atUs });
    }
    if (this.arrivals.length > ARRIVALS_MAX) this.arrivals.splice(0, this.arrivals.length - ARRIVALS_MAX);
  }

  /**
   * A try of a batch begins; returns what is to hear of the database, when a command in it is
   * sampled.
   */
  begins({ commands }: EngineBatch): OnDatabaseCall | undefined {
    const first = itemAt(commands, 0).mergedIndex;
    // The tries before may have been of a batch that was given up.
    if (first !== this.firstIndex) this.retries = [];
    this.firstIndex = first;
    if (this.retries.length === 0) this.startUs = this.nowUs();
    this.calls = undefined;
    if (commands.every(({ traceparent }) => traceparent === '')) return undefined;
    const calls = new CallRecorder();
    this.calls = calls;
    return (call) => calls.add(call);
  }

  /** That try has failed, and there will be another one. */
  failed(error: unknown): void {
    const type = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    const text = messageOf(error);
    const attributes = { 'error.type': type, 'exception.message': text.slice(0, MESSAGE_LENGTH_MAX) };
    if (this.retries.length < RETRIES_MAX) this.retries.push({ name: 'craft.retry', atUs: this.nowUs(), attributes });
  }

  /** The batch is committed, and not answered yet. */
  committed(): void {
    this.committedUs = this.nowUs();
  }

  /** The answers have left. `isTrusted`: with the results. */
  answered(commands: readonly MergedCommand[], done: AppliedBatch, isTrusted: boolean): void {
    if (this.calls !== undefined) {
      const answeredUs = this.nowUs();
      for (const [at, command] of commands.entries()) {
        if (command.traceparent !== '') this.record(command, commands.length, done.applied[at], isTrusted, answeredUs);
      }
    }
    const last = lastOf(commands).mergedIndex;
    while ((this.arrivals[0]?.last ?? Number.POSITIVE_INFINITY) <= last) this.arrivals.shift();
    this.calls = undefined;
    this.retries = [];
  }

  private record(
    command: MergedCommand,
    batchSize: number,
    applied: AppliedBatch['applied'][number] | undefined,
    isTrusted: boolean,
    answeredUs: number,
  ): void {
    const { tracing, startUs, committedUs } = this;
    const { name, group, index, term, timestamp, mergedIndex, traceparent, reply } = command;
    const context = parseTraceparent(traceparent);
    if (applied === undefined || context === undefined) return;
    const where = { command: name, group, index, term, timestamp, mergedIndex };
    const outcome = outcomeOf(applied);
    const origin = parseOrigin(command.traceOrigin ?? '');
    const isAnswering = command.server === this.server && origin?.isAppliers === true;
    const self = tracing.serverOf(traceparent);
    const arrivedUs = this.arrivalOf(mergedIndex);
    // What is read again while its batch is under way has waited before.
    if (arrivedUs !== undefined && arrivedUs <= startUs)
      tracing.recordSpan('craft.queue', self, arrivedUs, startUs, where);
    const events = applied.duplicate ? [...this.retries, this.duplicateEvent(applied)] : this.retries;
    const more = { 'craft.batch_commands': batchSize, 'craft.duplicate': applied.duplicate };
    const apply = tracing.recordSpan('craft.apply', self, startUs, committedUs, { ...where, ...outcome, events, more });
    this.calls?.each((call, count) => {
      tracing.recordSpan('database', apply, call.startUs, call.endUs, databaseAttributes(call, count));
    });
    if (isAnswering && reply !== '') {
      tracing.recordSpan('craft.answer', self, committedUs, answeredUs, { ...where, more: ANSWER_ATTRIBUTES });
    }
    const endUs = isAnswering ? answeredUs : committedUs;
    const beganUs = origin?.receivedUs ?? timestamp;
    // Pages of traces order rows by their beginning: after the commit comes the server that led the
    // entry, then the others.
    const rowUs = beganUs + (command.server === this.server ? 1 : 2);
    tracing.recordAs(self, context.spanId, 'craft.server', rowUs, endUs, { ...where, label: this.server });
    if (!isAnswering) return;
    tracing.recordAs(traceparent, origin.callerSpanId, 'craft.command', beganUs, endUs, {
      ...where,
      ...(isTrusted ? outcome : { error: 'TIMEOUT_UNKNOWN' }),
      label: name,
      ack: 'applied',
      more: receivedAttributes(origin.subject),
    });
  }

  /** A duplicate gets the result of the command that came first. */
  private duplicateEvent({ group, timestamp, mergedIndex }: AppliedBatch['applied'][number]): SpanEvent {
    const attributes = {
      'craft.group': group,
      'craft.timestamp': timestamp,
      'craft.merged_index': mergedIndex,
    };
    return { name: 'craft.duplicate', atUs: this.committedUs, attributes };
  }

  /** Undefined for a command of more runs than are remembered. */
  private arrivalOf(mergedIndex: MergedIndex): number | undefined {
    const run = this.arrivals.find(({ last }) => last >= mergedIndex);
    return run === undefined || run.first > mergedIndex ? undefined : run.atUs;
  }
}

function outcomeOf({ outcome }: AppliedBatch['applied'][number]): SpanAttributes {
  if (outcome.ok) return {};
  return { error: outcome.failed ? 'INTERNAL' : 'REJECTED', message: outcome.message.slice(0, MESSAGE_LENGTH_MAX) };
}
