/**
 * The protocol under a fixed set of seeds (fresh ones: `npm run sim`); the same seed is the same
 * run.
 */
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { projectRoot } from '../../deploy/local/project.js';
import { ReplicaCore } from '../../services/replica/core/server.js';
import { report } from './campaign.js';
import { KNOWN_SEEDS } from './known-seeds.js';
import { type Outcome, simulate } from './simulation.js';
import { soak } from './soak.js';

// `npm test` leaves it only what other tests do not need of the processors.
vi.setConfig({ testTimeout: 600_000 });

const FIXED_SEEDS = 100;
/** Those with versions. */
const VERSIONS_SEEDS = 20;
/** Those with stranded leaders. */
const STRANDED_SEEDS = 20;
/**
 * One server: stream, snapshots and the end of the database are lost one after the other; only the
 * log has it all.
 */
const LOST_IN_TURN = [175006429, 1803340];

/** What several tests look at, of the first run of a seed. */
const seen = new Map<number, Pick<Outcome, 'hash' | 'simulatedUs'>>();

function check(seed: number): void {
  const outcome = simulate({ seed });
  const { hash, simulatedUs } = outcome;
  seen.set(seed, { hash, simulatedUs });
  if (outcome.violation !== null) expect.fail(report(outcome, { seed }, undefined).join('\n'));
}

/** From the run that a test before has made, when there was one. */
function firstRunOf(seed: number): Pick<Outcome, 'hash' | 'simulatedUs'> {
  return seen.get(seed) ?? simulate({ seed });
}

describe('simulation', () => {
  it(`breaks no invariant with seeds 1 to ${FIXED_SEEDS}`, () => {
    for (let seed = 1; seed <= FIXED_SEEDS; seed++) check(seed);
  });

  it('breaks none while servers get versions of the state machine, and the cluster is switched to them (T12)', () => {
    for (let seed = 1; seed <= VERSIONS_SEEDS; seed++) {
      const outcome = simulate({ seed, versions: true });
      if (outcome.violation !== null) expect.fail(report(outcome, { seed, versions: true }, undefined).join('\n'));
    }
  });

  it('breaks none while leaders are stranded with what the others do not have (T10)', () => {
    const request = { stranded: true, servers: 3 };
    for (let seed = 1; seed <= STRANDED_SEEDS; seed++) {
      const outcome = simulate({ ...request, seed });
      if (outcome.violation !== null) expect.fail(report(outcome, { ...request, seed }, undefined).join('\n'));
    }
  });

  it('breaks none when everything but the log is lost in turn', () => {
    for (const seed of LOST_IN_TURN) check(seed);
  });

  it('still fails with each known seed: an entry whose fault is mended goes', () => {
    for (const { seed, reason } of KNOWN_SEEDS) {
      expect(simulate({ seed }).violation, `seed ${seed} is mended: ${reason}`).not.toBeNull();
    }
  });

  it('does the same again with the same seed, and something else with another', () => {
    const first = [1, 2, 7].map((seed) => firstRunOf(seed).hash);
    expect([1, 2, 7].map((seed) => simulate({ seed }).hash)).toEqual(first);
    expect(new Set(first).size).toBe(3);
  });

  it('does the same on every machine', async () => {
    const lines = [1, 2, 3, 4, 5, 6].map((seed) => `seed ${seed}: ${firstRunOf(seed).hash}\n`);
    // Rewritten with `npx vitest run test/simulation/simulation -u` after a change of the protocol
    // or of the simulator.
    await expect(lines.join('')).toMatchFileSnapshot(join(projectRoot(), 'test/simulation/hashes.txt'));
  });

  it('ends a replay at the step that is asked for, on the same way', () => {
    const whole = firstRunOf(3);
    const part = simulate({ seed: 3 }, { until: 1_000 });
    expect(part.steps).toBe(1_000);
    expect(part.simulatedUs).toBeLessThan(whole.simulatedUs);
  });

  it('keeps no more on its disks the longer it lives (T10), and would say so', () => {
    const run = { seed: 9, minutes: 2, snapshotEvery: 50, servers: 3 };
    const { complaints, kept, outcome, bound } = soak(run);
    expect(complaints).toEqual([]);
    expect(kept).toHaveLength(2);
    expect(outcome.counts.commits).toBeGreaterThan(bound);
    const compact = vi.spyOn(ReplicaCore.prototype, 'compact').mockImplementation(() => undefined);
    try {
      expect(soak(run).complaints.join()).toContain('a server keeps');
    } finally {
      compact.mockRestore();
    }
  });
});
