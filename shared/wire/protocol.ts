/**
 * The protocol between servers, and between the services of one server. Each message says in which
 * version it is written. A receiver refuses what it cannot read, with the reason, instead of
 * misreading it.
 *
 * A field that old receivers may ignore needs no new version. Any other change does, and takes two
 * releases: the first one reads the new version and writes the old one, the second one writes the
 * new one. Servers of neighbouring releases therefore work together.
 */
import { WireError } from './wire-error.js';

export interface Protocol {
  /** The version in which this build writes. */
  readonly writes: number;
  /** The versions that it reads, from and to. */
  readonly oldest: number;
  readonly newest: number;
}

export const PROTOCOL: Protocol = { writes: 1, oldest: 1, newest: 1 };

/** Messages from before there was a number have none. */
const UNNUMBERED = 1;

/** A message in a version of the protocol that this build cannot read. */
export class ProtocolError extends WireError {
  constructor(
    /** The sender; empty: another service of the same server. */
    readonly from: string,
    /** The version in which the message is written. */
    readonly protocol: number,
  ) {
    const sender = from === '' ? 'a service of this server' : from;
    super(`${sender} writes protocol ${protocol}, and this build of craft reads ${readable(PROTOCOL)}`);
    this.name = 'ProtocolError';
  }
}

/** To be called before anything else of the message is looked at. @throws ProtocolError */
export function requireReadable(from: string, written: number): void {
  const protocol = written === 0 ? UNNUMBERED : written;
  if (protocol < PROTOCOL.oldest || protocol > PROTOCOL.newest) throw new ProtocolError(from, protocol);
}

/** In words: `1`, or `1 to 2`. */
export function readable({ oldest, newest }: Pick<Protocol, 'oldest' | 'newest'>): string {
  return oldest === newest ? String(oldest) : `${oldest} to ${newest}`;
}
