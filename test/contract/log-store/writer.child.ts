/**
 * A process that writes the batches of a run for ever, going on where the store stands. It prints
 * `opening`, then `opened n`, then `acknowledged n` for each, at once and synchronously. So a line
 * is out before the next write begins.
 *
 * Arguments: folder, seed, bytes per group.
 */
import { writeSync } from 'node:fs';
import { batchOf, modelAfter } from './model.js';
import { IDENTITY, openSegments } from './subject.js';

const [folder = '', seed = '', bytes = ''] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);

say('opening');
const store = await openSegments(folder);
const { promiseLimit } = await store.load();
const model = modelAfter(Number(seed), promiseLimit, IDENTITY.groups, Number(bytes));
say(`opened ${promiseLimit}`);
for (let n = promiseLimit + 1; ; n++) {
  const batch = batchOf(Number(seed), n, model, IDENTITY.groups, Number(bytes));
  await store.write(batch);
  model.apply(batch);
  say(`acknowledged ${n}`);
}
