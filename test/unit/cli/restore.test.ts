import { expect, it } from 'vitest';
import { whyNotRestored } from '../../../services/cli/snapshots.js';

it.each([
  ['with the first version of the machine', 1, /^there is a state at merged index 2, .*--replace if that is meant$/],
  ['of an older server', undefined, /^there is a state at merged index 2, .*--replace if that is meant$/],
  [
    'that may have begun with a switch',
    3,
    /--replace if that is meant; in a new cluster it is only the switch to version 3 /,
  ],
])('a file is not restored over a state %s', (_, version, why) => {
  expect(whyNotRestored(2, version)).toMatch(why);
});
