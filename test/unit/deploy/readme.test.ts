/** What README.md has to say. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';

const readme = readFileSync(join(projectRoot(), 'README.md'), 'utf8');

it('pitfall: another protocol is called CRaft: README.md says early which one this is, and which one it is not', () => {
  const [introduction = ''] = readme.split('\n## ');
  expect(introduction).toMatch(
    /Not CRaft, the erasure-coded Raft of FAST '20: this is a multi-leader extension of Raft/,
  );
});
