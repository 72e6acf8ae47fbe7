import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { LevelLogStore } from '../../../shared/log-store/level.js';
import { LevelDatabase } from '../../../shared/log-store/level-database.js';
import { encodeWriteNumber, WRITE_KEY } from '../../../shared/log-store/level-record.js';
import { type Child, start } from './child.js';
import { dumpStore, modelAfter } from './model.js';
import { Folders, IDENTITY } from './subject.js';

const SEED = 5;
const BYTES = 20_000;
const MORE = 40;

const folders = new Folders();
const children: Child[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill('SIGKILL');
    await child.ended;
  }
  await folders.cleanUp();
});

async function stateOf(folder: string) {
  const store = await LevelLogStore.open({ ...IDENTITY, folder });
  const loaded = await store.load();
  const state = await dumpStore(store, loaded);
  await store.close();
  return { promiseLimit: loaded.promiseLimit, state };
}

/** A process that has met its limit, and the number of the last write that was acknowledged before. */
async function failed(folder: string): Promise<{ child: Child; acknowledged: number }> {
  const child = start('./failing.child.ts', [folder, `${SEED}`, `${BYTES}`, `${MORE}`], { fileKiBMax: 2_000 });
  children.push(child);
  const line = await child.line((text) => text.startsWith('failed again'));
  const acknowledged = Number(child.lines[0]?.split(' ')[1]);
  expect(child.lines[0]).toBe(`failed ${acknowledged} LOG_STORE_WRITE reads true`);
  expect(line).toBe('failed again LOG_STORE_WRITE reads true');
  expect(acknowledged).toBeGreaterThan(5);
  return { child, acknowledged };
}

describe('reopening after a failed write', () => {
  const operations = (write: number) => [
    { type: 'put' as const, key: WRITE_KEY, value: encodeWriteNumber(write) },
    { type: 'put' as const, key: `key ${write}`, value: Buffer.alloc(50_000, write) },
  ];

  it('takes the write out of the journal also when all of it has arrived there', async () => {
    const database = await LevelDatabase.open(await folders.make());
    for (const write of [1, 2, 3]) await database.write(operations(write));
    // Reads before, during and after it are served.
    const before = database.get('key 2');
    const reopening = database.reopen(2, 0);
    const during = database.get('key 2');
    await reopening;
    expect([...(await readWriteNumberOf(database))]).toEqual([...encodeWriteNumber(2)]);
    expect(await database.get('key 3')).toBeUndefined();
    for (const value of [await before, await during, await database.get('key 2')]) expect(value).toHaveLength(50_000);
    await database.write(operations(3));
    expect(await database.get('key 3')).toHaveLength(50_000);
    await database.close();
  });

  async function readWriteNumberOf(database: LevelDatabase): Promise<Uint8Array> {
    return (await database.get(WRITE_KEY)) ?? new Uint8Array();
  }
});

// prlimit and inherited signal dispositions are Linux.
describe.skipIf(process.platform !== 'linux')('a level log store whose write the file system refuses', () => {
  it('rejects, shows nothing of it, and goes on when there is space again', async () => {
    const folder = `${await folders.make()}/store`;
    const { child, acknowledged } = await failed(folder);
    execFileSync('prlimit', ['--pid', `${child.process.pid}`, '--fsize=unlimited:unlimited']);
    await writeFile(`${folder}.lifted`, '');
    const total = acknowledged + MORE;
    expect(await child.line((line) => line.startsWith('recovered'))).toBe(`recovered ${total} reads true`);
    expect((await child.ended).code).toBe(0);
    expect(child.lines.at(-1)).toBe('closed');
    expect(await stateOf(folder)).toEqual({
      promiseLimit: total,
      state: modelAfter(SEED, total, IDENTITY.groups, BYTES).dump(),
    });
  });

  it('has lost nothing that was acknowledged when it is killed then', async () => {
    const folder = `${await folders.make()}/store`;
    const { child, acknowledged } = await failed(folder);
    child.process.kill('SIGKILL');
    await child.ended;
    expect(await stateOf(folder)).toEqual({
      promiseLimit: acknowledged,
      state: modelAfter(SEED, acknowledged, IDENTITY.groups, BYTES).dump(),
    });
  });
});
