/**
 * What a command costs as things grow: history, keys, groups, values, clients, one of them at a
 * time. Where the state or the log grows, also what restart, catching up, snapshots and their
 * installation cost.
 *
 *     npm run bench:growth -- --quick
 *     npm run bench:growth -- --dimension keys
 *     npm run bench:growth -- --dimension history --sizes 100000,5000000
 *
 * See README.md of the folder above.
 */
import { cpus } from 'node:os';
import { Command, Option } from 'commander';
import { connect } from 'nats';
import { connectCraft } from '../../../shared/client/index.js';
import { LoadProcess, type Measured } from '../load/driver.js';
import type { LoadRun } from '../load/protocol.js';
import { listOf, positive, positiveInteger } from '../options.js';
import { memoryMiB, OTHERS } from '../processes.js';
import { machine, versions } from '../report/about.js';
import { save } from '../report/save.js';
import { align } from '../report/table.js';
import { spread } from '../statistics.js';
import { type CraftSystem, startCraft } from '../systems/craft.js';
import { untilHome } from '../systems/leaders.js';
import { Stage } from '../systems/stage.js';
import { DIMENSIONS, type Dimension, type Setting, SWEEPS, settingOf, sizesOf } from './dimensions.js';
import { fillHistory, fillKeys } from './fill.js';
import { recover } from './recovery.js';
import { type Cost, costTable, type GrowthResult, growthPicture, type Recovery, recoveryTable } from './table.js';

interface Options {
  readonly quick?: boolean;
  readonly dimension?: Dimension;
  readonly sizes?: readonly number[];
  readonly upTo?: number;
  readonly seconds?: number;
  readonly warmUpSeconds?: number;
  readonly rounds?: number;
  readonly awaySeconds?: number;
  readonly catchUpSeconds?: number;
  readonly recovery?: boolean;
  readonly save?: boolean;
}

const HOME_MS_MAX = 60_000;
/** Before the first figure: what has just started spends its time on compiling. */
const COMPILING = { quickSeconds: 15, fullSeconds: 30, inFlight: 64 };

function parseOptions(): Options {
  const command = new Command('bench:growth')
    .description(
      'what a command costs as history, keys, groups, values or clients grow; restart, catching up, snapshots',
    )
    .option('--quick', 'every dimension at few and small sizes; the result is not saved')
    .addOption(new Option('--dimension <name>', 'only this one').choices(DIMENSIONS))
    .option('--sizes <list>', 'of that dimension, instead of the usual ones', listOf(positiveInteger))
    .option('--up-to <n>', 'leave out larger sizes', positiveInteger)
    .option('--rounds <n>', 'measurements of each size (default 3; quick 1)', positiveInteger)
    .option('--seconds <n>', 'of each measurement (default 6; quick 3)', positive)
    .option('--warm-up-seconds <n>', 'before each measurement (default 2)', positive)
    .option('--away-seconds <n>', 'how long a server is away (default 15; quick 5)', positive)
    .option('--catch-up-seconds <n>', 'the load while it catches up lasts so long at most (default 300)', positive)
    .option('--no-recovery', 'leave out restart, catching up and snapshots')
    .option('--no-save', 'do not save the result')
    .parse();
  const options = command.opts<Options>();
  if (options.sizes !== undefined && options.dimension === undefined) command.error('--sizes need a --dimension');
  return options;
}

/** What a cluster holds already. */
interface Filled {
  keys: number;
}

interface Given {
  readonly options: Options;
  readonly stage: Stage;
  readonly load: LoadProcess;
  readonly system: CraftSystem;
}

function loadRun(system: CraftSystem, setting: Setting, seconds: number, warmUpSeconds: number): LoadRun {
  const { connections, keys, valueBytes, inFlight } = setting;
  return {
    target: {
      kind: 'craft',
      urls: system.nats.urls,
      subject: `${system.cluster.cluster}.cmd.kv.put`,
      ack: 'applied',
    },
    workload: { connections, keys, valueBytes, withId: true },
    load: { kind: 'closed', inFlight },
    warmUpSeconds,
    seconds,
  };
}

async function costOf(given: Given, dimension: Dimension, size: number, setting: Setting): Promise<Cost> {
  const { options, load, system } = given;
  const { quick = false, rounds = quick ? 1 : 3, seconds = quick ? 3 : 6, warmUpSeconds = 2 } = options;
  const runs: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const watched = { processes: system.processes(), monitors: [] };
    runs.push(await load.run(loadRun(system, setting, seconds, warmUpSeconds), watched));
  }
  const { servers } = system.cluster;
  const us = (run: Measured, names: readonly string[]): number =>
    names.reduce((sum, name) => sum + (run.processorSeconds[name] ?? 0) * 1e6, 0) / Math.max(1, run.count);
  const over = (figure: (run: Measured) => number) => spread(runs.map(figure));
  const memory = memoryMiB(system.processes());
  return {
    dimension,
    size,
    perSecond: over((run) => run.perSecond),
    p50: over((run) => run.p50),
    p99: over((run) => run.p99),
    cpuUs: over((run) => us(run, [...servers, 'nats', 'postgres'])),
    cpuUsOf: {
      servers: over((run) => us(run, servers)).median,
      nats: over((run) => us(run, ['nats'])).median,
      postgres: over((run) => us(run, ['postgres'])).median,
    },
    memoryMiB: {
      server: Math.max(...servers.map((server) => memory[server] ?? 0)),
      nats: memory['nats'] ?? 0,
      postgres: memory['postgres'] ?? 0,
    },
    failures: runs.reduce((sum, run) => sum + Object.values(run.failures).reduce((a, b) => a + b, 0), 0),
    othersUse: Math.max(0, ...runs.map((run) => (run.processorSeconds[OTHERS] ?? 0) / (seconds * cpus().length))),
  };
}

interface Found {
  readonly costs: Cost[];
  readonly recoveries: Recovery[];
}

/** Brings the cluster to the size, then measures there. */
async function measureSize(
  given: Given,
  filled: Filled,
  dimension: Dimension,
  size: number,
  found: Found,
): Promise<void> {
  const { options, system, load } = given;
  const setting = settingOf(dimension, size);
  const connection = await connect({ servers: [...system.nats.urls] });
  try {
    const client = await connectCraft({ connection, timeoutMs: 60_000 });
    const startMs = performance.now();
    await fillKeys(client, filled.keys, setting);
    filled.keys = Math.max(filled.keys, setting.keys);
    const applied = await fillHistory(connection, system, load, setting);
    console.log(`${dimension} ${size}: filled in for ${((performance.now() - startMs) / 1_000).toFixed(0)} s`);
    const cost = await costOf(given, dimension, dimension === 'history' ? applied : size, setting);
    found.costs.push(cost);
    console.log(`${dimension} ${cost.size}: ${cost.perSecond.median}/s, ${cost.cpuUs.median} us a command`);
    const { quick = false, awaySeconds = quick ? 5 : 15, catchUpSeconds = 300, recovery = true } = options;
    const isLast = size === sizesOf(dimension, options).at(-1);
    if (!SWEEPS[dimension].hasRecovery || !recovery || (quick && !isLast)) return;
    const run = loadRun(system, setting, awaySeconds, 3);
    const recovered = await recover({
      dimension,
      size: cost.size,
      setting,
      connection,
      system,
      load,
      run,
      catchUpSecondsMax: catchUpSeconds,
    });
    found.recoveries.push(recovered);
    const { restartMs, catchUp, installMs } = recovered;
    console.log(
      `  restart ${restartMs.toFixed(0)} ms, catching up ${catchUp.ms.toFixed(0)} ms, install ${installMs.toFixed(0)} ms`,
    );
    await untilHome(system.cluster, HOME_MS_MAX);
  } finally {
    await connection.close();
  }
}

async function sweep(
  dimension: Dimension,
  options: Options,
  stage: Stage,
  load: LoadProcess,
  found: Found,
): Promise<void> {
  const sizes = sizesOf(dimension, options);
  const batches = SWEEPS[dimension].isOneCluster ? [sizes] : sizes.map((size) => [size]);
  for (const batch of batches) {
    const [first = 1] = batch;
    const system = await startCraft(stage, { groups: settingOf(dimension, first).groups });
    try {
      await untilHome(system.cluster, HOME_MS_MAX);
      const setting = { ...settingOf(dimension, first), inFlight: COMPILING.inFlight };
      const seconds = options.quick ? COMPILING.quickSeconds : COMPILING.fullSeconds;
      await load.run(loadRun(system, setting, seconds, 0), { processes: {}, monitors: [] });
      const filled = { keys: 0 };
      for (const size of batch) await measureSize({ options, stage, load, system }, filled, dimension, size, found);
    } finally {
      await system.stop();
    }
  }
}

function printed(dimension: Dimension, { costs, recoveries }: Found): string {
  const { title, expectation } = SWEEPS[dimension];
  const tables = [costTable(dimension, costs), recoveryTable(dimension, recoveries)].filter(({ length }) => length > 0);
  return [`${dimension}: ${title}; expected: ${expectation}`, ...tables.map(align)].join('\n\n');
}

async function main(options: Options): Promise<void> {
  const stage = await Stage.start({ layout: 'server', craftNats: 1 });
  const load = new LoadProcess();
  const found: Found = { costs: [], recoveries: [] };
  const dimensions = options.dimension === undefined ? DIMENSIONS : [options.dimension];
  try {
    const date = new Date().toISOString();
    for (const dimension of dimensions) {
      await sweep(dimension, options, stage, load, found);
      console.log(`\n${printed(dimension, found)}\n`);
    }
    console.log('! : more than 20 % away from the first figure of the column');
    if (options.quick || options.save === false) return;
    const about = await versions({ postgres: await stage.postgresVersion() });
    const result: GrowthResult = { date, versions: about, machine: machine(), ...found };
    const name = options.dimension === undefined ? 'growth-' : `growth-${options.dimension}-`;
    console.log(`saved: ${await save(name, result, growthPicture(result))}.json and .svg`);
  } finally {
    load.stop();
    await stage.stop();
  }
}

await main(parseOptions());
