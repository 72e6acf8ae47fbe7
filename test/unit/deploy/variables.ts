/** The variables of the services, and files of variables. */
import { SETTINGS } from '../../../shared/config/config.js';

/** The names of all settings of the services. */
export function knownVariables(): Set<string> {
  return new Set(Object.values(SETTINGS).flatMap((settings) => Object.keys(settings)));
}

/** What a file of `NAME=VALUE` lines says. @throws Error for a line that is none, and no comment */
export function variablesOf(file: string): Record<string, string> {
  const lines = file.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
      if (name === '') throw new Error(`not NAME=VALUE: ${line}`);
      return [name, value];
    }),
  );
}
