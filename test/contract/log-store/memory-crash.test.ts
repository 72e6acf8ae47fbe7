import { describe, expect, it } from 'vitest';
import { LogStoreUsageError } from '../../../shared/log-store/head.js';
import { LogStoreWriteError } from '../../../shared/log-store/port.js';
import { MemoryLogStore, type PendingWrite } from '../../memory/log-store.js';
import { batchOf, dumpStore, Model } from './model.js';

const BATCH = batchOf(1, 1, new Model(), 3, 50);

function held() {
  const writes: PendingWrite[] = [];
  const store = new MemoryLogStore({ onWrite: (write) => writes.push(write) });
  return { store, writes };
}

const stateOf = async (store: MemoryLogStore) => dumpStore(store, await store.load());

async function settled(promise: Promise<unknown>): Promise<string> {
  // Everything that could settle it has had its turn when the event loop comes round.
  const later = new Promise<string>((resolve) => setImmediate(() => resolve('open')));
  return Promise.race([
    promise.then(
      () => 'resolved',
      () => 'rejected',
    ),
    later,
  ]);
}

describe('a driven memory log store', () => {
  it('shows and keeps nothing of a write before it is durable', async () => {
    const { store, writes } = held();
    const writing = store.write(BATCH);
    expect(writes.map((write) => write.batch)).toEqual([BATCH]);
    expect(await settled(writing)).toBe('open');
    expect(await store.read(0, 1, 100, 1e9)).toEqual([]);
    expect(await stateOf(store.crash())).toEqual(new Model().dump());
  });

  it('keeps a write that was durable and not acknowledged', async () => {
    const { store, writes } = held();
    const writing = store.write(BATCH);
    writes[0]?.persist();
    expect(await settled(writing)).toBe('open');
    expect(await stateOf(store.crash())).toEqual(new Model().apply(BATCH).dump());
  });

  it('is deaf to the disk after a crash', async () => {
    const { store, writes } = held();
    const writing = store.write(BATCH);
    const next = store.crash();
    writes[0]?.complete();
    expect(await settled(writing)).toBe('open');
    expect(await stateOf(next)).toEqual(new Model().dump());
    expect(() => store.write(BATCH)).toThrow(LogStoreUsageError);
  });

  it('lets a failed write be tried again', async () => {
    const { store, writes } = held();
    const failing = store.write(BATCH);
    writes[0]?.fail(new Error('no space'));
    await expect(failing).rejects.toThrow(LogStoreWriteError);
    expect(await stateOf(store)).toEqual(new Model().dump());
    const second = store.write(BATCH);
    writes[1]?.complete();
    await second;
    expect(await stateOf(store)).toEqual(new Model().apply(BATCH).dump());
  });

  it('takes one write at a time', async () => {
    const { store, writes } = held();
    const first = store.write(BATCH);
    expect(() => store.write({ groups: [], promiseLimit: 5 })).toThrow(LogStoreUsageError);
    writes[0]?.complete();
    await first;
    // Acknowledged within the call of the hook.
    const eager = new MemoryLogStore({ onWrite: (write) => write.complete() });
    await eager.write(BATCH);
    await eager.write({ groups: [], promiseLimit: 5 });
    expect((await eager.load()).promiseLimit).toBe(5);
  });
});
