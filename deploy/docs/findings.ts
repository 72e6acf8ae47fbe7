/** The table of all that `craft doctor` finds, in Markdown. Pure. */
import { CHECKS } from '../../services/cli/doctor/examine.js';

/** A row for each check, by what it looks at. */
export function findingsTable(): string {
  const rows = Object.entries(CHECKS).flatMap(([area, checks]) =>
    checks.map(({ code, level, about }) => `| ${area} | \`${code}\` | ${level} | ${about} |`),
  );
  return ['| looks at | finding | level | what |', '|---|---|---|---|', ...rows].join('\n');
}
