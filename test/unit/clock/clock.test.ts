import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockGuard } from '../../../shared/clock/guard.js';
import { HybridClock } from '../../../shared/clock/hybrid.js';
import { ReferenceTime } from '../../../shared/clock/reference.js';

const HOUR_US = 3_600_000_000;
const NOW = 1_790_000_000_000_000;

describe('HybridClock', () => {
  it('is strictly increasing, never behind physical time, and past everything observed', () => {
    const step = fc.oneof(
      fc.record({ advance: fc.integer({ min: 0, max: 1_000 }) }),
      fc.record({ observe: fc.integer({ min: 0, max: 1_000 }) }),
      fc.constant('now' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const clock = new HybridClock();
        let floor = 0;
        let physical = 0;
        for (const one of steps) {
          if (one === 'now') {
            const timestamp = clock.now();
            expect(timestamp).toBeGreaterThan(floor);
            expect(timestamp).toBeGreaterThanOrEqual(physical);
            floor = timestamp;
          } else if ('advance' in one) {
            // Physical time jumps both ways.
            physical = one.advance;
            clock.advance(physical);
          } else {
            clock.observe(one.observe);
            floor = Math.max(floor, one.observe);
          }
        }
      }),
    );
  });
});

describe('ReferenceTime', () => {
  const sample = (offsetUs: number, roundTripUs = 100, atMs = 0) => ({ offsetUs, roundTripUs, atMs });

  it('is the own clock without samples', () => {
    expect(new ReferenceTime().offsetUs(0)).toBe(0);
  });

  it('follows the majority when the own clock is the odd one', () => {
    const reference = new ReferenceTime();
    reference.record('s2', sample(HOUR_US));
    reference.record('s3', sample(HOUR_US + 50));
    expect(reference.offsetUs(0)).toBe(HOUR_US);
  });

  it('is not moved by one clock that is far off', () => {
    const reference = new ReferenceTime();
    reference.record('s2', sample(HOUR_US));
    reference.record('s3', sample(40));
    expect(reference.offsetUs(0)).toBe(40);
  });

  it('with a single peer keeps to the own clock, since nobody can tell who is right', () => {
    const reference = new ReferenceTime();
    reference.record('s2', sample(HOUR_US));
    expect(reference.offsetUs(0)).toBe(0);
  });

  it('trusts the shortest round trip and forgets old samples', () => {
    const reference = new ReferenceTime();
    for (const peer of ['s2', 's3']) {
      reference.record(peer, sample(90_000, 200_000));
      reference.record(peer, sample(10, 100));
      reference.record(peer, sample(70_000, 150_000));
    }
    expect(reference.offsetUs(0)).toBe(10);
    expect(reference.offsetUs(60_000)).toBe(0);
  });
});

describe('ClockGuard', () => {
  const open = () => {
    const guard = new ClockGuard({ offsetUsMax: 500_000, promiseWindowUs: 250_000 });
    guard.advance(NOW, 0);
    return guard;
  };

  it('observes what lies within the bound and nothing beyond it', () => {
    const guard = open();
    expect(guard.observe(NOW + 750_000)).toBe(true);
    expect(guard.now()).toBe(NOW + 750_001);
    expect(guard.observe(NOW + HOUR_US)).toBe(false);
    expect(guard.now()).toBe(NOW + 750_002);
  });

  it('may not lead while most other clocks disagree with its own', () => {
    const guard = open();
    expect(guard.mayLead()).toBe(true);
    for (const peer of ['s2', 's3']) guard.record(peer, { offsetUs: -HOUR_US, roundTripUs: 100, atMs: 0 });
    guard.advance(NOW + 100_000, 100);
    expect(guard.mayLead()).toBe(false);
    expect(guard.bound()).toBe(NOW + 100_000 - HOUR_US + 750_000);
  });

  it('notices at once when its own clock is set, and hands no such reading on', () => {
    const guard = open();
    guard.record('s2', { offsetUs: 0, roundTripUs: 100, atMs: 0 });
    guard.record('s3', { offsetUs: 0, roundTripUs: 100, atMs: 0 });
    guard.advance(NOW + 1_000 + HOUR_US, 1);
    expect(guard.mayLead()).toBe(false);
    expect(guard.bound()).toBe(NOW + 1_000 + 750_000);
    guard.now();
    guard.advance(NOW + 2_000, 2);
    expect(guard.mayLead()).toBe(true);
    expect(guard.peek()).toBeLessThanOrEqual(guard.bound());
  });

  it('takes no old sample for a witness when its own clock is set to where a wrong one was', () => {
    const guard = open();
    guard.record('s2', { offsetUs: 0, roundTripUs: 100, atMs: 0 });
    guard.record('s3', { offsetUs: HOUR_US, roundTripUs: 100, atMs: 0 });
    guard.advance(NOW + 1_000, 1);
    expect(guard.mayLead()).toBe(true);
    guard.advance(NOW + 2_000 + HOUR_US, 2);
    expect(guard.mayLead()).toBe(false);
    // Once it says so itself, two of three clocks are right by definition.
    guard.record('s3', { offsetUs: 0, roundTripUs: 100, atMs: 2 });
    expect(guard.mayLead()).toBe(true);
  });

  it('keeps what agreed before its own clock was set by a little', () => {
    const guard = open();
    for (const peer of ['s2', 's3']) guard.record(peer, { offsetUs: 300_000, roundTripUs: 100, atMs: 0 });
    guard.advance(NOW + 100_000, 1);
    expect(Math.round(guard.offsetUs())).toBe(201_000);
  });

  it('does not lead while a single other clock is heard of and that one is far behind its own', () => {
    const late = open();
    late.record('s2', { offsetUs: -HOUR_US, roundTripUs: 100, atMs: 0 });
    expect(late.mayLead()).toBe(false);
    const early = open();
    early.record('s2', { offsetUs: HOUR_US, roundTripUs: 100, atMs: 0 });
    expect(early.mayLead()).toBe(true);
    expect(early.bound()).toBe(NOW + 750_000);
  });
});
