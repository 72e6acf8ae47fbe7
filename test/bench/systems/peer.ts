/** The peer's three sites: a process and a database each. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import type { Processes } from '../processes.js';
import { untilEqual } from './equal-databases.js';
import type { Nats } from './nats.js';
import type { PeerSite } from './peer-site.js';
import type { Stage } from './stage.js';

const SITES = [1, 2, 3];
const BATCH_MAX = 512;

const STATE = `select count(*)::float8 as rows,
    (select sequence::float8 from position) as commands,
    md5(string_agg(concat_ws(' ', key, value, version, sequence), ',' order by key)) as checksum
  from kv`;

export interface Peer {
  readonly processes: Processes;
  /** Rejects when the databases do not become equal, with at least `puts` applied. */
  verify(puts: number): Promise<string>;
  stop(): Promise<void>;
}

export async function startPeer(stage: Stage, nats: Nats, stream: string): Promise<Peer> {
  const names = SITES.map((n) => `bench_peer_${n}`);
  const databases = await stage.createDatabases(names);
  await Promise.all(databases.map(createTables));
  const script = fileURLToPath(new URL('./peer-site.js', import.meta.url));
  const sites = databases.map(
    (databaseUrl, at): PeerSite => ({
      // Each site has a NATS server of its own.
      natsUrl: nats.urls[at % nats.urls.length] ?? '',
      stream,
      name: `site${at + 1}`,
      databaseUrl,
      answers: at === 0,
      batchMax: BATCH_MAX,
    }),
  );
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(children.map(end));
    await stage.dropDatabases(names);
  };
  try {
    await Promise.all(sites.map((site) => startSite(script, site, children)));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    processes: Object.fromEntries(sites.map(({ name }, at) => [name, children[at]?.pid ?? 0])),
    async verify(puts) {
      const state = await untilEqual(databases, puts, STATE);
      return `three equal databases: ${state.rows} rows, ${state.commands} puts`;
    },
    stop,
  };
}

function startSite(script: string, site: PeerSite, children: ChildProcess[]): Promise<void> {
  const child = fork(script);
  children.push(child);
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', () => reject(new Error(`${site.name} ended`)));
    child.send(site);
  });
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    if (child.connected) child.disconnect();
    else child.kill('SIGKILL');
  });
}

async function createTables(url: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  await sql`create table kv (key text primary key, value jsonb not null, version bigint not null, sequence bigint not null)`;
  await sql`create table position (sequence bigint not null)`;
  await sql`insert into position values (0)`;
  await sql.end();
}
