/** What a replica tells clients of their commands, and when its envelopes leave. */
import { AcknowledgementTracker } from '../../../services/replica/core/acknowledgement-tracker.js';
import { Outbox } from '../../../services/replica/core/outbox.js';
import { ReplicaCore } from '../../../services/replica/core/server.js';
import { Group } from '../../../shared/raft/group.js';
import { type Plan, replace } from './plan.js';

export const ANSWERS: readonly Plan[] = [
  {
    name: 'ordered-before-watermark',
    foundBy: 35,
    within: 300,
    shape: { skewed: true },
    what: '`ordered` is said as soon as an entry is committed (T7)',
    install: () => replace(AcknowledgementTracker, 'ordered', (original) => original(Number.POSITIVE_INFINITY)),
  },
  {
    name: 'ignore-craft-after',
    foundBy: 62,
    within: 300,
    shape: { skewed: true },
    what: 'the leader does not observe Craft-After (T7)',
    install: () => replace(ReplicaCore, 'offer', (original, group, command) => original(group, command, 0)),
  },
  {
    name: 'refuse-what-is-appended',
    what: 'now and then a leader refuses commands that it has appended (T9)',
    install: () => {
      let count = 0;
      return replace(Group, 'propose', (original, ...given) => {
        const result = original(...given);
        count += 1;
        return count % 50 === 0 ? 'overloaded' : result;
      });
    },
  },
  {
    name: 'refuse-what-may-survive',
    what: 'a leader that was replaced refuses what it had not committed, though the next one may (T9)',
    foundBy: 2,
    install: () =>
      replace(Group, 'outcomeOf', (original, ...given) => {
        const outcome = original(...given);
        return outcome === 'open' ? 'replaced' : outcome;
      }),
  },
  {
    name: 'patient-for-ever',
    what: 'commits, claims and heartbeats never leave alone',
    install: () => replace(Outbox, 'isDue', () => false),
  },
  {
    name: 'forget-patient-replies',
    foundBy: 23,
    what: 'replies that wait for something else to the same server are lost when that leaves',
    install: () =>
      replace(Outbox, 'take', function (original, nowMs) {
        for (const { messages, patient } of this.byPeer.values()) if (messages.length > 0) patient.length = 0;
        return original(nowMs);
      }),
  },
];
