/** Which session of the database holds the lock that another one waits for. */

import type { Connection } from './connection.js';

/** $1 the name of the session that waits. */
const HELD_BY = `select holder.pid, holder.application_name, holder.usename, holder.state, left(holder.query, 100)
  from pg_stat_activity waiting
  cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocking(pid)
  join pg_stat_activity holder on holder.pid = blocking.pid
  where waiting.application_name = $1 and waiting.datname = current_database() limit 1`;

/** Undefined when the session `waiting` waits for none. */
export async function heldBy(
  connection: Connection,
  waiting: string,
): Promise<{ pid: number; what: string } | undefined> {
  const [row] = await connection.run(HELD_BY, [waiting]);
  if (row === undefined) return undefined;
  const [pid, application, user, state, query] = row.map((value) => String(value ?? ''));
  const by = application === '' ? '' : ` (${application})`;
  return { pid: Number(pid), what: `process ${pid} of ${user}${by}, ${state}: ${query}` };
}
