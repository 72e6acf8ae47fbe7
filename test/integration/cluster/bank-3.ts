/** A bank, version 3, whose migration fails on the rows that there are. */
import one from './bank-1.js';
import two from './bank-2.js';

export default { ...two, version: 3, lastMigration: '0002_rich' };
export const earlier = [one, two];
