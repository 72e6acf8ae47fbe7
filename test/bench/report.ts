/**
 * Prints saved results as the tables of a page (Markdown).
 *
 *     npm run -s bench:report -- test/bench/results/*.json
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { Command } from 'commander';
import { pageOf } from './report/pages.js';

const { args } = new Command('bench:report')
  .description('prints saved results as tables of Markdown')
  .argument('<files...>', 'JSON that a benchmark has saved')
  .parse();

for (const file of args) {
  console.log(`### ${basename(file, '.json')}\n\n${pageOf(JSON.parse(await readFile(file, 'utf8')))}`);
}
