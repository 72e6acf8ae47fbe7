/**
 * Half a minute of chaos on a cluster of NATS nodes: five kinds of faults, registers and a bank
 * that must come out right.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runChaos } from '../../chaos/chaos-run.js';
import { faultOf } from '../../chaos/faults/index.js';
import { outagesTable } from '../../chaos/outages.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/index.js';

/** The order of the faults; `npm run chaos` takes other ones. */
const SEED = Number(process.env['CRAFT_CHAOS_SEED'] ?? 1);
const FAULTS = ['kill', 'pause', 'nats', 'partition', 'postgres'];

let folder: TemporaryFolder;
let isRight = false;
/** What went on, for the reader of a failure. */
const lines: string[] = [];
beforeAll(async () => {
  folder = await temporaryFolder('chaos');
});
afterAll(async () => {
  if (isRight) await folder?.remove();
  else console.log(`seed ${SEED}, histories and logs: ${folder?.path}\n${lines.join('\n')}`);
});

it('holds what it promises through kills, pauses, partitions and lost parts', async () => {
  console.log(`seed ${SEED} (CRAFT_CHAOS_SEED)`);
  const run = await runChaos({
    folder: folder.path,
    historyFile: join(folder.path, 'history.jsonl'),
    bankFile: join(folder.path, 'history-bank.jsonl'),
    seed: SEED,
    durationMs: 30_000,
    strikesMin: FAULTS.length,
    servers: 3,
    layout: 'server',
    faults: FAULTS.map(faultOf),
    processes: 6,
    keys: 4,
    bankProcesses: 3,
    restMs: [500, 1_500],
    print: (line) => lines.push(line),
  });
  expect(run.registers.violations).toEqual([]);
  // The checker gives up on a history with too many open ends; a violation would be in the list.
  expect(['linearizable', 'undecided']).toContain(run.registers.verdict);
  expect(run.bank.complaints).toEqual([]);
  expect(run.complaints).toEqual([]);
  expect(new Set(run.strikes.map(({ name }) => name))).toEqual(new Set(FAULTS));
  expect(run.bank.reads).toBeGreaterThan(50);
  expect(run.bank.transfers).toBeGreaterThan(20);
  expect(run.counts.get('registers')?.ok).toBeGreaterThan(200);
  expect(run.counts.get('group probes')?.ok).toBeGreaterThan(200);
  isRight = true;
  console.log(
    [`seed ${SEED}, longest unavailability ${run.longestGapMs.toFixed(0)} ms`, ...outagesTable(run.outages)].join('\n'),
  );
}, 300_000);
