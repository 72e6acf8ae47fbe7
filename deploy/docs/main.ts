/**
 * `npm run docs`: writes the generated parts of the Markdown files (`parts.ts`), and says which
 * files have changed.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../local/project.js';
import { withParts } from './generated.js';
import { GENERATED } from './parts.js';

for (const [path, parts] of Object.entries(GENERATED)) {
  const file = join(projectRoot(), path);
  const before = await readFile(file, 'utf8');
  const after = withParts(before, parts);
  if (after !== before) await writeFile(file, after);
  console.log(`${path}: ${after === before ? 'unchanged' : 'written'}`);
}
