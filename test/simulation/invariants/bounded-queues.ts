/**
 * Bounded queues: whatever waits anywhere has a bound that does not depend on how long a fault
 * lasts.
 */
import type { ReplicaCore } from '../../../services/replica/core/server.js';
import type { SimulatedCommand } from '../replica.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

/** Room for one command or entry more than a limit in bytes (bytes). */
const SLACK = 4_096;
const POLLS_MAX = 8;
const BARRIERS_MAX = 64;
const MESSAGES_MAX = 2_048;
/** So many wait, and what one turn may add. */
const PATIENT_MAX = 64 + 256;

export class BoundedQueues implements Invariant {
  readonly name = 'bounded queues';
  private readonly world: World;

  constructor({ world }: Surroundings) {
    this.world = world;
  }

  onGlance(server: SimulatedServer, core: ReplicaCore<SimulatedCommand>): void {
    const { uncommittedBytesMax } = this.world.options.core;
    const check = (what: string, size: number, most: number) =>
      hold(size <= most, this.name, () => `${server.name} has ${size} of ${what}, at most ${most}`);
    for (const [id, group] of core.groups.entries()) {
      check(`uncommitted bytes in group ${id}`, group.uncommittedBytes, uncommittedBytesMax + SLACK);
      const state: unknown = Reflect.get(group, 'state');
      for (const field of ['outbox', 'outboxDurable', 'events']) {
        check(`${field} of group ${id}`, lengthOf(field, state), MESSAGES_MAX);
      }
      check(`claims of group ${id}`, lengthOf('claims', field(state, 'closedTimestamps')), 64);
    }
    const peers = field(field(core, 'outbox'), 'byPeer');
    if (!(peers instanceof Map)) throw new Error('no queues for peers to look at');
    for (const [peer, outgoing] of peers) {
      check(`patient messages for ${peer}`, lengthOf('patient', outgoing), PATIENT_MAX);
    }
    check('polls', lengthOf('polls', field(core, 'feed')), POLLS_MAX);
    check('barriers', lengthOf('byId', field(core, 'barriers')), BARRIERS_MAX);
  }
}

function field(of: unknown, name: string): unknown {
  return of instanceof Object ? Reflect.get(of, name) : undefined;
}

function lengthOf(name: string, of: unknown): number {
  const value = field(of, name);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new Error(`no queue ${name} to look at`);
}
