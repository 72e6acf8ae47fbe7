/**
 * NATS servers for what is measured: one, which only carries messages, or three whose JetStream
 * keeps data (R3).
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { ManagedProcess } from '../../../deploy/local/managed-process.js';
import { startNats } from '../../../deploy/local/nats.js';
import { freeLowPorts } from '../../../deploy/local/ports.js';
import { findNatsServer } from '../../../deploy/local/tools/nats-server.js';
import { eventually } from '../../harness/index.js';
import type { Processes } from '../processes.js';

export interface Nats {
  readonly urls: readonly string[];
  /** Addresses of their monitoring. */
  readonly monitors: readonly string[];
  readonly processes: Processes;
  stop(): Promise<void>;
}

const READY_MS_MAX = 30_000;

/** One server with JetStream, as `npm start` has it. */
export async function startNatsServer(folder: string): Promise<Nats> {
  const [port = 0, monitorPort = 0] = await freeLowPorts(2);
  const server = await startNats({ dataDir: join(folder, 'nats'), port, monitorPort });
  return {
    urls: [`nats://127.0.0.1:${port}`],
    monitors: [`http://127.0.0.1:${monitorPort}`],
    processes: { nats: server.pid },
    async stop() {
      await server.stop();
    },
  };
}

interface Node {
  readonly name: string;
  readonly port: number;
  readonly route: number;
  readonly monitor: number;
}

const NODES = 3;

/**
 * Three servers as one cluster; JetStream syncs everything before it acknowledges
 * (`sync_interval: always`). Resolves when JetStream takes streams of three replicas.
 */
export async function startNatsCluster(folder: string): Promise<Nats> {
  const { path } = await findNatsServer();
  const ports = await freeLowPorts(3 * NODES);
  const nodes = Array.from({ length: NODES }, (_, at): Node => {
    const [port = 0, route = 0, monitor = 0] = ports.slice(3 * at);
    return { name: `n${at + 1}`, port, route, monitor };
  });
  const running: ManagedProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((process) => process.stop()));
  };
  const urls = nodes.map(({ port }) => `nats://127.0.0.1:${port}`);
  try {
    for (const node of nodes) running.push(await startNode(path, join(folder, node.name), node, nodes));
    await eventually('the NATS cluster takes streams', () => takesStreams(urls), { timeoutMs: READY_MS_MAX });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    urls,
    monitors: nodes.map(({ monitor }) => `http://127.0.0.1:${monitor}`),
    processes: Object.fromEntries(nodes.map(({ name }, at) => [`nats ${name}`, running[at]?.pid ?? 0])),
    stop,
  };
}

async function startNode(
  program: string,
  home: string,
  { name, port, route, monitor }: Node,
  all: readonly Node[],
): Promise<ManagedProcess> {
  await mkdir(home, { recursive: true });
  const configuration = join(home, 'nats.conf');
  const routes = all.map((node) => `nats://127.0.0.1:${node.route}`);
  const lines = [
    `server_name: ${name}`,
    `listen: "127.0.0.1:${port}"`,
    `http: "127.0.0.1:${monitor}"`,
    'max_payload: 4MB',
    `jetstream { store_dir: ${JSON.stringify(home)}, sync_interval: always }`,
    `cluster { name: bench, listen: "127.0.0.1:${route}", routes: [${routes.join(', ')}] }`,
    '',
  ];
  await writeFile(configuration, lines.join('\n'));
  return ManagedProcess.start({
    name,
    command: program,
    args: ['--config', configuration],
    logFile: join(home, 'nats.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
  });
}

async function takesStreams(urls: readonly string[]): Promise<boolean> {
  const connection = await connect({ servers: [...urls], timeout: 1_000 });
  try {
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'READY', subjects: ['ready'], num_replicas: NODES });
    return await manager.streams.delete('READY');
  } finally {
    await connection.close();
  }
}
