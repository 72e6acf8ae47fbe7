/**
 * craft and what else there is, on this machine, in one run: contestants in turn, several rounds,
 * medians and ratios.
 *
 *     npm run bench -- --quick                     under two minutes: craft and the peer
 *     npm run bench                                all contestants; about half an hour
 *     npm run bench -- --contestants craft-sdk,etcd --in-flight 512 --rounds 5
 *
 * See README.md beside this file.
 */
import { Command } from 'commander';
import { ToolUnavailableError } from '../../deploy/local/tools/errors.js';
import type { Contestant } from './contestants/contestant.js';
import { CONTESTANTS, contestantNamed } from './contestants/index.js';
import { LoadProcess } from './load/driver.js';
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
import { machine, versions } from './report/about.js';
import { plot } from './report/plot.js';
import { type BenchResult, comparisonsOf, figuresOf } from './report/result.js';
import { save } from './report/save.js';
import { align, comparisonTable, figuresTable, processorTable } from './report/table.js';
import { runRounds } from './rounds.js';
import { Stage } from './systems/stage.js';

interface Options extends CraftOptions {
  readonly quick?: boolean;
  readonly contestants?: readonly Contestant[];
  readonly inFlight?: readonly number[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly warmUpSeconds?: number;
  readonly firstWarmUpSeconds?: number;
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly id: boolean;
  readonly save?: boolean;
}

const QUICK = {
  contestants: ['craft-applied', 'peer'],
  inFlight: [1, 64, 512],
  rounds: 2,
  seconds: 3,
  warmUpSeconds: 1,
  firstWarmUpSeconds: 10,
};
const FULL = {
  contestants: CONTESTANTS.map((one) => one.name),
  inFlight: [1, 64, 512, 2_048],
  rounds: 3,
  seconds: 10,
  warmUpSeconds: 2,
  firstWarmUpSeconds: 30,
};

function parseOptions(): Options {
  const { connections, keys, valueBytes } = DEFAULT_WORKLOAD;
  return withCraftOptions(new Command('bench'))
    .option('--quick', 'craft and the peer only, short rounds; the result is not saved')
    .option('--contestants <list>', `of ${FULL.contestants.join(', ')}`, listOf(contestant))
    .option('--in-flight <list>', 'requests in flight (default 1,64,512,2048)', listOf(positiveInteger))
    .option('--rounds <n>', 'turns of each contestant (default 3)', positiveInteger)
    .option('--seconds <n>', 'measured seconds of each load (default 10)', positive)
    .option('--warm-up-seconds <n>', 'before each of them (default 2)', positive)
    .option('--first-warm-up-seconds <n>', 'at the beginning of a turn (default 30)', positive)
    .option('--connections <n>', 'NATS connections of the load', positiveInteger, connections)
    .option('--keys <n>', 'size of the key space', positiveInteger, keys)
    .option('--value-bytes <n>', 'size of a value', positiveInteger, valueBytes)
    .option('--no-id', 'puts without idempotency ids')
    .option('--save', 'save the result of a quick run, too')
    .option('--no-save', 'do not save the result')
    .parse()
    .opts<Options>();
}

/** Those that can be had here, and the versions of what they need. */
async function prepare(wanted: readonly Contestant[]): Promise<{ ready: Contestant[]; tools: Record<string, string> }> {
  const ready: Contestant[] = [];
  const tools: Record<string, string> = {};
  for (const contestant of wanted) {
    try {
      Object.assign(tools, await contestant.prepare?.((line) => console.log(line)));
      ready.push(contestant);
    } catch (error) {
      if (!(error instanceof ToolUnavailableError)) throw error;
      const tried = error.attempts.map(({ method }) => method).join(', ');
      console.log(`left out: ${contestant.name}, because ${error.tool} is not here and cannot be fetched (${tried})`);
    }
  }
  return { ready, tools };
}

async function main(options: Options): Promise<void> {
  const defaults = options.quick ? QUICK : FULL;
  const wanted = options.contestants ?? defaults.contestants.map(contestantNamed);
  const { ready, tools } = await prepare(wanted);
  const rounds = options.rounds ?? defaults.rounds;
  const inFlight = options.inFlight ?? defaults.inFlight;
  const seconds = options.seconds ?? defaults.seconds;
  const warmUpSeconds = options.warmUpSeconds ?? defaults.warmUpSeconds;
  const firstWarmUpSeconds = options.firstWarmUpSeconds ?? defaults.firstWarmUpSeconds;
  const { connections, keys, valueBytes, id: withId, layout, craftNats } = options;
  const workload = { connections, keys, valueBytes, withId };

  const stage = await Stage.start(stageOptions(options));
  const load = new LoadProcess();
  let result: BenchResult;
  try {
    const date = new Date().toISOString();
    const print = (line: string): void => console.log(line);
    const contestants = ready;
    const runs = await runRounds({
      contestants,
      rounds,
      inFlight,
      seconds,
      warmUpSeconds,
      firstWarmUpSeconds,
      workload,
      stage,
      load,
      print,
    });
    result = {
      date,
      versions: await versions({ postgres: await stage.postgresVersion(), ...tools }),
      machine: machine(),
      titles: Object.fromEntries(ready.map(({ name, title }) => [name, title])),
      settings: { rounds, inFlight, seconds, warmUpSeconds, firstWarmUpSeconds, ...workload, layout, craftNats },
      comparisons: comparisonsOf(runs),
      figures: figuresOf(runs),
      runs,
    };
  } finally {
    load.stop();
    await stage.stop();
  }
  const { figures, comparisons } = result;
  const tables = [figuresTable(figures), processorTable(figures), comparisonTable(comparisons)];
  console.log(`\n${tables.map(align).join('\n\n')}\n`);
  if (options.save ?? !options.quick) console.log(`saved: ${await save('', result, plot(result))}.json and .svg`);
}

await main(parseOptions());
