/** Exactly once (T8): which try of a batch is run, and which is found to have happened already. */
import { beforeEach, expect, it } from 'vitest';
import { BatchWriter } from '../../../services/applier/postgres/batch-writer.js';
import type { OwnState } from '../../../services/applier/postgres/own-state.js';
import { DamagedError, type EngineBatch, FencedError, PositionError } from '../../../shared/engine/port.js';
import { type SettledBatch, settle } from '../../../shared/engine/results.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../../shared/engine/results-checksum.js';
import { FakeDatabase, postgresError } from './fake-database.js';

let database: FakeDatabase;
let state: OwnState;
let writer: BatchWriter;
/** The first merged index of each try. */
let tries: number[];
/** What becomes of the next tries: committed, unless one of these says otherwise. */
let faults: ('answer lost' | Error)[];

beforeEach(() => {
  database = new FakeDatabase();
  state = database.open();
  tries = [];
  faults = [];
  const runner = {
    run: async (batch: EngineBatch): Promise<SettledBatch> => {
      const { after, settled } = state.known.attempt(batch, settledOf(batch));
      tries.push(batch.commands[0]?.mergedIndex ?? 0);
      const fault = faults.shift();
      if (fault instanceof Error) throw fault;
      database.commit(after);
      if (fault !== undefined) throw new Error(fault);
      return settled;
    },
  };
  const pruner = { prune: () => undefined };
  writer = new BatchWriter({ state, connection: database, runner, pruner, windowUs: 1_000, idsMax: undefined });
});

function batch(mergedIndex: number, checksum = `${mergedIndex}`): EngineBatch {
  const place = { mergedIndex, group: 0, index: mergedIndex, term: 1, timestamp: mergedIndex };
  const about = { name: 'kv.put', payload: new Uint8Array(0), id: '', server: 's1', reply: '', traceparent: '' };
  return { commands: [{ ...place, ...about, replyFormat: 'json' }], checksum };
}

function settledOf({ commands }: EngineBatch): SettledBatch {
  return settle(commands, ['new'], [{ ok: true, json: `${commands[0]?.mergedIndex}` }], EMPTY_RESULTS_CHECKSUM);
}

it('runs one batch after the other', async () => {
  expect((await writer.write(batch(1))).applied).toMatchObject([{ mergedIndex: 1, duplicate: false }]);
  await writer.write(batch(2));
  expect(tries).toEqual([1, 2]);
  expect(state.requireOpen().mergedIndex).toBe(2);
});

it('gives the answer of a try that was committed and not answered, and runs it no more', async () => {
  faults = ['answer lost'];
  await expect(writer.write(batch(1))).rejects.toThrow('answer lost');
  expect(await writer.write(batch(1))).toEqual(settledOf(batch(1)));
  await writer.write(batch(2));
  expect(tries).toEqual([1, 2]);
});

it('runs a try again that was not committed', async () => {
  faults = [new Error('refused')];
  await expect(writer.write(batch(1))).rejects.toThrow('refused');
  expect(await writer.write(batch(1))).toEqual(settledOf(batch(1)));
  expect(tries).toEqual([1, 1]);
});

it('gives no answer of a try to another batch of the same merged index', async () => {
  faults = ['answer lost'];
  await expect(writer.write(batch(1))).rejects.toThrow('answer lost');
  const error = await writer.write(batch(1, 'another')).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(PositionError);
  expect(error).toMatchObject({ position: { mergedIndex: 1, checksum: '1' } });
  expect(tries).toEqual([1]);
});

it('goes on from where the database says it is', async () => {
  const before = state.requireOpen();
  await writer.write(batch(1));
  database.commit(before);
  await expect(writer.write(batch(3))).rejects.toBeInstanceOf(PositionError);
  await writer.write(batch(1));
  expect(tries).toEqual([1, 1]);
});

it('runs nothing on a damaged state', async () => {
  database.missing = ['public.kv'];
  state.opened({ ...state.prepared, damage: new DamagedError('public.kv is missing') }, database.found());
  await expect(writer.write(batch(1))).rejects.toBeInstanceOf(DamagedError);
  state.replaced(state.requireOpen());
  await writer.write(batch(1));
  expect(tries).toEqual([1]);
});

it('runs no second try once another engine has taken over', async () => {
  faults = [new Error('cut off')];
  await expect(writer.write(batch(1))).rejects.toThrow('cut off');
  database.epoch = 2;
  await expect(writer.write(batch(1))).rejects.toBeInstanceOf(FencedError);
  expect(tries).toEqual([1]);
});

it('gives a session up that may only read, or has failed three times in a row', async () => {
  const fail = async (error: Error) => {
    faults = [error];
    await expect(writer.write(batch(state.requireOpen().mergedIndex + 1))).rejects.toBe(error);
    return database.renewed;
  };
  expect(await fail(postgresError('25006'))).toBe(1);
  await writer.write(batch(1));
  expect(await fail(postgresError('57014'))).toBe(1);
  expect(await fail(postgresError('57014'))).toBe(1);
  expect(await fail(postgresError('57014'))).toBe(2);
});
