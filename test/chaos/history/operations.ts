/**
 * The operations on one key that a linearization has to arrange, made of the attempts of clients.
 *
 * What real time says about two operations depends on how the first was acknowledged (T6, T7), so
 * an operation has two ends. Every *read* that starts after `endForReads` comes after it, and every
 * *write* that starts after `endForWrites`. They are the same for a read and for a write
 * acknowledged as applied or ordered. A committed write has no `endForWrites`: a later write may be
 * ordered before it, unless that one carries Craft-After from its timestamp on.
 */
import { type Attempt, canonical, isFailed, isRejected } from './attempts.js';
import type { OperationName } from './format.js';

/** A place in the merged order (T4): by timestamp, then by group. */
export interface Place {
  readonly timestamp: number;
  readonly group: number;
}

export interface Operation {
  readonly f: OperationName;
  /** Written, or read; as canonical text. Null: read as absent. */
  readonly value: string | null;
  /** The version that was told: as read, or as the write left it. */
  readonly version: number | undefined;
  readonly ifVersion: number;
  /** Of a cas: whether it was told to have taken effect. */
  readonly verdict: 'took' | 'refused' | undefined;
  /** It has happened; else it may have, or may never. */
  readonly isCertain: boolean;
  /** Microseconds. */
  readonly start: number;
  readonly endForReads: number;
  readonly endForWrites: number;
  /** It comes after every command whose timestamp is at most this. */
  readonly after: number;
  /** Where it took effect in the merged order, when that is known exactly. */
  readonly place: Place | undefined;
  /** It took effect at this timestamp or before. */
  readonly timestampMax: number | undefined;
}

/**
 * The operations of one key. Attempts of one id become one operation; what has no effect and tells
 * nothing is left out.
 */
export function operationsOf(attempts: readonly Attempt[]): Operation[] {
  const operations: Operation[] = [];
  const commands = new Map<string, Attempt[]>();
  for (const attempt of attempts) {
    const { id, f } = attempt.invocation;
    if (f === 'read') {
      const read = readOf(attempt);
      if (read !== undefined) operations.push(read);
    } else if (!isFailed(attempt)) {
      if (id === undefined) operations.push(commandOf([attempt]));
      else commands.set(id, [...(commands.get(id) ?? []), attempt]);
    }
  }
  for (const same of commands.values()) operations.push(commandOf(same));
  return operations;
}

function readOf({ invocation, completion }: Attempt): Operation | undefined {
  if (completion?.type !== 'ok') return undefined;
  const { value = null, version } = completion;
  return {
    f: 'read',
    value: value === null ? null : canonical(value),
    version: value === null ? 0 : version,
    ifVersion: 0,
    verdict: undefined,
    isCertain: true,
    start: invocation.time,
    endForReads: completion.time,
    endForWrites: completion.time,
    after: 0,
    place: undefined,
    timestampMax: undefined,
  };
}

/** `attempts`: one or more of one command, none of them failed. */
function commandOf(attempts: readonly Attempt[]): Operation {
  const [first] = attempts;
  if (first === undefined) throw new RangeError('a command has an attempt');
  const { f, value = null, ifVersion = 0 } = first.invocation;
  let endForReads = Number.POSITIVE_INFINITY;
  let endForWrites = Number.POSITIVE_INFINITY;
  let timestampMax: number | undefined;
  let version: number | undefined;
  let verdict: Operation['verdict'];
  for (const { invocation, completion } of attempts) {
    if (completion === undefined || completion.type === 'unknown') continue;
    const { ack = 'applied' } = invocation;
    endForReads = Math.min(endForReads, completion.time);
    if (ack !== 'committed') endForWrites = Math.min(endForWrites, completion.time);
    timestampMax = smaller(timestampMax, completion.timestamp);
    version ??= completion.version;
    if (isRejected(completion)) verdict = 'refused';
    else if (ack === 'applied') verdict = 'took';
  }
  return {
    f,
    value: canonical(value),
    version,
    ifVersion,
    verdict: f === 'cas' ? verdict : undefined,
    isCertain: endForReads < Number.POSITIVE_INFINITY,
    start: Math.min(...attempts.map(({ invocation }) => invocation.time)),
    endForReads,
    endForWrites,
    // Whichever attempt takes effect: only what all of them ask for is certain.
    after: Math.min(...attempts.map(({ invocation }) => invocation.after ?? 0)),
    place: placeOf(attempts),
    timestampMax,
  };
}

/**
 * An applied command is told where it took effect. Before that only the place of this attempt's own
 * log entry is known, which may turn out to be a duplicate of another attempt's (T8).
 */
export function placeOf(attempts: readonly Attempt[]): Place | undefined {
  for (const { invocation, completion } of attempts) {
    if (completion?.type !== 'ok' || completion.timestamp === undefined || completion.group === undefined) continue;
    const isExact = attempts.length === 1 || (invocation.ack ?? 'applied') === 'applied';
    if (isExact) return { timestamp: completion.timestamp, group: completion.group };
  }
  return undefined;
}

export function comparePlaces(a: Place, b: Place): number {
  return a.timestamp - b.timestamp || a.group - b.group;
}

function smaller(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
