/** Facts of the disk of the log store. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type DiskFacts, type Fact, type Facts, SKIPPED } from '../facts.js';
import { LOOK_MS_MAX, LookError, within } from './within.js';

const PROGRAM = fileURLToPath(new URL('./disk-process.js', import.meta.url));
const REMEDY = 'give CRAFT_DATA_DIR, and run it as the user of the server';

const answer = z.union([
  z.object({
    value: z.object({
      path: z.string(),
      fileSystem: z.string().optional(),
      freeBytes: z.number(),
      totalBytes: z.number(),
      writes: z.union([z.object({ syncMs: z.array(z.number()) }), z.object({ why: z.string() })]),
    }),
  }),
  z.object({ error: z.string() }),
]);

export async function diskFact(
  folder: string | undefined,
  environment: Facts['environment'],
): Promise<Fact<DiskFacts>> {
  // As for the services, an empty variable is none.
  if (!folder) {
    // The log store has no folder then.
    if (environment['CRAFT_LOG_STORE'] === 'jetstream') return SKIPPED;
    return {
      is: 'not given',
      why: 'not looked at: the data folder is not given',
      remedy: 'set CRAFT_DATA_DIR (--data-dir)',
    };
  }
  // A process that waits for a disk cannot be ended: this one does not wait for it.
  const child = spawn(process.execPath, [PROGRAM, folder], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    return await within(
      async () => {
        const parsed = answer.parse(JSON.parse(await text(child.stdout)));
        if ('error' in parsed) throw new LookError(`could not look: ${parsed.error}`, REMEDY);
        const { fileSystem, ...value } = parsed.value;
        return { ...value, fileSystem };
      },
      `check whether the disk of ${folder} hangs`,
      LOOK_MS_MAX,
    );
  } finally {
    child.kill('SIGKILL');
    child.stdout.destroy();
    child.unref();
  }
}
