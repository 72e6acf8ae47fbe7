/**
 * npm run check-history -- FILE [--limit CONFIGURATIONS]
 *
 * Exit code 0: linearizable, 1: not, 2: wrong usage or no history, 3: undecided within the limit.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { HistoryError } from './attempts.js';
import { checkHistory } from './checker.js';
import { figuresTable, historyFigures } from './figures.js';
import { HistoryFormatError, parseHistory } from './format.js';
import { reportLines } from './print.js';

const EXIT_CODES = { linearizable: 0, violation: 1, undecided: 3 } as const;
const USAGE = 'usage: npm run check-history -- FILE [--limit CONFIGURATIONS]';

class UsageError extends Error {}

function readArguments(): { file: string; configurationsMax: number | undefined } {
  try {
    const { values, positionals } = parseArgs({ options: { limit: { type: 'string' } }, allowPositionals: true });
    const [file] = positionals;
    const configurationsMax = values.limit === undefined ? undefined : Number(values.limit);
    const isLimit =
      configurationsMax === undefined || (Number.isSafeInteger(configurationsMax) && configurationsMax > 0);
    if (file === undefined || positionals.length > 1 || !isLimit) throw new UsageError(USAGE);
    return { file, configurationsMax };
  } catch (cause) {
    throw new UsageError(USAGE, { cause });
  }
}

async function main(): Promise<number> {
  const { file, configurationsMax } = readArguments();
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new UsageError(cause.message, { cause });
  });
  const events = parseHistory(text);
  const startedMs = performance.now();
  const report = checkHistory(events, configurationsMax === undefined ? {} : { configurationsMax });
  for (const line of figuresTable(historyFigures(events))) console.log(line);
  for (const line of reportLines(report)) console.log(line);
  console.log(`checked in ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  return EXIT_CODES[report.verdict];
}

try {
  process.exitCode = await main();
} catch (error) {
  const isExpected =
    error instanceof UsageError || error instanceof HistoryFormatError || error instanceof HistoryError;
  console.error(isExpected ? error.message : error);
  process.exitCode = 2;
}
