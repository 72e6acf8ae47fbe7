/**
 * Closed timestamps and promises of one group at one server: T2 and T3.
 *
 * A leader claims (c, i): "what I append after index i has a timestamp > c". A voter that accepts
 * the claim promises c: its vote carries the promise, and a new leader starts above the promises of
 * the quorum that elected it.
 *
 * T3: c counts at a server once two things hold. (1) A quorum of the configuration in force at i
 * has durably promised >= c in that term. (2) The server's commit index is >= i. Then no entry
 * with a timestamp <= c can still be committed beyond what this server knows to be committed:
 *   - the leader of that term stamps above c from then on, by its claim;
 *   - a leader of a later term was elected by a quorum, which shares a voter with the promising
 *     quorum; that voter's vote carried its promise (it voted after it promised, since a voter of a
 *     later term accepts no claim of an older one), so the new leader stamps above c;
 *   - a leader elected by a later configuration has the entry of that one, stamped above c;
 *   - an entry of an older term beyond i cannot be committed any more: index i is committed with an
 *     entry of the claiming term (the claim is made after that term's no-op), so every later leader
 *     has that entry, and no log with it carries an entry of an older term behind it.
 * Promises survive crashes because each is <= the durable promise limit, which a restarted server
 * takes as its promise.
 *
 * Claims of an older term are forgotten when the term changes. A quorum is counted within one term,
 * and "index i is committed" means the claiming leader's entry only while no other leader can have
 * replaced it.
 */
import { assert } from './assert.js';
import { BEFORE_ALL, type Configuration, type LogIndex, type ServerId, type Timestamp } from './entry.js';
import { itemAt } from './lists.js';
import type { Closed } from './message.js';
import { reachedByQuorum } from './options.js';
import type { PromiseLimit } from './promise-limit.js';

/**
 * Claims that wait for their quorum or their index. One too many takes the place of the newest. The
 * oldest must stay, because it is the next to count. With a long round trip it would otherwise
 * always be gone when its promises arrive.
 */
const CLAIMS_MAX = 64;

interface Claim {
  readonly closed: Closed;
  /** Whether a quorum is known to have promised it durably. */
  hasQuorum: boolean;
}

export class ClosedTimestamps {
  private promisedTo: Timestamp;
  private claims: Claim[] = [];
  /** Largest closed timestamp that counts here (T3). */
  private valid: Timestamp = BEFORE_ALL;
  /** What each other server is known to have promised in this term. */
  private readonly promises = new Map<ServerId, Timestamp>();

  constructor(
    private readonly limit: PromiseLimit,
    /** After a restart the limit stands for whatever was promised before (T2). */
    promised: Timestamp,
  ) {
    this.promisedTo = promised;
  }

  /** promised[g]: what a vote of this server carries. */
  get promised(): Timestamp {
    return this.promisedTo;
  }

  /** Largest closed timestamp that counts at this server. */
  get validTimestamp(): Timestamp {
    return this.valid;
  }

  /** A new term, or a new role: claims of the old one are void. */
  reset(): void {
    this.claims = [];
    this.promises.clear();
  }

  /**
   * T2, voter: records the promise. It may be told of only once the limit covers it, which the next
   * write sees to.
   */
  promise(timestamp: Timestamp): void {
    if (timestamp > this.promisedTo) this.promisedTo = timestamp;
    this.limit.need(timestamp);
  }

  /**
   * Follower: a claim that came with the leader's message. `hasQuorum`: the leader says that a
   * quorum has promised it.
   */
  heard(closed: Closed, hasQuorum: boolean): void {
    if (closed.timestamp <= this.valid) return;
    const known = this.claims.find((claim) => claim.closed.timestamp === closed.timestamp);
    if (known === undefined) this.remember({ closed, hasQuorum });
    else if (hasQuorum) known.hasQuorum = true;
  }

  /** Leader: its own claim; its promise is durable already. */
  claim(closed: Closed): void {
    assert(this.limit.covers(closed.timestamp), 'T2: a leader promises durably before it claims');
    if (closed.timestamp > this.promisedTo) this.promisedTo = closed.timestamp;
    this.remember({ closed, hasQuorum: false });
  }

  /** A server has durably promised `timestamp`, and said so in this term. */
  onPromised(server: ServerId, timestamp: Timestamp): void {
    if (timestamp > (this.promises.get(server) ?? BEFORE_ALL)) this.promises.set(server, timestamp);
  }

  /**
   * The newest claim at or below index `upTo` that a quorum has promised, or null: of the
   * configuration in force at the index of the claim. `self` counts once its promise is durable.
   */
  countQuorum(upTo: LogIndex, self: ServerId, configurationAt: (index: LogIndex) => Configuration): Closed | null {
    const own = this.limit.covers(this.promisedTo) ? this.promisedTo : this.limit.value;
    const promised = (voter: ServerId) => (voter === self ? own : (this.promises.get(voter) ?? BEFORE_ALL));
    let newest: Closed | null = null;
    let inForce: Configuration | null = null;
    let reached = BEFORE_ALL;
    for (const claim of this.claims) {
      const { timestamp, index } = claim.closed;
      if (!claim.hasQuorum && index <= upTo) {
        const configuration = configurationAt(index);
        if (configuration !== inForce) reached = reachedByQuorum(configuration, promised);
        inForce = configuration;
        claim.hasQuorum = reached >= timestamp;
      }
      if (claim.hasQuorum) newest = claim.closed;
    }
    return newest;
  }

  /**
   * T3: moves the valid closed timestamp; to be called when the commit index, a quorum or the
   * durable limit moved.
   */
  advance(commitIndex: LogIndex): void {
    let counted = 0;
    for (let i = 0; i < this.claims.length; i++) {
      const { closed, hasQuorum } = itemAt(this.claims, i);
      if (!hasQuorum || closed.index > commitIndex) continue;
      if (closed.timestamp > this.valid) this.valid = closed.timestamp;
      counted = i + 1;
    }
    // An earlier claim is contained in a later one that counts: its timestamp is not greater.
    if (counted > 0) this.claims.splice(0, counted);
  }

  private remember(claim: Claim): void {
    // Messages may arrive out of order; the list is kept in the order of the timestamps.
    let at = this.claims.length;
    while (at > 0 && itemAt(this.claims, at - 1).closed.timestamp > claim.closed.timestamp) at -= 1;
    this.claims.splice(at, 0, claim);
    if (this.claims.length > CLAIMS_MAX) this.claims.splice(this.claims.length - 2, 1);
  }
}
