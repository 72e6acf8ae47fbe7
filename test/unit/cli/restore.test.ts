import { expect, it } from 'vitest';
import { whyNotRestored } from '../../../services/cli/snapshots.js';

it.each([
  [
    'the switch with which a machine of several versions begins',
    1,
    2,
    /the switch to version 2 .*--replace, which loses no command/,
  ],
  ['a command', 1, 1, /there is a state at merged index 1, which would be lost/],
  ['a command after the switch', 2, 2, /there is a state at merged index 2, which would be lost/],
  ['something of an older server', 1, undefined, /there is a state at merged index 1/],
])('a log that has %s', (_, mergedIndex, version, why) => {
  expect(whyNotRestored(mergedIndex, version)).toMatch(why);
});
