/**
 * T6: a linearizable read, at any server, sees every write that was acknowledged, at any level,
 * before it began, and whatever a read before it saw.
 */
import type { Acknowledgement } from '../../../services/replica/core/effect.js';
import type { Acknowledged, Operation, ReadResult } from '../clients.js';
import { placeOf } from '../world.js';
import { hold, type Invariant } from './invariant.js';

export class LinearizableReads implements Invariant {
  readonly name = 'T6';
  /** The latest place in the merged order that a client has been told of. */
  private told = 0;
  private readonly mustSee = new Map<number, number>();

  onInvoked(operation: Operation): void {
    if (operation.kind === 'read') this.mustSee.set(operation.number, this.told);
  }

  onAcknowledged(_: Operation, __: Acknowledgement, ___: string, { timestamp, group }: Acknowledged): void {
    this.told = Math.max(this.told, placeOf(timestamp, group));
  }

  onRead(operation: Operation, { place, mergedIndex }: ReadResult): void {
    const required = this.mustSee.get(operation.number) ?? 0;
    hold(
      place >= required,
      this.name,
      () =>
        `read ${operation.number} saw the state at merged index ${mergedIndex} (place ${place}), though place ${required} was known before`,
    );
    this.told = Math.max(this.told, place);
  }
}
