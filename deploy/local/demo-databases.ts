/**
 * What a database holds after the commands, read with plain SQL, and whether several hold the same.
 */
import postgres from 'postgres';

interface KvRow {
  readonly key: string;
  /** JSON text. */
  readonly value: string;
  readonly version: string;
  readonly merged_index: string;
}

export interface DatabaseView {
  readonly server: string;
  readonly mergedIndex: number;
  /** Running checksum of the merged log at that index. */
  readonly checksum: string;
  readonly rows: readonly KvRow[];
}

/** One consistent look. */
export async function readDatabase(server: string, url: string): Promise<DatabaseView> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await sql.begin('isolation level repeatable read read only', async (transaction) => {
      const [position] = await transaction`select merged_index, checksum from craft.position`;
      const rows = await transaction<KvRow[]>`
        select key, value::text as value, version::text as version, merged_index::text as merged_index from kv order by key collate "C"`;
      return {
        server,
        mergedIndex: Number(position?.['merged_index'] ?? 0),
        checksum: String(position?.['checksum'] ?? ''),
        rows,
      };
    });
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/**
 * The first difference in words; undefined when all have applied up to `lastIndex` at least and are
 * the same.
 */
export function compareDatabases(views: readonly DatabaseView[], lastIndex: number): string | undefined {
  const [first, ...others] = views;
  if (first === undefined) return 'there are no databases';
  for (const { server, mergedIndex } of views) {
    if (mergedIndex < lastIndex)
      return `the database of ${server} is at merged index ${mergedIndex}, not at ${lastIndex}`;
  }
  for (const other of others) {
    const pair = `the databases of ${first.server} and ${other.server}`;
    if (other.mergedIndex !== first.mergedIndex) return `${pair} are at different merged indexes`;
    if (other.checksum !== first.checksum) return `${pair} have different checksums of the merged log`;
    if (JSON.stringify(other.rows) !== JSON.stringify(first.rows)) return `${pair} hold different rows`;
  }
  return undefined;
}
