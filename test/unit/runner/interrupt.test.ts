/** Ctrl-C ends `npm test` and all that it has started. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';

/** Processes, by id, whose environment has this mark; they inherit it. */
function marked(mark: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
      } catch {
        // It has ended, or is another user's.
        return false;
      }
    })
    .map(Number);
}

it.skipIf(!existsSync('/proc/self/environ'))('an interrupt ends the checks and their processes', async () => {
  const mark = randomUUID();
  const child = spawn(process.execPath, ['test/run.mjs', 'layers'], {
    cwd: projectRoot(),
    env: { ...process.env, CRAFT_TEST_MARK: mark },
    stdio: 'ignore',
  });
  try {
    // npm, a shell and the check itself.
    await expect.poll(() => marked(mark).length, { timeout: 20_000 }).toBeGreaterThan(2);
    const exit = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await exit).toBe(130);
    await expect.poll(() => marked(mark), { timeout: 5_000 }).toEqual([]);
  } finally {
    child.kill('SIGKILL');
  }
});
