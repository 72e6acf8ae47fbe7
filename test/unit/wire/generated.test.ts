/**
 * The generated code looks once, when it is loaded, whether 64-bit fields are numbers: its importer
 * says so before.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';

const files = ['services', 'shared', 'test'].flatMap((folder) =>
  readdirSync(join(projectRoot(), folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('generated'))
    .map((name) => join(folder, name)),
);

it('is imported after protobuf.ts everywhere, whichever file is loaded first', () => {
  const importers = files.filter((file) => {
    const text = readFileSync(join(projectRoot(), file), 'utf8');
    return /^import .*generated\/craft\.js'/m.test(text);
  });
  expect(importers.length).toBeGreaterThan(8);
  const wrong = importers.filter((file) => {
    const text = readFileSync(join(projectRoot(), file), 'utf8');
    const settings = text.search(/^import .*protobuf\.js'/m);
    return settings < 0 || settings > text.search(/^import .*generated\/craft\.js'/m);
  });
  expect(wrong).toEqual([]);
});
