/**
 * The roles of deploy/README.md, made as it says: the engine needs no right beyond those, and
 * readers cannot write.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { rowsChecksumOf } from '../../../shared/engine/rows-checksum.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { startTestPostgres, type TemporaryFolder, type TestPostgres, temporaryFolder } from '../../harness/index.js';
import { command, WINDOW_MS } from './commands.js';
import { writeMigrations } from './migration-folder.js';

type Version = StateMachine<PostgresTransaction>;

let server: TestPostgres;
let folder: TemporaryFolder;
const opened: PostgresEngine[] = [];

beforeAll(async () => {
  [server, folder] = await Promise.all([startTestPostgres(), temporaryFolder('rights')]);
  await writeMigrations(folder.path, [
    { tag: '0000_one', when: 1, sql: 'create table account (number serial primary key, name text)' },
    {
      tag: '0001_two',
      when: 2,
      sql: 'create schema more;\n--> statement-breakpoint\ncreate table more.fee (name text primary key)',
    },
  ]);
  const blocks = await sqlBlocks();
  for (const name of ['s1', 's2']) {
    const mine = blocks.map((block) =>
      block.replaceAll('craft_s1', `craft_${name}`).replaceAll('craft_reader', `reader_${name}`),
    );
    await run('postgres', mine[0] ?? '');
    await run(`craft_${name}`, mine[1] ?? '');
  }
});
afterAll(async () => {
  await Promise.all(opened.map((engine) => engine.close()));
  await server?.stop();
  await folder?.remove();
});

/** Those of the section about Postgres. */
async function sqlBlocks(): Promise<string[]> {
  const text = await readFile(join(projectRoot(), 'deploy/README.md'), 'utf8');
  const [, section = ''] = /^## Postgres$([\s\S]*?)^## /m.exec(text) ?? [];
  const blocks = [...section.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
  expect(blocks).toHaveLength(2);
  return blocks;
}

/** As the administrator, a statement at a time. */
async function run(database: string, block: string): Promise<void> {
  const admin = postgres(server.url(database), { max: 1, onnotice: () => undefined });
  for (const statement of block.split(';\n')) if (statement.trim() !== '') await admin.unsafe(statement);
  await admin.end();
}

function urlOf(role: string, database: string): string {
  return `postgres://${role}:change-me@127.0.0.1:${server.port}/${database}`;
}

async function rowsOf(engine: PostgresEngine): Promise<string> {
  return rowsChecksumOf(await (await engine.checkRows()).tables);
}

async function engineOf(name: string, versions: readonly Version[]): Promise<PostgresEngine> {
  const engine = new PostgresEngine({
    databaseUrl: urlOf(`craft_${name}`, `craft_${name}`),
    server: name,
    cluster: 'craft',
    resultWindowMs: WINDOW_MS,
    machine: versions[versions.length - 1] as Version,
    earlier: versions.slice(0, -1),
  });
  opened.push(engine);
  await engine.open();
  return engine;
}

it('opens, applies, switches, adds up its rows, and restores a snapshot', async () => {
  const input = z.strictObject({ name: z.string() });
  const open = {
    input,
    handle: async (tx: PostgresTransaction, { name }: { name: string }) =>
      void (await tx.execute(sql`insert into account (name) values (${name})`)),
  };
  const one: Version = {
    name: 'bank',
    version: 1,
    migrations: folder.path,
    lastMigration: '0000_one',
    commands: { open },
    queries: {},
  };
  const two: Version = { name: 'bank', version: 2, migrations: folder.path, commands: { open }, queries: {} };
  const engine = await engineOf('s1', [one, two]);
  const history = [
    command(1, 'open', { name: 'ann' }, { id: 'first' }),
    command(2, MACHINE_COMMAND, { name: 'bank', version: 2 }),
    command(3, 'open', { name: 'bob' }),
  ];
  for (const each of history) {
    const { applied } = await engine.apply({
      commands: [each],
      checksum: each.mergedIndex.toString(16).padStart(16, '0'),
    });
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true]);
  }
  const other = await engineOf('s2', [one, two]);
  await other.restore(await engine.snapshot());
  const [own, theirs] = await Promise.all([engine, other].map(rowsOf));
  expect(own).toBe(theirs);
  expect(other.machine).toEqual({ name: 'bank', version: 2 });
});

it('lets readers read rows, and nothing else', async () => {
  const reader = postgres(urlOf('reader_s1', 'craft_s1'), { max: 1, onnotice: () => undefined });
  try {
    expect([...(await reader`select name from account order by number`)]).toEqual([{ name: 'ann' }, { name: 'bob' }]);
    const refused = { code: '42501' };
    await expect(reader`insert into account (name) values ('eve')`).rejects.toMatchObject(refused);
    await expect(reader`delete from account`).rejects.toMatchObject(refused);
    await expect(reader`create table mine (x int)`).rejects.toMatchObject(refused);
    await expect(reader`update craft.position set epoch = 99`).rejects.toMatchObject(refused);
  } finally {
    await reader.end();
  }
  const stranger = postgres(urlOf('reader_s2', 'craft_s1'), { max: 1, onnotice: () => undefined });
  await expect(stranger`select 1`).rejects.toMatchObject({ code: '42501' });
  await stranger.end();
});
