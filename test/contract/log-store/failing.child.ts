/**
 * A process whose files may not grow beyond a limit: writes the batches of a run until one fails, then prints what it sees. When
 * the limit is lifted (a file named `lifted` appears beside the store), it tries the same batch again and writes some more.
 *
 * Arguments: folder of the store, seed, bytes per group, how many writes to do after the failure.
 */
import { writeSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { EMPTY_HEAD } from '../../../shared/log-store/head.js';
import { LevelLogStore } from '../../../shared/log-store/level.js';
import { LogStoreWriteError } from '../../../shared/log-store/port.js';
import { batchOf, dumpStore, Model } from './model.js';
import { IDENTITY } from './subject.js';

const [folder = '', seed = '', bytes = '', more = ''] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);

const store = await LevelLogStore.open({ ...IDENTITY, folder });
await store.load();
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

let failure = 'no error';
while (failure === 'no error' && n < 10_000) failure = await failingWrite();
say(`failed ${n} ${failure} reads ${await readsAreRight()}`);
// Still full: the same again, and reads go on.
say(`failed again ${await failingWrite()} reads ${await readsAreRight()}`);
while (
  !(await access(`${folder}.lifted`).then(
    () => true,
    () => false,
  ))
)
  await delay(5);
for (let count = 0; count < Number(more); count++) await write();
say(`recovered ${n} reads ${await readsAreRight()}`);
await store.close();
say('closed');
