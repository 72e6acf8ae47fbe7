/**
 * What a leader lets into the log: commands of the version in force, as far as it is known (T12).
 */
import { expect, it } from 'vitest';
import { z } from 'zod';
import { Admission } from '../../../shared/engine/admission.js';
import type { LoadedMachine, LoadedVersion } from '../../../shared/engine/loading.js';

function loaded(...versions: [number, ...number[]]): LoadedMachine {
  const all = versions.map((version): LoadedVersion => {
    const names = ['both', `only${version}`];
    const commands = Object.fromEntries(
      names.map((name) => [name, { input: z.strictObject({ n: z.literal(version) }) }]),
    );
    return { version, fingerprint: '', contract: { name: 'bank', version, commands, queries: {} } };
  });
  const [first, ...others] = all;
  const newest = all[all.length - 1];
  if (first === undefined || newest === undefined) throw new Error('no version');
  return { name: 'bank', versions: [first, ...others], newest };
}

const prepare = (admission: Admission, name: string, n: number) => {
  try {
    return admission.prepare(name, Buffer.from(JSON.stringify({ n })), 'json', 1_000).length > 0;
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

it('is what the version in force takes, once it is known', () => {
  const admission = new Admission(loaded(1, 2));
  admission.onInForce({ version: 1, mergedIndex: 10 });
  expect([prepare(admission, 'both', 1), prepare(admission, 'both', 3)]).toEqual([true, 'INVALID_ARGUMENT']);
  expect([prepare(admission, 'only1', 1), prepare(admission, 'only3', 3)]).toEqual([true, 'UNKNOWN_COMMAND']);
  admission.onInForce({ version: 2, mergedIndex: 20 });
  expect([prepare(admission, 'both', 1), prepare(admission, 'both', 2)]).toEqual(['INVALID_ARGUMENT', true]);
  expect([prepare(admission, 'only1', 1), prepare(admission, 'only2', 2)]).toEqual(['UNKNOWN_COMMAND', true]);
});

it('refuses nothing for good that a newer version takes: the log may be past the switch to it already', () => {
  const admission = new Admission(loaded(1, 2));
  // A state that was made empty, of a process that has just started: the log is far beyond it.
  admission.onInForce({ version: 1, mergedIndex: 0 });
  expect([prepare(admission, 'only2', 2), prepare(admission, 'both', 2)]).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
  expect([prepare(admission, 'only3', 3), prepare(admission, 'both', 3)]).toEqual([
    'UNKNOWN_COMMAND',
    'INVALID_ARGUMENT',
  ]);
  admission.onInForce({ version: 2, mergedIndex: 20 });
  expect(prepare(admission, 'only2', 2)).toBe(true);
});

it('does not go back with a state that is made again, but with one that a backup has replaced', () => {
  const admission = new Admission(loaded(1, 2));
  admission.onInForce({ version: 2, mergedIndex: 20 });
  admission.onInForce({ version: 1, mergedIndex: 0 });
  expect(prepare(admission, 'only2', 2)).toBe(true);
  admission.onInForce({ version: 1, mergedIndex: 21 });
  expect([prepare(admission, 'only1', 1), prepare(admission, 'only2', 2)]).toEqual([true, 'UNAVAILABLE']);
});

it('is what any version takes before', () => {
  const admission = new Admission(loaded(1, 2));
  expect([prepare(admission, 'both', 1), prepare(admission, 'both', 2), prepare(admission, 'both', 3)]).toEqual([
    true,
    true,
    'INVALID_ARGUMENT',
  ]);
  expect([prepare(admission, 'only1', 1), prepare(admission, 'none', 1)]).toEqual([true, 'UNKNOWN_COMMAND']);
});

it('is nothing while the version that would execute it is not loaded, or may not be', () => {
  const late = new Admission(loaded(2));
  expect(prepare(late, 'both', 2)).toBe('UNAVAILABLE');
  late.onInForce({ version: 1, mergedIndex: 30 });
  expect(prepare(late, 'both', 2)).toBe('UNAVAILABLE');
  late.onInForce({ version: 2, mergedIndex: 40 });
  expect(prepare(late, 'both', 2)).toBe(true);
});

it('is a switch only to what this server could follow', () => {
  const admission = new Admission(loaded(1, 2));
  admission.requireSwitch({ name: 'bank', version: 2 });
  for (const given of [
    { name: 'shop', version: 2 },
    { name: 'bank', version: 3 },
  ]) {
    expect(() => admission.requireSwitch(given)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error,
    );
  }
});
