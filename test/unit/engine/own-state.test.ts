/** What an error of the database says about the state that an engine has opened. */
import { beforeEach, expect, it } from 'vitest';
import type { OwnState } from '../../../services/applier/postgres/own-state.js';
import { DamagedError, FencedError, PositionError, ReplacedError } from '../../../shared/engine/port.js';
import { FakeDatabase, postgresError } from './fake-database.js';

let database: FakeDatabase;
let state: OwnState;

beforeEach(() => {
  database = new FakeDatabase();
  database.epoch = 3;
  state = database.open();
});

it('leaves an error that says nothing about the state as it is', async () => {
  const error = postgresError('57014');
  expect(await state.explain(error)).toBe(error);
  const gone = postgresError('42P01');
  expect(await state.explain(gone)).toBe(gone);
});

it('takes a table that is gone with all others for a database that was replaced', async () => {
  database.isEmptied = true;
  expect(await state.explain(postgresError('42P01'))).toBeInstanceOf(ReplacedError);
});

it('takes a table that is gone by itself for damage, and damage of another state for a replaced database', async () => {
  database.missing = ['public.kv'];
  expect(await state.explain(postgresError('42P01'))).toBeInstanceOf(DamagedError);
  database.epoch = 2;
  expect(await state.explain(new DamagedError('of before'))).toBeInstanceOf(ReplacedError);
});

it('goes on from where a database is that has gone back', () => {
  const found = {
    ...state.requireOpen(),
    mergedIndex: 7,
    divergence: undefined,
    machine: undefined,
    cluster: undefined,
  };
  expect(() => state.require({ ...found, epoch: 3 }, [])).not.toThrow();
  expect(state.requireOpen().mergedIndex).toBe(0);
  expect(() => state.require({ ...found, epoch: 3 }, [1])).toThrow(PositionError);
  expect(state.requireOpen().mergedIndex).toBe(7);
  expect(() => state.require({ ...found, epoch: 2, mergedIndex: 8 }, [])).toThrow(ReplacedError);
  expect(state.requireOpen().mergedIndex).toBe(7);
});

it('marks a difference only while nobody else has taken over', async () => {
  await state.markDiverged('rows\0differ');
  expect(state.divergence).toBe('rowsdiffer');
  const again = database.open();
  database.epoch = 4;
  await expect(again.markDiverged('rows differ')).rejects.toBeInstanceOf(FencedError);
  expect(again.divergence).toBeUndefined();
});

it('is whole again once it has been replaced', async () => {
  await state.markDiverged('rows differ');
  const position = { ...state.requireOpen(), mergedIndex: 9 };
  expect(state.replaced(position)).toEqual(position);
  expect(state.divergence).toBeUndefined();
  expect(state.requireOpen().mergedIndex).toBe(9);
});
