/**
 * A client history: what clients asked of a key-value store of registers, what they were told, and
 * when. One file, JSON lines, in the order of time; each line is one event.
 *
 *     {"type":"invoke","process":0,"time":1200,"f":"write","key":"k1","value":"0-1","ack":"ordered","id":"h-0-1","after":1790000000000000}
 *     {"type":"ok","process":0,"time":3400,"f":"write","key":"k1","value":"0-1","ack":"ordered","id":"h-0-1","group":2,"timestamp":1790000000000123}
 *     {"type":"invoke","process":1,"time":3500,"f":"read","key":"k1"}
 *     {"type":"ok","process":1,"time":4100,"f":"read","key":"k1","value":"0-1","version":1}
 *     {"type":"info","time":4200,"text":"kill s2"}
 *
 * | field     | where                | what                                                                                       |
 * |-----------|----------------------|--------------------------------------------------------------------------------------------|
 * | type      | all                  | `invoke`; then one of `ok`, `fail` (has not and will not happen, T9), `unknown` (may have   |
 * |           |                      | happened, or happen at any later time); `info` is for the human reader                     |
 * | process   | all but info         | who: an integer; one operation at a time                                                   |
 * | time      | all                  | microseconds on the recorder's monotonic clock; taken before the request is sent and after |
 * |           |                      | the reply is there. Equal times count as concurrent                                        |
 * | f         | all but info         | `read`, `write`, or `cas`: write only when the key has the version `ifVersion`             |
 * | key       | all but info         | the register; it begins absent                                                             |
 * | value     | write, cas; ok read  | any JSON; null in a read is an absent key. The checker is sharpest when every write has a   |
 * |           |                      | value of its own                                                                           |
 * | ifVersion | cas                  | 0: the key is absent                                                                       |
 * | ack       | write, cas           | `applied` (default), `ordered` or `committed` (T7)                                         |
 * | id        | write, cas; optional | operations of one id are one command, which takes effect once (T8)                         |
 * | after     | write, cas; optional | Craft-After: the command comes after this timestamp (T7)                                   |
 * | group, timestamp, index | ok write, cas; optional | the place that was told: group, its timestamp, the merged index             |
 * | version   | ok; optional         | of the key: as read, or as the write left it. Absent in a read means not told              |
 * | error     | fail, unknown; optional | the code. A `cas` that fails with REJECTED has been judged: the key had another version |
 *
 * A completion repeats what was invoked, so that a line can be read alone; only its own fields
 * count. An operation that has no completion is unknown.
 */
import { z } from 'zod';

/** Any JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export type Ack = 'applied' | 'ordered' | 'committed';
export type OperationName = 'read' | 'write' | 'cas';

/** What is asked for. */
export interface Request {
  readonly f: OperationName;
  readonly key: string;
  /** Of a write or cas. */
  readonly value?: Json | undefined;
  readonly ifVersion?: number | undefined;
  readonly ack?: Ack | undefined;
  readonly id?: string | undefined;
  /** Microseconds since the Unix epoch. */
  readonly after?: number | undefined;
}

/** What is told. */
export interface Reply {
  /** Of a read. */
  readonly value?: Json | undefined;
  readonly version?: number | undefined;
  readonly group?: number | undefined;
  /** Microseconds since the Unix epoch. */
  readonly timestamp?: number | undefined;
  /** Merged index. */
  readonly index?: number | undefined;
  readonly error?: string | undefined;
}

export type Outcome = 'ok' | 'fail' | 'unknown';

interface At {
  readonly process: number;
  /** Microseconds, monotonic. */
  readonly time: number;
}

export type Invocation = { readonly type: 'invoke' } & At & Request;
export type Completion = { readonly type: Outcome } & At & Request & Reply;
type Information = { readonly type: 'info'; readonly time: number; readonly text: string };
export type HistoryEvent = Invocation | Completion | Information;

/** A history that does not follow the format; `line` counts from 1. */
export class HistoryFormatError extends Error {
  readonly code = 'HISTORY_FORMAT';
  constructor(
    message: string,
    readonly line: number,
    options?: ErrorOptions,
  ) {
    super(`line ${line}: ${message}`, options);
    this.name = 'HistoryFormatError';
  }
}

const count = z.number().int().nonnegative();
const request = {
  process: z.number().int(),
  time: z.number().nonnegative(),
  f: z.enum(['read', 'write', 'cas']),
  key: z.string(),
  value: z.json().optional(),
  ifVersion: count.optional(),
  ack: z.enum(['applied', 'ordered', 'committed']).optional(),
  id: z.string().optional(),
  after: count.optional(),
};
const reply = {
  version: count.optional(),
  group: count.optional(),
  timestamp: count.optional(),
  index: count.optional(),
  error: z.string().optional(),
};
const event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('invoke'), ...request }),
  z.object({ type: z.enum(['ok', 'fail', 'unknown']), ...request, ...reply }),
  z.object({ type: z.literal('info'), time: z.number().nonnegative(), text: z.string() }),
]);

/** One line, without its end. */
export function formatEvent(one: HistoryEvent): string {
  return JSON.stringify(one);
}

/** Reads a whole file; empty lines are passed over. Throws HistoryFormatError. */
export function parseHistory(text: string): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch (cause) {
      throw new HistoryFormatError('not JSON', i + 1, { cause });
    }
    const parsed = event.safeParse(json);
    if (!parsed.success) throw new HistoryFormatError(z.prettifyError(parsed.error), i + 1, { cause: parsed.error });
    events.push(parsed.data);
  }
  return events;
}
