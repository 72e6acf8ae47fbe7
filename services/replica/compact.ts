/**
 * `<c>.compact.<server>`: the applier says what snapshots cover, so that the log may drop it (T10).
 * JSON.
 */
import { z } from 'zod';
import type { LogPosition } from '../../shared/raft/entry.js';
import { CraftError } from '../../shared/wire/errors.js';
import { parseJson } from '../../shared/wire/json.js';

const count = z.number().int().nonnegative();
const request = z.object({ positions: z.array(z.object({ index: count, term: count, timestamp: count })) });

/** One position a group. @throws CraftError INVALID_ARGUMENT */
export function parseCompact(data: Uint8Array, groups: number): readonly LogPosition[] {
  const { positions } = parseJson(data, request);
  if (positions.length !== groups) {
    throw new CraftError('INVALID_ARGUMENT', `${positions.length} positions for ${groups} groups`);
  }
  return positions;
}
