import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type Child, start } from './child.js';
import { dumpStore, modelAfter } from './model.js';
import { Folders, IDENTITY, openSegments } from './subject.js';

const SEED = 5;
const BYTES = 20_000;
const MORE = 40;
/** A write beyond this fails; the segment is larger. */
const FILE_BYTES_MAX = 2_000_000;

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
  const store = await openSegments(folder);
  const loaded = await store.load();
  const state = await dumpStore(store, loaded);
  await store.close();
  return { promiseLimit: loaded.promiseLimit, state };
}

/**
 * A process that has met its limit, and the number of the last write that was acknowledged before.
 */
async function failed(folder: string): Promise<{ child: Child; acknowledged: number }> {
  const child = start('./failing.child.ts', [folder, `${SEED}`, `${BYTES}`, `${MORE}`], {
    ignoresFileLimit: true,
  });
  children.push(child);
  await child.line((text) => text === 'opened');
  setLimit(child, `${FILE_BYTES_MAX}`);
  await writeFile(`${folder}.limited`, '');
  const line = await child.line((text) => text.startsWith('failed again'));
  const [, first = ''] = child.lines;
  const acknowledged = Number(first.split(' ')[1]);
  expect(first).toBe(`failed ${acknowledged} LOG_STORE_WRITE reads true`);
  expect(line).toBe('failed again LOG_STORE_WRITE reads true');
  expect(acknowledged).toBeGreaterThan(5);
  return { child, acknowledged };
}

function setLimit({ process: { pid } }: Child, bytes: string): void {
  execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${bytes}:unlimited`]);
}

// prlimit and inherited signal dispositions are Linux.
describe.skipIf(process.platform !== 'linux')('a segment store whose write the file system refuses', () => {
  it('rejects, shows nothing of it, and goes on when there is space again', async () => {
    const folder = `${await folders.make()}/store`;
    const { child, acknowledged } = await failed(folder);
    setLimit(child, 'unlimited');
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
