/**
 * npm run chaos -- [--minutes M] [--seed S] [--servers 3|5] [--faults NAME,NAME] [--layout
 * server|service] [--processes N] [--keys N] [--history FILE]
 *
 * A cluster of craft servers on three nats-servers on this machine, with registers and a bank as
 * clients. Snapshots are taken every few hundred commands. Every few seconds comes one of the
 * faults of faults/. Exit code 0: every check held; 1: a violation; 2: wrong usage; 3: undecided.
 * The histories are kept, and so is the cluster's folder when something is wrong.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/index.js';
import { type ChaosRun, runChaos } from './chaos-run.js';
import { FAULTS, type Fault, faultOf } from './faults/index.js';
import { figuresTable } from './history/figures.js';
import { reportLines } from './history/print.js';
import { medianAndWorst, outagesTable } from './outages.js';

const USAGE =
  'usage: npm run chaos -- [--minutes M] [--seed S] [--servers 3|5] [--faults NAME,NAME] [--layout server|service] [--processes N] [--keys N] [--history FILE]';
const BANK_PROCESSES = 4;
const LINES_MAX = 20;

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly processes: number;
  readonly keys: number;
  readonly servers: number;
  readonly layout: 'server' | 'service';
  readonly faults: readonly Fault[];
  readonly history: string | undefined;
}

function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      minutes: text,
      seed: text,
      history: text,
      processes: text,
      keys: text,
      servers: text,
      faults: text,
      layout: text,
    },
  });
  const positive = (given: string | undefined, fallback: number): number => {
    const value = given === undefined ? fallback : Number(given);
    if (!(value > 0) || !Number.isFinite(value)) throw new RangeError(`${given} is not a positive number`);
    return value;
  };
  const { layout = 'server' } = values;
  if (layout !== 'server' && layout !== 'service') throw new RangeError(`${layout} is no layout`);
  const servers = positive(values.servers, 3);
  if (servers !== 3 && servers !== 5) throw new RangeError(`${servers} servers: there are 3 or 5`);
  return {
    minutes: positive(values.minutes, 2),
    seed: Math.floor(positive(values.seed, 1 + (Date.now() % 1e6))),
    processes: Math.ceil(positive(values.processes, 8)),
    keys: Math.ceil(positive(values.keys, 5)),
    servers,
    layout,
    faults: (values.faults?.split(',') ?? FAULTS.map(({ name }) => name)).map(faultOf),
    history: values.history,
  };
}

async function main(options: Options): Promise<number> {
  const { minutes, seed, servers, layout, processes, keys, faults } = options;
  const names = faults.map(({ name }) => name).join(', ');
  console.log(
    `seed ${seed}, ${minutes} minutes, ${servers} servers, a process for each ${layout}, ${processes} clients of ${keys} registers, ` +
      `${BANK_PROCESSES} of the bank; faults: ${names}`,
  );
  const folder = await temporaryFolder('chaos');
  const historyFile = resolve(options.history ?? `${folder.path}-history-${seed}.jsonl`);
  const bankFile = historyFile.replace(/(\.jsonl)?$/, '-bank.jsonl');
  const files = `histories: ${historyFile} ${bankFile}`;
  let run: ChaosRun;
  // What is mounted, and what runs, is to go also then. Once more ends at once.
  let isCancelled = false;
  const cancel = (): void => {
    isCancelled = true;
    console.log('ending …');
  };
  process.once('SIGINT', cancel).once('SIGTERM', cancel);
  try {
    run = await runChaos({
      ...options,
      folder: folder.path,
      historyFile,
      bankFile,
      durationMs: minutes * 60_000,
      bankProcesses: BANK_PROCESSES,
      restMs: [1_000, 4_000],
      isCancelled: () => isCancelled,
      print: (line) => console.log(line),
    });
  } catch (error) {
    console.log(`${files}\nlogs: ${folder.path}\nseed ${seed}: the run did not come to its end`);
    console.error(error);
    return 1;
  }
  const { registers, bank, complaints } = run;
  const isWhole = registers.verdict !== 'violation' && bank.complaints.length + complaints.length === 0;
  if (isWhole) await folder.remove();
  for (const line of summary(run)) console.log(line);
  console.log(`${files}${isWhole ? '' : `\nlogs: ${folder.path}`}`);
  console.log(lastLine(seed, run));
  if (!isWhole) return 1;
  return registers.verdict === 'undecided' ? 3 : 0;
}

function summary(run: ChaosRun): string[] {
  const row = (name: string, cells: readonly (string | number)[]): string =>
    `${name.padEnd(15)}${cells.map((cell) => String(cell).padStart(10)).join('')}`;
  return [
    ...outagesTable(run.outages),
    '',
    row('', ['ok', 'failed', 'unknown']),
    ...[...run.counts].map(([name, { ok, fail, unknown }]) => row(name, [ok, fail, unknown])),
    '',
    ...figuresTable(run.figures),
    '',
    ...reportLines(run.registers),
    `bank: ${run.bank.reads} reads, ${run.bank.transfers} transfers, ${run.bank.complaints.length} complaints`,
    ...run.bank.complaints.slice(0, LINES_MAX),
    ...run.complaints.slice(0, LINES_MAX),
  ];
}

function lastLine(
  seed: number,
  { strikes, counts, outages, longestGapMs, registers, bank, complaints }: ChaosRun,
): string {
  const sum = (kind: 'ok' | 'fail' | 'unknown'): number =>
    [...counts.values()].reduce((all, one) => all + one[kind], 0);
  const groupGaps = outages.get('kill')?.groupGapsMs ?? [];
  const [median, worst] = medianAndWorst(groupGaps);
  const killed =
    groupGaps.length === 0
      ? ''
      : `a killed leader's group away ${median.toFixed(0)} ms (median), ${worst.toFixed(0)} ms (worst), `;
  return (
    `seed ${seed}: ${strikes.length} faults, ${sum('ok')} ok, ${sum('fail')} failed, ${sum('unknown')} unknown, ` +
    `longest unavailability ${longestGapMs.toFixed(0)} ms, ${killed}${registers.verdict}, ` +
    `${complaints.length + bank.complaints.length} complaints`
  );
}

let options: Options | undefined;
try {
  options = readOptions();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exitCode = 2;
}
if (options !== undefined) process.exitCode = await main(options);
