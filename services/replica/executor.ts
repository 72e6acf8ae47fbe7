/**
 * The one place where the effects of the replica core are done: what concerns the log store here,
 * the rest by the service, in the order in which they come.
 */

import { toError } from '../../shared/errors.js';
import { type LogStore, LogStoreCorruptError, LogStoreWriteError } from '../../shared/log-store/port.js';
import type { Effect, QueuedCommand } from './core/effect.js';
import type { ReadEffect } from './core/read-effect.js';
import type { ReplicaCore } from './core/server.js';

/** The effect of that type. */
export type EffectOf<C extends QueuedCommand, T extends Effect<C>['type']> = Extract<Effect<C>, { readonly type: T }>;

/**
 * What the executor leaves to the service: every effect but those on the log store, and what there
 * is to say about that.
 */
export interface Outside<C extends QueuedCommand> {
  send(effect: EffectOf<C, 'send'>): void;
  committed(effect: EffectOf<C, 'committed'>): void;
  ordered(effect: EffectOf<C, 'ordered'>): void;
  refused(effect: EffectOf<C, 'refused'>): void;
  leading(effect: EffectOf<C, 'leading'>): void;
  lost(effect: EffectOf<C, 'lost'>): void;
  failed(effect: EffectOf<C, 'failed'>): void;
  feed(effect: EffectOf<C, 'feed'>): void;
  barrier(effect: EffectOf<C, 'barrier'>): void;
  snapshotNeeded(effect: EffectOf<C, 'snapshot-needed'>): void;
  impossible(effect: EffectOf<C, 'impossible'>): void;
  clockRefused(effect: EffectOf<C, 'clock-refused'>): void;
  /** A write begins; what is returned is called when it is durable. For tracing. */
  onWrite(effect: EffectOf<C, 'write'>): (() => void) | undefined;
  /** The core has had a turn; its effects are not done yet. */
  onTurn?(): void;
  /**
   * A write failed and will be tried again, or makes no progress, or a read failed; said again for
   * as long as it lasts.
   */
  onStoreError(error: Error): void;
  /** The first write that is durable after that. */
  onStoreRecovered(): void;
  /** The core found a broken invariant, or the store is damaged: the service cannot go on. */
  onFatal(error: Error): void;
}

/** Between two tries of a write that failed (milliseconds). */
const RETRY_MS = 200;

export class Executor<C extends QueuedCommand> {
  private retrier: NodeJS.Timeout | null = null;
  /** The last write failed, or makes no progress. */
  private isStoreFailing = false;
  /** Resolves when no write is in flight. */
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: LogStore,
    private readonly outside: Outside<C>,
    /** Gives the core something that has happened. */
    private readonly dispatch: (event: (core: ReplicaCore<C>) => void) => void,
    /** The log store is damaged: nothing goes on. */
    private readonly fail: (error: Error) => void,
  ) {}

  execute(effect: Effect<C>): void {
    const { outside } = this;
    switch (effect.type) {
      case 'send':
        outside.send(effect);
        break;
      case 'write':
        this.writing = this.write(effect);
        break;
      case 'read':
        void this.read(effect);
        break;
      case 'committed':
        outside.committed(effect);
        break;
      case 'ordered':
        outside.ordered(effect);
        break;
      case 'refused':
        outside.refused(effect);
        break;
      case 'leading':
        outside.leading(effect);
        break;
      case 'lost':
        outside.lost(effect);
        break;
      case 'failed':
        outside.failed(effect);
        break;
      case 'feed':
        outside.feed(effect);
        break;
      case 'barrier':
        outside.barrier(effect);
        break;
      case 'snapshot-needed':
        outside.snapshotNeeded(effect);
        break;
      case 'impossible':
        outside.impossible(effect);
        break;
      case 'clock-refused':
        outside.clockRefused(effect);
        break;
    }
  }

  /**
   * The write in flight has made no progress for an election timeout. A write that fails says why;
   * one that hangs says nothing.
   */
  onDiskHung(): void {
    if (this.isStoreFailing) return;
    this.isStoreFailing = true;
    this.outside.onStoreError(
      new LogStoreWriteError('a write to the log store has made no progress for an election timeout'),
    );
  }

  /** Tries nothing again; waits for the write in flight. */
  async stop(): Promise<void> {
    if (this.retrier !== null) clearTimeout(this.retrier);
    await this.writing;
  }

  private async write(effect: EffectOf<C, 'write'>): Promise<void> {
    let onDurable: (() => void) | undefined;
    try {
      onDurable = this.outside.onWrite(effect);
      await this.store.write(effect.batch);
      onDurable?.();
      if (this.isStoreFailing) this.outside.onStoreRecovered();
      this.isStoreFailing = false;
    } catch (error) {
      this.onWriteFailed(toError(error));
      return;
    }
    this.dispatch((core) => core.written());
  }

  /**
   * The same batch again, later: until then nothing is acknowledged, and leadership goes by itself
   * (a hung disk).
   */
  private onWriteFailed(error: Error): void {
    if (!(error instanceof LogStoreWriteError)) {
      this.fail(error);
      return;
    }
    this.isStoreFailing = true;
    this.outside.onStoreError(error);
    this.retrier = setTimeout(() => this.dispatch((core) => core.retryWrite()), RETRY_MS);
  }

  private async read(effect: ReadEffect): Promise<void> {
    try {
      const entries = await this.store.read(effect.group, effect.from, effect.to, effect.bytesMax);
      this.dispatch((core) => core.readDone(effect, entries));
    } catch (error) {
      if (error instanceof LogStoreCorruptError) this.fail(error);
      else {
        this.isStoreFailing = true;
        this.outside.onStoreError(toError(error));
      }
      // The need comes back by itself; a disk that fails is not asked without a pause.
      setTimeout(() => this.dispatch((core) => core.readDone(effect, [])), RETRY_MS).unref();
    }
  }
}
