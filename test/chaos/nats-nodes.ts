/**
 * Three nats-servers as one cluster, with a proxy on every way: from each craft server to each
 * node, and from each node to each other one. So any of these ways can be cut.
 *
 * Nodes tell clients and each other no addresses (`no_advertise`, and an address that nobody
 * listens on for routes): else they would find ways around the proxies. Each craft server has its
 * own node first in its list.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { ManagedProcess } from '../../deploy/local/managed-process.js';
import { freeLowPorts } from '../../deploy/local/ports.js';
import { findNatsServer } from '../../deploy/local/tools/nats-server.js';
import { type Damage, type Direction, TcpProxy } from './proxy.js';

/** What a partition does to what one side sends and gets. */
export type Partition = 'silent' | 'deaf' | 'mute' | 'refuse';
export const PARTITIONS: readonly [Partition, ...Partition[]] = ['silent', 'deaf', 'mute', 'refuse'];

interface Node {
  readonly name: string;
  readonly port: number;
  readonly routePort: number;
  /** To the other nodes, by their names. */
  readonly routes: Map<string, TcpProxy>;
  process: ManagedProcess | undefined;
}

const NODES = 3;
const READY_MS_MAX = 30_000;
/** A port that nobody listens on. */
const NOWHERE = '127.0.0.1:1';

export class NatsNodes {
  /** By server, in the order of the nodes. */
  private readonly ways = new Map<string, TcpProxy[]>();

  private constructor(
    private readonly folder: string,
    private readonly program: string,
    private readonly nodes: readonly Node[],
  ) {}

  /**
   * Resolves when JetStream of the whole cluster works. `folder` takes configurations, streams and
   * logs.
   */
  static async start(folder: string, servers: readonly string[]): Promise<NatsNodes> {
    const { path } = await findNatsServer();
    const ports = await freeLowPorts(2 * NODES);
    const nodes = Array.from({ length: NODES }, (_, at): Node => {
      const [port = 0, routePort = 0] = ports.slice(2 * at);
      return { name: `n${at + 1}`, port, routePort, routes: new Map(), process: undefined };
    });
    const all = new NatsNodes(folder, path, nodes);
    try {
      for (const from of nodes)
        for (const to of nodes) if (from !== to) from.routes.set(to.name, await TcpProxy.open(to.routePort));
      await Promise.all(all.names.map((name) => all.startNode(name)));
      for (const server of servers) await all.addServer(server);
    } catch (error) {
      await all.stop();
      throw error;
    }
    return all;
  }

  get names(): readonly [string, ...string[]] {
    const [first = '', ...others] = this.nodes.map(({ name }) => name);
    return [first, ...others];
  }

  /** All nodes, past the proxies: for clients. */
  get url(): string {
    return this.nodes.map(({ port }) => `nats://127.0.0.1:${port}`).join(',');
  }

  /** The node that a craft server has first in its list. */
  private ownNode(server: string): string {
    const at = [...this.ways.keys()].indexOf(server);
    return this.names[at % NODES] ?? this.names[0];
  }

  /** The nodes that a craft server is connected to; its services choose each for itself. */
  nodesOf(server: string): string[] {
    const ways = this.ways.get(server) ?? [];
    return this.names.filter((_, at) => ways[at]?.isUsed);
  }

  /** Gives a craft server its proxies. Does nothing when it has them. */
  async addServer(server: string): Promise<void> {
    if (this.ways.has(server)) return;
    this.ways.set(server, await Promise.all(this.nodes.map(({ port }) => TcpProxy.open(port))));
  }

  /** How a craft server finds NATS. */
  environmentOf(server: string): NodeJS.ProcessEnv {
    const ways = this.ways.get(server);
    if (ways === undefined) throw new RangeError(`no ways to NATS for server ${server}`);
    const first = this.names.indexOf(this.ownNode(server));
    const ordered = [...ways.slice(first), ...ways.slice(0, first)];
    return {
      CRAFT_NATS_URL: ordered.map(({ port }) => `nats://127.0.0.1:${port}`).join(','),
      CRAFT_NATS_ORDER: 'listed',
    };
  }

  async kill(name: string): Promise<void> {
    const { process } = this.node(name);
    process?.kill('SIGKILL');
    await process?.exited;
  }

  /**
   * Starts a node that does not run, on its ports and data; resolves when its JetStream answers.
   */
  async startNode(name: string): Promise<void> {
    const node = this.node(name);
    if (node.process?.isRunning) return;
    const home = join(this.folder, name);
    await mkdir(home, { recursive: true });
    const configuration = join(home, 'nats.conf');
    await writeFile(configuration, configurationOf(node, home));
    node.process = await ManagedProcess.start({
      name,
      command: this.program,
      args: ['--config', configuration],
      logFile: join(home, 'nats.log'),
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 10_000,
    });
    await node.process.ready(() => hasJetStream(node.port), READY_MS_MAX);
  }

  /** Between one craft server and these nodes. */
  partitionServer(server: string, nodes: readonly string[], partition: Partition): void {
    const ways = this.ways.get(server) ?? [];
    for (const name of nodes) ways[this.names.indexOf(name)]?.damage(damageOf(partition, 'up'));
  }

  /** Between one node and the other ones. A client that is connected to it stays so. */
  partitionNode(name: string, partition: Partition): void {
    for (const node of this.nodes) {
      for (const [to, proxy] of node.routes) {
        if (node.name === name) proxy.damage(damageOf(partition, 'up'));
        else if (to === name) proxy.damage(damageOf(partition, 'down'));
      }
    }
  }

  /** All ways are free again. */
  heal(): void {
    for (const proxy of this.proxies()) proxy.heal();
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ process }) => process?.stop()));
    await Promise.all(this.proxies().map((proxy) => proxy.close()));
  }

  private proxies(): TcpProxy[] {
    return [...this.ways.values(), ...this.nodes.map(({ routes }) => [...routes.values()])].flat();
  }

  private node(name: string): Node {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new RangeError(`no NATS node ${name}`);
    return found;
  }
}

/** `speaks`: the direction in which the one that is cut off sends. */
function damageOf(partition: Partition, speaks: Direction): Damage {
  if (partition === 'refuse') return 'refuse';
  if (partition === 'silent') return ['up', 'down'];
  const hears: Direction = speaks === 'up' ? 'down' : 'up';
  return [partition === 'mute' ? speaks : hears];
}

function configurationOf({ name, port, routePort, routes }: Node, home: string): string {
  const others = [...routes.values()].map((proxy) => `"nats://127.0.0.1:${proxy.port}"`);
  return [
    `server_name: ${name}`,
    `server_tags: ["node:${name}"]`,
    `listen: "127.0.0.1:${port}"`,
    'max_payload: 4MB',
    // A node that is gone is noticed while a test lasts.
    'ping_interval: "2s"',
    'write_deadline: "5s"',
    `jetstream { store_dir: ${JSON.stringify(join(home, 'jetstream'))} }`,
    'cluster {',
    '  name: chaos',
    `  listen: "127.0.0.1:${routePort}"`,
    `  routes: [${others.join(', ')}]`,
    '  no_advertise: true',
    `  advertise: "${NOWHERE}"`,
    '}',
    '',
  ].join('\n');
}

async function hasJetStream(port: number): Promise<boolean> {
  try {
    const connection = await connect({ servers: `127.0.0.1:${port}`, timeout: 1_000, reconnect: false });
    try {
      await jetstreamManager(connection, { timeout: 1_000 });
      return true;
    } finally {
      await connection.close();
    }
  } catch {
    return false;
  }
}
