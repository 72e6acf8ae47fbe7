/**
 * Points the nemesis at the moments at which a crash or a cut is worth most: votes, elections,
 * commits, claims.
 */
import type { Message } from '../../shared/raft/message.js';
import type { Invariant } from './invariants/invariant.js';
import type { Nemesis } from './nemesis.js';
import type { SimulatedServer } from './server.js';

export class TellingMoments implements Invariant {
  readonly name = 'telling moments';
  private readonly claims = new Map<string, number>();

  constructor(private readonly nemesis: Nemesis) {}

  onSent(server: SimulatedServer, _: unknown, { body, group }: Message): void {
    if (body.type === 'vote-reply' && body.granted && !body.preVote) this.nemesis.onTellingMoment(server, 5);
    if (body.type === 'timeout-now') this.nemesis.onTellingMoment(server);
    if (body.type !== 'append' || body.closed === null) return;
    const key = `${server.name}/${group}`;
    if (this.claims.get(key) === body.closed.timestamp) return;
    this.claims.set(key, body.closed.timestamp);
    this.nemesis.onTellingMoment(server);
    this.nemesis.onLonelyMoment(server, 2);
  }

  onLeader(server: SimulatedServer): void {
    this.nemesis.onTellingMoment(server, 5);
    this.nemesis.onLonelyMoment(server, 5);
  }

  onCommitted(server: SimulatedServer, _: unknown, __: unknown, ___: unknown, isFirst: boolean): void {
    if (isFirst) this.nemesis.onTellingMoment(server);
  }
}
