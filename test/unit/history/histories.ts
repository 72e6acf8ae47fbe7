/** Histories written down as text: one operation a line, in order of invocation. */
import type { Completion, HistoryEvent, Invocation, Json, Reply, Request } from '../../chaos/history/format.js';

export interface Timed extends Request {
  readonly process: number;
  readonly from: number;
  /** When it was completed; undefined: never. */
  readonly to?: number | undefined;
  readonly outcome?: Completion['type'] | undefined;
  readonly reply?: Reply | undefined;
}

/**
 * The events of operations, in order of time; invocations first, since equal times are concurrent.
 */
export function eventsOfTimed(operations: readonly Timed[]): HistoryEvent[] {
  const events: (Invocation | Completion)[] = [];
  for (const { process, from, to, outcome = 'ok', reply = {}, ...request } of operations) {
    events.push({ type: 'invoke', process, time: from, ...request });
    if (to !== undefined) events.push({ type: outcome, process, time: to, ...request, value: undefined, ...reply });
  }
  return events.sort((a, b) => a.time - b.time || rank(a) - rank(b));
}

function rank({ type }: HistoryEvent): number {
  return type === 'invoke' ? 0 : 1;
}

type Details = Partial<Omit<Timed, 'f' | 'value'>>;

let processes = 0;

/**
 * A write acknowledged as applied, in [from, to]. Every operation has a process of its own unless
 * `details` names one.
 */
export function write(value: Json, from: number, to?: number, details: Details = {}): Timed {
  return { f: 'write', key: 'x', value, from, to, process: processes++, ...details };
}
export function read(value: Json, from: number, to: number, details: Details = {}): Timed {
  return { f: 'read', key: 'x', from, to, process: processes++, ...details, reply: { value, ...details.reply } };
}
export function cas(ifVersion: number, value: Json, from: number, to?: number, details: Details = {}): Timed {
  return { f: 'cas', key: 'x', value, ifVersion, from, to, process: processes++, ...details };
}
/** As told in a reply: timestamp and group. */
export function placed(timestamp: number, group = 0, index?: number): { reply: Reply } {
  return { reply: { timestamp, group, index } };
}
export const committed = { ack: 'committed' } as const;
export const ordered = { ack: 'ordered' } as const;
