/**
 * A process whose files may not grow beyond a limit, once that is set (a file named `limited`
 * appears beside the store). Writes the batches of a run until one fails, then prints what it sees.
 * When the limit is lifted (a file named `lifted` appears), it tries the same batch again and
 * writes some more.
 *
 * Arguments: folder of the store, seed, bytes per group, how many writes to do after the failure.
 */
import { writeSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { EMPTY_HEAD } from '../../../shared/log-store/head.js';
import { LogStoreWriteError } from '../../../shared/log-store/port.js';
import { batchOf, dumpStore, Model } from './model.js';
import { IDENTITY, openSegments } from './subject.js';

const [folder = '', seed = '', bytes = '', more = ''] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);

const store = await openSegments(folder);
await store.load();
say('opened');
await appearance('limited');
const model = new Model();
let n = 0;
const next = () => batchOf(Number(seed), n + 1, model, IDENTITY.groups, Number(bytes));
const write = async () => {
  const batch = next();
  await store.write(batch);
  model.apply(batch);
  n++;
};

/** The log as reads show it, against the model. */
async function readsAreRight(): Promise<boolean> {
  const groups = new Map(
    [...model.groups].map(([group, head]) => {
      return [group, { ...EMPTY_HEAD, ...head, lastIndex: model.lastIndex(group), tail: [] }];
    }),
  );
  const beyond = await Promise.all(
    [...model.groups.keys()].map((group) => store.read(group, model.lastIndex(group) + 1, 1e9, 1e9)),
  );
  const seen = await dumpStore(store, { promiseLimit: model.promiseLimit, groups });
  return beyond.every((list) => list.length === 0) && isDeepStrictEqual(seen, model.dump());
}

async function failingWrite(): Promise<string> {
  const error: unknown = await write().then(
    () => 'no error',
    (reason: unknown) => reason,
  );
  return error instanceof LogStoreWriteError ? error.code : String(error);
}

async function appearance(name: string): Promise<void> {
  const isThere = () =>
    access(`${folder}.${name}`).then(
      () => true,
      () => false,
    );
  while (!(await isThere())) await delay(5);
}

let failure = 'no error';
while (failure === 'no error' && n < 10_000) failure = await failingWrite();
say(`failed ${n} ${failure} reads ${await readsAreRight()}`);
// Still full: the same again, and reads go on.
say(`failed again ${await failingWrite()} reads ${await readsAreRight()}`);
await appearance('lifted');
for (let count = 0; count < Number(more); count++) await write();
say(`recovered ${n} reads ${await readsAreRight()}`);
await store.close();
say('closed');
