/**
 * All invariants, in the order in which they are asked: the earlier one says more about a cause.
 */
import { BoundedQueues } from './bounded-queues.js';
import { ClockBound } from './clock-bound.js';
import { DurableReply } from './durable-reply.js';
import { DurableVote } from './durable-vote.js';
import { ElectionSafety } from './election-safety.js';
import type { Invariant, Surroundings } from './invariant.js';
import { LeaderAppendOnly } from './leader-append-only.js';
import { LeaderCompleteness } from './leader-completeness.js';
import { LogMatching } from './log-matching.js';
import { StateMachineSafety } from './state-machine-safety.js';
import { TimestampsIncrease } from './t1-timestamps.js';
import { Promises } from './t2-promises.js';
import { DurablePromises } from './t3-durable-promises.js';
import { Watermarks } from './t3-watermarks.js';
import { MergedLog } from './t4-merged-log.js';
import { Verdicts } from './t4-verdicts.js';
import { BarrierNumbers } from './t6-barriers.js';
import { LinearizableReads } from './t6-reads.js';
import { AcknowledgedStays } from './t7-durability.js';
import { RealTimeOrder } from './t7-order.js';
import { ExactlyOnce } from './t8-exactly-once.js';
import { Refusals } from './t9-refusals.js';
import { LogBase } from './t10-base.js';
import { NewestConfiguration } from './t11-configuration.js';
import { OneChangeAtATime } from './t11-members.js';
import { Versions } from './t12-versions.js';

export function allInvariants(surroundings: Surroundings): Invariant[] {
  return [
    new DurableVote(),
    new DurableReply(surroundings),
    new ElectionSafety(),
    new LeaderAppendOnly(),
    new LogMatching(surroundings),
    new LeaderCompleteness(surroundings),
    new StateMachineSafety(surroundings),
    new LogBase(surroundings),
    new NewestConfiguration(surroundings),
    new OneChangeAtATime(),
    new Versions(),
    new TimestampsIncrease(surroundings),
    new ClockBound(surroundings),
    new Promises(surroundings),
    new DurablePromises(surroundings),
    new Watermarks(surroundings),
    new MergedLog(surroundings),
    new Verdicts(surroundings),
    new BarrierNumbers(),
    new LinearizableReads(),
    new AcknowledgedStays(surroundings),
    new RealTimeOrder(surroundings),
    new ExactlyOnce(surroundings),
    new Refusals(surroundings),
    new BoundedQueues(surroundings),
  ];
}
