import { afterEach, describe, expect, it } from 'vitest';
import { type Child, start } from './child.js';
import { dumpStore, modelAfter, randomOf } from './model.js';
import { Folders, IDENTITY, openSegments } from './subject.js';

const folders = new Folders();
const children: Child[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill('SIGKILL');
    await child.ended;
  }
  await folders.cleanUp();
});

const numberIn = (line = ''): number => Number(line.split(' ').at(-1));

describe('a segment store whose process is killed', () => {
  // The large batches fill several segments, so that some kills meet it going on to the next one.
  it.each([
    ['small', 40],
    ['large', 60_000],
  ])('in the middle of %s writes keeps what was acknowledged, whole batches only', async (_name, bytes) => {
    const seed = 1;
    const random = randomOf(seed);
    const folder = await folders.make();
    let durable = 0;
    for (let round = 0; round < 6; round++) {
      const child = start('./writer.child.ts', [folder, `${seed}`, `${bytes}`]);
      children.push(child);
      const goal = round === 0 ? 'opening' : `acknowledged ${durable + 1 + Math.floor(random() * 60)}`;
      await child.line((line) => line === goal);
      // Somewhere within the writes that follow: a moment in microseconds, not a number of them.
      const until = performance.now() + random() * 3;
      while (performance.now() < until);
      child.process.kill('SIGKILL');
      expect((await child.ended).signal).toBe('SIGKILL');

      const last = child.lines.filter((line) => line.startsWith('acknowledged')).at(-1);
      const acknowledged = last === undefined ? durable : numberIn(last);
      const store = await openSegments(folder);
      const loaded = await store.load();
      const found = await dumpStore(store, loaded);
      await store.close();
      const message = `seed ${seed}, round ${round}: acknowledged ${acknowledged}, found ${loaded.promiseLimit}`;
      expect(loaded.promiseLimit, message).toBeGreaterThanOrEqual(acknowledged);
      expect(loaded.promiseLimit, message).toBeLessThanOrEqual(acknowledged + 1);
      durable = loaded.promiseLimit;
      expect(found, message).toEqual(modelAfter(seed, durable, IDENTITY.groups, bytes).dump());
    }
    expect(durable).toBeGreaterThan(20);
  });
});
