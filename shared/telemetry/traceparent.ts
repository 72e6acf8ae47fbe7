/**
 * W3C trace context (https://www.w3.org/TR/trace-context/): `00-<trace id>-<span id>-<flags>`. An entry carries it in version 00
 * and in lower case. An entry of a command that is not sampled carries an empty string.
 */
import { type SpanContext, TraceFlags } from '@opentelemetry/api';

/** A version after 00 may go on behind the flags, after another hyphen. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
/** Stands for the parent of a root span: this trace has no span yet. */
export const NO_SPAN = '0'.repeat(16);

/**
 * Reads the header of a client, in any case and of any version: of a version after 00 the parts that 00 has, as the specification
 * says. Undefined for anything else: malformed context is dropped, never repaired.
 */
export function parseTraceparent(value: string): SpanContext | undefined {
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(value.toLowerCase()) ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
}

export function formatTraceparent(context: Pick<SpanContext, 'traceId' | 'spanId' | 'traceFlags'>): string {
  return `00-${context.traceId}-${context.spanId}-${(context.traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01'}`;
}
