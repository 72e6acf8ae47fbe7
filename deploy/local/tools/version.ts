import { runCommand } from './command.js';

/** Major, minor, patch. */
export type Version = readonly [number, number, number];

/**
 * Compares dotted version numbers; what follows the third number is ignored. Throws when `text`
 * holds no version.
 */
export function parseVersion(text: string): Version {
  const match = /v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (!match) throw new Error(`no version number in: ${text.trim().slice(0, 100)}`);
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** True when `version` is `minimum` or newer. */
export function isAtLeast(version: Version, minimum: Version): boolean {
  for (let i = 0; i < 3; i++) {
    const difference = (version[i] ?? 0) - (minimum[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** What `program --version` says. Rejects when that is older than `minimum`. */
export async function checkVersion(program: string, minimum: Version): Promise<string> {
  const version = parseVersion(await runCommand(program, ['--version'], { timeoutMs: 10_000 }));
  if (!isAtLeast(version, minimum)) {
    throw new Error(`is version ${version.join('.')}, and ${minimum.join('.')} or newer is needed`);
  }
  return version.join('.');
}
