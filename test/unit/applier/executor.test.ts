/** What the executor tells of what it reads. */
import { expect, it } from 'vitest';
import type { ApplierCore } from '../../../services/applier/core/applier.js';
import type { Effect } from '../../../services/applier/core/effect.js';
import { type Adapters, Executor, type Outside } from '../../../services/applier/executor.js';
import { eventually } from '../../harness/index.js';

it.each([
  ['stream', { type: 'read', id: 1 }],
  ['end of the log', { type: 'follow', id: 1, wanted: 1 }],
] as const)('tells what it has read of the %s, before the core has it', async (_, effect) => {
  const runs = [{ firstMergedIndex: 1 }];
  const said: unknown[] = [];
  const effects: Effect[] = [effect];
  const take = (_id: number, found: unknown) => void said.push('the core', found);
  const core = {
    advance: () => undefined,
    run: () => effects.splice(0),
    nextWakeMs: performance.now() + 60_000,
    stream: { read: (id: number, piece: { runs: unknown }) => take(id, piece.runs), followed: take },
  } as unknown as ApplierCore;
  const adapters = {
    reader: { read: () => Promise.resolve({ runs, isEnd: true }) },
    tail: { next: (_wanted: number, answer: (found: unknown) => void) => answer(runs) },
  } as unknown as Adapters;
  const outside = {
    onTurn: () => undefined,
    onArrived: (found: unknown) => void said.push('arrived', found),
    onFatal: (error: Error) => expect.unreachable(error.message),
  } as unknown as Outside;
  const executor = new Executor(core, adapters, outside);
  executor.dispatch(() => undefined);
  await eventually('both', () => said.length === 4);
  expect(said).toEqual(['arrived', runs, 'the core', runs]);
});
