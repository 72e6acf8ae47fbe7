/** `craft recover` does the same with every durable log store. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { recover } from '../../../services/cli/recover.js';
import { LOG_STORES, replicaConfig } from '../../../shared/config/config.js';
import { type LogStoreConfig, openLogStore, placeOf } from '../../../shared/log-store/open.js';
import type { LoadedState } from '../../../shared/log-store/port.js';
import { recoveredConfiguration } from '../../../shared/raft/entry.js';
import { startTestNats, type TestNats } from '../../harness/servers.js';
import { configuration, entries } from './model.js';
import { Folders } from './subject.js';

const SURVIVORS = ['s1', 's2'];

const folders = new Folders();
let nats: TestNats;
let made = 0;

beforeAll(async () => {
  nats = await startTestNats({ syncAlways: true });
});
afterEach(() => folders.cleanUp());
afterAll(() => nats?.stop());

async function configOf(kind: string): Promise<LogStoreConfig> {
  return replicaConfig({
    CRAFT_CLUSTER: `recover${++made}`,
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1,s2,s3',
    CRAFT_GROUPS: '2',
    CRAFT_NATS_URL: nats.url,
    CRAFT_DATA_DIR: await folders.make(),
    CRAFT_LOG_STORE: kind,
    CRAFT_LOG_STORE_SYNC: 'vouched',
  });
}

async function loaded(config: LogStoreConfig): Promise<LoadedState> {
  const store = await openLogStore(config);
  try {
    return await store.load();
  } finally {
    await store.close();
  }
}

describe.each(LOG_STORES)('craft recover with a %s log store', (kind) => {
  async function stored(): Promise<LogStoreConfig> {
    const config = await configOf(kind);
    const store = await openLogStore(config);
    await store.load();
    const hardState = { term: 4, votedFor: 's3', commitIndex: 3 };
    const configurations = [configuration(0, 0), configuration(2, 1)];
    await store.write({
      promiseLimit: 9,
      groups: [{ group: 0, hardState, configurations, entries: entries(1, 5, 1) }],
    });
    await store.close();
    return config;
  }

  it('shows what is there, and changes nothing, until it is confirmed', async () => {
    const store = await stored();
    const before = await loaded(store);
    const lines: string[] = [];
    await recover({ store, survivors: SURVIVORS, confirm: undefined }, (line) => lines.push(line));
    expect(lines).toEqual([
      'group 0: log up to 5, committed at least up to 3, term 4, voters s1, s2, s2',
      'group 1: nothing stored',
      `nothing is changed. To go on with s1, s2 alone, repeat with --confirm ${store.cluster}`,
    ]);
    expect(await loaded(store)).toEqual(before);
  });

  it('makes the survivors the members of every group, and leaves the logs as they are', async () => {
    const store = await stored();
    const before = await loaded(store);
    await recover({ store, survivors: SURVIVORS, confirm: store.cluster }, () => undefined);
    const after = await loaded(store);
    const configurations = [recoveredConfiguration(SURVIVORS)];
    expect(after.groups.get(0)).toEqual({ ...before.groups.get(0), configurations });
    expect(after.groups.get(1)?.configurations).toEqual(configurations);
    expect(after.promiseLimit).toBe(9);
  });

  it('refuses what cannot be meant', async () => {
    const store = await stored();
    const print = () => undefined;
    for (const wrong of [
      { store, survivors: ['s2'], confirm: store.cluster },
      { store, survivors: SURVIVORS, confirm: 'other' },
      // Nothing is made where there is nothing.
      {
        store: { ...store, server: 's2', dataDir: join(store.dataDir, 'none') },
        survivors: SURVIVORS,
        confirm: store.cluster,
      },
    ]) {
      await expect(recover(wrong, print)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect(await readdir(store.dataDir)).toEqual(kind === 'jetstream' ? [] : ['log']);
  });
});

it('craft recover makes no store in a folder that is empty', async () => {
  const store = await configOf('segments');
  await mkdir(placeOf(store));
  const about = { store, survivors: SURVIVORS, confirm: store.cluster };
  await expect(recover(about, () => undefined)).rejects.toThrow(placeOf(store));
  expect(await readdir(placeOf(store))).toEqual([]);
});
