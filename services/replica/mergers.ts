/**
 * Of several mergers of this server the one that came last is the one: the others are told so at
 * their next poll, and end. The stream itself refuses what two of them write at once
 * (services/merger/stream.ts), so this is not about safety. Without it, two would go unnoticed that
 * share the work, each starting anew whenever the other one was faster.
 */

/** More than two are there only when an operator restarts one again and again. */
const REPLACED_MAX = 64;

export class Mergers {
  private current = '';
  /** Oldest first. */
  private readonly replaced = new Set<string>();

  /**
   * Who has come after this one; undefined when nobody has. One without a name, of an older
   * version, is nobody's matter.
   */
  newerThan(merger: string): string | undefined {
    if (merger === '' || merger === this.current) return undefined;
    if (this.replaced.has(merger)) return this.current;
    if (this.current !== '') this.replaced.add(this.current);
    for (const oldest of this.replaced) {
      if (this.replaced.size <= REPLACED_MAX) break;
      this.replaced.delete(oldest);
    }
    this.current = merger;
    return undefined;
  }
}
