/**
 * What arithmetic says of a cluster whose servers have a narrow link to NATS, or little processor
 * time. Pure.
 *
 * Each command goes over the link of its leader once for every other server that gets a copy of it
 * by replication. Besides, each server stores its merged log in a stream of NATS: one more copy
 * over every link, whichever server leads. What a server receives is one copy: the command itself,
 * or its replication.
 */

export interface Shape {
  readonly servers: number;
  /** Groups are led by servers in turn. */
  readonly groups: number;
}

/**
 * How a leader's entries reach the others: a message for each, as craft does, or one that NATS
 * gives to all.
 */
export type Delivery = 'separate' | 'fan-out';

/** The part of all commands that the server leads which leads most. */
export function largestShare({ servers, groups }: Shape): number {
  return Math.ceil(groups / servers) / groups;
}

/** Copies of each command in the busiest direction of the busiest link. */
export function copiesOf(shape: Shape, delivery: Delivery, withMergedLog: boolean): number {
  const others = delivery === 'fan-out' ? Math.min(1, shape.servers - 1) : shape.servers - 1;
  const sent = largestShare(shape) * others + (withMergedLog ? 1 : 0);
  const received = 1;
  return Math.max(sent, received);
}

/** Commands a second, when nothing but values is sent. */
export interface LinkBounds {
  /** As craft sends today: copies for the others, and the merged log. */
  readonly allCopies: number;
  /** Were the merged log stored without using the link. */
  readonly withoutMergedLog: number;
  /** Were entries delivered to all others by one message. */
  readonly withFanOut: number;
}

export function linkBounds(shape: Shape, valueBytes: number, bytesPerSecond: number): LinkBounds {
  const perSecond = (copies: number): number => bytesPerSecond / (valueBytes * copies);
  return {
    allCopies: perSecond(copiesOf(shape, 'separate', true)),
    withoutMergedLog: perSecond(copiesOf(shape, 'separate', false)),
    withFanOut: perSecond(copiesOf(shape, 'fan-out', true)),
  };
}

/** Processor time of each command (microseconds), with one group. */
export interface Costs {
  readonly leaderUs: number;
  /** Of each other server, on average. */
  readonly followerUs: number;
}

/**
 * Commands a second when no server gets more than `share` of a processor, and a command costs what
 * it costs with one group. That is a bound only if a command costs no less with several groups,
 * where the same requests in flight come in smaller batches. For one group this bounds nothing: its
 * costs are what was measured.
 */
export function processorBound(shape: Shape, { leaderUs, followerUs }: Costs, share: number): number {
  const led = largestShare(shape);
  return (share * 1e6) / (led * leaderUs + (1 - led) * followerUs);
}

/**
 * For each leader: with fewer, one runs empty while the others, which are picked at random, have a
 * queue.
 */
const IN_FLIGHT_MIN = 8;

/**
 * Requests in flight that keep the leaders busy, when all of them do `perSecond` and each request
 * waits for `waitMs`. That is a queue of that length at the bottleneck, and no longer one, which
 * would hold up heartbeats.
 */
export function inFlightFor({ servers, groups }: Shape, perSecond: number, waitMs: number): number {
  return Math.max(IN_FLIGHT_MIN * Math.min(servers, groups), Math.ceil((perSecond * waitMs) / 1_000));
}
