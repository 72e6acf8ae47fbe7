/** How far the state is in each group's log, and what waits for it to get further (T6). */
import { BEFORE_FIRST, type GroupId, type LogIndex } from '../../shared/raft/entry.js';

interface Waiter {
  readonly positions: readonly LogIndex[];
  readonly resolve: () => void;
}

export class AppliedPositions {
  private waiters: Waiter[] = [];

  /**
   * @param positions For each group the index of its last command that is applied; none for groups
   *   without one.
   */
  constructor(
    private readonly positions: LogIndex[],
    /** The first read begins to wait, or the last one ends. */
    private readonly onAwaited: (isAwaited: boolean) => void,
  ) {}

  /** For each group the index of its last command that is applied; changes with the state. */
  get indexes(): readonly LogIndex[] {
    return this.positions;
  }

  /** A command is applied. Call `settle` after the last one of a batch. */
  applied(group: GroupId, index: LogIndex): void {
    this.positions[group] = index;
  }

  /** Lets go on what has waited for commands that are applied now. */
  settle(): void {
    if (this.waiters.length === 0) return;
    this.waiters = this.waiters.filter((waiter) => {
      if (!this.hasReached(waiter.positions)) return true;
      waiter.resolve();
      return false;
    });
    if (this.waiters.length === 0) this.onAwaited(false);
  }

  /** The state is at another place: what was applied since may have to be applied again. */
  reset(positions: readonly LogIndex[]): void {
    this.positions.splice(0, this.positions.length, ...positions);
    this.settle();
  }

  hasReached(positions: readonly LogIndex[]): boolean {
    return positions.every((index, group) => (this.positions[group] ?? BEFORE_FIRST) >= index);
  }

  /** Resolves once every group is at least at its position; rejects when `signal` fires before. */
  reach(positions: readonly LogIndex[], signal: AbortSignal): Promise<void> {
    if (this.hasReached(positions)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { positions, resolve };
      this.waiters.push(waiter);
      if (this.waiters.length === 1) this.onAwaited(true);
      const onAbort = () => {
        this.waiters = this.waiters.filter((one) => one !== waiter);
        if (this.waiters.length === 0) this.onAwaited(false);
        reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
