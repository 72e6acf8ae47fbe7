/**
 * The command that replaces the whole state by that of a file (T10). It has its place in the log
 * like every other one, so that all servers do it at the same merged index, also those that were
 * away. Only the services themselves append it: no client's command has this name.
 */
import { z } from 'zod';

export const RESTORE_COMMAND = 'craft.restore';
/** What no state machine's command or query may be called. */
export const RESERVED_PREFIX = 'craft.';

/** The input of the command, and of the request for it to the leader of group 0. */
export const restoreInput = z.object({
  /** Name in the bucket of the snapshots. */
  object: z.string().min(1).max(256),
  /** SHA-256 of all that it says, base64url. */
  digest: z.string().min(1).max(64),
  /**
   * There may be a state, which is lost; else the command is refused at its place in the log when
   * something comes before it.
   */
  replace: z.boolean(),
});
export type RestoreInput = z.output<typeof restoreInput>;

/**
 * What an operator asks of one server, `<c>.admin.restore.<server>`: `object` is in the bucket of
 * the snapshots already.
 */
export const restoreRequest = z.object({
  object: restoreInput.shape.object,
  replace: restoreInput.shape.replace,
});
