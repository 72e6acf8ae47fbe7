/**
 * The network between the replicas: ordered and fast links that a fault makes slow, lossy,
 * repeating, disordered or cut.
 */
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../shared/wire/envelope.js';
import type { Random } from './random.js';
import { countFault, type World } from './world.js';

export class Network {
  /** Probabilities, while a fault is on. */
  loss = 0;
  duplication = 0;
  /** Added to a share of the messages, out of order (microseconds). */
  delayUs = 0;
  private readonly cut: boolean[][];
  /** When the last message of a link arrives: the next one does not overtake it. */
  private readonly busyUntilUs: number[][];
  private readonly random: Random;

  constructor(private readonly world: World) {
    const size = world.names.length;
    this.cut = Array.from({ length: size }, () => new Array<boolean>(size).fill(false));
    this.busyUntilUs = Array.from({ length: size }, () => new Array<number>(size).fill(0));
    this.random = world.random.fork(11);
  }

  setCut(from: number, to: number, isCut: boolean): void {
    const row = this.cut[from];
    if (row !== undefined) row[to] = isCut;
  }

  heal(): void {
    this.loss = 0;
    this.duplication = 0;
    this.delayUs = 0;
    for (const row of this.cut) row.fill(false);
  }

  send(from: number, to: number, envelope: Envelope): void {
    this.world.counts.messages += 1;
    if (this.cut[from]?.[to] === true) return;
    if (this.loss > 0 && this.random.chance(this.loss)) {
      countFault(this.world, 'lost message');
      return;
    }
    const received = this.world.options.encoded ? this.pass(envelope, to) : envelope;
    this.deliver(from, to, received);
    if (this.duplication > 0 && this.random.chance(this.duplication)) {
      countFault(this.world, 'duplicated message');
      this.deliver(from, to, received, this.random.exponential(50_000));
    }
  }

  /** A message of the services that is no envelope: at most once, as NATS does it. */
  carry(from: number, to: number, arrive: () => void): void {
    if (this.cut[from]?.[to] === true || (this.loss > 0 && this.random.chance(this.loss))) return;
    const { queue, options } = this.world;
    queue.after(options.latencyUs * this.random.between(0.5, 1.5), () => {
      if (this.cut[from]?.[to] !== true) arrive();
    });
  }

  private pass(envelope: Envelope, to: number): Envelope {
    return decodeEnvelope(encodeEnvelope(envelope), this.world.names[to] ?? '');
  }

  private deliver(from: number, to: number, envelope: Envelope, extraUs = 0): void {
    const { queue, options } = this.world;
    let delayUs = options.latencyUs * this.random.between(0.5, 1.5) + extraUs;
    if (this.delayUs > 0 && this.random.chance(0.3)) {
      countFault(this.world, 'delayed message');
      delayUs += this.random.exponential(this.delayUs);
    } else if (extraUs === 0) {
      const row = this.busyUntilUs[from] ?? [];
      const arrivalUs = Math.max(queue.nowUs + delayUs, (row[to] ?? 0) + 1);
      row[to] = arrivalUs;
      delayUs = arrivalUs - queue.nowUs;
    }
    queue.after(delayUs, () => {
      // A partition also swallows what is on its way.
      if (this.cut[from]?.[to] !== true) this.world.servers[to]?.deliver(envelope);
    });
  }
}
