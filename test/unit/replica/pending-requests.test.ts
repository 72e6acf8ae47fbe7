/** Requests that the core answers later: bounded, and none is dropped below the bound. */
import { expect, it } from 'vitest';
import { UNDER_WAY_MAX } from '../../../services/applier/read-barrier.js';
import { BARRIERS_MAX } from '../../../services/replica/core/barrier.js';
import { PendingRequests } from '../../../services/replica/pending-requests.js';

it('are all answered up to the bound; beyond it the oldest gives way', () => {
  const begun: number[] = [];
  const forgotten: number[] = [];
  const pending = new PendingRequests<string, string>(
    3,
    (id) => begun.push(id),
    (id) => forgotten.push(id),
  );
  const answers: string[] = [];
  for (const name of ['a', 'b', 'c']) pending.add(name, (answer) => answers.push(`${name} ${answer}`));
  expect(forgotten).toEqual([]);
  pending.add('d', (answer) => answers.push(`d ${answer}`));
  expect(forgotten).toEqual([begun[0]]);
  for (const id of begun) pending.answer(id, `${id}`);
  expect(answers).toEqual(['b 2', 'c 3', 'd 4']);
});

it('a replica has room for all barriers of two appliers', () => {
  expect(BARRIERS_MAX).toBeGreaterThanOrEqual(2 * UNDER_WAY_MAX);
});
