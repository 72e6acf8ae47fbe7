/**
 * The test command (`npm test`, `npm run verify`): every check in its order, nothing changed in the
 * work tree but build output. Ends with the lines `N skipped` and `N passed, N failed` over all of
 * them, and exits non-zero when anything failed. A test of real processes that fails is run once
 * more; one that passes then is listed as `flaky: NAME`. What failed is listed above the last lines
 * as `failed: NAME`.
 *
 *     node test/run.mjs              all
 *     node test/run.mjs unit sim     only the named ones
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterSecondTry, summarize } from './report.mjs';

const report = mkdtempSync(join(tmpdir(), 'craft-test-'));
/** Hundreds of processes load the same code: it is compiled once, and found fast. */
process.env.NODE_COMPILE_CACHE = join(report, 'compiled');
process.env.NODE_OPTIONS = [
  process.env.NODE_OPTIONS ?? '',
  `--import=${new URL('harness/fast-imports.mjs', import.meta.url).href}`,
].join(' ');
process.env.TEST_TRANSPILED = join(report, 'transpiled');

/** The part of memory that Linux shows as a folder. */
const MEMORY = '/dev/shm';
/** All that a run puts there takes less than half of it (bytes). */
const MEMORY_MIN = 8 * 2 ** 30;
function isMemoryRoomy() {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    const isForPrograms = !mounts.some((line) => line.split(' ')[1] === MEMORY && line.includes('noexec'));
    return isForPrograms && Math.min(bavail * bsize, freemem()) >= MEMORY_MIN;
  } catch {
    return false;
  }
}
/** For many small files that nobody needs after a crash of the machine. */
const scratch = mkdtempSync(join(isMemoryRoomy() ? MEMORY : tmpdir(), 'craft-test-'));
process.env.TEST_POSTGRES = join(scratch, 'postgres');
mkdirSync(process.env.TEST_POSTGRES);
// Postgres may run as another user.
chmodSync(scratch, 0o755);
const removeAll = () => {
  for (const folder of [report, scratch]) rmSync(folder, { recursive: true, force: true });
};

/** A check that is a command: it counts as one, passed when it exits with 0. */
const command = (name, line, minutes = 5) => ({ name, line, minutes });
/** A folder of vitest files: each test counts. */
const tests = (name, folder, minutes = 14) => {
  const file = join(report, `${name}.json`);
  const line = `npx vitest run ${folder} --reporter=default --reporter=json --outputFile.json=${file}`;
  return { name, line, minutes, file };
};

/**
 * The check, after all others in the eyes of the scheduler. Linux shares the processors between
 * sessions first, and each check is one: the nice value of the session counts there, that of the
 * process elsewhere.
 */
const spare = (check) => ({
  ...check,
  line: `{ echo 15 > /proc/self/autogroup; } 2>/dev/null; nice -n 15 ${check.line}`,
});

/** The check, with its temporary folders where small files cost least. */
const inScratch = (check) => ({ ...check, line: `TMPDIR=${scratch} ${check.line}` });

const INSTALLS = ['packages', 'local-start', 'image'].map((name) => `test/integration/${name}.test.ts`);
const without = (files) => files.map((file) => `--exclude='${file}'`).join(' ');

const CHECKS = [
  command('types', 'npm run --silent build:all'),
  // Each is one thread for some seconds.
  { ...command('lint', 'npm run --silent lint'), beside: 'types' },
  { ...command('layers', 'npm run --silent layers'), beside: 'unit' },
  { ...command('unused', 'npm run --silent unused'), beside: 'unit' },
  // One process for all: these tests have nothing that outlives them.
  tests('unit', 'test/unit --isolate=false'),
  { ...tests('contract', 'test/contract/log-store test/contract/public'), mayTryAgain: true },
  {
    ...tests('parts', `test/integration --exclude='test/integration/cluster/**' ${without(INSTALLS)}`),
    mayTryAgain: true,
    beside: 'contract',
  },
  // They mostly wait for npm, and for whole clusters to start.
  { ...inScratch(tests('installs', INSTALLS.join(' '))), mayTryAgain: true, beside: 'contract' },
  // Clusters mostly wait, and their times count: what runs beside them takes what they leave of the
  // processors.
  { ...tests('clusters', 'test/integration/cluster', 22), mayTryAgain: true },
  { ...spare(tests('engine', 'test/contract/engine', 20)), mayTryAgain: true, beside: 'clusters' },
  // One thread that waits for nothing: it takes what all others leave of the processors.
  { ...spare(tests('simulation', '--config test/simulation/vitest.config.ts', 25)), beside: 'unit' },
  command('quick-start', 'npm run --silent demo'),
];

/** What runs now, each the first of a process group. */
const running = new Set();
/** A signal has come: nothing is counted any more. */
let isEnding = false;

function signalAll(signal) {
  for (const child of running) {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The group has ended.
    }
  }
}

/** How long processes have for an orderly end (milliseconds). */
const END_MS = 10_000;

for (const [signal, code] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.once(signal, () => {
    isEnding = true;
    console.error(`\n${signal}: ending what runs`);
    const end = () => {
      signalAll('SIGKILL');
      removeAll();
      process.exit(code);
    };
    setTimeout(end, END_MS);
    void Promise.all([...running].map((child) => new Promise((resolve) => child.once('close', resolve)))).then(end);
    signalAll('SIGINT');
  });
}

/**
 * Resolves with the exit code, the seconds that it took, and what it printed unless that was shown
 * at once.
 */
function run({ line, minutes, beside }) {
  const startMs = performance.now();
  const output = beside === undefined ? 'inherit' : 'pipe';
  return new Promise((resolve) => {
    // A group of its own, so that a check that hangs ends with everything that it has started.
    const child = spawn(line, { shell: true, stdio: ['ignore', output, output], detached: true });
    running.add(child);
    const printed = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => printed.push(chunk));
    const timer = setTimeout(() => {
      printed.push(Buffer.from(`took longer than ${minutes} minutes\n`));
      process.kill(-child.pid, 'SIGKILL');
    }, minutes * 60_000);
    child.on('close', (code) => {
      clearTimeout(timer);
      running.delete(child);
      if (isEnding) return;
      resolve({ exitCode: code ?? 1, seconds: (performance.now() - startMs) / 1_000, text: Buffer.concat(printed) });
    });
  });
}

const read = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** A check of which no single test is known to have failed. */
const failedAsAWhole = ({ name }, passed = 0) => ({
  ...{ passed, failed: 1, skipped: 0 },
  ...{ names: [`${name}, as a whole`], flaky: [] },
});

/**
 * Counts of a check: its tests where it reports them, else itself. A run that reports no test has
 * failed.
 */
async function count(check, exitCode) {
  const { file, mayTryAgain } = check;
  if (file === undefined) {
    return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0, names: [], flaky: [] } : failedAsAWhole(check);
  }
  let first;
  try {
    first = { ...summarize(read(file)), flaky: [] };
  } catch {
    // No report: the runner itself has failed.
    return failedAsAWhole(check);
  }
  const isMissing = first.failed === 0 && (exitCode !== 0 || first.passed === 0);
  if (isMissing) return failedAsAWhole(check, first.passed);
  if (first.failed === 0 || mayTryAgain !== true) return first;
  console.log(`\n=== ${check.name}: a second try of ${first.names.join(', ')}`);
  const again = tests(`${check.name}-again`, first.files.map((name) => `'${name}'`).join(' '));
  const { exitCode: secondExitCode } = await run(again);
  try {
    const after = afterSecondTry(first, read(again.file));
    // The runner also fails for an error outside any test.
    return secondExitCode !== 0 && after.failed === 0 ? { ...after, ...failedAsAWhole(check, after.passed) } : after;
  } catch {
    return first;
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`no such check: ${unknown}; there are ${CHECKS.map((check) => check.name).join(' ')}`);
  process.exit(2);
}

const total = { passed: 0, failed: 0, skipped: 0 };
const summary = [];
const allFlaky = [];
const allFailed = [];
const chosen = CHECKS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const begun = new Map();
const begin = (check) => {
  if (!begun.has(check)) begun.set(check, run(check));
  return begun.get(check);
};
for (const check of chosen) {
  for (const other of chosen) if (other.beside === check.name) begin(other);
  console.log(`\n=== ${check.name}`);
  const { exitCode, seconds, text } = await begin(check);
  process.stdout.write(text);
  const { passed, failed, skipped, names, flaky } = await count(check, exitCode);
  allFlaky.push(...flaky);
  allFailed.push(...names);
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  const counts = `${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed`;
  summary.push(`${check.name.padEnd(12)} ${counts} ${seconds.toFixed(1).padStart(7)} s`);
}
removeAll();
console.log(`\n${summary.join('\n')}\n`);
for (const name of allFlaky) console.log(`flaky: ${name}`);
for (const name of allFailed) console.log(`failed: ${name}`);
console.log(`${total.skipped} skipped`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 ? 0 : 1);
