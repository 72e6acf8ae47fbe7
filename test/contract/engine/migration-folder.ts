/** A folder of migrations as drizzle-kit writes it, with whatever a test wants in it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface GivenMigration {
  readonly tag: string;
  readonly when: number;
  /** Statements are separated as drizzle-kit does; undefined: there is no file. */
  readonly sql: string | undefined;
}

/** Writes journal and files; what is there already and is not given is left. */
export async function writeMigrations(folder: string, given: readonly GivenMigration[]): Promise<void> {
  const entries = given.map(({ tag, when }, idx) => ({ idx, version: '7', when, tag, breakpoints: true }));
  await mkdir(join(folder, 'meta'), { recursive: true });
  await writeFile(
    join(folder, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  );
  for (const { tag, sql } of given) if (sql !== undefined) await writeFile(join(folder, `${tag}.sql`), sql);
}
