/**
 * npm run chaos -- [--minutes M] [--seed S] [--history FILE] [--processes N] [--keys N]
 *
 * A cluster of three servers on this machine, clients that read and write registers at every acknowledgement level, and every few seconds the
 * leader of a random group ends with SIGKILL. Exit code 0: every check held; 1: a violation; 2: wrong usage; 3: undecided; the
 * history is kept, and so is the cluster's folder when something is wrong.
 */
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startTestCluster } from '../harness/index.js';
import { figuresTable } from './history/figures.js';
import { reportLines } from './history/print.js';
import { type RegisterRun, runRegisters } from './register-run.js';

const USAGE = 'usage: npm run chaos -- [--minutes M] [--seed S] [--history FILE] [--processes N] [--keys N]';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly processes: number;
  readonly keys: number;
  readonly history: string | undefined;
}

function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { minutes: text, seed: text, history: text, processes: text, keys: text } });
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
    history: values.history,
  };
}

async function main({ minutes, seed, processes, keys, history }: Options): Promise<number> {
  console.log(`seed ${seed}, ${minutes} minutes, ${processes} clients, ${keys} keys`);
  const test = await startTestCluster();
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
      kills: { upMs: [2_000, 5_000], downMs: [200, 2_000] },
      healMs: 60_000,
    });
  } catch (error) {
    await test.cluster.stop();
    console.log(`history: ${historyFile}\nlogs: ${test.folder}`);
    throw error;
  }
  const { report, figures, kills, complaints } = run;
  const isWhole = report.verdict === 'linearizable' && complaints.length === 0;
  await (isWhole ? test.stop() : test.cluster.stop());

  for (const line of [...figuresTable(figures), ...reportLines(report), ...complaints.slice(0, 20)]) console.log(line);
  console.log(`history: ${historyFile}${isWhole ? '' : `\nlogs: ${test.folder}`}`);
  const all = figures.get('all');
  const { ok = 0, fail = 0, unknown = 0 } = all?.outcomes ?? {};
  console.log(
    `seed ${seed}: ${kills} kills, ${ok} ok, ${fail} failed, ${unknown} unknown, longest unavailability ${all?.longestGapMs.toFixed(0)} ms, ` +
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
