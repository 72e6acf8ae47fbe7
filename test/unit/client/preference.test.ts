/** Which server a client asks first: measurements and failures in, the name of a server out. */
import { describe, expect, it } from 'vitest';
import { type ServerAnswer, ServerPreference } from '../../../shared/client/preference.js';

const answers = (roundTrips: Readonly<Record<string, number>>, leaders: readonly string[]): ServerAnswer[] =>
  Object.entries(roundTrips).map(([server, roundTripMs]) => ({
    server,
    roundTripMs,
    isLeader: leaders.includes(server),
  }));

describe('the preferred server', () => {
  it('is none without a preference, and nothing is measured', () => {
    const preference = new ServerPreference(undefined);
    expect(preference.takeMeasurement(1_000)).toBe(false);
    expect(preference.isUnknown).toBe(false);
    expect(preference.serverFor('command', 1_000)).toBeUndefined();
  });

  it('is the one of that name, except for a second after it did not take a request of that kind', () => {
    const preference = new ServerPreference('s2');
    expect(preference.takeMeasurement(1_000)).toBe(false);
    preference.failed('command', 's2', 1_000);
    expect(preference.serverFor('command', 1_999)).toBeUndefined();
    expect(preference.serverFor('read', 1_001)).toBe('s2');
    expect(preference.serverFor('command', 2_000)).toBe('s2');
  });

  it('is left out twice as long with each failure, thirty seconds at most, until it takes a request', () => {
    const preference = new ServerPreference('s2');
    const avoidedMs: number[] = [];
    let nowMs = 1_000;
    for (let n = 0; n < 7; n++) {
      preference.failed('command', 's2', nowMs);
      // Others that were under way fail with it.
      preference.failed('command', 's2', nowMs + 1);
      let forMs = 0;
      while (preference.serverFor('command', nowMs + forMs) === undefined) forMs += 500;
      avoidedMs.push(forMs);
      nowMs += forMs;
    }
    expect(avoidedMs).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    preference.succeeded('command', 's2');
    preference.failed('command', 's2', nowMs);
    expect(preference.serverFor('command', nowMs + 1_000)).toBe('s2');
  });

  it('is the nearest one that leads a group for commands, and the nearest one for reads', () => {
    const preference = new ServerPreference('nearest');
    expect(preference.isUnknown).toBe(true);
    expect(preference.takeMeasurement(0)).toBe(true);
    preference.measured(answers({ s1: 30, s2: 1, s3: 80 }, ['s1', 's3']));
    expect(preference.isUnknown).toBe(false);
    expect(preference.serverFor('command', 1)).toBe('s1');
    expect(preference.serverFor('read', 1)).toBe('s2');
    // It leads now.
    preference.measured(answers({ s1: 30, s2: 1, s3: 80 }, ['s2', 's3']));
    expect(preference.serverFor('command', 2)).toBe('s2');
  });

  it('is measured every ten seconds, and a second after a failure', () => {
    const preference = new ServerPreference('nearest');
    expect(preference.takeMeasurement(5)).toBe(true);
    preference.measured(answers({ s1: 1 }, ['s1']));
    expect(preference.takeMeasurement(10_004)).toBe(false);
    preference.failed('read', 's1', 6_000);
    expect(preference.takeMeasurement(6_999)).toBe(false);
    expect(preference.takeMeasurement(7_000)).toBe(true);
    expect(preference.takeMeasurement(16_999)).toBe(false);
    expect(preference.takeMeasurement(17_000)).toBe(true);
  });

  it('stays where it is while another one is hardly nearer, and one slow answer does not move it', () => {
    const preference = new ServerPreference('nearest');
    preference.measured(answers({ s1: 10, s2: 11 }, []));
    preference.measured(answers({ s1: 10, s2: 8 }, []));
    expect(preference.serverFor('read', 0)).toBe('s1');
    preference.measured(answers({ s1: 50, s2: 8 }, []));
    expect(preference.serverFor('read', 0)).toBe('s1');
    preference.measured(answers({ s1: 10, s2: 7 }, []));
    expect(preference.serverFor('read', 0)).toBe('s2');
  });

  it('is none when no server answers, or none that leads', () => {
    const preference = new ServerPreference('nearest');
    preference.measured(answers({ s1: 10 }, []));
    expect([preference.serverFor('command', 0), preference.serverFor('read', 0)]).toEqual([undefined, 's1']);
    preference.measured([]);
    expect(preference.isUnknown).toBe(false);
    expect(preference.serverFor('read', 0)).toBeUndefined();
  });
});
