/**
 * Whether anything may be read from this server's state (T4). Pure.
 *
 * A state that differs from that of a majority has a verdict until it is another state. The verdict
 * is kept in the database, so a restart does not clear it. While servers differ and none has a
 * majority, nothing is read either; that ends by itself.
 */
import type { Comparison } from './comparison.js';
import type { Effect } from './effect.js';

export class Trust {
  private reason: string | undefined;
  private isKept = true;
  /** The refusal that was told last. */
  private told: string | undefined;

  constructor(
    private readonly comparison: Pick<Comparison, 'begin' | 'end' | 'isUndecided'>,
    private readonly emit: (effect: Effect) => void,
  ) {}

  /** Why this state differs from that of a majority; undefined when it does not. */
  get verdict(): string | undefined {
    return this.reason;
  }

  /** A verdict that the database does not have yet. */
  get unkeptVerdict(): string | undefined {
    return this.isKept ? undefined : this.reason;
  }

  /** Why nothing may be read from this state; undefined when it may. */
  get refusal(): string | undefined {
    if (this.reason !== undefined) return `the state of this server differs from the others': ${this.reason}`;
    if (this.comparison.isUndecided) return 'servers differ, and no majority says which one is right';
    return undefined;
  }

  /** Tells a refusal that has changed. */
  tell(): void {
    const { refusal } = this;
    if (refusal === this.told) return;
    this.told = refusal;
    this.emit({ type: 'refusal', reason: refusal });
  }

  /** The state is another one than that which was compared until now. */
  begin(): void {
    this.reason = undefined;
    this.isKept = true;
    this.comparison.begin();
  }

  /** The state has a verdict. `isKept`: the database has it. */
  end(reason: string, isKept: boolean): void {
    this.reason = reason;
    this.isKept = isKept;
    this.comparison.end();
  }

  kept(): void {
    this.isKept = true;
  }
}
