/**
 * Drives one merger core in the real world: the one place where its effects are done. Ends with the
 * first error.
 */

import { toError } from '../../shared/errors.js';
import { type FeedSource, FeedUnavailableError } from '../../shared/link/feed.js';
import type { MergedRun, MergePosition } from '../../shared/merge/merge.js';
import type { LogIndex } from '../../shared/raft/entry.js';
import type { PerGroup } from '../../shared/raft/lists.js';
import type { FeedGroup } from '../../shared/wire/feed.js';
import type { FetchEffect, MergerCore, MergerEffect } from './core.js';

export interface Adapters {
  readonly feed: FeedSource;
  /** The core has this answer of the feed. For tracing. */
  fed?(groups: readonly FeedGroup[]): void;
  /** A run has its final place. */
  emit(run: MergedRun): void;
  /** Resolves when the stream has it. */
  store(run: MergedRun): Promise<void>;
  /** @throws StreamLostError when the stream is not what was written. */
  requireWhole(): Promise<void>;
  /** Where the state machine is, at or beyond these indexes; null: that cannot be told yet. */
  locate(atLeast: PerGroup<LogIndex>): Promise<MergePosition | null>;
  warn(text: string, error: unknown): void;
  /** The replica answers polls, or it does not, because of this. */
  onFeed(trouble: Error | undefined): void;
  /** Something has happened to the core: within every `POLL_MS`, while it lives. */
  onStep(): void;
}

/** How long one poll of the feed may wait for something to merge (milliseconds). */
const POLL_MS = 5_000;
/** Between two tries when the replica or the applier does not answer (milliseconds). */
const RETRY_MS = 100;

export class Executor {
  /** Rejects with the reason when this core cannot go on. */
  readonly ended: Promise<never>;
  private reject: (error: Error) => void = () => undefined;
  private isOver = false;
  private waker: NodeJS.Timeout | undefined;
  private storing: Promise<void> = Promise.resolve();
  private onStored: () => void = () => undefined;

  constructor(
    readonly core: MergerCore,
    private readonly adapters: Adapters,
  ) {
    this.ended = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.ended.catch(() => undefined);
  }

  start(): void {
    this.step(() => undefined);
  }

  /** It has ended: its core says nothing of what waits now. */
  get hasEnded(): boolean {
    return this.isOver;
  }

  end(error: unknown): void {
    this.isOver = true;
    clearTimeout(this.waker);
    this.onStored();
    this.reject(toError(error));
  }

  /** Resolves when nothing is on its way to the stream, however that ended. */
  async settled(): Promise<void> {
    await this.storing.catch(() => undefined);
  }

  /**
   * Merges nothing more; resolves when everything that was emitted is stored, or this core has
   * ended.
   */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.onStored = resolve;
      if (this.isOver) resolve();
      else this.step((core) => core.flush());
    });
  }

  private step(event: (core: MergerCore) => void): void {
    if (this.isOver) return;
    const { core } = this;
    this.adapters.onStep();
    try {
      core.advance(performance.now());
      event(core);
      for (const effect of core.next()) this.execute(effect);
    } catch (error) {
      this.end(error);
      return;
    }
    if (core.isStored) this.onStored();
    this.wakeLater();
  }

  private execute(effect: MergerEffect): void {
    switch (effect.type) {
      case 'emit':
        this.adapters.emit(effect.run);
        return;
      case 'store':
        this.storing = this.adapters.store(effect.run);
        this.after(this.storing, (core) => core.stored());
        return;
      case 'locate':
        this.after(this.locate(effect.atLeast), (core, position) => core.rebase(position));
        return;
      case 'fetch':
        this.after(this.fetch(effect), (core, told) => told(core));
    }
  }

  private after<T>(work: Promise<T>, event: (core: MergerCore, done: T) => void): void {
    work.then(
      (done) => this.step((core) => event(core, done)),
      (error: unknown) => this.end(error),
    );
  }

  private async fetch(effect: FetchEffect): Promise<(core: MergerCore) => void> {
    const { feed, warn, requireWhole, onFeed } = this.adapters;
    try {
      const reply = await feed.poll(effect, POLL_MS);
      onFeed(undefined);
      if (reply !== null) {
        return (core) => {
          core.fed(reply.groups, reply.bases);
          this.adapters.fed?.(reply.groups);
        };
      }
    } catch (error) {
      if (!(error instanceof FeedUnavailableError) || this.isOver) throw error;
      onFeed(error);
      warn('the replica does not answer', error);
      await pause();
      return (core) => core.fetchFailed();
    }
    // An idle cluster lets the poll run out: the time to see whether the stream is still the one
    // that was written.
    if (this.core.isStored) await requireWhole();
    return (core) => core.fetchFailed();
  }

  private async locate(atLeast: PerGroup<LogIndex>): Promise<MergePosition | null> {
    const position = await this.adapters.locate(atLeast);
    if (position === null) await pause();
    return position;
  }

  private wakeLater(): void {
    clearTimeout(this.waker);
    const { nextWakeMs } = this.core;
    if (nextWakeMs === null) return;
    this.waker = setTimeout(() => this.step(() => undefined), Math.max(1, nextWakeMs - performance.now()));
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_MS));
}
