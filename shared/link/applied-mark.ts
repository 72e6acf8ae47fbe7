/**
 * How far the applier has come: for the replica of the same process, which takes no more than the
 * applier can follow, and stamps in the rhythm of the answers.
 */
import type { Index } from '../raft/entry.js';

export class AppliedMark {
  /** By group: of its last entry that is applied. Null until the applier has said so. */
  indexes: readonly Index[] | null = null;
  /** The applier calls this after a transaction: the indexes have grown. */
  onAdvanced: () => void = () => undefined;
}
