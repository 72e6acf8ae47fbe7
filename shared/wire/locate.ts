/**
 * Where a server's state machine is, for its replica and merger when their logs do not go back far
 * enough (T10). The request is `<c>.install.<server>`. The applier answers once its state is at or
 * beyond what is asked for, from a snapshot if need be. JSON.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { z } from 'zod';
import type { LogIndex, LogPosition, MergedIndex } from '../raft/entry.js';
import { ofGroup, type PerGroup } from '../raft/lists.js';
import { ask } from './ask.js';
import { WireError } from './wire-error.js';

const count = z.number().int().nonnegative();

export const locateRequest = z.object({
  /** For each group the index that the state must have reached; 0 where any will do. */
  atLeast: z.array(count),
});

const locateReply = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    mergedIndex: count,
    checksum: z.string().regex(/^[0-9a-f]{16}$/),
    positions: z.array(z.object({ index: count, term: count, timestamp: count })),
  }),
  z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) }),
]);

/** How far a state machine is. */
export interface LocatedState {
  readonly mergedIndex: MergedIndex;
  /** Running checksum of the merged log there (T4). */
  readonly checksum: string;
  /** For each group its last command up to there. */
  readonly positions: readonly LogPosition[];
}

/** A snapshot may have to be fetched and installed first (milliseconds). */
const LOCATE_MS_MAX = 120_000;

/**
 * Asks the applier behind `subject`. Rejects when it does not answer in time or has no state that
 * reaches `atLeast` yet: ask again.
 * @throws WireError when the answer is not one, or not about as many groups.
 */
export async function requestLocation(
  connection: NatsConnection,
  subject: string,
  atLeast: PerGroup<LogIndex>,
): Promise<LocatedState> {
  const message = await ask(connection, subject, JSON.stringify({ atLeast }), { timeout: LOCATE_MS_MAX });
  let json: unknown;
  try {
    json = message.json();
  } catch (cause) {
    throw new WireError('the answer of the applier is not JSON', { cause });
  }
  const reply = locateReply.safeParse(json);
  if (!reply.success) throw new WireError(`the answer of the applier: ${z.prettifyError(reply.error)}`);
  if (!reply.data.ok) throw new Error(`${reply.data.error.code}: ${reply.data.error.message}`);
  const { mergedIndex, checksum, positions } = reply.data;
  if (positions.length !== atLeast.length || atLeast.some((index, group) => ofGroup(positions, group).index < index)) {
    throw new WireError('the answer of the applier does not reach what was asked for');
  }
  return { mergedIndex, checksum, positions };
}
