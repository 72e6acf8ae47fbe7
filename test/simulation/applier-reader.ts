/** How a simulated applier reads the merged log: its stream, and what is heard of its end. */
import { DirectMergedLog } from '../../shared/link/merged-log.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { EffectOf, SimulatedApplier } from './applier.js';

export class ApplierReader {
  /**
   * How many messages of the stream, removed ones included, come before the next one that is read.
   */
  private cursor = 0;
  /** The newest runs, as they are heard by an applier that is a process of its own. */
  private readonly heard = new DirectMergedLog();
  /** Nothing is got any more, and nothing says so. */
  private isStalled = false;

  constructor(private readonly applier: SimulatedApplier) {}

  /** A message on the subject of the stream; it may get lost. */
  hear(run: MergedRun): void {
    const { applier } = this;
    if (applier.isLost()) return;
    applier.later(applier.random.between(20, 300), () => this.heard.push(run));
  }

  /** No message arrives any more. */
  stall(): void {
    this.isStalled = true;
  }

  seek({ id, wanted }: EffectOf<'seek'>): void {
    const { applier } = this;
    this.isStalled = false;
    applier.later(applier.random.between(50, 2_000), () => {
      if (applier.isLost()) {
        applier.dispatch((core) => core.readEnded(id));
        return;
      }
      const { stream } = applier.server;
      const at = stream.find(wanted);
      this.cursor = stream.removed + at;
      const firstMergedIndex = stream.messages[at]?.firstMergedIndex;
      applier.dispatch((core) => core.stream.placed(id, { firstMergedIndex }));
    });
  }

  read({ id }: EffectOf<'read'>): void {
    const { applier } = this;
    applier.later(applier.random.between(50, 2_000), () => {
      if (this.isStalled) return;
      if (applier.isLost()) {
        applier.dispatch((core) => core.readEnded(id));
        return;
      }
      const { stream } = applier.server;
      // What was removed before it was read is missed, and what comes after a lost tail is read on
      // from there.
      this.cursor = Math.min(Math.max(this.cursor, stream.removed), stream.removed + stream.messages.length);
      const from = this.cursor - stream.removed;
      const runs = stream.messages.slice(from, from + 1 + applier.random.below(5));
      this.cursor += runs.length;
      const isEnd = this.cursor === stream.removed + stream.messages.length;
      applier.dispatch((core) => core.stream.read(id, { runs, isEnd }));
    });
  }

  follow({ id, wanted }: EffectOf<'follow'>): void {
    const { applier } = this;
    const tail = applier.world.options.isOneProcess ? applier.server.tail : this.heard;
    tail.next(wanted, (found) => {
      if (this.isStalled) return;
      applier.later(applier.random.between(1, 300), () => applier.dispatch((core) => core.stream.followed(id, found)));
    });
  }
}
