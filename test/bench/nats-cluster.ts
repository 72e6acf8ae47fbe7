/** Three nats-servers as a JetStream cluster that syncs every write: what the peer and the bare publishes run on. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { freePorts } from '../../deploy/local/ports.js';
import { findNatsServer } from '../../deploy/local/tools/nats-server.js';
import type { Processes } from './processes.js';

export interface NatsCluster {
  readonly urls: readonly string[];
  readonly processes: Processes;
  stop(): Promise<void>;
}

/** Resolves when JetStream of the cluster has a leader. `folder` takes configurations, data and logs. */
export async function startNatsCluster(folder: string): Promise<NatsCluster> {
  const { path: binary } = await findNatsServer();
  const ports = await freePorts(6);
  const nodes = [0, 1, 2].map((i) => ({ name: `n${i + 1}`, port: ports[i] ?? 0, route: ports[i + 3] ?? 0 }));
  const routes = nodes.map(({ route }) => `nats://127.0.0.1:${route}`).join(', ');
  const children: ChildProcess[] = [];
  for (const { name, port, route } of nodes) {
    const home = join(folder, name);
    await mkdir(home, { recursive: true });
    const configuration = join(home, 'nats.conf');
    await writeFile(
      configuration,
      `server_name: ${name}
host: 127.0.0.1
port: ${port}
log_file: "${join(home, 'nats.log')}"
jetstream { store_dir: "${home}", sync_interval: always }
cluster { name: bench, host: 127.0.0.1, port: ${route}, routes: [${routes}] }
`,
    );
    children.push(spawn(binary, ['-c', configuration], { stdio: 'ignore' }));
  }
  const exited = children.map((child) => new Promise<void>((resolve) => child.once('exit', () => resolve())));
  const urls = nodes.map(({ port }) => `nats://127.0.0.1:${port}`);

  async function stop(): Promise<void> {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(exited);
  }
  try {
    await untilReady(urls);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    urls,
    processes: Object.fromEntries(nodes.map(({ name }, i) => [`nats ${name}`, children[i]?.pid ?? 0])),
    stop,
  };
}

async function untilReady(urls: readonly string[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      const connection = await connect({ servers: [...urls], timeout: 1_000 });
      try {
        const manager = await jetstreamManager(connection);
        await manager.streams.add({ name: 'READY', subjects: ['ready'], num_replicas: 3 });
        await manager.streams.delete('READY');
        return;
      } finally {
        await connection.close();
      }
    } catch (error) {
      if (Date.now() > deadline) throw new Error('the NATS cluster did not get ready', { cause: error });
      await delay(100);
    }
  }
}
