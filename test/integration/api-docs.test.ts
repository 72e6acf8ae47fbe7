/**
 * `npm run docs:api` has nothing to complain about: everything exported by the entry points is
 * documented, and so is what that refers to.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { projectRoot } from '../../deploy/local/project.js';

it('the entry points are documented, without a warning', async () => {
  const typedoc = join(projectRoot(), 'node_modules/typedoc/bin/typedoc');
  const given = ['--options', 'deploy/docs/typedoc.json', '--emit', 'none'];
  // It ends with another exit code than 0 for a warning.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [typedoc, ...given], { cwd: projectRoot() });
  expect(stdout + stderr).toBe('');
});
