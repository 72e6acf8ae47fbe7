/** Contestants in turn: A B C A B C …, each under every load in each of its turns. */
import type { Contestant, Running } from './contestants/contestant.js';
import type { LoadProcess } from './load/driver.js';
import type { Workload } from './load/protocol.js';
import { type Run, runOf } from './report/result.js';
import type { Stage } from './systems/stage.js';

export interface RoundsOptions {
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  readonly inFlight: readonly number[];
  /** Measured, of each load. */
  readonly seconds: number;
  /** Before each measurement. */
  readonly warmUpSeconds: number;
  /** At the beginning of a turn. */
  readonly firstWarmUpSeconds: number;
  readonly workload: Workload;
  readonly stage: Stage;
  readonly load: LoadProcess;
  readonly print: (line: string) => void;
}

/**
 * A turn's first load: what has just started spends more time on compiling than on work, and
 * servers are not seconds old as a rule.
 */
const WARM_UP_IN_FLIGHT_MAX = 512;

/**
 * Rejects when a contestant cannot be started, answers nothing, or lacks a put that it has
 * acknowledged.
 */
export async function runRounds(options: RoundsOptions): Promise<Run[]> {
  const runs: Run[] = [];
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const contestant of options.contestants) {
      options.print(`round ${round} of ${options.rounds}: ${contestant.title}`);
      const running = await contestant.start(options.stage);
      try {
        runs.push(...(await takeTurn(contestant.name, running, round, options)));
      } finally {
        await running.stop();
      }
    }
  }
  return runs;
}

async function takeTurn(name: string, running: Running, round: number, options: RoundsOptions): Promise<Run[]> {
  const { workload, load, inFlight, seconds, warmUpSeconds, firstWarmUpSeconds, print } = options;
  const { target } = running;
  const first = Math.min(WARM_UP_IN_FLIGHT_MAX, Math.max(...inFlight));
  const warmUp = { target, workload, load: { kind: 'closed', inFlight: first }, warmUpSeconds: 0 } as const;
  const unwatched = { processes: {}, monitors: [] };
  let { succeeded } = await load.run({ ...warmUp, seconds: firstWarmUpSeconds }, unwatched);
  const runs: Run[] = [];
  for (const count of inFlight) {
    const measured = await load.run(
      { target, workload, load: { kind: 'closed', inFlight: count }, warmUpSeconds, seconds },
      running,
    );
    if (measured.succeeded === 0) throw new Error(`${name}: no put was answered with ${count} in flight`);
    succeeded += measured.succeeded;
    const run = runOf(name, round, count, measured);
    print(`  ${count} in flight: ${run.perSecond}/s, p50 ${run.p50} ms, longest gap ${run.longestGapMs} ms`);
    runs.push(run);
  }
  print(`  ${await running.verify(succeeded)}`);
  return runs;
}
