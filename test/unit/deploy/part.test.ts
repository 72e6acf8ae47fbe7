/** What becomes of a process that ends without having been asked to. */
import { expect, it } from 'vitest';
import type { ExitStatus, ManagedProcess } from '../../../deploy/local/managed-process.js';
import { Part, type PartEnd } from '../../../deploy/local/part.js';
import { eventually } from '../../harness/eventually.js';

type End = readonly [status: ExitStatus, reason: string | undefined];

const failed = (reason: string): End => [{ code: 1, signal: null }, reason];

/** Each start ends as the next of `ends` says; what comes after them runs on. */
function partOf(ends: readonly End[], supervise: boolean): { part: Part; told: PartEnd[]; starts: () => number } {
  const told: PartEnd[] = [];
  let starts = 0;
  const launch = (): Promise<ManagedProcess> => {
    const end = ends[starts++];
    const exited = end === undefined ? new Promise<never>(() => undefined) : Promise.resolve(end[0]);
    const process = { isRunning: end === undefined, exited, endReason: () => Promise.resolve(end?.[1]) };
    return Promise.resolve(process as unknown as ManagedProcess);
  };
  const part = new Part('s1', launch, { supervise, restartDelayMs: 1, onEnd: (_, end) => told.push(end) });
  return { part, told, starts: () => starts };
}

it('is started again, and what is told has the reason that its log gives', async () => {
  const { part, told } = partOf([failed('no database')], true);
  await part.start();
  await eventually('the second start', () => part.process);
  expect(told).toEqual([{ status: { code: 1, signal: null }, reason: 'no database', next: 'again' }]);
});

it('is given up when it ends in the same way again and again, whatever numbers are in the reason', async () => {
  const ends = Array.from({ length: 9 }, (_, at) => failed(`port ${4_000 + at} is taken`));
  const { part, told, starts } = partOf(ends, true);
  await part.start();
  await eventually('the end of it', () => told.at(-1)?.next === 'given-up');
  expect(told.map(({ next }) => next)).toEqual(['again', 'again', 'again', 'again', 'given-up']);
  expect(starts()).toBe(5);
  // A start that is asked for counts anew.
  await part.start();
  await eventually('the next try', () => starts() > 6);
});

it('is not given up while the reasons differ', async () => {
  const { part, told } = partOf(['a', 'b', 'a', 'b', 'a', 'b', 'a'].map(failed), true);
  await part.start();
  await eventually('a start that lasts', () => part.process);
  expect(told.map(({ next }) => next)).toEqual(Array.from({ length: 7 }, () => 'again'));
});

it('is left alone when it is not supervised; of a signal there is no reason in its log', async () => {
  const killed = partOf([[{ code: null, signal: 'SIGKILL' }, 'an old error']], false);
  await killed.part.start();
  await eventually('its end', () => killed.told.length > 0);
  expect(killed.told).toEqual([{ status: { code: null, signal: 'SIGKILL' }, reason: undefined, next: 'none' }]);
  expect(killed.starts()).toBe(1);
});
