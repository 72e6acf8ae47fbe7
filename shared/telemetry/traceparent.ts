/**
 * W3C trace context (https://www.w3.org/TR/trace-context/), version 00: `00-<trace id>-<span id>-<flags>`, the only form that an
 * entry carries. An entry of a command that is not sampled carries an empty string.
 */
import { type SpanContext, TraceFlags } from '@opentelemetry/api';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const NO_TRACE = '0'.repeat(32);
/** Stands for the parent of a root span: this trace has no span yet. */
export const NO_SPAN = '0'.repeat(16);

/** Undefined for anything but a valid version 00 header: malformed context is dropped, never repaired. */
export function parseTraceparent(value: string): SpanContext | undefined {
  const match = TRACEPARENT.exec(value);
  const traceId = match?.[1];
  const spanId = match?.[2];
  const flags = match?.[3];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
}

export function formatTraceparent(context: Pick<SpanContext, 'traceId' | 'spanId' | 'traceFlags'>): string {
  return `00-${context.traceId}-${context.spanId}-${(context.traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01'}`;
}
