/**
 * The table of rules in ARCHITECTURE.md: each rule names what enforces it and what would fail; each
 * test of a rule has its row.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { DEFECTS } from '../../simulation/defects/index.js';
import { filesIn, read } from './files.js';

interface Rule {
  readonly name: string;
  readonly enforced: readonly string[];
  readonly tests: readonly string[];
}

const codeIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

const section = read('ARCHITECTURE.md').split('\n## Rules\n')[1]?.split('\n## ')[0] ?? '';
const rules: readonly Rule[] = [...section.matchAll(/^\| ((?:Raft|T)[^|]*) \|[^|]*\|([^|]*)\|([^|]*)\|$/gm)].map(
  ([, name = '', enforced = '', tests = '']) => ({ name, enforced: codeIn(enforced), tests: codeIn(tests) }),
);
const sources = [...filesIn('shared', '.ts'), ...filesIn('services', '.ts')];
const defects = new Set(DEFECTS.map(({ name }) => name));

/** What is wrong with what a row says of the code: a file, then what is in it. */
function wrongInCode(words: readonly string[]): string[] {
  let text = '';
  return words.filter((word) => {
    if (!word.endsWith('.ts')) return !text.includes(word.split('.').at(-1) ?? word);
    const path = sources.find((source) => source.endsWith(`/${word}`) || source === word);
    text = path === undefined ? '' : read(path);
    return path === undefined;
  });
}

function isTest(word: string): boolean {
  if (defects.has(word) || existsSync(join(projectRoot(), `test/unit/raft/transcripts/${word}.txt`))) return true;
  if (!word.startsWith('test/')) return false;
  return [word, `${word}.ts`, `${word}.test.ts`].some((path) => existsSync(join(projectRoot(), path)));
}

describe('the rules', () => {
  it('are Raft of the paper and T1 to T12', () => {
    const numbers = rules.flatMap(({ name }) => (name.startsWith('T') ? [name] : []));
    expect(numbers).toEqual(Array.from({ length: 12 }, (_, at) => `T${at + 1}`));
    expect(rules.length).toBeGreaterThan(numbers.length);
  });

  it.each(rules.map((rule) => [rule.name, rule] as const))('%s names code that enforces it', (_, { enforced }) => {
    expect(enforced.length).toBeGreaterThan(0);
    expect(wrongInCode(enforced)).toEqual([]);
  });

  it.each(rules.map((rule) => [rule.name, rule] as const))('%s names tests that are there', (_, { tests }) => {
    expect(tests.length).toBeGreaterThan(0);
    expect(tests.filter((word) => !isTest(word))).toEqual([]);
  });

  it('have a row when a planted defect breaks them, and the row names the defect', () => {
    const rows = new Map(rules.map(({ name, tests }) => [name, tests]));
    const missing = DEFECTS.flatMap(({ name, what }) =>
      [...what.matchAll(/\bT\d+\b/g)].flatMap(([rule]) => (rows.get(rule)?.includes(name) ? [] : [`${rule}: ${name}`])),
    );
    expect(missing).toEqual([]);
  });

  it('have a row when an invariant of the simulator or any source names them', () => {
    const names = new Set(rules.map(({ name }) => name));
    const cited = [...sources, ...filesIn('test', '.ts')].flatMap((path) =>
      [...read(path).matchAll(/(?:^|[\s(])(T\d{1,2})(?=[\s:;,.)])/gm)].flatMap(([, rule = '']) =>
        names.has(rule) ? [] : [`${path}: ${rule}`],
      ),
    );
    expect(cited).toEqual([]);
  });
});
