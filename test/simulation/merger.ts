/**
 * The merger of a simulated server: the production core between the replica's feed, the applier and
 * the stream.
 */

import { type FetchEffect, type LocateEffect, MergerCore, type MergerEffect } from '../../services/merger/core.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import { decodeFeedReply, decodeFeedRequest, encodeFeedReply, encodeFeedRequest } from '../../shared/wire/feed.js';
import type { LocatedState } from '../../shared/wire/locate.js';
import { decodeMergedBatch, encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, Violation, type World } from './world.js';

const POLL_US = 5_000_000;
const RETRY_US = 100_000;

export class SimulatedMerger {
  isAlive = true;
  private readonly core: MergerCore;
  private expectedSequence: number;
  private readonly random: Random;
  private fetches = 0;
  private wakes = 0;
  /** A message is on its way to the stream. */
  private isStoring = false;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    life: number,
  ) {
    this.random = world.random.fork(500_000 + server.index * 100 + (life % 100) + life * 10_000);
    this.expectedSequence = server.stream.lastSequence;
    const position = server.stream.position();
    this.core = new MergerCore(position, world.options.merger);
    server.beginMerging(position.mergedIndex);
    this.server.after(this, 1, () => this.step(() => undefined));
  }

  private step(event: (core: MergerCore) => void): void {
    this.guard(() => {
      this.core.advance(this.world.queue.nowUs / 1_000);
      event(this.core);
      for (const effect of this.core.next()) this.execute(effect);
    });
    this.wakeLater();
  }

  private execute(effect: MergerEffect): void {
    switch (effect.type) {
      case 'emit':
        this.server.emit(effect.run);
        return;
      case 'store':
        this.store(effect.run);
        return;
      case 'locate':
        this.locate(effect);
        return;
      case 'fetch':
        this.fetch(effect);
    }
  }

  private wakeLater(): void {
    const { nextWakeMs } = this.core;
    if (nextWakeMs === null) return;
    const wake = ++this.wakes;
    this.server.after(this, Math.max(1, Math.ceil(nextWakeMs * 1_000 - this.world.queue.nowUs)), () => {
      if (wake === this.wakes) this.step(() => undefined);
    });
  }

  /**
   * Asks the applier, which may have to install a snapshot first, as services/merger/locating.ts
   * does.
   */
  private locate({ atLeast }: LocateEffect): void {
    let isOver = false;
    const end = (state: LocatedState | null) => {
      if (isOver) return;
      isOver = true;
      const { mergedIndex = 0, checksum = '', positions = [] } = state ?? {};
      const position =
        state === null ? null : { mergedIndex, checksum, positions: positions.map(({ index }) => index) };
      this.step((core) => core.rebase(position));
    };
    this.server.after(this, POLL_US, () => end(null));
    this.server.after(this, this.random.between(100, 1_000), () => {
      if (this.isLost()) return;
      this.server.applier?.locate(atLeast, (state) => {
        this.server.after(this, state === null ? RETRY_US : this.random.between(100, 1_000), () => end(state));
      });
    });
  }

  private fetch(effect: FetchEffect): void {
    const fetch = ++this.fetches;
    const isCurrent = () => fetch === this.fetches;
    const { groups, encoded } = this.world.options;
    const retry = (delayUs: number) =>
      this.server.after(this, delayUs, () => {
        if (!isCurrent()) return;
        // A poll that ran out is the time to see whether the stream is still the one that was
        // written.
        if (delayUs === POLL_US && this.core.isStored && !this.isStreamWhole()) {
          this.restart();
          return;
        }
        this.fetches += 1;
        this.step((core) => core.fetchFailed());
      });
    if (this.isLost()) {
      retry(POLL_US);
      return;
    }
    const request = encoded ? decodeFeedRequest(encodeFeedRequest(effect), groups) : effect;
    this.server.after(this, this.random.between(20, 200), () => {
      const replica = this.server.replica;
      if (replica === null) {
        retry(RETRY_US);
        return;
      }
      retry(POLL_US);
      replica.poll(request, (answer) => {
        if (this.isLost()) return;
        const fed = encoded ? decodeFeedReply(encodeFeedReply(answer), groups) : answer;
        this.server.after(this, this.random.between(20, 200), () => {
          if (!isCurrent()) return;
          this.fetches += 1;
          this.step((core) => core.fed(fed.groups, fed.bases));
        });
      });
    });
  }

  /**
   * A gap in what is fed would end this life of the core in production; a correct replica never
   * makes one.
   */
  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation('assertion', `${this.server.name} merger: ${error instanceof Error ? error.stack : error}`);
    }
  }

  private store(run: MergedRun): void {
    const { encoded } = this.world.options;
    const expected = this.expectedSequence;
    this.isStoring = true;
    const isLost = this.isLost();
    const isAckLost = this.isLost();
    // What is on its way lands also when its merger has died meanwhile.
    this.world.queue.after(this.random.between(100, 1_000), () => {
      const message = encoded ? decodeMergedBatch(encodeMergedBatch(run)) : run;
      const isTaken = !isLost && this.server.publish(message, expected);
      if (!this.isAlive) return;
      if (!isTaken || isAckLost) {
        this.server.after(this, RETRY_US, () => this.restart());
        return;
      }
      this.server.after(this, this.random.between(20, 200), () => {
        this.expectedSequence = expected + 1;
        this.isStoring = false;
        this.step((core) => core.stored());
      });
    });
  }

  /**
   * The stream is of no use to its applier: it is emptied, and begins again where the state machine
   * is (services/merger/merging.ts).
   */
  beginAgain(): void {
    // What is on its way would land in the new one.
    if (this.isStoring) return;
    this.server.stream.purge();
    this.restart();
  }

  private restart(): void {
    countFault(this.world, 'merger restart');
    this.server.crashMerger();
    this.server.startMerger();
  }

  /** The stream is the one that was written, and has not been emptied. */
  private isStreamWhole(): boolean {
    const { stream } = this.server;
    const { mergedIndex } = this.core.position();
    return stream.lastSequence === this.expectedSequence && (mergedIndex === 0 || stream.messages.length > 0);
  }

  private isLost(): boolean {
    return this.server.isLocalLossy && this.random.chance(0.2);
  }
}
