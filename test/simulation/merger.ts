/** The merger process of a simulated server: the production core between the replica's feed and the stream. */

import { type FetchEffect, type LocateEffect, MergerCore } from '../../services/merger/core.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import { decodeFeedReply, decodeFeedRequest, encodeFeedReply, encodeFeedRequest } from '../../shared/wire/feed.js';
import type { InstalledState } from '../../shared/wire/install.js';
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
  private isPublishing = false;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    life: number,
  ) {
    this.random = world.random.fork(500_000 + server.index * 100 + (life % 100) + life * 10_000);
    this.expectedSequence = server.stream.lastSequence;
    this.core = new MergerCore(server.stream.position(), world.options.merger);
    this.server.after(this, 1, () => this.step());
  }

  private step(): void {
    this.guard(() => {
      for (const effect of this.core.next()) {
        if (effect.type === 'publish') this.publish(effect.run);
        else if (effect.type === 'locate') this.locate(effect);
        else this.fetch(effect);
      }
    });
  }

  /** Asks the applier, which may have to install a snapshot first, as services/merger/service.ts does. */
  private locate({ atLeast }: LocateEffect): void {
    let isOver = false;
    const end = (state: InstalledState | null) => {
      if (isOver) return;
      isOver = true;
      const { mergedIndex = 0, checksum = '', positions = [] } = state ?? {};
      const position =
        state === null ? null : { mergedIndex, checksum, positions: positions.map(({ index }) => index) };
      this.guard(() => this.core.rebase(position));
      this.step();
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
        // A poll that ran out is the time to see whether the stream is still the one that was written.
        if (delayUs === POLL_US && !this.isPublishing && !this.isStreamWhole()) {
          this.restart();
          return;
        }
        this.fetches += 1;
        this.core.fetchFailed();
        this.step();
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
          this.guard(() => this.core.fed(fed.groups, fed.bases));
          this.step();
        });
      });
    });
  }

  /** A gap in what is fed would end this life of the core in production; a correct replica never makes one. */
  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation('assertion', `${this.server.name} merger: ${error instanceof Error ? error.stack : error}`);
    }
  }

  private publish(run: MergedRun): void {
    const { encoded } = this.world.options;
    const expected = this.expectedSequence;
    this.isPublishing = true;
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
        this.isPublishing = false;
        this.core.published();
        this.step();
      });
    });
  }

  /** The stream is of no use to its applier: it is emptied, and begins again where the state machine is (services/merger/service.ts). */
  beginAgain(): void {
    // What is on its way would land in the new one.
    if (this.isPublishing) return;
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
