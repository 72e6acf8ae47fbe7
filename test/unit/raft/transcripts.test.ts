/**
 * Plays every file of transcripts/ and compares; UPDATE_TRANSCRIPTS=1 writes what comes out
 * instead.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Transcript } from './transcript.js';

const FOLDER = join(import.meta.dirname, 'transcripts');

/** Its file, and the pitfall of other systems that it shows, where its first line names one. */
function titleOf(file: string): string {
  const [first = ''] = readFileSync(join(FOLDER, file), 'utf8').split('\n');
  return first.startsWith('# pitfall: ') ? `${file}: ${first.slice(2)}` : file;
}

/**
 * Lines that begin with `>` are the script, those with `#` remarks; what is indented is output and
 * replaced.
 */
function play(text: string): string {
  const transcript = new Transcript();
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('  ')) continue;
    lines.push(line);
    if (line.startsWith('>')) lines.push(...transcript.run(line.slice(1)).map((output) => `  ${output}`));
  }
  return lines.join('\n');
}

describe('transcripts', () => {
  it.each(readdirSync(FOLDER).map((file) => [titleOf(file), file]))('%s', (_title, file) => {
    const path = join(FOLDER, file);
    const text = readFileSync(path, 'utf8');
    const played = play(text);
    if (process.env['UPDATE_TRANSCRIPTS'] === '1') writeFileSync(path, played);
    else expect(played).toBe(text);
  });
});
