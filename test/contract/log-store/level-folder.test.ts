import { ClassicLevel } from 'classic-level';
import { afterEach, describe, expect, it } from 'vitest';
import { LogStoreFormatError, LogStoreIdentityError, LogStoreLockedError } from '../../../shared/log-store/errors.js';
import { LevelLogStore } from '../../../shared/log-store/level.js';
import { decodeIdentity, FORMAT, IDENTITY_KEY, sealJson } from '../../../shared/log-store/level-record.js';
import { type Child, start } from './child.js';
import { entries } from './model.js';
import { Folders, IDENTITY } from './subject.js';

const folders = new Folders();
const children: Child[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill('SIGKILL');
    await child.ended;
  }
  await folders.cleanUp();
});

async function stored(): Promise<string> {
  const folder = await folders.make();
  const store = await LevelLogStore.open({ ...IDENTITY, folder });
  await store.load();
  await store.write({ groups: [{ group: 0, entries: entries(1, 3, 1) }] });
  await store.close();
  return folder;
}

describe('the folder of a level log store', () => {
  it.each([
    ['cluster', { ...IDENTITY, cluster: 'other' }],
    ['server', { ...IDENTITY, server: 's2' }],
    ['number of groups', { ...IDENTITY, groups: 5 }],
  ])('of another %s is refused, both named', async (_name, expected) => {
    const folder = await stored();
    const error: unknown = await LevelLogStore.open({ ...expected, folder }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LogStoreIdentityError);
    expect(error).toMatchObject({ code: 'LOG_STORE_IDENTITY', folder, expected, found: IDENTITY });
    for (const part of [folder, ...Object.values(expected), ...Object.values(IDENTITY)]) {
      expect(String(error)).toContain(String(part));
    }
    // Nothing stays locked, and the right one may still open it.
    await (await LevelLogStore.open({ ...IDENTITY, folder })).close();
  });

  it('of a later format is refused', async () => {
    const folder = await stored();
    const level = new ClassicLevel<string, Uint8Array>(folder, { valueEncoding: 'view' });
    const identity = decodeIdentity((await level.get(IDENTITY_KEY)) ?? new Uint8Array());
    await level.put(IDENTITY_KEY, sealJson(IDENTITY_KEY, { ...identity, format: FORMAT + 1 }));
    await level.close();
    await expect(LevelLogStore.open({ ...IDENTITY, folder })).rejects.toThrow(LogStoreFormatError);
  });

  it('that is open in this process is refused', async () => {
    const folder = await stored();
    const store = await LevelLogStore.open({ ...IDENTITY, folder });
    await expect(LevelLogStore.open({ ...IDENTITY, folder })).rejects.toThrow(LogStoreLockedError);
    await store.close();
  });

  it('that another process writes is refused at any moment, and that process is not disturbed', async () => {
    const folder = await folders.make();
    const child = start('./writer.child.ts', [folder, '7', '100']);
    children.push(child);
    await child.line((line) => line === 'acknowledged 1');
    for (let attempt = 0; attempt < 20; attempt++) {
      await expect(LevelLogStore.open({ ...IDENTITY, folder })).rejects.toThrow(LogStoreLockedError);
    }
    const seen = child.lines.length;
    await child.line((line) => line === `acknowledged ${seen + 20}`);
  });

  it('is made when it is missing, and is damaged when it holds another database', async () => {
    const folder = `${await folders.make()}/a/b`;
    await (await LevelLogStore.open({ ...IDENTITY, folder })).close();
    const foreign = await folders.make();
    const level = new ClassicLevel(foreign);
    await level.put('some', 'thing');
    await level.close();
    await expect(LevelLogStore.open({ ...IDENTITY, folder: foreign })).rejects.toMatchObject({
      code: 'LOG_STORE_CORRUPT',
    });
  });
});
