import { expect, it } from 'vitest';
import { whyNotRestored } from '../../../services/cli/snapshots.js';

it.each([
  ['with the first version of the machine', 1, /^a state exists at merged index 2; to overwrite it, add --replace$/],
  ['of an older server', undefined, /^a state exists at merged index 2; to overwrite it, add --replace$/],
  ['that may have begun with a switch', 3, /add --replace; in a new cluster it is only the switch to version 3 /],
])('a file is not restored over a state %s', (_, version, why) => {
  expect(whyNotRestored(2, version)).toMatch(why);
});
