/**
 * The last site is cut off for a while: what the others feel of it, what it can still do, and how
 * long it takes to catch up.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Subjects } from '../../../shared/wire/subjects.js';
import { eventually } from '../../harness/index.js';
import type { Lines } from './lines.js';
import { isAnswered, type Site } from './measure.js';

export interface Absence {
  readonly groups: number;
  readonly site: string;
  readonly seconds: number;
  /**
   * Longest time without an answer at each of the other sites, from the cut until the line was
   * back.
   */
  readonly gapMs: readonly number[];
  /** At the site that was cut off, meanwhile. */
  readonly localReads: { readonly answered: number; readonly failed: number };
  /** From when the line was back until the site showed every write acknowledged before. */
  readonly catchUpMs: number;
}

interface Given {
  readonly groups: number;
  readonly subjects: Subjects;
  readonly sites: readonly Site[];
  readonly lines: Lines;
  readonly seconds: number;
  readonly waitMs: number;
}

const PROBE_EVERY_MS = 10;
const PROBE_MS_MAX = 2_000;

export async function cutOff(given: Given): Promise<Absence> {
  const { groups, subjects, sites, lines, seconds, waitMs } = given;
  const away = sites.at(-1);
  if (away === undefined) throw new RangeError('no site to cut off');
  const others = sites.slice(0, -1);
  const localReads = { answered: 0, failed: 0 };
  await lines.cut(away.name);
  const endMs = performance.now() + seconds * 1_000;
  const gaps = others.map(async (site) => {
    let lastMs = performance.now();
    let longest = 0;
    while (performance.now() < endMs) {
      if (await isAnswered('committed', subjects, site, PROBE_MS_MAX)) {
        longest = Math.max(longest, performance.now() - lastMs);
        lastMs = performance.now();
      }
      await delay(PROBE_EVERY_MS);
    }
    return Math.max(longest, performance.now() - lastMs);
  });
  const reading = (async () => {
    while (performance.now() < endMs) {
      if (await isAnswered('local', subjects, away, PROBE_MS_MAX)) localReads.answered += 1;
      else localReads.failed += 1;
      await delay(PROBE_EVERY_MS);
    }
  })();
  const gapMs = await Promise.all(gaps);
  await reading;
  await lines.heal(away.name);
  const healedMs = performance.now();
  await eventually(`${away.name} has caught up`, () => isAnswered('sync', subjects, away, PROBE_MS_MAX), {
    timeoutMs: waitMs,
    everyMs: PROBE_EVERY_MS,
  });
  return { groups, site: away.name, seconds, gapMs, localReads, catchUpMs: performance.now() - healedMs };
}
