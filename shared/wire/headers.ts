/** Headers of requests, by their names in any case (as HTTP and W3C have it). */
import type { MsgHdrs } from '@nats-io/nats-core';
import { CraftError } from './errors.js';

/** Gives the values of a message's headers by lower-case name. */
export class RequestHeaders {
  private readonly values = new Map<string, string[]>();

  constructor(headers: MsgHdrs) {
    for (const name of headers.keys()) {
      const lower = name.toLowerCase();
      const known = this.values.get(lower);
      const given = headers.values(name);
      this.values.set(lower, known === undefined ? given : [...known, ...given]);
    }
  }

  /**
   * The value, or an empty string without one; `name` in lower case.
   * @throws CraftError INVALID_ARGUMENT when several values are given: which one is meant is not
   *   the server's to guess.
   */
  get(name: string): string {
    const given = this.values.get(name) ?? [];
    const [first = ''] = given;
    if (given.some((value) => value !== first)) {
      throw new CraftError('INVALID_ARGUMENT', `${name}: several different values`);
    }
    return first;
  }

  /** The value, or undefined when there is not exactly one. */
  only(name: string): string | undefined {
    const given = this.values.get(name);
    return given?.length === 1 ? given[0] || undefined : undefined;
  }
}
