/**
 * Looks at a disk in a process of its own, which can be left alone when the disk hangs. Prints the
 * facts, or the error, as JSON.
 */

import { messageOf } from '../../../../shared/errors.js';
import { probeDisk } from './disk-probe.js';

const [folder = ''] = process.argv.slice(2);
const answer = await probeDisk(folder).then(
  (value) => ({ value }),
  (error: unknown) => ({ error: messageOf(error) }),
);
process.stdout.write(JSON.stringify(answer));
