/** All checks of `craft doctor`, and what they find. Pure. */
import type { Check, Finding, FindingLevel } from './check.js';
import { CLOCK_CHECKS } from './clocks.js';
import { CONFIGURATION_CHECKS } from './configuration.js';
import { DATABASE_CHECKS } from './database.js';
import { DISK_CHECKS } from './disk.js';
import type { Facts } from './facts.js';
import { LOOKING_CHECKS } from './looking.js';
import { NATS_CHECKS } from './nats.js';
import { SERVER_CHECKS } from './servers.js';
import { STREAM_CHECKS } from './streams.js';

/** By what they look at. */
export const CHECKS: Readonly<Record<string, readonly Check[]>> = {
  configuration: CONFIGURATION_CHECKS,
  NATS: NATS_CHECKS,
  streams: STREAM_CHECKS,
  clocks: CLOCK_CHECKS,
  database: DATABASE_CHECKS,
  disk: DISK_CHECKS,
  servers: SERVER_CHECKS,
  'this command': LOOKING_CHECKS,
};

const LEVELS: readonly FindingLevel[] = ['error', 'warning', 'note'];

export const CODES: readonly string[] = Object.values(CHECKS).flatMap((checks) => checks.map(({ code }) => code));

/**
 * What is worst comes first, what is accepted last; else in the order of the checks.
 * @param accepted codes of findings that the operator accepts
 */
export function examine(facts: Facts, accepted: readonly string[] = []): Finding[] {
  const found = Object.values(CHECKS).flatMap((checks) =>
    checks.flatMap(({ code, level, find }) =>
      find(facts).map((sighting): Finding => {
        const isAccepted = accepted.includes(code) && level !== 'note';
        return { code, level, ...sighting, ...(isAccepted && { accepted: true }) };
      }),
    ),
  );
  const ofLevel = LEVELS.flatMap((level) => found.filter((one) => one.level === level));
  return [...ofLevel.filter((one) => !one.accepted), ...ofLevel.filter((one) => one.accepted)];
}
