import { CLOCK_CHECKS } from '../../../../services/cli/doctor/clocks.js';
import { known, s1, s2, s3, servers, VOTERS } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(CLOCK_CHECKS, [
  [
    'clock-offset',
    servers(s1, s2, { ...s3, clock: { offsetUs: -150_000, ok: true } }),
    /^s3: its clock is 150 ms ahead of the others; beyond 500 ms, CRAFT_CLOCK_OFFSET_MAX_MS, it leads.*chrony/,
  ],
  [
    'clock-offset',
    servers(s1, s2, { ...s3, clock: { offsetUs: 240_000, ok: true } }),
    /^s3: its clock is 240 ms behind the others; /,
  ],
  [
    'clock-here',
    { clocks: known(VOTERS.map((one) => ({ server: one, offsetUs: -400_000, roundTripUs: 900 }))) },
    /^this machine: its clock is 400 ms ahead of those of s1, s2, s3; .*chrony/,
  ],
]);
