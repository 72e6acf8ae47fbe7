/**
 * The checker's question answered in the plainest way: every order of every subset of the
 * operations of one key. Shares nothing with the checker but the events, and is good for some seven
 * operations.
 */
import type { Timed } from './histories.js';

interface One extends Timed {
  /** A plain write of unknown outcome that no read has seen: its Craft-After is not looked at. */
  readonly isHidden: boolean;
  readonly acks: readonly { to: number; isFinal: boolean; timestamp: number | undefined }[];
}

export function hasLinearization(operations: readonly Timed[], usePlaces: boolean): boolean {
  const effective = operations.filter(isEffective).map((one) => prepared(one, operations));
  return extend(effective, [], usePlaces);
}

function isEffective({ f, to, outcome = 'ok', reply }: Timed): boolean {
  if (f === 'read') return to !== undefined && outcome === 'ok';
  return !(to !== undefined && outcome === 'fail' && reply?.error !== 'REJECTED');
}

function prepared(one: Timed, all: readonly Timed[]): One {
  const isKnown = one.to !== undefined && (one.outcome ?? 'ok') !== 'unknown';
  const isFinal = one.f === 'read' || one.ack !== 'committed';
  const isSeen = all.some(
    ({ f, outcome = 'ok', reply }) => f === 'read' && outcome === 'ok' && reply?.value === one.value,
  );
  const isHidden = one.f === 'write' && !isKnown && !isSeen;
  return { ...one, isHidden, acks: isKnown ? [{ to: one.to ?? 0, isFinal, timestamp: one.reply?.timestamp }] : [] };
}

/** Tries everything that can come after `order`. */
function extend(left: readonly One[], order: readonly One[], usePlaces: boolean): boolean {
  if (left.every(({ acks }) => acks.length === 0) && explains(order)) return true;
  return left.some((next) => {
    const others = left.filter((one) => one !== next);
    return !others.some((one) => mustPrecede(one, next, usePlaces)) && extend(others, [...order, next], usePlaces);
  });
}

function mustPrecede(a: One, b: One, usePlaces: boolean): boolean {
  const isRead = b.f === 'read';
  if (a.acks.some(({ to, isFinal }) => to < b.from && (isRead || isFinal))) return true;
  if (isRead || a.f === 'read') return false;
  const at = a.acks[0]?.timestamp;
  if (at === undefined) return false;
  if (b.after !== undefined && at <= b.after && !b.isHidden) return true;
  const other = b.acks[0]?.timestamp;
  return usePlaces && other !== undefined && at < other;
}

function explains(order: readonly One[]): boolean {
  let value: unknown = null;
  let version = 0;
  for (const one of order) {
    const { f, reply, ifVersion, ack = 'applied', outcome = 'ok', to } = one;
    const isTold = to !== undefined && outcome !== 'unknown';
    if (f === 'read') {
      if ((reply?.value ?? null) !== value) return false;
      if (reply?.version !== undefined && reply.version !== version) return false;
      continue;
    }
    if (f === 'cas') {
      const holds = version === ifVersion;
      if (isTold && outcome === 'fail' && holds) return false;
      if (isTold && outcome === 'ok' && ack === 'applied' && !holds) return false;
      if (!holds) continue;
    }
    value = one.value;
    version += 1;
    if (isTold && reply?.version !== undefined && reply.version !== version) return false;
  }
  return true;
}
