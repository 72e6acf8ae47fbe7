/**
 * What craft is compared with: bare JetStream publishes (R1, R3), and JetStream R3 with a hand-written batching consumer for each of
 * three databases, where a put counts when the first site has applied it and has answered.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import type { NatsCluster } from './nats-cluster.js';
import type { PeerSite } from './peer-consumer.js';
import type { Processes } from './processes.js';

/** Makes a file stream of `replicas` copies; returns the subject to publish to. */
export async function createStream(nats: NatsCluster, name: string, replicas: number): Promise<string> {
  const connection = await connect({ servers: [...nats.urls] });
  try {
    const manager = await jetstreamManager(connection);
    const subject = `bench.${name.toLowerCase()}`;
    await manager.streams.add({ name, subjects: [subject], num_replicas: replicas, storage: StorageType.File });
    return subject;
  } finally {
    await connection.close();
  }
}

export interface Peer {
  readonly processes: Processes;
  /** Rejects when the databases do not become equal within 30 s. */
  verify(): Promise<void>;
  stop(): Promise<void>;
}

/** `postgresUrl` is any database of the server; those of the peer are made anew beside it. */
export async function startPeer(nats: NatsCluster, stream: string, postgresUrl: string): Promise<Peer> {
  const databases = await createDatabases(postgresUrl);
  const sites = databases.map(
    (databaseUrl, i): PeerSite => ({
      natsUrls: nats.urls,
      stream,
      name: `site${i + 1}`,
      databaseUrl,
      answers: i === 0,
      batchMax: 512,
    }),
  );
  const script = fileURLToPath(new URL('./peer-consumer.js', import.meta.url));
  const children = await Promise.all(sites.map((site) => startSite(script, site)));
  return {
    processes: Object.fromEntries(sites.map(({ name }, i) => [name, children[i]?.pid ?? 0])),
    verify: () => untilEqual(databases),
    async stop() {
      await Promise.all(
        children.map(
          (child) =>
            new Promise<void>((resolve) => {
              child.once('exit', () => resolve());
              child.disconnect();
            }),
        ),
      );
    },
  };
}

function startSite(script: string, site: PeerSite): Promise<ChildProcess> {
  const child = fork(script);
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child));
    child.once('exit', () => reject(new Error(`${site.name} ended`)));
    child.send(site);
  });
}

async function createDatabases(postgresUrl: string): Promise<string[]> {
  const admin = postgres(postgresUrl, { max: 1, onnotice: () => undefined });
  const urls: string[] = [];
  for (const name of ['peer_s1', 'peer_s2', 'peer_s3']) {
    await admin.unsafe(`drop database if exists ${name}`);
    await admin.unsafe(`create database ${name}`);
    const url = new URL(postgresUrl);
    url.pathname = `/${name}`;
    const sql = postgres(url.href, { max: 1 });
    await sql`create table kv (key text primary key, value jsonb not null, version bigint not null, sequence bigint not null)`;
    await sql`create table position (sequence bigint not null)`;
    await sql`insert into position values (0)`;
    await sql.end();
    urls.push(url.href);
  }
  await admin.end();
  return urls;
}

async function untilEqual(databases: readonly string[]): Promise<void> {
  const connections = databases.map((url) => postgres(url, { max: 1 }));
  try {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const states = await Promise.all(
        connections.map(async (sql) =>
          JSON.stringify(
            await sql`select position.sequence::text,
          (select md5(string_agg(key || value::text || version, ',' order by key)) from kv) as checksum from position`,
          ),
        ),
      );
      if (new Set(states).size === 1) return;
      if (Date.now() > deadline) throw new Error(`the peer's databases differ: ${states.join(' ')}`);
    }
  } finally {
    await Promise.all(connections.map((sql) => sql.end()));
  }
}
