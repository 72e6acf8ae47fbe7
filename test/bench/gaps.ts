/**
 * The longest time without an answer while the load changes all the time: what stands still for
 * seconds now and then does not show in a median.
 *
 *     npm run bench:gaps -- --minutes 10
 *
 * Exit code 1 when a gap was longer than the limit.
 */
import { Command } from 'commander';
import type { Contestant } from './contestants/contestant.js';
import { craftApplied } from './contestants/craft.js';
import { LoadProcess, type Measured } from './load/driver.js';
import type { Gap } from './load/gaps.js';
import {
  type CraftOptions,
  contestant,
  DEFAULT_WORKLOAD,
  listOf,
  positive,
  positiveInteger,
  stageOptions,
  withCraftOptions,
} from './options.js';
import { align, countsOf } from './report/table.js';
import { Stage } from './systems/stage.js';

interface Options extends CraftOptions {
  readonly minutes: number;
  readonly inFlight: readonly number[];
  readonly every: number;
  readonly limitMs: number;
  readonly valueBytes: number;
  readonly contestant: Contestant;
}

const WARM_UP_SECONDS = 3;
/** Gaps that are printed at the end. */
const PRINTED = 10;

function parseOptions(): Options {
  return withCraftOptions(new Command('gaps'))
    .option('--minutes <n>', 'how long', positive, 10)
    .option('--in-flight <list>', 'requests in flight, in turn', listOf(positiveInteger), [1, 8, 64, 512, 2_048])
    .option('--every <s>', 'seconds between two changes', positive, 2)
    .option('--value-bytes <n>', 'size of a value', positiveInteger, DEFAULT_WORKLOAD.valueBytes)
    .option('--limit-ms <n>', 'the longest gap that is good enough', positive, 500)
    .option('--contestant <name>', 'what is measured (default craft-applied)', contestant, craftApplied)
    .parse()
    .opts<Options>();
}

function place({ beginMs }: Gap): string {
  const seconds = Math.floor(beginMs / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

function report(
  { count, perSecond, p50, p99, p999, max, gaps, failures, ownStallMs }: Measured,
  limitMs: number,
): boolean {
  const rows = gaps.slice(0, PRINTED).map((gap) => [gap.lengthMs.toFixed(0), place(gap), String(gap.inFlight)]);
  console.log(`\n${align([['gap ms', 'after min:s', 'in flight'], ...rows])}\n`);
  console.log(`${count} puts, ${perSecond}/s; p50 ${p50} ms, p99 ${p99} ms, p99.9 ${p999} ms, longest ${max} ms`);
  console.log(`failures: ${countsOf(failures)}`);
  console.log(`the load process itself stood still for ${ownStallMs} ms at most`);
  const longestMs = gaps[0]?.lengthMs ?? 0;
  const isHeld = longestMs <= limitMs;
  console.log(
    `longest time without an answer: ${longestMs.toFixed(0)} ms, ${isHeld ? 'within' : 'ABOVE'} ${limitMs} ms`,
  );
  return isHeld;
}

async function main(options: Options): Promise<number> {
  const stage = await Stage.start(stageOptions(options));
  const load = new LoadProcess();
  try {
    await options.contestant.prepare?.((line) => console.log(line));
    const running = await options.contestant.start(stage);
    try {
      const measured = await load.run(
        {
          target: running.target,
          workload: { ...DEFAULT_WORKLOAD, valueBytes: options.valueBytes },
          load: { kind: 'changing', inFlight: options.inFlight, everySeconds: options.every },
          warmUpSeconds: WARM_UP_SECONDS,
          seconds: options.minutes * 60,
          tellGapsMs: options.limitMs,
        },
        running,
        {
          onGap: (gap) =>
            console.log(`${place(gap)}: ${gap.lengthMs.toFixed(0)} ms without an answer, ${gap.inFlight} in flight`),
        },
      );
      const isHeld = report(measured, options.limitMs);
      console.log(await running.verify(measured.succeeded));
      return isHeld ? 0 : 1;
    } finally {
      await running.stop();
    }
  } finally {
    load.stop();
    await stage.stop();
  }
}

process.exitCode = await main(parseOptions());
