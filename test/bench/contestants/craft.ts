/**
 * craft: by plain NATS clients with each acknowledgement, by the SDK, and with one group, which is
 * plain Raft.
 */
import type { Target } from '../load/protocol.js';
import { type CraftSystem, startCraft } from '../systems/craft.js';
import type { Contestant } from './contestant.js';

interface Variant {
  readonly name: string;
  readonly title: string;
  readonly groups?: number;
  readonly target: (system: CraftSystem) => Target;
}

function craft({ name, title, groups = 3, target }: Variant): Contestant {
  return {
    name,
    title,
    async start(stage) {
      const system = await startCraft(stage, { groups });
      return {
        target: target(system),
        processes: system.processes(),
        monitors: system.nats.monitors,
        verify: system.verify,
        stop: system.stop,
      };
    },
  };
}

const plain =
  (ack: 'applied' | 'ordered' | 'committed') =>
  ({ nats, cluster }: CraftSystem): Target => ({
    kind: 'craft',
    urls: nats.urls,
    subject: `${cluster.cluster}.cmd.kv.put`,
    ack,
  });

export const craftApplied = craft({
  name: 'craft-applied',
  title: 'craft, applied',
  target: plain('applied'),
});
export const craftOrdered = craft({
  name: 'craft-ordered',
  title: 'craft, ordered',
  target: plain('ordered'),
});
export const craftCommitted = craft({
  name: 'craft-committed',
  title: 'craft, committed',
  target: plain('committed'),
});
export const craftSdk = craft({
  name: 'craft-sdk',
  title: 'craft, applied, by the SDK',
  target: ({ nats, cluster }) => ({ kind: 'sdk', urls: nats.urls, cluster: cluster.cluster }),
});
export const craftOneGroup = craft({
  name: 'craft-one-group',
  title: 'craft, applied, one group (plain Raft)',
  groups: 1,
  target: plain('applied'),
});
