/**
 * What a vitest JSON report comes to, and what a second try of its failed files changes. Pure.
 *
 * A test of real processes that fails is run once more. When it passes then, it counts as passed
 * and is named as flaky: a race to be looked for.
 */

/**
 * @param report what `vitest --reporter=json` writes
 * @returns counts (also of skipped tests), the files with a failure, and the full names of the
 *   tests that failed. A file that failed as a whole counts as one failure, under its own name.
 */
export function summarize(report) {
  const files = [];
  const names = [];
  for (const { name, status, assertionResults } of report.testResults) {
    const failed = assertionResults.filter((test) => test.status === 'failed').map((test) => test.fullName);
    if (failed.length === 0 && status !== 'failed') continue;
    files.push(name);
    names.push(...(failed.length === 0 ? [name] : failed));
  }
  const all = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const skipped = all.filter(({ status }) => status === 'skipped' || status === 'todo').length;
  return { passed: report.numPassedTests, failed: names.length, skipped, files, names };
}

/**
 * @param first summary of the whole run
 * @param second report of the run of `first.files` only
 * @returns counts in which a test that passed the second time has passed, the names of those, and
 *   the names of what failed for good
 */
export function afterSecondTry(first, second) {
  const again = summarize(second);
  const ran = new Set(
    second.testResults.flatMap(({ name, status, assertionResults }) => [
      ...assertionResults.filter((test) => test.status === 'passed').map((test) => test.fullName),
      ...(status === 'passed' ? [name] : []),
    ]),
  );
  const flaky = first.names.filter((name) => ran.has(name) && !again.names.includes(name));
  const names = [...new Set([...first.names.filter((name) => !flaky.includes(name)), ...again.names])];
  return { passed: first.passed + flaky.length, failed: names.length, skipped: first.skipped, names, flaky };
}
