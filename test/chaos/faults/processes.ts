/** Processes that are killed, stopped, or restarted. */
import { type Fault, NOTHING_TO_HEAL, pickLeader, pickServer } from './fault.js';

const DOWN_MS = [200, 2_000] as const;
const SHORT_MS = [100, 1_000] as const;
const PAUSE_MS = [1_000, 5_000] as const;

/** kill -9 of a server that leads. */
const kill: Fault = {
  name: 'kill',
  async inject(surroundings) {
    const { cluster, random } = surroundings;
    const { server, group } = await pickLeader(surroundings);
    await cluster.kill(server, 'SIGKILL');
    return {
      what: group === undefined ? server : `${server}, leader of group ${group}`,
      group,
      holdMs: random.between(...DOWN_MS),
      heal: () => cluster.restart(server),
    };
  },
};

/**
 * SIGSTOP of one process of a server: it loses no connection, and does not know that time has
 * passed.
 */
const pause: Fault = {
  name: 'pause',
  async inject(surroundings) {
    const { cluster, random } = surroundings;
    const server = pickServer(surroundings);
    const parts = Object.keys(cluster.pids).filter((name) => name === server || name.startsWith(`${server}.`));
    const part = parts[Math.floor(random.next() * parts.length)] ?? server;
    await cluster.kill(part, 'SIGSTOP');
    return { what: part, holdMs: random.between(...PAUSE_MS), heal: () => cluster.kill(part, 'SIGCONT') };
  },
};

/** SIGTERM of one server. */
const restart: Fault = {
  name: 'restart',
  async inject(surroundings) {
    const { cluster } = surroundings;
    const server = pickServer(surroundings);
    await cluster.kill(server, 'SIGTERM');
    return { what: server, holdMs: 0, heal: () => cluster.restart(server) };
  },
};

/** SIGTERM of all servers one after the other, each when the one before is back. */
const rolling: Fault = {
  name: 'rolling',
  async inject({ cluster }) {
    for (const server of cluster.servers) {
      await cluster.kill(server, 'SIGTERM');
      await cluster.restart(server);
      await cluster.waitReady({ servers: cluster.servers });
    }
    return { what: `${cluster.servers.length} servers`, holdMs: 0, heal: NOTHING_TO_HEAL };
  },
};

/**
 * kill -9 of one NATS node: a client that was connected to it goes to another one; its streams are
 * away until it is back.
 */
const nats: Fault = {
  name: 'nats',
  async inject({ nats, random }) {
    const node = random.pick(nats.names);
    await nats.kill(node);
    return { what: node, holdMs: random.between(...SHORT_MS), heal: () => nats.startNode(node) };
  },
};

/** kill -9 of the database server: no server can apply or read until it is back. */
const postgres: Fault = {
  name: 'postgres',
  async inject({ cluster, random }) {
    await cluster.kill('postgres', 'SIGKILL');
    return { what: 'SIGKILL', holdMs: random.between(...SHORT_MS), heal: () => cluster.restart('postgres') };
  },
};

/** kill -9 of all servers and all NATS nodes at once. */
const power: Fault = {
  name: 'power',
  async inject({ cluster, nats, random }) {
    const servers = [...cluster.servers];
    await Promise.all([
      ...servers.map((server) => cluster.kill(server, 'SIGKILL')),
      ...nats.names.map((node) => nats.kill(node)),
    ]);
    return {
      what: 'every server and all of NATS',
      holdMs: random.between(...SHORT_MS),
      heal: async () => {
        await Promise.all([
          ...nats.names.map((node) => nats.startNode(node)),
          ...servers.map((server) => cluster.restart(server)),
        ]);
      },
    };
  },
};

export const PROCESS_FAULTS: readonly Fault[] = [kill, pause, restart, rolling, nats, postgres, power];
