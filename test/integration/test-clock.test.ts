/**
 * The clock that tests may put wrong: said aloud, refused when it is no number, and known to
 * services/main.ts alone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { servicesProgram } from '../../deploy/local/project.js';
import { eventually, freePort, temporaryFolder } from '../harness/index.js';

let running: ChildProcess | undefined;
afterEach(() => {
  running?.kill('SIGKILL');
});

/** Starts a replica that finds no NATS; everything that it says is in `text`. */
async function start(offset: string | undefined): Promise<{ process: ChildProcess; said: { text: string } }> {
  const folder = await temporaryFolder('clock');
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1',
    CRAFT_DATA_DIR: folder.path,
    CRAFT_NATS_URL: `nats://127.0.0.1:${await freePort()}`,
    ...(offset === undefined ? {} : { CRAFT_TEST_CLOCK_OFFSET_MS: offset }),
  };
  running = spawn(process.execPath, [servicesProgram(), 'replica'], { env: environment });
  running.once('exit', () => void folder.remove());
  const said = { text: '' };
  for (const stream of [running.stdout, running.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said.text += chunk.toString();
    });
  }
  return { process: running, said };
}

it('is a warning in the log', async () => {
  const { said } = await start('-1500');
  await eventually('the warning', () => said.text.includes('\n'));
  expect(JSON.parse(said.text.split('\n')[0] ?? '')).toMatchObject({
    level: 40,
    offsetMs: -1_500,
    msg: expect.stringMatching(/FOR TESTS ONLY: CRAFT_TEST_CLOCK_OFFSET_MS is set/),
  });
});

it('ends the start when it is no integer', async () => {
  const { process, said } = await start('much');
  const [code] = await once(process, 'exit');
  expect(code).toBe(2);
  expect(said.text).toMatch(/CRAFT_TEST_CLOCK_OFFSET_MS/);
});

it('is read in services/main.ts and nowhere else, but by craft doctor, which warns of it', () => {
  const files = ['services', 'shared'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  );
  const sources = files.filter((file) => file.endsWith('.ts'));
  const reading = sources.filter((file) => readFileSync(file, 'utf8').includes('CRAFT_TEST_'));
  expect(reading.filter((file) => !file.startsWith('services/cli/doctor/'))).toEqual(['services/main.ts']);
});
