/**
 * npm run chaos -- [--minutes M] [--seed S] [--history FILE] [--processes N] [--keys N] [--servers N] [--faults NAME,NAME]
 *
 * A cluster of three or more servers on this machine, clients that read and write registers at every acknowledgement level, snapshots every
 * few hundred commands, and every few seconds one of the faults of faults.ts. Exit code 0: every check held; 1: a violation; 2: wrong usage; 3: undecided; the
 * history is kept, and so is the cluster's folder when something is wrong.
 */
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startTestCluster } from '../harness/index.js';
import { FAULTS, type Fault } from './faults.js';
import { figuresTable } from './history/figures.js';
import { outages, outagesTable } from './history/outages.js';
import { reportLines } from './history/print.js';
import { type RegisterRun, runRegisters } from './register-run.js';

const USAGE =
  'usage: npm run chaos -- [--minutes M] [--seed S] [--history FILE] [--processes N] [--keys N] [--servers N] [--faults NAME,NAME]';
const SNAPSHOT_ENTRIES = 500;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly processes: number;
  readonly keys: number;
  readonly servers: number;
  readonly faults: readonly Fault[];
  readonly history: string | undefined;
}

function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { minutes: text, seed: text, history: text, processes: text, keys: text, servers: text, faults: text },
  });
  const positive = (given: string | undefined, fallback: number): number => {
    const value = given === undefined ? fallback : Number(given);
    if (!(value > 0) || !Number.isFinite(value)) throw new RangeError(`${given} is not a positive number`);
    return value;
  };
  return {
    minutes: positive(values.minutes, 2),
    seed: Math.floor(positive(values.seed, 1 + (Date.now() % 1e6))),
    processes: Math.ceil(positive(values.processes, 12)),
    keys: Math.ceil(positive(values.keys, 5)),
    servers: Math.ceil(positive(values.servers, 3)),
    faults: (values.faults?.split(',') ?? FAULTS.map(({ name }) => name)).map(faultOf),
    history: values.history,
  };
}

function faultOf(name: string): Fault {
  const found = FAULTS.find((fault) => fault.name === name);
  if (found !== undefined) return found;
  throw new RangeError(`no fault ${name}; there are ${FAULTS.map((fault) => fault.name).join(', ')}`);
}

async function main({ minutes, seed, processes, keys, servers, faults, history }: Options): Promise<number> {
  const names = faults.map(({ name }) => name).join(', ');
  console.log(
    `seed ${seed}, ${minutes} minutes, ${servers} servers, ${processes} clients, ${keys} keys; faults: ${names}`,
  );
  const test = await startTestCluster({
    servers: Array.from({ length: servers }, (_, at) => `s${at + 1}`),
    environment: { CRAFT_SNAPSHOT_ENTRIES: String(SNAPSHOT_ENTRIES) },
  });
  const historyFile = resolve(history ?? join(test.folder, '..', `craft-history-${seed}-${process.pid}.jsonl`));
  let run: RegisterRun;
  try {
    run = await runRegisters({
      cluster: test.cluster,
      historyFile,
      seed,
      durationMs: minutes * 60_000,
      processes,
      keys,
      timeoutMs: 3_000,
      thinkMs: 10,
      kills: { upMs: [1_000, 4_000], downMs: [200, 2_000] },
      faults,
      healMs: 60_000,
    });
  } catch (error) {
    await test.cluster.stop();
    console.log(`history: ${historyFile}\nlogs: ${test.folder}`);
    throw error;
  }
  const { events, report, figures, kills, complaints } = run;
  const isWhole = report.verdict === 'linearizable' && complaints.length === 0;
  await (isWhole ? test.stop() : test.cluster.stop());

  for (const line of [
    ...outagesTable(outages(events)),
    ...figuresTable(figures),
    ...reportLines(report),
    ...complaints.slice(0, 20),
  ])
    console.log(line);
  console.log(`history: ${historyFile}${isWhole ? '' : `\nlogs: ${test.folder}`}`);
  const all = figures.get('all');
  const { ok = 0, fail = 0, unknown = 0 } = all?.outcomes ?? {};
  console.log(
    `seed ${seed}: ${kills} faults, ${ok} ok, ${fail} failed, ${unknown} unknown, longest unavailability ${all?.longestGapMs.toFixed(0)} ms, ` +
      `${report.verdict}, ${complaints.length} complaints`,
  );
  if (report.verdict === 'violation' || complaints.length > 0) return 1;
  return report.verdict === 'undecided' ? 3 : 0;
}

let options: Options | undefined;
try {
  options = readOptions();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exitCode = 2;
}
if (options !== undefined) process.exitCode = await main(options);
