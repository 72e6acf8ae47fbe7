/** What the benchmarks' command lines share. */
import { InvalidArgumentError } from 'commander';
import type { Workload } from './load/protocol.js';

export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('not a positive number');
  return value;
}

export function positiveInteger(text: string): number {
  const value = positive(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('not a whole number');
  return value;
}

export const listOf =
  <T>(parse: (text: string) => T) =>
  (text: string): T[] =>
    text.split(',').map((one) => parse(one.trim()));

export const DEFAULT_WORKLOAD: Workload = { connections: 2, keys: 10_000, valueBytes: 128, withId: true };
