/**
 * Whether this server has loaded the version of the state machine that is needed next (T12). Pure.
 *
 * What needs another version is not applied, and neither is what comes after it. Only a snapshot of
 * after the next switch leads past it. What the services append needs no version.
 */
import { type EnginePosition, type MergedCommand, versionAt } from '../../../shared/engine/port.js';
import { switchOf } from '../../../shared/engine/switch.js';
import type { MonotonicMs } from '../../../shared/raft/entry.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../../shared/wire/restore.js';
import type { Effect } from './effect.js';

/** Between two tries to get past a version that is not loaded (milliseconds). */
const RETRY_MS = 2_000;

type Place = Pick<EnginePosition, 'mergedIndex' | 'version'>;

export interface LoadedVersions {
  readonly name: string;
  readonly versions: readonly number[];
}

export class VersionGate {
  /** What is waited for, as it was told last. */
  private waitingFor: string | undefined;
  private toldVersion: number | undefined;
  /** When something is done about a missing version again. */
  private retryAtMs: MonotonicMs;

  constructor(
    private readonly machine: LoadedVersions,
    private readonly emit: (effect: Effect) => void,
    /** Without a snapshot of after the next switch, nothing goes on here. */
    private readonly needSnapshot: () => void,
    private nowMs: MonotonicMs,
  ) {
    // Until the log has been looked at.
    this.retryAtMs = nowMs + RETRY_MS;
  }

  /** Why nothing is applied now; undefined when no version is missing. */
  get waiting(): string | undefined {
    return this.waitingFor;
  }

  has(version: number): boolean {
    return this.machine.versions.includes(version);
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
  }

  /** The state at `at` cannot go on with this command, and that is told. */
  mustWait(next: MergedCommand | undefined, at: Place): boolean {
    const missing = next === undefined ? undefined : this.missing(next, versionAt(at));
    this.wait(
      missing === undefined
        ? undefined
        : `waiting at merged index ${at.mergedIndex + 1} for version ${missing} of the state machine, which is not loaded. ` +
            'Start this server with a module that has it',
    );
    // A snapshot of after the switch leads past what the version before would have to execute.
    if (missing === versionAt(at) && this.isRetryDue()) this.needSnapshot();
    return missing !== undefined;
  }

  /** The state has moved by other means than a batch: whether it waits is not known. */
  onMoved(): void {
    if (this.waitingFor !== undefined) this.wait(undefined);
  }

  /** The database was opened again: the version in force is told again. */
  onOpened(): void {
    this.toldVersion = undefined;
  }

  /** Tells the version in force. `isIdle`: nothing is queued, and the engine has nothing to do. */
  tell(at: Place, isIdle: boolean): void {
    const version = versionAt(at);
    if (version !== this.toldVersion) this.emit({ type: 'version', version });
    this.toldVersion = version;
    // A new cluster whose machine has no first version any more begins with the newest one.
    const isStuck = at.mergedIndex === 0 && !this.has(version) && isIdle;
    if (isStuck && this.isRetryDue()) this.emit({ type: 'ask-machine', version: Math.max(...this.machine.versions) });
  }

  private wait(reason: string | undefined): void {
    if (reason !== this.waitingFor) this.emit({ type: 'waiting', reason });
    this.waitingFor = reason;
  }

  /** At most once in a while. */
  private isRetryDue(): boolean {
    if (this.nowMs < this.retryAtMs) return false;
    this.retryAtMs = this.nowMs + RETRY_MS;
    return true;
  }

  /** The version that is needed for this command and is not loaded. */
  private missing({ name, payload, mergedIndex }: MergedCommand, version: number): number | undefined {
    if (name === MACHINE_COMMAND) {
      const decided = switchOf(payload, { name: this.machine.name, version }, mergedIndex);
      return 'to' in decided && !this.has(decided.to) ? decided.to : undefined;
    }
    return this.has(version) || name.startsWith(RESERVED_PREFIX) ? undefined : version;
  }
}
