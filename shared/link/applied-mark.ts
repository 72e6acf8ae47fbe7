/**
 * How far the applier has come: for the replica of the same process, which takes no more than the
 * applier can follow, and stamps in the rhythm of the answers.
 */
import type { LogIndex } from '../raft/entry.js';
import type { PerGroup } from '../raft/lists.js';

export class AppliedMark {
  /** By group: of its last entry that is applied. Null until the applier has said so. */
  indexes: PerGroup<LogIndex> | null = null;
  private listener: (() => void) | undefined;

  /**
   * Calls back after each transaction of the applier: the indexes have grown. One listener at a
   * time, the newest. Returns how to end that.
   */
  onAdvanced(listener: () => void): () => void {
    this.listener = listener;
    return () => {
      if (this.listener === listener) this.listener = undefined;
    };
  }

  /** The applier says that the indexes have grown. */
  advanced(): void {
    this.listener?.();
  }
}
