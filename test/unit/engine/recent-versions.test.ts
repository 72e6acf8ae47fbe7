/**
 * What the Postgres engine remembers of keys: never an older version than the last one that it was
 * told, and no more than its bound.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RecentVersions } from '../../../services/applier/postgres/recent-versions.js';

it('gives the last version of a key, or none', () => {
  const step = fc.tuple(fc.nat(9), fc.option(fc.nat(5), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 4 }), (steps, keysMax) => {
      const recent = new RecentVersions(keysMax, 1_000);
      const told = new Map<string, number>();
      for (const [key, version] of steps) {
        const name = `k${key}`;
        if (version === undefined) expect([undefined, told.get(name)]).toContain(recent.get(name));
        else {
          recent.set(name, version);
          told.set(name, version);
          expect(recent.get(name)).toBe(version);
        }
      }
    }),
  );
});

it('keeps the keys that are asked for, and forgets others beyond its bounds', () => {
  const known = (recent: RecentVersions) =>
    Array.from({ length: 1_000 }, (_, at) => at).filter((at) => recent.get(`key ${at}`) !== undefined);
  const byKeys = new RecentVersions(100, 1_000_000);
  const byLength = new RecentVersions(1_000_000, 700);
  for (let at = 0; at < 1_000; at++) {
    for (const recent of [byKeys, byLength]) {
      recent.set(`key ${at}`, at);
      expect(recent.get('key 0')).toBe(0);
    }
  }
  for (const recent of [byKeys, byLength]) {
    const kept = known(recent);
    expect(kept[0]).toBe(0);
    expect(kept.length).toBeGreaterThan(50);
    expect(kept.length).toBeLessThan(300);
  }
});
