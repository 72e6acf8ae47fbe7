/**
 * A file in place of the whole state, as a command in the log (T10): once, at its place, the same
 * at every server.
 */
import { expect, it } from 'vitest';
import { restoringOf } from '../../../services/applier/core/restoring.js';
import { applyRestoring } from '../../../services/applier/restoring.js';
import {
  type EngineBatch,
  type MergedCommand,
  PositionError,
  SnapshotFormatError,
  type StorageEngine,
} from '../../../shared/engine/port.js';
import { CHECKPOINT_INTERVAL } from '../../../shared/merge/merge.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import { MemoryEngine } from '../../memory/engine.js';

const encoder = new TextEncoder();
const INPUT = { object: 'file-1', digest: 'digest', replace: true };

function command(mergedIndex: number, name: string, input: unknown, id = ''): MergedCommand {
  const payload = encoder.encode(typeof input === 'string' ? input : JSON.stringify(input));
  const place = { mergedIndex, group: 0, index: mergedIndex + 1, term: 1, timestamp: mergedIndex * 1_000 };
  return { ...place, name, payload, id, server: 's1', reply: '', traceparent: '', replyFormat: 'json' };
}

function batch(...commands: MergedCommand[]): EngineBatch {
  return { commands, checksum: String(commands[commands.length - 1]?.mergedIndex).padStart(16, '0') };
}

async function engineWith(...batches: EngineBatch[]): Promise<StorageEngine> {
  const engine = new MemoryEngine({ resultWindowMs: 60_000 });
  await engine.open();
  for (const one of batches) await engine.apply(one);
  return engine;
}

const file = await engineWith(batch(command(1, 'kv.put', { key: 'a', value: 'of the file' }, 'once')));
const opened = async (digest: string) => ({ ...(await file.snapshot()), digest });
const open = () => opened('digest');

it('puts the state of the file in place of the own one, and goes on in the own log', async () => {
  const engine = await engineWith(batch(command(1, 'kv.put', { key: 'b', value: 1 })));
  const restoring = batch(command(2, RESTORE_COMMAND, INPUT));
  expect(restoringOf(restoring)).toEqual(INPUT);
  const { applied, checkpoints } = await applyRestoring(engine, open, restoring, INPUT);
  expect(applied).toMatchObject([{ mergedIndex: 2, group: 0, timestamp: 2_000, duplicate: false }]);
  expect(applied[0]?.outcome).toEqual({ ok: true, json: '{"restored":"digest"}' });
  expect(checkpoints).toEqual([]);
  expect(await engine.query('kv.get', { key: 'b' })).toBeNull();
  expect(await engine.query('kv.get', { key: 'a' })).toEqual({ value: 'of the file', version: 1 });
  const { mergedIndex, checksum, timestamp, positions } = await engine.locate([]);
  expect({ mergedIndex, checksum, timestamp }).toEqual({
    mergedIndex: 2,
    checksum: restoring.checksum,
    timestamp: 2_000,
  });
  expect(positions).toEqual([{ index: 3, term: 1, timestamp: 2_000 }]);
  // A result by id of the old cluster, in the new one (T8).
  const again = await engine.apply(batch(command(3, 'kv.put', { key: 'a', value: 'again' }, 'once')));
  expect(again.applied).toMatchObject([{ duplicate: true, outcome: { ok: true, json: '{"version":1}' } }]);
});

it('has the same checksum over the outcomes at every server, also where they differed before, and another one for another file', async () => {
  const after = async (digest: string, name: string) => {
    const engine = await engineWith(batch(command(1, name, { key: 'b', value: 1 })));
    const input = { ...INPUT, digest };
    await applyRestoring(engine, () => opened(digest), batch(command(2, RESTORE_COMMAND, input)), input);
    return (await engine.locate([])).resultsChecksum;
  };
  expect(await after('one', 'kv.put')).toBe(await after('one', 'kv.put'));
  expect(await after('one', 'unknown')).toBe(await after('one', 'kv.put'));
  expect(await after('other', 'kv.put')).not.toBe(await after('one', 'kv.put'));
});

it('tells the checksum where servers compare it', async () => {
  const all = Array.from({ length: CHECKPOINT_INTERVAL - 1 }, (_, i) =>
    command(i + 1, 'kv.put', { key: 'b', value: i }),
  );
  const engine = await engineWith(batch(...all));
  const { checkpoints } = await applyRestoring(
    engine,
    open,
    batch(command(CHECKPOINT_INTERVAL, RESTORE_COMMAND, INPUT)),
    INPUT,
  );
  const { resultsChecksum } = await engine.locate([]);
  expect(checkpoints).toEqual([{ mergedIndex: CHECKPOINT_INTERVAL, resultsChecksum }]);
});

it('does nothing at another place than its own: after a commit that nobody confirmed, or on a database that went back', async () => {
  const engine = await engineWith(batch(command(1, 'kv.put', { key: 'b', value: 1 })));
  const restoring = batch(command(2, RESTORE_COMMAND, INPUT));
  await applyRestoring(engine, open, restoring, INPUT);
  await engine.apply(batch(command(3, 'kv.put', { key: 'c', value: 3 })));
  const before = await engine.locate([]);
  await expect(applyRestoring(engine, open, restoring, INPUT)).rejects.toBeInstanceOf(PositionError);
  const ahead = batch(command(9, RESTORE_COMMAND, INPUT));
  await expect(applyRestoring(engine, open, ahead, INPUT)).rejects.toMatchObject({ position: before });
  expect(await engine.locate([])).toEqual(before);
  expect(await engine.query('kv.get', { key: 'c' })).toEqual({ value: 3, version: 1 });
});

it('changes nothing when the file is gone, or another one', async () => {
  const engine = await engineWith(batch(command(1, 'kv.put', { key: 'b', value: 1 })));
  const before = await engine.locate([]);
  const gone = () => Promise.reject(new SnapshotFormatError('the file is gone'));
  const restoring = batch(command(2, RESTORE_COMMAND, INPUT));
  for (const unusable of [gone, () => opened('another')]) {
    await expect(applyRestoring(engine, unusable, restoring, INPUT)).rejects.toBeInstanceOf(SnapshotFormatError);
  }
  expect(await engine.locate([])).toEqual(before);
});

it.each([
  ['another command', 'kv.put', INPUT],
  ['an input that is not JSON', RESTORE_COMMAND, '{'],
  ['an input of another version', RESTORE_COMMAND, { file: 'x' }],
  ['a file that was not to replace a state', RESTORE_COMMAND, { ...INPUT, replace: false }],
])('leaves %s to the engine, which refuses it', async (_, name, input) => {
  const given = batch(command(2, name, input));
  expect(restoringOf(given)).toBeUndefined();
  const engine = await engineWith(batch(command(1, 'kv.put', { key: 'b', value: 1 })));
  expect((await engine.apply(given)).applied).toMatchObject([{ outcome: { ok: false } }]);
  expect(await engine.query('kv.get', { key: 'b' })).toEqual({ value: 1, version: 1 });
});

it('needs no leave to replace nothing', () => {
  const input = { ...INPUT, replace: false };
  expect(restoringOf(batch(command(1, RESTORE_COMMAND, input)))).toEqual(input);
});
