/**
 * Servers whose messages this one cannot read, since they write another version of the protocol.
 * For status and log.
 */
import type { ServerId } from '../../shared/raft/entry.js';

/** So many are remembered; the subject is open to whatever the NATS server lets through. */
const PEERS_MAX = 64;

export interface RefusedPeer {
  readonly server: ServerId;
  /** The version of the protocol that it writes. */
  readonly protocol: number;
  /** Of the first message that was refused (ISO 8601). */
  readonly since: string;
}

export class Peers {
  private readonly refusals = new Map<ServerId, RefusedPeer>();

  constructor(private readonly now: () => Date = () => new Date()) {}

  refuse(server: ServerId, protocol: number): void {
    const before = this.refusals.get(server);
    if (before?.protocol === protocol || (before === undefined && this.refusals.size >= PEERS_MAX)) return;
    this.refusals.set(server, { server, protocol, since: this.now().toISOString() });
  }

  /** A message of this server could be read. */
  understand(server: ServerId): void {
    this.refusals.delete(server);
  }

  get refused(): readonly RefusedPeer[] {
    return [...this.refusals.values()];
  }
}
