/** What the log of a service says went wrong since it was started. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { endReason, newestError } from '../../../deploy/local/log-errors.js';

const line = (level: number, time: string, msg: string) => JSON.stringify({ level, time, msg });
const startedMs = Date.parse('2026-01-01T00:01:00.000Z');

async function logWith(...lines: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'craft-log-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 's1.log');
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
}

it('is the newest error since the start: not a warning, and not one of the life before', async () => {
  const before = line(50, '2026-01-01T00:00:59.000Z', 'of the life before');
  expect(await newestError(await logWith(before, line(40, '2026-01-01T00:01:01.000Z', 'a warning')), startedMs)).toBe(
    undefined,
  );
  const log = await logWith(
    before,
    line(50, '2026-01-01T00:01:01.000Z', 'first'),
    line(60, '2026-01-01T00:01:02.000Z', 'second'),
    line(30, '2026-01-01T00:01:03.000Z', 'information'),
    'no JSON',
  );
  expect(await newestError(log, startedMs)).toBe('second');
});

it('is found at the end of a long log; a log that is not there has none', async () => {
  const filler = Array.from({ length: 2_000 }, () => line(30, '2026-01-01T00:01:01.000Z', 'x'.repeat(100)));
  const log = await logWith(...filler, line(50, '2026-01-01T00:01:02.000Z', 'at the end'));
  expect(await newestError(log, startedMs)).toBe('at the end');
  expect(await newestError('/nowhere/s1.log', startedMs)).toBe(undefined);
});

it('of an end is the newest error since the process began, or else the last line that is no JSON', async () => {
  const before = line(60, '2026-01-01T00:00:59.000Z', 'of the life before');
  const start = Buffer.byteLength(`${before}\n`);
  const error = line(60, '2026-01-01T00:01:02.000Z', 'the log store is locked');
  const information = line(30, '2026-01-01T00:01:03.000Z', 'information');
  const usage = 'wrong configuration: CRAFT_SERVER: required';
  expect(await endReason(await logWith(before, error, information, 'no JSON'), start)).toBe('the log store is locked');
  expect(await endReason(await logWith(before, information, usage, ''), start)).toBe(usage);
  expect(await endReason(await logWith(before, information), start)).toBe(undefined);
  expect(await endReason(await logWith(before), start)).toBe(undefined);
});
