/** `craft verify`: all servers add up their rows at one place in the log, and are compared (T4). */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { CraftError } from '../../shared/client/index.js';
import { NOTHING_MERGED } from '../../shared/raft/entry.js';
import { ask } from '../../shared/wire/ask.js';
import { hasNoResponders, isTimeout, parseReply } from './replies.js';
import type { Session } from './session.js';
import { Verification, type VerifyLine } from './verification.js';

const marked = z.looseObject({ ok: z.literal(true), index: z.number() });

/** Between two looks (milliseconds). */
const LOOK_MS = 100;
/** How long the leader of group 0 may take to answer (milliseconds). */
const MARK_MS_MAX = 5_000;
/**
 * Between two marks: doubles from the first to the second, since every server reads all its rows
 * for each (milliseconds).
 */
const AGAIN_MS = 1_000;
const AGAIN_MS_MAX = 30_000;
/** A voter that has not answered by then is taken for missing (milliseconds). */
const MISSING_MS = 5_000;

/**
 * Prints a line for each server. @throws CraftError when they are not all equal, or not all there:
 * the message says what to do.
 */
export async function verify(session: Session, timeoutMs: number, print: (value: unknown) => void): Promise<void> {
  const { client } = session;
  const startMs = performance.now();
  const statuses = await client.status();
  if (statuses.length === 0) throw new CraftError('UNAVAILABLE', 'no server answers');
  // Whatever was acknowledged before is applied at the server that answered.
  const before = Math.max(0, ...statuses.map(({ state }) => state?.appliedIndex ?? NOTHING_MERGED));
  const verification = new Verification(before + 1);
  verification.hear(statuses);
  let isAsked = false;
  let reached = before;
  let problem = '';
  let againAtMs = startMs;
  let pauseMs = AGAIN_MS;
  for (;;) {
    const nowMs = performance.now();
    const leftMs = startMs + timeoutMs - nowMs;
    const { settled, missing, isFutile } = verification;
    const isWaiting = missing.length > 0 && nowMs < startMs + MISSING_MS;
    if (leftMs <= 0 || ((settled !== undefined || isFutile) && !isWaiting)) break;
    if (!isAsked || (nowMs >= againAtMs && verification.needsMark(reached))) {
      const answer = await mark(session, Math.min(leftMs, MARK_MS_MAX));
      problem = typeof answer === 'string' ? answer : '';
      if (typeof answer === 'number') reached = answer;
      isAsked = true;
      againAtMs = performance.now() + pauseMs;
      pauseMs = Math.min(2 * pauseMs, AGAIN_MS_MAX);
    }
    await delay(LOOK_MS);
    verification.hear(await client.status());
  }
  const lines = verification.judge();
  for (const line of lines) print(line);
  conclude(lines, problem);
}

/**
 * The merged index of a new mark, or why it is not known. @throws CraftError for a definite
 * refusal.
 */
async function mark({ connection, subjects }: Session, timeoutMs: number): Promise<number | string> {
  try {
    const reply = await ask(connection, subjects.verify(), '{}', { timeout: timeoutMs });
    return parseReply(marked, reply.json()).index;
  } catch (error) {
    if (hasNoResponders(error)) return 'group 0 has no leader';
    if (isTimeout(error)) return 'the leader of group 0 has not answered';
    // That of a leader whose own state differs: its mark is in the log all the same.
    if (error instanceof CraftError && error.retryable) return error.message;
    throw error;
  }
}

/** @throws Error that says what to do, unless all are equal. */
function conclude(lines: readonly VerifyLine[], problem: string): void {
  const of = (verdict: VerifyLine['verdict']) => lines.filter((line) => line.verdict === verdict);
  const sentences: string[] = [];
  for (const { server, tables } of of('differs')) {
    const where = tables === undefined ? '' : ` in ${tables.join(', ')}`;
    sentences.push(`${server} differs${where}: repair the cause, then run: craft rebuild ${server}`);
  }
  const undecided = of('undecided').map(({ server }) => server);
  if (undecided.length > 0) {
    sentences.push(
      `${undecided.join(', ')}: no majority has the same: start the missing servers, or restore a good backup: ` +
        'craft snapshot restore FILE --replace',
    );
  }
  const missing = of('missing').map(({ server }) => server);
  if (missing.length > 0) {
    const why = problem === '' ? '' : ` (${problem})`;
    sentences.push(`${missing.join(', ')}: not known${why}`);
  }
  if (sentences.length > 0) throw new Error(sentences.join('; '));
}
