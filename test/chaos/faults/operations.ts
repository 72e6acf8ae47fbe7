/** What operators do: snapshots, servers that are replaced. */
import { MembersAdmin } from '../../../services/cli/members.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { type Fault, NOTHING_TO_HEAL, pickServer } from './fault.js';

const MEMBERS_MS_MAX = 90_000;

const snapshot: Fault = {
  name: 'snapshot',
  async inject({ cluster, connection }) {
    connection.publish(new Subjects(cluster.cluster).admin('snapshot'));
    return { what: 'somebody takes one', holdMs: 0, heal: NOTHING_TO_HEAL };
  },
};

/** A new server joins, then an old one is taken out and ends. */
const members: Fault = {
  name: 'members',
  async inject(surroundings) {
    const { cluster, nats, disks, connection } = surroundings;
    const { groups, servers } = cluster;
    const subjects = new Subjects(cluster.cluster);
    const options = { connection, subjects, groups, timeoutMs: MEMBERS_MS_MAX, print: () => undefined };
    const old = pickServer(surroundings);
    const fresh = `s${Math.max(...servers.map((server) => Number(server.slice(1)))) + 1}`;
    await nats.addServer(fresh);
    await disks?.add(fresh);
    await cluster.addServer(fresh);
    await new MembersAdmin(options).add(fresh);
    await new MembersAdmin(options).remove(old);
    await cluster.kill(old, 'SIGTERM');
    cluster.forget(old);
    return { what: `${fresh} for ${old}`, holdMs: 0, heal: NOTHING_TO_HEAL };
  },
};

export const OPERATIONS: readonly Fault[] = [snapshot, members];
