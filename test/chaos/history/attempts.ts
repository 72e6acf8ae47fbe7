/** Events paired: each invocation with its completion. */
import type { Completion, HistoryEvent, Invocation, Json } from './format.js';

export interface Attempt {
  readonly invocation: Invocation;
  /** Undefined: never completed, which is the same as unknown. */
  readonly completion?: Completion | undefined;
}

/** The events cannot be a history of clients that do one thing at a time. */
export class HistoryError extends Error {
  readonly code = 'HISTORY';
  constructor(message: string) {
    super(message);
    this.name = 'HistoryError';
  }
}

/** In order of invocation. Throws HistoryError. */
export function pairAttempts(events: readonly HistoryEvent[]): Attempt[] {
  const attempts: { invocation: Invocation; completion?: Completion }[] = [];
  const open = new Map<number, { invocation: Invocation; completion?: Completion }>();
  let time = 0;
  for (const event of events) {
    if (event.time < time) throw new HistoryError(`time goes back from ${time} to ${event.time}`);
    time = event.time;
    if (event.type === 'info') continue;
    const { process } = event;
    const pending = open.get(process);
    if (event.type === 'invoke') {
      if (pending !== undefined)
        throw new HistoryError(`process ${process} invokes at ${time} before its last completion`);
      refuseIncomplete(event);
      const attempt = { invocation: event };
      open.set(process, attempt);
      attempts.push(attempt);
      continue;
    }
    if (pending === undefined)
      throw new HistoryError(`process ${process} completes at ${time} what it has not invoked`);
    const { f, key } = pending.invocation;
    if (event.f !== f || event.key !== key) {
      throw new HistoryError(
        `process ${process} completes ${event.f} ${event.key} at ${time}, but invoked ${f} ${key}`,
      );
    }
    pending.completion = event;
    open.delete(process);
  }
  return attempts;
}

function refuseIncomplete({ f, value, ifVersion, time, process }: Invocation): void {
  if (f === 'read') return;
  if (value === undefined || value === null) throw new HistoryError(`process ${process} ${f}s no value at ${time}`);
  if (f === 'cas' && ifVersion === undefined)
    throw new HistoryError(`process ${process} invokes cas without ifVersion at ${time}`);
}

/** The attempts by key, in order of invocation. */
export function byKey(attempts: readonly Attempt[]): Map<string, Attempt[]> {
  const keys = new Map<string, Attempt[]>();
  for (const attempt of attempts) {
    const { key } = attempt.invocation;
    const list = keys.get(key);
    if (list === undefined) keys.set(key, [attempt]);
    else list.push(attempt);
  }
  return keys;
}

/** The events of some attempts, in order of time. */
export function eventsOf(attempts: readonly Attempt[]): (Invocation | Completion)[] {
  return attempts
    .flatMap(({ invocation, completion }) => (completion === undefined ? [invocation] : [invocation, completion]))
    .sort((a, b) => a.time - b.time);
}

/** The same text for the same JSON value, whatever the order of its fields. */
export function canonical(value: Json): string {
  return JSON.stringify(value, (_, part: Json) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/**
 * Has not and will not take effect. A cas that was judged and refused is no failure: it saw the
 * register.
 */
export function isFailed({ completion }: Attempt): boolean {
  return completion?.type === 'fail' && !isRejected(completion);
}

export function isRejected(completion: Completion): boolean {
  return completion.type === 'fail' && completion.f === 'cas' && completion.error === 'REJECTED';
}
