/** Claims, promises and closed timestamps. */
import { ClosedTimestamps } from '../../../shared/raft/closed-timestamps.js';
import type { Timestamp } from '../../../shared/raft/entry.js';
import { Group } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import { PromiseLimit } from '../../../shared/raft/promise-limit.js';
import { SimulatedDisk } from '../disk.js';
import { beforeEverything, changeMessages } from './group.js';
import { all, type Plan, replace } from './plan.js';

export const CLOSED_TIMESTAMPS: readonly Plan[] = [
  {
    name: 'forget-promise-in-vote',
    foundBy: 158,
    within: 300,
    shape: { skewed: true },
    what: 'a vote does not carry what the voter has promised (T2)',
    install: () => changeMessages((body) => (body.type === 'vote-reply' ? { ...body, promised: 0 } : body)),
  },
  {
    name: 'forget-promise-limit-on-restart',
    foundBy: 121,
    within: 300,
    shape: { skewed: true },
    what: 'after a restart a server knows of no promise (T2)',
    install: () =>
      all(
        replace(SimulatedDisk, 'load', (original) => ({ ...original(), promiseLimit: 0 })),
        replace(SimulatedDisk, 'land', function (original, batch) {
          const { promiseLimit } = batch;
          const kept = promiseLimit === undefined ? {} : { promiseLimit: Math.max(promiseLimit, this.promiseLimit) };
          return original({ ...batch, ...kept });
        }),
      ),
  },
  {
    name: 'timestamp-below-floor',
    foundBy: 158,
    within: 300,
    shape: { skewed: true },
    what: 'a new leader stamps above its log only, not above the promises of its voters (T2)',
    install: () =>
      all(
        beforeEverything(({ candidacy, log }) => {
          if (candidacy !== null) candidacy.floor = log.lastTimestamp;
        }),
        replace(Group, 'receive', (original, message: Message, nowMs: number) => {
          const { body } = message;
          const blind = body.type === 'vote-reply' ? { ...body, promised: 0 } : body;
          return original({ ...message, body: blind }, nowMs);
        }),
      ),
  },
  {
    name: 'close-without-quorum',
    foundBy: 1,
    within: 300,
    shape: { skewed: true },
    what: 'a claim counts as soon as it is made (T3)',
    install: () =>
      replace(ClosedTimestamps, 'countQuorum', (original, upTo, self) =>
        original(upTo, self, () => ({ voters: [self], learners: [] })),
      ),
  },
  {
    name: 'count-own-promise-before-durable',
    what: 'a claim counts at a server before its own promise is durable (T3)',
    install: () =>
      replace(PromiseLimit, 'covers', function (_original, timestamp: Timestamp) {
        return timestamp <= this.wanted;
      }),
  },
  {
    name: 'close-before-commit',
    what: "a claim counts before the claim's index is committed here (T3)",
    foundBy: 4,
    install: () => replace(ClosedTimestamps, 'advance', (original) => original(Number.POSITIVE_INFINITY)),
  },
  {
    name: 'close-never',
    what: 'no group closes on demand (T5)',
    install: () => replace(Group, 'closeUpTo', () => {}),
  },
];
