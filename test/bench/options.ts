/** What the benchmarks' command lines share. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Contestant } from './contestants/contestant.js';
import { contestantNamed } from './contestants/index.js';
import type { Workload } from './load/protocol.js';
import type { StageOptions } from './systems/stage.js';

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

export function contestant(name: string): Contestant {
  try {
    return contestantNamed(name);
  } catch (error) {
    throw new InvalidArgumentError(String(error));
  }
}

/** How craft is laid out. */
export interface CraftOptions extends Omit<StageOptions, 'profileFolder'> {
  readonly cpuProfile?: string;
}

export function withCraftOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--layout <how>', 'a process for each craft server, or for each of its services')
        .choices(['server', 'service'])
        .default('server'),
    )
    .option('--craft-nats <n>', 'NATS servers under craft: 1 or 3', natsServers, 1)
    .option('--cpu-profile <folder>', 'craft servers write V8 profiles here');
}

function natsServers(text: string): 1 | 3 {
  if (text !== '1' && text !== '3') throw new InvalidArgumentError('1 or 3');
  return text === '1' ? 1 : 3;
}

export function stageOptions({ layout, craftNats, cpuProfile }: CraftOptions): StageOptions {
  return { layout, craftNats, profileFolder: cpuProfile };
}
