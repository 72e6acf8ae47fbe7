/**
 * A NATS server at every site. `supercluster`: each site is a cluster of its own, joined by
 * gateways. `stretched`: one cluster over all sites, joined by routes. Gateways and routes go over
 * the lines; the servers tell each other no other addresses.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { ManagedProcess } from '../../../deploy/local/managed-process.js';
import { freeLowPorts } from '../../../deploy/local/ports.js';
import { findNatsServer } from '../../../deploy/local/tools/nats-server.js';
import { eventually } from '../../harness/index.js';
import type { Lines } from './lines.js';
import type { Profile } from './profiles.js';

export type Topology = 'supercluster' | 'stretched';

interface Site {
  readonly name: string;
  readonly port: number;
  /** Of its gateway or its routes. */
  readonly joinPort: number;
  /** Of routes within a site that has one server; nobody uses it. */
  readonly routePort: number;
}

const READY_MS_MAX = 60_000;
/** A port that nobody listens on. */
const NOWHERE = '127.0.0.1:1';

export interface NatsSites {
  /** By site. */
  readonly urls: readonly string[];
  stop(): Promise<void>;
}

export async function startNatsSites(
  folder: string,
  { delayMs }: Profile,
  jitterMs: number,
  topology: Topology,
  lines: Lines,
): Promise<NatsSites> {
  const { path } = await findNatsServer();
  const ports = await freeLowPorts(3 * delayMs.length);
  const sites = delayMs.map((_, at): Site => {
    const [port = 0, joinPort = 0, routePort = 0] = ports.slice(3 * at);
    return { name: `site${at + 1}`, port, joinPort, routePort };
  });
  const running: ManagedProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((process) => process.stop()));
  };
  try {
    for (const [from, site] of sites.entries()) {
      const ways: string[] = [];
      for (const [to, other] of sites.entries()) {
        if (from === to) continue;
        const line = { delayMs: delayMs[from]?.[to] ?? 0, jitterMs };
        const port = await lines.open(`${site.name}-${other.name}`, other.joinPort, line);
        ways.push(remoteOf(topology, other.name, `nats://127.0.0.1:${port}`));
      }
      running.push(await startSite(path, join(folder, site.name), site, ways, topology));
    }
    const urls = sites.map(({ port }) => `nats://127.0.0.1:${port}`);
    for (const url of urls) {
      await eventually(`JetStream at ${url}`, () => hasJetStream(url), { timeoutMs: READY_MS_MAX, everyMs: 200 });
    }
    return { urls, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function remoteOf(topology: Topology, name: string, url: string): string {
  return topology === 'supercluster' ? `{ name: ${name}, url: ${JSON.stringify(url)} }` : JSON.stringify(url);
}

async function startSite(
  program: string,
  home: string,
  { name, port, joinPort, routePort }: Site,
  ways: readonly string[],
  topology: Topology,
): Promise<ManagedProcess> {
  await mkdir(home, { recursive: true });
  const configuration = join(home, 'nats.conf');
  const cluster = (clusterName: string, listenPort: number, routes: readonly string[]): string[] => [
    'cluster {',
    `  name: ${clusterName}`,
    `  listen: "127.0.0.1:${listenPort}"`,
    `  routes: [${routes.join(', ')}]`,
    '  no_advertise: true',
    `  advertise: "${NOWHERE}"`,
    '}',
  ];
  const joined =
    topology === 'stretched'
      ? cluster('sites', joinPort, ways)
      : [
          // A JetStream that is to be clustered asks for a route, if only to itself.
          ...cluster(name, routePort, [JSON.stringify(`nats://127.0.0.1:${routePort}`)]),
          'gateway {',
          `  name: ${name}`,
          `  listen: "127.0.0.1:${joinPort}"`,
          `  advertise: "${NOWHERE}"`,
          `  gateways: [${ways.join(', ')}]`,
          '}',
        ];
  const text = [
    `server_name: ${name}`,
    `server_tags: ["node:${name}"]`,
    `listen: "127.0.0.1:${port}"`,
    'max_payload: 4MB',
    `jetstream { store_dir: ${JSON.stringify(join(home, 'jetstream'))}, max_file_store: 1GB }`,
    ...joined,
    '',
  ].join('\n');
  await writeFile(configuration, text);
  return ManagedProcess.start({
    name,
    command: program,
    args: ['--config', configuration],
    logFile: join(home, 'nats.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
  });
}

async function hasJetStream(url: string): Promise<boolean> {
  const connection = await connect({ servers: url, timeout: 1_000, reconnect: false });
  try {
    await jetstreamManager(connection, { timeout: 2_000 });
    return true;
  } finally {
    await connection.close();
  }
}
