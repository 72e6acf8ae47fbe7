/**
 * T2: let a quorum have promised a claim (c, i) of a term. Every entry of that term behind i, and
 * every entry of a later term, has a timestamp above c.
 */
import type { GroupId, Term, Timestamp } from '../../../shared/raft/entry.js';
import type { Closed, Message } from '../../../shared/raft/message.js';
import type { Created } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

interface TermClaims {
  readonly term: Term;
  /**
   * In order of their timestamps; those below the newest that a quorum has promised are dropped.
   */
  claims: Closed[];
  /** What each server has told its leader. */
  readonly told: Map<string, number>;
  /** The newest claim with a quorum. */
  closed: Closed | null;
}

export class Promises implements Invariant {
  readonly name = 'T2';
  private readonly byGroup: TermClaims[][];
  /** The smallest timestamp of each term, by group: that of its first entry (T1). */
  private readonly firstOfTerm: Map<number, number>[];
  private readonly quorum: number;

  constructor({ world }: Surroundings) {
    const { groups, servers, spares } = world.options;
    this.byGroup = Array.from({ length: groups }, () => []);
    this.firstOfTerm = Array.from({ length: groups }, () => new Map());
    // With members that change, what a quorum was is not told by the messages; T3 looks at what
    // comes of it.
    this.quorum = spares > 0 ? Number.POSITIVE_INFINITY : (servers >> 1) + 1;
  }

  onCreated(_: SimulatedServer, group: GroupId, { entry }: Created): void {
    const first = this.firstOfTerm[group];
    if (first && !first.has(entry.term)) first.set(entry.term, entry.timestamp);
    for (const { term, closed } of this.byGroup[group] ?? []) {
      if (closed === null || term > entry.term) continue;
      const isBound = term < entry.term || entry.index > closed.index;
      hold(
        !isBound || entry.timestamp > closed.timestamp,
        this.name,
        () =>
          `entry ${entry.index} of term ${entry.term} in group ${group} has ${entry.timestamp}, a quorum promised ${closed.timestamp} in term ${term}`,
        group,
      );
    }
  }

  onSent(server: SimulatedServer, _: unknown, { body, from, to, term, group }: Message): void {
    if (body.type === 'append' && body.closed !== null) {
      const claims = this.claimsOf(group, term);
      const newest = claims.claims[claims.claims.length - 1];
      if (newest === undefined || body.closed.timestamp > newest.timestamp) claims.claims.push(body.closed);
      this.tell(claims, group, from, body.closed.timestamp);
    } else if (body.type === 'append-reply' && server.name !== to) {
      this.tell(this.claimsOf(group, term), group, from, body.promised);
    }
  }

  private tell(claims: TermClaims, group: GroupId, server: string, promised: Timestamp): void {
    if (promised <= (claims.told.get(server) ?? 0)) return;
    claims.told.set(server, promised);
    const sorted = [...claims.told.values()].sort((a, b) => b - a);
    const byQuorum = sorted[this.quorum - 1] ?? 0;
    let closed: Closed | null = null;
    while (claims.claims[0] !== undefined && claims.claims[0].timestamp <= byQuorum)
      closed = claims.claims.shift() ?? null;
    if (closed === null) return;
    claims.closed = closed;
    for (const [term, first] of this.firstOfTerm[group] ?? []) {
      const { timestamp } = closed;
      hold(
        term <= claims.term || first > timestamp,
        this.name,
        () =>
          `term ${term} of group ${group} begins at ${first}, a quorum promised ${timestamp} in term ${claims.term}`,
        group,
      );
    }
  }

  private claimsOf(group: GroupId, term: Term): TermClaims {
    const all = this.byGroup[group] ?? [];
    for (let i = all.length - 1; i >= 0; i--) {
      const claims = all[i];
      if (claims?.term === term) return claims;
    }
    const claims: TermClaims = { term, claims: [], told: new Map(), closed: null };
    all.push(claims);
    return claims;
  }
}
