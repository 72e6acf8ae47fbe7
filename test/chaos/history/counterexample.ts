/**
 * From a key whose operations have no linearization to the few that show why. It takes the shortest
 * prefix of its history that fails, then takes away everything without which it fails as well.
 *
 * Each step only weakens what is known, and a weaker history that fails is a proof for the stronger
 * one. A read may be left out, a reply to a write may be forgotten (its outcome is then unknown),
 * and so may versions.
 */
import type { Attempt } from './attempts.js';

/** Whether these operations, in order of invocation, have for certain no linearization. */
export type Fails = (attempts: readonly Attempt[]) => boolean;

/** `attempts`: of one key, in order of invocation; they fail. */
export function counterexample(attempts: readonly Attempt[], fails: Fails): Attempt[] {
  const prefix = shortestPrefix(attempts, fails);
  const unversioned = prefix.map(withoutVersion);
  const small = dropReplies(fails(unversioned) ? unversioned : prefix, fails);
  return dropUnknown(small, fails);
}

/** The history until the reply that cannot be explained. */
function shortestPrefix(attempts: readonly Attempt[], fails: Fails): Attempt[] {
  const times = attempts.flatMap(({ completion }) => (completion === undefined ? [] : [completion.time]));
  times.sort((a, b) => a - b);
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fails(until(attempts, times[middle] ?? 0))) high = middle;
    else low = middle + 1;
  }
  return until(attempts, times[low] ?? Number.POSITIVE_INFINITY);
}

function until(attempts: readonly Attempt[], time: number): Attempt[] {
  const started = attempts.filter(({ invocation }) => invocation.time <= time);
  return started.map((one) => (one.completion !== undefined && one.completion.time > time ? forgotten(one) : one));
}

function forgotten({ invocation }: Attempt): Attempt {
  return { invocation };
}

function withoutVersion(attempt: Attempt): Attempt {
  const { invocation, completion } = attempt;
  if (completion === undefined) return attempt;
  return { invocation, completion: { ...completion, version: undefined } };
}

/** Forgets replies, many at a time at first, then fewer. */
function dropReplies(attempts: readonly Attempt[], fails: Fails): Attempt[] {
  let kept = [...attempts];
  for (let size = kept.length; size >= 1; size = size >> 1) {
    for (let from = 0; from < kept.length; from += size) {
      const fewer = kept.map((one, i) => (i >= from && i < from + size ? forgotten(one) : one));
      if (fewer.some((one, i) => one.completion !== kept[i]?.completion) && fails(fewer)) kept = fewer;
    }
  }
  return kept.filter(({ invocation, completion }) => invocation.f !== 'read' || completion !== undefined);
}

/**
 * Leaves out writes of unknown outcome: not a weaker history, so only what the remaining ones do
 * not need.
 */
function dropUnknown(attempts: readonly Attempt[], fails: Fails): Attempt[] {
  const isVersioned = attempts.some(
    ({ invocation, completion }) => invocation.f === 'cas' || completion?.version !== undefined,
  );
  if (isVersioned) return [...attempts];
  const seen = new Set(
    attempts.map(({ invocation, completion }) =>
      invocation.f === 'read' ? JSON.stringify(completion?.value ?? null) : undefined,
    ),
  );
  const fewer = attempts.filter(
    ({ invocation: { f, value }, completion }) =>
      f === 'read' || completion !== undefined || seen.has(JSON.stringify(value)),
  );
  return fails(fewer) ? fewer : [...attempts];
}
