/** Tables of settings in Markdown, from the schemas that validate them. Pure. */
import type { z } from 'zod';

/** By variable. */
export type Settings = Readonly<Record<string, z.ZodType>>;

interface Unit {
  readonly name: string;
  /** What the names of variables end with. */
  readonly suffix: RegExp;
  /** Descending. */
  readonly larger: readonly (readonly [factor: number, name: string])[];
}
const UNITS: readonly Unit[] = [
  { name: 'ms', suffix: /_MS$/, larger: [[60_000, 'min']] },
  {
    name: 'bytes',
    suffix: /_BYTES(_MAX)?$/,
    larger: [
      [1024 * 1024, 'MiB'],
      [1024, 'KiB'],
    ],
  },
];

/** A row for each variable. @throws Error when a setting has no description. */
export function settingsTable(settings: Settings): string {
  const rows = Object.entries(settings).map(([variable, schema]) => {
    if (!schema.description) throw new Error(`${variable} has no description`);
    return row(`\`${variable}\``, defaultOf(variable, schema), schema.description);
  });
  return [row('variable', 'default', 'what'), '|---|---|---|', ...rows].join('\n');
}

/** What the schema makes of a variable that is not set. */
function defaultOf(variable: string, schema: z.ZodType): string {
  const unset = schema.safeParse(undefined);
  if (!unset.success) return 'required';
  const { data } = unset;
  if (data === undefined) return '';
  return typeof data === 'number' ? amount(variable, data) : `\`${String(data)}\``;
}

function amount(variable: string, value: number): string {
  const unit = UNITS.find(({ suffix }) => suffix.test(variable));
  if (unit === undefined) return String(value);
  const larger = unit.larger.find(([factor]) => value % factor === 0);
  const again = larger === undefined ? '' : ` (${value / larger[0]} ${larger[1]})`;
  return `${value} ${unit.name}${again}`;
}

function row(...cells: readonly string[]): string {
  return `|${cells.map((cell) => (cell === '' ? ' |' : ` ${cell.replaceAll('|', '\\|')} |`)).join('')}`;
}
