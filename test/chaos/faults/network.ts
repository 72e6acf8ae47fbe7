/** Ways that are cut: silent in both directions or in one, or refused. */
import { PARTITIONS } from '../nats-nodes.js';
import { type Fault, pickServer } from './fault.js';

const CUT_MS = [1_000, 6_000] as const;
/** Also longer than a service stays with a node that says nothing. */
const FAILOVER_MS = [1_000, 15_000] as const;

/** One server hears nothing of NATS, or NATS nothing of it. */
const partition: Fault = {
  name: 'partition',
  async inject(surroundings) {
    const { nats, random } = surroundings;
    const server = pickServer(surroundings);
    const how = random.pick(PARTITIONS);
    nats.partitionServer(server, nats.names, how);
    return { what: `${server} ${how}`, holdMs: random.between(...CUT_MS), heal: async () => nats.heal() };
  },
};

/** One server does not reach the NATS nodes that it is connected to, but another one. */
const failover: Fault = {
  name: 'failover',
  async inject(surroundings) {
    const { nats, random } = surroundings;
    const server = pickServer(surroundings);
    // One is left; its services may be at all of them.
    const nodes = nats.nodesOf(server).slice(0, nats.names.length - 1);
    const how = random.pick(PARTITIONS);
    nats.partitionServer(server, nodes, how);
    return {
      what: `${server} from ${nodes.join(' and ')} ${how}`,
      holdMs: random.between(...FAILOVER_MS),
      heal: async () => nats.heal(),
    };
  },
};

/** One NATS node and the other two are apart; servers stay connected to either side. */
const natsPartition: Fault = {
  name: 'nats-partition',
  async inject({ nats, random }) {
    const node = random.pick(nats.names);
    const how = random.pick(PARTITIONS);
    nats.partitionNode(node, how);
    return { what: `${node} ${how}`, holdMs: random.between(...CUT_MS), heal: async () => nats.heal() };
  },
};

export const NETWORK_FAULTS: readonly Fault[] = [partition, failover, natsPartition];
