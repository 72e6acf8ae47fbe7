/** What the checker allows and what it does not, by known histories (T6, T7, T8). */
import { describe, expect, it } from 'vitest';
import { checkHistory } from '../../chaos/history/checker.js';
import { cas, committed, eventsOfTimed, ordered, placed, read, type Timed, write } from './histories.js';

function check(...operations: Timed[]) {
  return checkHistory(eventsOfTimed(operations));
}
function expectFine(...operations: Timed[]): void {
  expect(check(...operations)).toMatchObject({ verdict: 'linearizable', violations: [] });
}
function expectViolation(kind: string, ...operations: Timed[]): void {
  expect(check(...operations)).toMatchObject({ verdict: 'violation', violations: [{ kind }] });
}

describe('registers', () => {
  it('a read sees the write before it', () => expectFine(write('a', 0, 1), read('a', 2, 3)));
  it('a read of an absent key', () => expectFine(read(null, 0, 1), write('a', 2, 3)));
  it('a concurrent write may be seen or not', () => {
    expectFine(write('a', 0, 10), read(null, 1, 2), read('a', 3, 4));
  });
  it('an end and a start at the same time are concurrent', () => expectFine(write('a', 0, 5), read(null, 5, 6)));
  it('concurrent writes in whatever order fits', () => {
    expectFine(write('a', 0, 10), write('b', 0, 10), read('b', 11, 12), read('b', 13, 14));
  });

  it('a stale read', () => {
    expectViolation('linearizability', write('a', 0, 1), write('b', 2, 3), read('a', 4, 5));
  });
  it('a lost write', () => expectViolation('linearizability', write('a', 0, 1), read(null, 2, 3)));
  it('a write seen, then unseen', () => {
    expectViolation('linearizability', write('a', 0, 100), read('a', 1, 2), read(null, 3, 4));
  });
  it('two readers that disagree about the order of two writes', () => {
    const writes = [write('a', 0, 10), write('b', 0, 10)];
    expectViolation('linearizability', ...writes, read('a', 11, 12), read('b', 13, 14));
  });
  it('a value that nobody wrote', () => expectViolation('linearizability', write('a', 0, 1), read('z', 2, 3)));
  it('keys are judged one by one', () => {
    const other = { key: 'y' };
    expectFine(write('a', 0, 1), write('b', 0, 1, other), read('a', 2, 3), read('b', 2, 3, other));
    expectViolation('linearizability', write('a', 0, 1), write('b', 0, 1, other), read('b', 2, 3));
  });
});

describe('outcomes', () => {
  it('an unknown write may take effect late', () => {
    expectFine(write('a', 0, 1, { outcome: 'unknown' }), read(null, 2, 3), write('b', 4, 5), read('a', 6, 7));
  });
  it('or never', () => expectFine(write('a', 0, 1, { outcome: 'unknown' }), read(null, 2, 3)));
  it('without completion it is unknown as well', () => expectFine(write('a', 0), read(null, 2, 3), read('a', 4, 5)));
  it('but not before it was asked for', () => {
    expectViolation('linearizability', read('a', 0, 1), write('a', 2, 3, { outcome: 'unknown' }));
  });
  it('and once seen it stays', () => {
    const unknown = write('a', 0, 1, { outcome: 'unknown' });
    expectViolation('linearizability', unknown, read('a', 2, 3), read(null, 4, 5));
  });
  it('it takes effect once', () => {
    const unknown = write('a', 0, 1, { outcome: 'unknown' });
    expectViolation('linearizability', unknown, read('a', 2, 3), write('b', 4, 5), read('b', 6, 7), read('a', 8, 9));
  });
  it('a failed write never happens', () => {
    expectFine(write('a', 0, 1, { outcome: 'fail' }), read(null, 2, 3));
    expectViolation('linearizability', write('a', 0, 1, { outcome: 'fail' }), read('a', 2, 3));
  });
});

describe('attempts of one id', () => {
  it('are one command, which may have happened from the first on', () => {
    const first = write('a', 0, 1, { id: 'i', outcome: 'unknown' });
    expectFine(first, read('a', 2, 3), write('a', 10, 11, { id: 'i' }), read('a', 12, 13));
    expectFine(first, read(null, 2, 3), write('a', 10, 11, { id: 'i' }), read('a', 12, 13));
  });
  it('take effect once', () => {
    const first = write('a', 0, 1, { id: 'i' });
    const between = [write('b', 2, 3), read('b', 4, 5)];
    const again = write('a', 6, 7, { id: 'i' });
    expectFine(first, ...between, again, read('b', 8, 9));
    expectViolation('linearizability', first, ...between, again, read('a', 8, 9));
  });
  it('are told one place when applied', () => {
    const first = write('a', 0, 1, { id: 'i', ...placed(100, 0, 1) });
    expectFine(first, write('a', 2, 3, { id: 'i', ...placed(100, 0, 1) }));
    expectViolation('places', first, write('a', 2, 3, { id: 'i', ...placed(200, 0, 2) }));
  });
  it('may be told the place of their own entry when committed, not one before the effect', () => {
    const again = { id: 'i', ...committed };
    expectFine(write('a', 0, 1, { id: 'i', ...placed(100, 0, 1) }), write('a', 2, 3, { ...again, ...placed(200) }));
    expectViolation(
      'places',
      write('a', 0, 9, { id: 'i', ...placed(100, 0, 1) }),
      write('a', 2, 3, { ...again, ...placed(50) }),
    );
  });
});

describe('versions', () => {
  const version = (n: number) => ({ reply: { version: n } });
  it('count every write', () => {
    expectFine(write('a', 0, 1, version(1)), write('b', 2, 3), read('b', 4, 5, version(2)));
    expectViolation('linearizability', write('a', 0, 1, version(1)), write('b', 2, 3), read('b', 4, 5, version(3)));
  });
  it('an unknown write that nobody saw may account for one', () => {
    const unknown = write('u', 0, 1, { outcome: 'unknown' });
    expectFine(unknown, write('a', 2, 3, version(1)), write('b', 4, 5, version(3)));
    expectViolation('linearizability', unknown, write('a', 2, 3, version(2)), write('b', 4, 5, version(4)));
  });
  it('cas takes effect exactly at its version', () => {
    expectFine(write('a', 0, 1), cas(1, 'b', 2, 3), read('b', 4, 5));
    expectViolation('linearizability', write('a', 0, 1), cas(0, 'b', 2, 3));
    const refused = { outcome: 'fail', reply: { error: 'REJECTED' } } as const;
    expectFine(write('a', 0, 1), cas(0, 'b', 2, 3, refused), read('a', 4, 5));
    expectViolation('linearizability', write('a', 0, 1), cas(1, 'b', 2, 3, refused));
  });
  it('cas that is only ordered is not told whether it took effect', () => {
    expectFine(write('a', 0, 1), cas(0, 'b', 2, 3, ordered), read('a', 4, 5));
    expectFine(write('a', 0, 1), cas(1, 'b', 2, 3, ordered), read('b', 4, 5));
    expectViolation('linearizability', write('a', 0, 1), cas(1, 'b', 2, 3, ordered), read('a', 4, 5));
  });
});

describe('committed (T7)', () => {
  it('is seen by every later read', () => {
    expectFine(write('a', 0, 1, committed), read('a', 2, 3));
    expectViolation('linearizability', write('a', 0, 1, committed), read(null, 2, 3));
  });
  it('a later write may be ordered before it', () => {
    expectFine(write('a', 0, 1, committed), write('b', 2, 3), read('a', 4, 5));
  });
  it('not when the later one carries Craft-After', () => {
    const first = write('a', 0, 1, { ...committed, ...placed(100) });
    expectViolation('linearizability', first, write('b', 2, 3, { after: 100 }), read('a', 4, 5));
    expectFine(first, write('b', 2, 3, { after: 99 }), read('a', 4, 5));
  });
  it('nor after a read has seen it', () => {
    const first = write('a', 0, 1, committed);
    expectViolation('linearizability', first, read('a', 2, 3), write('b', 4, 5), read('a', 6, 7));
  });
  it('the same of ordered and applied is never allowed', () => {
    for (const ack of [{ ack: 'applied' }, ordered] as const) {
      expectViolation('linearizability', write('a', 0, 1, ack), write('b', 2, 3), read('a', 4, 5));
    }
  });
  it('a committed write keeps behind what was final before it began', () => {
    expectViolation('linearizability', write('a', 0, 1), write('b', 2, 3, committed), read('a', 4, 5));
  });
  it('the order of two committed ones is open, but the same for everyone', () => {
    const both = [write('a', 0, 1, committed), write('b', 2, 3, committed)];
    expectFine(...both, read('a', 4, 5), read('a', 6, 7));
    expectViolation('linearizability', ...both, read('a', 4, 5), read('b', 6, 7));
  });
});

describe('places', () => {
  it('reads fit to the order that writers were told', () => {
    const writes = [write('a', 0, 10, placed(100)), write('b', 0, 10, placed(200))];
    expectFine(...writes, read('b', 11, 12));
    expectViolation('order', ...writes, read('a', 11, 12));
  });
  it('equal timestamps are ordered by group', () => {
    const writes = [write('a', 0, 10, placed(100, 1)), write('b', 0, 10, placed(100, 2))];
    expectFine(...writes, read('b', 11, 12));
    expectViolation('order', ...writes, read('a', 11, 12));
  });
  it('no two commands share one', () => {
    expectViolation('places', write('a', 0, 1, placed(100)), write('b', 0, 1, { key: 'y', ...placed(100) }));
    expectViolation(
      'places',
      write('a', 0, 9, placed(100, 0, 1)),
      write('b', 0, 9, { key: 'y', ...placed(101, 0, 1) }),
    );
  });
  it('merged indexes have their order', () => {
    expectViolation(
      'places',
      write('a', 0, 9, placed(100, 0, 2)),
      write('b', 0, 9, { key: 'y', ...placed(101, 0, 1) }),
    );
  });
  it('a write that starts after an acknowledgement has a later one, whatever its key', () => {
    const later = write('b', 2, 3, { key: 'y', ...placed(100) });
    for (const ack of [{ ack: 'applied' }, ordered] as const) {
      expectViolation('places', write('a', 0, 1, { ...ack, ...placed(200) }), later);
    }
    expectFine(write('a', 0, 1, { ...committed, ...placed(200) }), later);
    expectViolation('places', write('a', 0, 1, { ...committed, ...placed(200) }), read('a', 1, 1.5), later);
  });
  it('Craft-After is kept', () => {
    expectFine(write('a', 0, 1, { after: 99, ...placed(100) }));
    expectViolation('places', write('a', 0, 1, { after: 100, ...placed(100) }));
  });
});

describe('a counterexample', () => {
  it('is the shortest prefix without what is not needed', () => {
    const noise = Array.from({ length: 40 }, (_, i) => [
      write(`n${i}`, i * 10, i * 10 + 1),
      read(`n${i}`, i * 10 + 2, i * 10 + 3),
    ]);
    const stale = read('n30', 395, 396);
    const [violation] = check(
      ...noise.flat(),
      stale,
      ...noise.flat().map((one) => ({ ...one, from: one.from + 1e3, to: 2e3 })),
    ).violations;
    expect(violation?.key).toBe('x');
    const told = violation?.events.map(({ type, f, value }) => `${type} ${f} ${value ?? ''}`) ?? [];
    expect(told.length).toBeLessThanOrEqual(7);
    expect(told[0]).toBe('invoke write n30');
    expect(told.at(-1)).toBe('ok read n30');
    expect(checkHistory(violation?.events ?? [])).toMatchObject({ verdict: 'violation' });
  });
});

describe('bounds', () => {
  it('says undecided rather than searching for ever', () => {
    // Many concurrent writes of values that all are read, at the end in an order that none fits.
    const writes = Array.from({ length: 24 }, (_, i) => write(i % 12, 0, 100));
    const reads = [read(1, 101, 102), read(2, 103, 104)];
    const report = checkHistory(eventsOfTimed([...writes, ...reads]), { configurationsMax: 1_000 });
    expect(report).toMatchObject({ verdict: 'undecided', undecided: ['x'] });
  });

  it('decides long histories with many unknown writes', () => {
    const version = (n: number) => ({ reply: { version: n } });
    const operations: Timed[] = [];
    let now = 0;
    for (let n = 1; n <= 3_000; n++) {
      if (n % 10 === 0) operations.push(write(`u${n}`, now, now + 1, { outcome: 'unknown' }));
      // Half of the unknown writes have happened.
      const count = n + Math.floor(n / 20);
      operations.push(
        write(`w${n}`, now + 2, now + 20, version(count)),
        read(`w${n}`, now + 21, now + 30, version(count)),
      );
      now += 31;
    }
    expect(check(...operations)).toMatchObject({ verdict: 'linearizable' });
  });
});

describe('what is no history', () => {
  it('is refused', () => {
    const events = eventsOfTimed([write('a', 0, 1)]);
    const late = eventsOfTimed([write('b', 5, 6)]);
    expect(() => checkHistory([...late, ...events])).toThrow('time goes back');
    expect(() => checkHistory(events.slice(1))).toThrow('has not invoked');
    expect(() => checkHistory([...events.slice(0, 1), ...events.slice(0, 1)])).toThrow('before its last completion');
  });
});
