/**
 * npm run sim -- --seeds N --from S --minutes M [--break NAME] [--servers N] [--spares N]
 *     [--groups K]: many short runs.
 *
 * npm run sim -- --soak MINUTES --from S [--every COMMANDS]: one long run, which shows how much
 * servers keep.
 *
 * Exit code 0 when no invariant broke, 1 when one did, 2 for wrong arguments. The last line has the
 * figures.
 */
import { parseArgs } from 'node:util';
import { type CampaignOptions, campaign } from './campaign.js';
import { findDefect } from './defects/index.js';
import { FAULT_KINDS, type FaultKind } from './options.js';
import { reportSoak } from './soak.js';

function integer(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name}: ${text} is no number`);
  return value;
}

function readOptions(): CampaignOptions & { readonly soak: number | undefined; readonly every: number | undefined } {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    options: {
      seeds: text,
      from: text,
      seed: text,
      minutes: text,
      break: text,
      servers: text,
      spares: text,
      groups: text,
      faults: text,
      until: text,
      soak: text,
      every: text,
      trace: flag,
      skewed: flag,
      stranded: flag,
      versions: flag,
      shrink: flag,
      'keep-going': flag,
    },
  });
  const seed = integer(values.seed, 'seed');
  const faults = values.faults?.split(',').filter((kind) => kind !== '');
  for (const kind of faults ?? [])
    if (!FAULT_KINDS.some((known) => known === kind)) throw new Error(`--faults: no ${kind}`);
  if (values.break !== undefined) findDefect(values.break);
  // Without a word about seeds they are fresh ones, for a minute.
  const isFresh = values.seeds === undefined && values.break === undefined && values.soak === undefined;
  return {
    from: seed ?? integer(values.from, 'from') ?? (isFresh ? Date.now() % 2 ** 31 : 1),
    seeds: seed === undefined ? (integer(values.seeds, 'seeds') ?? Number.POSITIVE_INFINITY) : 1,
    minutes:
      integer(values.minutes, 'minutes') ??
      (values.seeds === undefined && seed === undefined ? 1 : Number.POSITIVE_INFINITY),
    defect: values.break,
    servers: integer(values.servers, 'servers'),
    spares: integer(values.spares, 'spares'),
    groups: integer(values.groups, 'groups'),
    faults: faults as FaultKind[] | undefined,
    until: integer(values.until, 'until'),
    skewed: values.skewed,
    stranded: values.stranded,
    versions: values.versions,
    trace: values.trace ?? false,
    keepGoing: values['keep-going'] ?? false,
    soak: integer(values.soak, 'soak'),
    every: integer(values.every, 'every'),
  };
}

try {
  const options = readOptions();
  const print = (line: string) => console.log(line);
  const { soak: minutes, from: seed, every: snapshotEvery = 1_000 } = options;
  const isRight =
    minutes === undefined ? campaign(options, print) : reportSoak({ ...options, seed, minutes, snapshotEvery }, print);
  process.exitCode = isRight ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? (error.stack ?? error.message) : error);
  process.exitCode = 2;
}
