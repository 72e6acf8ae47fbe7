/** Clocks that are off: of servers against each other, and of this machine. Pure. */

import { itemAt } from '../../../shared/raft/lists.js';
import type { Check } from './check.js';
import { factOf } from './facts.js';
import { serverNumber } from './settings.js';

/** NTP keeps servers nearer than this (milliseconds). */
const OFFSET_MS_MAX = 100;
const REMEDY = 'set it right: chrony or another NTP client';

const apart = (offUs: number): string =>
  `${Math.abs(offUs / 1_000).toFixed(0)} ms ${offUs < 0 ? 'behind' : 'ahead of'}`;

export const CLOCK_CHECKS: readonly Check[] = [
  {
    code: 'clock-offset',
    level: 'warning',
    about: `A server's clock is more than ${OFFSET_MS_MAX} ms off the others.`,
    find: ({ servers, environment }) => {
      const limitMs = serverNumber(environment, 'CRAFT_CLOCK_OFFSET_MAX_MS');
      return (factOf(servers)?.servers ?? []).flatMap(({ server, clock }) => {
        // One that is too far off to lead is a condition of the server.
        if (clock === undefined || !clock.ok || Math.abs(clock.offsetUs) <= OFFSET_MS_MAX * 1_000) return [];
        const limit = `${limitMs === undefined ? '' : `${limitMs} ms, `}CRAFT_CLOCK_OFFSET_MAX_MS`;
        const what = `its clock is ${apart(-clock.offsetUs)} the others; beyond ${limit}, it leads nothing`;
        return [{ where: server, what, remedy: REMEDY }];
      });
    },
  },
  {
    code: 'clock-here',
    level: 'warning',
    about: `The clock of this machine is more than ${OFFSET_MS_MAX} ms off those of most servers.`,
    find: ({ clocks }) => {
      const known = factOf(clocks) ?? [];
      const off = known.filter(
        ({ offsetUs, roundTripUs }) => Math.abs(offsetUs) - roundTripUs / 2 > OFFSET_MS_MAX * 1_000,
      );
      if (off.length * 2 <= known.length) return [];
      const sorted = off.map(({ offsetUs }) => offsetUs).sort((a, b) => a - b);
      const middle = itemAt(sorted, sorted.length >> 1);
      const what = `its clock is ${apart(-middle)} those of ${off.map(({ server }) => server).join(', ')}`;
      return [{ where: 'this machine', what, remedy: REMEDY }];
    },
  },
];
