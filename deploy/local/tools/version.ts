/**
 * Compares dotted version numbers; what follows the third number is ignored. Throws when `text`
 * holds no version.
 */
export function parseVersion(text: string): readonly [number, number, number] {
  const match = /v?(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (!match) throw new Error(`no version number in: ${text.trim().slice(0, 100)}`);
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** True when `version` is `minimum` or newer. */
export function isAtLeast(
  version: readonly [number, number, number],
  minimum: readonly [number, number, number],
): boolean {
  for (let i = 0; i < 3; i++) {
    const difference = (version[i] ?? 0) - (minimum[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
