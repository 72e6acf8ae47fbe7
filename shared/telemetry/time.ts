/**
 * Physical time for spans (microseconds since the Unix epoch), finer than the milliseconds of
 * Date.now().
 */
export function spanTimeUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1_000);
}
