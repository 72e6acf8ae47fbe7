/** Clock samples between two servers, from the envelopes that they send each other anyway. */
import { describe, expect, it } from 'vitest';
import { PeerClocks } from '../../../services/replica/core/peer-clocks.js';
import { ClockGuard } from '../../../shared/clock/guard.js';

const HOUR_US = 3_600_000_000;
const NOW = 1_790_000_000_000_000;
const NOTHING = { messages: [], barrierAsks: [], barrierAnswers: [], closeUpTo: 0 };
const LATENCY_MS = 1;

/**
 * A server with a wall clock that can be set and a monotonic one that began at `bornMs` when the
 * test's time was 0.
 */
class Machine {
  offsetUs = 0;
  readonly guard = new ClockGuard({ offsetUsMax: 500_000, promiseWindowUs: 250_000 });
  readonly peerClocks: PeerClocks;

  constructor(
    readonly name: string,
    private readonly bornMs: number,
  ) {
    this.peerClocks = new PeerClocks(name, 1, this.guard);
  }

  /**
   * Sends an envelope at the given time (milliseconds); it arrives a millisecond later, or when the
   * test says.
   */
  send(to: Machine, atMs: number, arrivesMs = atMs + LATENCY_MS): void {
    const envelope = this.peerClocks.wrap(to.name, NOTHING, this.physical(atMs), this.bornMs + atMs);
    to.guard.advance(to.physical(arrivesMs), to.bornMs + arrivesMs);
    to.peerClocks.receive(envelope, to.physical(arrivesMs), to.bornMs + arrivesMs);
  }

  look(atMs: number): ClockGuard {
    this.guard.advance(this.physical(atMs), this.bornMs + atMs);
    return this.guard;
  }

  private physical(atMs: number): number {
    return NOW + atMs * 1_000 + this.offsetUs;
  }
}

function exchange(a: Machine, b: Machine, atMs: number): void {
  a.send(b, atMs);
  b.send(a, atMs + 2);
  a.send(b, atMs + 4);
}

describe('PeerClocks', () => {
  it('sample the clocks of peers, whatever their monotonic clocks show', () => {
    const [a, b, c] = [new Machine('a', 5_000), new Machine('b', 900_000), new Machine('c', 7)];
    a.offsetUs = 300_000;
    exchange(a, b, 10);
    exchange(a, c, 20);
    expect(a.look(100).offsetUs()).toBe(-300_000);
    expect(a.guard.mayPeerLead('b')).toBe(true);
  });

  it('give a sample with the next envelope when the own clock was set back', () => {
    const [a, b, c] = [new Machine('a', 0), new Machine('b', 0), new Machine('c', 0)];
    a.offsetUs = HOUR_US;
    for (const peer of [b, c]) exchange(a, peer, 10);
    a.offsetUs = 0;
    expect(a.look(30).mayLead()).toBe(true);
    for (const peer of [b, c]) exchange(a, peer, 50);
    // Now the same again: what was heard since tells at once that the clock is wrong.
    a.offsetUs = HOUR_US;
    expect(a.look(100).mayLead()).toBe(false);
  });

  it('give none from an echo of what was sent before a restart', () => {
    const [before, b] = [new Machine('a', 600_000), new Machine('b', 0)];
    before.send(b, 10);
    const after = new Machine('a', -50);
    b.offsetUs = -HOUR_US;
    b.send(after, 100);
    expect(after.guard.mayLead()).toBe(true);
  });

  it('take what was overtaken for a long round trip', () => {
    const [a, b] = [new Machine('a', 0), new Machine('b', 0)];
    b.offsetUs = -600_000;
    exchange(a, b, 10);
    // By this one alone, b's clock would be 410 ms behind and not 600 ms.
    a.send(b, 20, 400);
    b.send(a, 401);
    expect(a.look(420).mayPeerLead('b')).toBe(false);
  });

  it('know the round trip to the farthest peer, without what queues add, for as long as it is heard from', () => {
    const [a, b, c] = [new Machine('a', 5_000), new Machine('b', 900_000), new Machine('c', 7)];
    const longest = (atMs: number) => a.peerClocks.longestRoundTripMs(5_000 + atMs);
    expect(longest(0)).toBe(0);
    exchange(b, a, 10);
    expect(longest(20)).toBeCloseTo(2);
    // The way to c takes 40 ms, and once 400.
    a.send(c, 20, 60);
    c.send(a, 60, 100);
    a.send(c, 110, 510);
    c.send(a, 510, 550);
    expect(longest(600)).toBeCloseTo(80);
    // Of c nothing more is heard; b goes on.
    for (let atMs = 1_000; atMs < 14_000; atMs += 1_000) exchange(b, a, atMs);
    expect(longest(14_000)).toBeCloseTo(2);
  });
});
