/** The table of the conditions of all services in Markdown. Pure. */
import { CONDITIONS, type ConditionKind } from '../../shared/health/conditions.js';

/** A row for each condition, service by service. */
export function conditionsTable(): string {
  const rows = Object.entries(CONDITIONS).flatMap(([service, conditions]) =>
    Object.entries<ConditionKind>(conditions).map(([code, { about, remedy, stops, stopsAfterMs = 0 }]) => {
      const stopped = stopsAfterMs === 0 ? 'no' : `no, after ${stopsAfterMs / 1_000} s`;
      return `| ${service} | \`${code}\` | ${about} | ${remedy} | ${stops ? stopped : 'yes'} |`;
    }),
  );
  return ['| service | condition | when it is not ok | what to do | serves |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
