/** The generated parts of Markdown files are what the schemas say. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { withParts } from '../../../deploy/docs/generated.js';
import { metricsTable } from '../../../deploy/docs/metrics.js';
import { GENERATED } from '../../../deploy/docs/parts.js';
import { settingsTable } from '../../../deploy/docs/settings.js';
import { projectRoot } from '../../../deploy/local/project.js';

it.each(Object.entries(GENERATED))('%s is what npm run docs writes', (path, parts) => {
  const text = readFileSync(join(projectRoot(), path), 'utf8');
  expect(text, 'run npm run docs').toBe(withParts(text, parts));
});

describe('a table of settings', () => {
  it('has the default that the schema gives, in the unit that the name ends with', () => {
    const table = settingsTable({
      WAIT_MS: z.coerce.number().default(120_000).describe('How long.'),
      ROOM_BYTES_MAX: z.coerce.number().default(2048).describe('How much.'),
      PORT: z.coerce.number().default(80).describe('Where.'),
      MODE: z.enum(['a', 'b']).default('a').describe('`a` | `b`'),
      FILE: z.string().optional().describe('A file.'),
      NAME: z.string().describe('A name.'),
    });
    expect(table.split('\n').slice(2)).toEqual([
      '| `WAIT_MS` | 120000 ms (2 min) | How long. |',
      '| `ROOM_BYTES_MAX` | 2048 bytes (2 KiB) | How much. |',
      '| `PORT` | 80 | Where. |',
      '| `MODE` | `a` | `a` \\| `b` |',
      '| `FILE` | | A file. |',
      '| `NAME` | required | A name. |',
    ]);
  });

  it('refuses a setting without a description', () => {
    expect(() => settingsTable({ PORT: z.coerce.number() })).toThrow('PORT has no description');
  });
});

describe('the table of metrics', () => {
  it('has a row for each call that opens one', () => {
    const text =
      "metrics.counter('a_total', 'How often');\nthis.b = options.metrics.gauge(\n  'b', 'How much', () => 1);\n" +
      "metrics.counterBy('c_total', 'How often', 'code');\nmetrics.gaugeBy('d', 'How much', ['e', 'f'], read);";
    const rows = metricsTable([{ path: 'services/replica/service.ts', text }])
      .split('\n')
      .slice(2);
    expect(rows).toEqual([
      '| replica | `craft_a_total` | counter |  | How often |',
      '| replica | `craft_b` | gauge |  | How much |',
      '| replica | `craft_c_total` | counter | `code` | How often |',
      '| replica | `craft_d` | gauge | `e`, `f` | How much |',
    ]);
    expect(metricsTable([{ path: 'services/main.ts', text }])).toContain('| every | `craft_a_total`');
  });

  it('refuses a call that it cannot read', () => {
    const text = 'metrics.counter(NAME, HELP)';
    expect(() => metricsTable([{ path: 'services/x.ts', text }])).toThrow(
      'services/x.ts opens 1 metrics, of which 0 can be read',
    );
  });
});

describe('generated parts', () => {
  const page = (text: string) => `before\n<!-- generated: one -->\n${text}<!-- end -->\nafter\n`;

  it('replace what was there, and nothing else', () => {
    const written = withParts(page('old\n'), { one: 'new' });
    expect(written).toBe(page('\nnew\n\n'));
    expect(withParts(written, { one: 'new' })).toBe(written);
  });

  it('must be there once, and be known', () => {
    expect(() => withParts(page(''), { one: '', two: '' })).toThrow('"two" is there 0 times');
    expect(() => withParts(page('') + page(''), { one: '' })).toThrow('"one" is there 2 times');
    expect(() => withParts(page(''), {})).toThrow('nothing generates a part called "one"');
  });
});
