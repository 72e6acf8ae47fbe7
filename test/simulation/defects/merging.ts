/** The feed of a replica, and the merged log that a merger makes of it. */
import { Feed } from '../../../services/replica/core/feed.js';
import { Merge } from '../../../shared/merge/merge.js';
import type { LogEntry, Timestamp } from '../../../shared/raft/entry.js';
import { SimulatedStream } from '../stream.js';
import { all, type Plan, replace } from './plan.js';

export const MERGING: readonly Plan[] = [
  {
    name: 'tie-in-arrival-order',
    foundBy: 9,
    what: 'of equal timestamps the one that arrived first is merged first (T4)',
    install: () => {
      const lastOffered = new WeakMap<object, number>();
      return all(
        replace(Merge, 'add', function (original, group: number, entries: readonly LogEntry[], watermark: Timestamp) {
          if (entries.length > 0) lastOffered.set(this, group);
          return original(group, entries, watermark);
        }),
        replace(Merge, 'smallestHead', function (original) {
          const best: number | null = original();
          const last = lastOffered.get(this);
          if (best === null || last === undefined) return best;
          const head = (group: number) => this.queues[group].entries[this.queues[group].head]?.timestamp;
          return head(last) === head(best) ? last : best;
        }),
      );
    },
  },
  {
    name: 'merge-past-watermark',
    what: 'the merge does not wait for the group with the lowest watermark (T4)',
    foundBy: 2,
    install: () =>
      replace(Merge, 'lowestWatermark', function () {
        const sorted = this.watermarks().sort((a: number, b: number) => a - b);
        return sorted[1] ?? sorted[0];
      }),
  },
  {
    name: 'resume-merger-one-too-far',
    what: 'a merger goes on one entry too far in one group (T4)',
    install: () =>
      replace(SimulatedStream, 'position', (original) => {
        const position = original() as ReturnType<SimulatedStream['position']>;
        if (position.mergedIndex === 0) return position;
        return {
          ...position,
          positions: position.positions.map((index, group) => (group === 0 ? index + 1 : index)),
        };
      }),
  },
  {
    name: 'watermark-of-the-rest',
    what: 'a feed that sends a part of the entries gives the watermark of all (T3, T4)',
    foundBy: 2,
    install: () =>
      replace(Feed, 'answer', function (original, poll) {
        const answer = original(poll);
        return answer.map((part: { group: number }) => ({ ...part, watermark: this.groups[part.group].watermark }));
      }),
  },
];
