/**
 * W3C trace context (https://www.w3.org/TR/trace-context/): `00-<trace id>-<span id>-<flags>`. An
 * entry carries it in version 00 and in lower case. An entry of a command that is not sampled
 * carries an empty string.
 */
import { createHash } from 'node:crypto';
import { type SpanContext, TraceFlags } from '@opentelemetry/api';

/** A version after 00 may go on behind the flags, after another hyphen. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
/** Stands for the parent of a root span: this trace has no span yet. */
const NO_SPAN = '0'.repeat(16);

/**
 * Reads the header of a client, in any case and of any version: of a version after 00 the parts
 * that 00 has, as the specification says. Undefined for anything else: malformed context is
 * dropped, never repaired.
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

/**
 * Where the trace of a sampled command begins. The entry carries it, so that any server can record
 * its own part, and the server that answers can record the whole.
 */
export interface TraceOrigin {
  /** When the leader received the command (microseconds since the Unix epoch). */
  readonly receivedUs: number;
  /** The client's span; empty when it sent none. */
  readonly callerSpanId: string;
  /** The applier answers, which ends the span of the whole command. */
  readonly isAppliers: boolean;
  /** The subject that the command was sent to. */
  readonly subject: string;
}

const ORIGIN = /^(\d{1,16}),([0-9a-f]{16})?,([01]),(.*)$/;

export function formatOrigin({ receivedUs, callerSpanId, isAppliers, subject }: TraceOrigin): string {
  return `${receivedUs},${callerSpanId},${isAppliers ? 1 : 0},${subject}`;
}

/** Undefined for what is none, as in the entries of older versions. */
export function parseOrigin(text: string): TraceOrigin | undefined {
  const [, receivedUs, callerSpanId = '', isAppliers, subject = ''] = ORIGIN.exec(text) ?? [];
  if (receivedUs === undefined) return undefined;
  return { receivedUs: Number(receivedUs), callerSpanId, isAppliers: isAppliers === '1', subject };
}

/**
 * The context of the span that stands for one server, below `parent`. Its id is derived from both,
 * so that the services of the server need not tell each other. Empty when `parent` is no context of
 * a sampled command.
 */
export function serverTraceparent(parent: string, server: string): string {
  const context = parent === '' ? undefined : parseTraceparent(parent);
  if (context === undefined || context.traceFlags === 0) return '';
  const digest = createHash('sha256').update(`${context.traceId}-${context.spanId}-${server}`).digest('hex');
  return formatTraceparent({ ...context, spanId: digest.slice(0, 16) });
}
