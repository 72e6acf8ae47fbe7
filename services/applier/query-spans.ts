/**
 * Spans of one sampled read: craft.query or craft.sync, and below it the barrier, what the state
 * still lacked, and the database.
 */
import type { Msg } from '@nats-io/nats-core';
import type { OnDatabaseCall } from '../../shared/engine/port.js';
import { databaseAttributes, receivedAttributes } from '../../shared/telemetry/conventions.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { RequestSpan, Tracing } from '../../shared/telemetry/tracing.js';
import type { CraftError } from '../../shared/wire/errors.js';
import { RequestHeaders } from '../../shared/wire/headers.js';
import { CallRecorder } from './call-recorder.js';
import type { Passed } from './read-barrier.js';

export class QuerySpans {
  private readonly calls = new CallRecorder();
  private lastUs: number;
  readonly onCall: OnDatabaseCall = (call) => this.calls.add(call);

  private constructor(
    private readonly tracing: Tracing,
    private readonly span: RequestSpan,
    private readonly subject: string,
    beganUs: number,
  ) {
    this.lastUs = beganUs;
  }

  /** Undefined when the read is not sampled. */
  static begin(
    tracing: Tracing,
    name: 'craft.query' | 'craft.sync',
    label: string,
    { headers, subject }: Msg,
  ): QuerySpans | undefined {
    const beganUs = spanTimeUs();
    const traceparent = headers === undefined ? undefined : new RequestHeaders(headers).only('traceparent');
    const span = tracing.begin(name, label, traceparent, beganUs);
    return span === undefined ? undefined : new QuerySpans(tracing, span, subject, beganUs);
  }

  /** A barrier may have served other reads, too: it counts from when this read waits for it. */
  passed({ askedUs, heardUs, reachedUs }: Passed): void {
    const { traceparent } = this.span;
    const events = askedUs > this.lastUs ? [{ name: 'craft.asked', atUs: askedUs, attributes: {} }] : [];
    this.tracing.recordSpan('craft.barrier', traceparent, this.lastUs, heardUs, { events });
    this.tracing.recordSpan('craft.catch_up', traceparent, heardUs, reachedUs, {});
    this.lastUs = reachedUs;
  }

  /** The answer has left, or the refusal. */
  end(error?: CraftError): void {
    const answeredUs = spanTimeUs();
    this.calls.each((call, count) => {
      const { startUs, endUs } = call;
      this.tracing.recordSpan('database', this.span.traceparent, startUs, endUs, databaseAttributes(call, count));
    });
    this.span.end(answeredUs, {
      ...(error === undefined ? {} : { error: error.code, message: error.message }),
      more: receivedAttributes(this.subject),
    });
  }
}
