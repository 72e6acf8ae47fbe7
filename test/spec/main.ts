/**
 * Checks Craft.tla with TLC: the protocol in the whole of a small state space, then each planted
 * defect, which an invariant must catch.
 *
 *     npm run spec -- --jar tla2tools.jar
 *
 * Needs Java and TLC (tla2tools.jar of the TLA+ tools), so it is no part of `npm test`. Takes about
 * five minutes. Exits with 1 when an invariant breaks that should hold, or none where one should.
 */
import { spawn } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * The Figure 8 case of the Raft paper takes four terms, and more states than can be visited: the
 * simulator and a transcript have it.
 */
const BOUNDS = { terms: 2, times: 3, length: 2, claims: 1 };

const DEFECTS: readonly string[] = [
  'forget-promise-in-vote',
  'forget-promise-limit-on-restart',
  'close-without-quorum',
  'close-before-commit',
  'timestamp-below-floor',
  'stamp-below-claim',
  'count-undurable-append',
  'tell-undurable-append',
];

const INVARIANTS = [
  'ElectionSafety',
  'LogMatching',
  'LeaderCompleteness',
  'StateMachineSafety',
  'TimestampsIncrease',
  'PromisesAreKept',
  'WatermarksHold',
  'MergedLogsAgree',
];

function configurationOf(defect: string): string {
  const { terms, times, length, claims } = BOUNDS;
  return `SPECIFICATION Spec
CONSTANTS
  Server = {s1, s2, s3}
  Nobody = Nobody
  MaxTerm = ${terms}
  MaxTime = ${times}
  MaxLength = ${length}
  MaxClaims = ${claims}
  Defect = "${defect}"
SYMMETRY Symmetry
INVARIANTS ${INVARIANTS.join(' ')}
`;
}

/** What TLC prints. */
async function check(jar: string, defect: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'craft-spec-'));
  try {
    await copyFile(join(import.meta.dirname, '../../../test/spec/Craft.tla'), join(folder, 'Craft.tla'));
    await writeFile(join(folder, 'Craft.cfg'), configurationOf(defect));
    // No deadlock is looked for: at the bounds of the state space nothing is left to do.
    const java = spawn('java', ['-XX:+UseParallelGC', '-cp', jar, 'tlc2.TLC', '-deadlock', 'Craft.tla'], {
      cwd: folder,
    });
    let output = '';
    for (const stream of [java.stdout, java.stderr]) stream.on('data', (data) => (output += data));
    await new Promise((done, fail) => java.on('close', done).on('error', fail));
    return output;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Prints a line; whether it came out as it should. */
function judge(defect: string, output: string): boolean {
  const states = /([\d,]+) distinct states found, (\d+) states left/.exec(
    output.slice(output.lastIndexOf(' states generated, ')),
  );
  const broken = /Invariant (\w+) is violated/.exec(output)?.[1];
  const isWhole = states?.[2] === '0' && output.includes('No error has been found');
  const outcome = broken === undefined ? (isWhole ? 'every invariant holds' : 'TLC failed') : `${broken} is violated`;
  console.log(`${defect}: ${outcome}, ${states?.[1] ?? 'no'} distinct states`);
  const isRight = defect === 'none' ? isWhole : broken !== undefined;
  if (!isRight) console.log(output);
  return isRight;
}

const { jar } = parseArgs({ options: { jar: { type: 'string' } } }).values;
if (jar === undefined) {
  console.error('usage: npm run spec -- --jar tla2tools.jar');
  process.exit(2);
}
console.log('three servers, at most', BOUNDS);
for (const defect of ['none', ...DEFECTS]) {
  if (!judge(defect, await check(resolve(jar), defect))) process.exitCode = 1;
}
