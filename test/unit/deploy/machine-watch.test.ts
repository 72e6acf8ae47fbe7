/** When the sources of a state machine count as changed. */
import { expect, it } from 'vitest';
import { Changes } from '../../../deploy/local/machine-watch.js';

const told = (changes: Changes, ...looks: string[]) => looks.map((look) => changes.see(look));

it('tells of a change once, when two looks find the same', () => {
  const changes = new Changes('a');
  expect(told(changes, 'a', 'b', 'b', 'b')).toEqual([false, false, true, false]);
  expect(told(changes, 'c', 'd', 'e', 'e', 'e')).toEqual([false, false, false, true, false]);
});

it('does not tell of what was changed and changed back before it came to rest', () => {
  expect(told(new Changes('a'), 'b', 'a', 'a')).toEqual([false, false, false]);
});

it('tells of what was changed back afterwards', () => {
  expect(told(new Changes('a'), 'b', 'b', 'a', 'a')).toEqual([false, true, false, true]);
});
