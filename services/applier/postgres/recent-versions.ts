/**
 * Versions of the keys that were read or written last, for an engine that is their only writer:
 * what is known here need not be read again.
 *
 * True for one state only. The engine throws it away whenever the state may have moved by other
 * means than the batches that it has committed. A batch is written only where the position is still
 * the one that it was planned for, which no other writer keeps.
 *
 * Bounded: two generations, of which the older one is dropped when the younger one is full. A key
 * that is asked for stays.
 */

/**
 * Keys of one generation, and UTF-16 units of all of them: at most about 16 MiB with both
 * generations.
 */
const KEYS_MAX = 65_536;
const LENGTH_MAX = 2 * 1024 * 1024;

export class RecentVersions {
  private young = new Map<string, number>();
  private old = new Map<string, number>();
  /** UTF-16 units of the younger generation's keys. */
  private length = 0;

  constructor(
    private readonly keysMax: number = KEYS_MAX,
    private readonly lengthMax: number = LENGTH_MAX,
  ) {}

  /** 0: there is no such key. Undefined: not known. */
  get(key: string): number | undefined {
    const version = this.young.get(key);
    if (version !== undefined) return version;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: string, version: number): void {
    const known = this.young.size;
    this.young.set(key, version);
    if (this.young.size === known) return;
    this.length += key.length;
    if (this.young.size < this.keysMax && this.length < this.lengthMax) return;
    this.old = this.young;
    this.young = new Map();
    this.length = 0;
  }
}
