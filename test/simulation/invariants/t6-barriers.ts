/**
 * T6: an answer to a read barrier of an earlier life never counts. It says nothing of writes since
 * then, and a barrier takes an answer by the number that was asked for. Therefore no server asks
 * for a number that one of its earlier lives has asked for.
 */
import type { Envelope } from '../../../shared/wire/envelope.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class BarrierNumbers implements Invariant {
  readonly name = 'T6 barriers';
  /** By server: how often it has started, and the life that asked for each number. */
  private readonly lives = new Map<string, number>();
  private readonly asked = new Map<string, number>();

  onStart({ name }: SimulatedServer): void {
    this.lives.set(name, (this.lives.get(name) ?? 0) + 1);
  }

  onEnvelope({ name }: SimulatedServer, { barrierAsks }: Envelope): void {
    const life = this.lives.get(name) ?? 0;
    for (const number of barrierAsks) {
      const key = `${name}/${number}`;
      const asker = this.asked.get(key) ?? life;
      hold(asker === life, this.name, () => `${name} asks for barrier ${number}, as it did before it restarted`);
      this.asked.set(key, life);
    }
  }
}
