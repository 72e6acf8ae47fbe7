/**
 * Which server gets a client's requests first. Pure: what servers answered and the time are inputs.
 *
 * A server that did not take a request is left out for a while, for requests of that kind. Without
 * a preferred server a request goes to whichever NATS picks.
 */

/** Commands go to a leader, reads to any server. */
export type RequestKind = 'command' | 'read';

/** What a server answered when all were asked. */
export interface ServerAnswer {
  readonly server: string;
  /** Milliseconds. */
  readonly roundTripMs: number;
  /** Whether it leads a group. */
  readonly isLeader: boolean;
}

/** Between two measurements, while there are requests (milliseconds). */
const MEASURE_MS = 10_000;
/** The same after a server did not take a request, at least. */
const MEASURE_AGAIN_MS = 1_000;
/** How long a server that did not take a request is left out (milliseconds). */
const AVOID_MS = 1_000;
/** A round trip is the shortest of so many measurements: one may have met a busy moment. */
const ROUNDS = 3;
/** Another server is nearer when its round trip is at most this share of that of the one in use. */
const NEARER_SHARE = 0.75;

export class ServerPreference {
  /**
   * By server: the newest round trips first, and whether it led a group at the last measurement.
   */
  private known = new Map<string, { readonly roundTripsMs: readonly number[]; readonly isLeader: boolean }>();
  private readonly inUse = new Map<RequestKind, string>();
  private readonly avoidedUntilMs = new Map<string, number>();
  private measureAtMs = 0;
  private isMeasured = false;

  /** `wanted`: the name of a server, or `nearest`; undefined: there is no preference. */
  constructor(private readonly wanted: string | undefined) {}

  /** Whether nothing is known yet of how near the servers are. */
  get isUnknown(): boolean {
    return this.wanted === 'nearest' && !this.isMeasured;
  }

  /** Whether it is time to ask all servers. The answer is no until `nowMs` (monotonic) is later. */
  takeMeasurement(nowMs: number): boolean {
    if (this.wanted !== 'nearest' || nowMs < this.measureAtMs) return false;
    this.measureAtMs = nowMs + MEASURE_MS;
    return true;
  }

  /** All answers of one measurement. A server that gave none is not used until the next one. */
  measured(answers: readonly ServerAnswer[]): void {
    this.isMeasured = true;
    const known: typeof this.known = new Map();
    for (const { server, roundTripMs, isLeader } of answers) {
      const before = this.known.get(server)?.roundTripsMs ?? [];
      known.set(server, { roundTripsMs: [roundTripMs, ...before].slice(0, ROUNDS), isLeader });
    }
    this.known = known;
    for (const kind of ['command', 'read'] as const) this.choose(kind);
  }

  /** The server that gets a request first; undefined: any. */
  serverFor(kind: RequestKind, nowMs: number): string | undefined {
    const server = this.wanted === 'nearest' ? this.inUse.get(kind) : this.wanted;
    if (server === undefined || nowMs < (this.avoidedUntilMs.get(`${kind} ${server}`) ?? 0)) return undefined;
    return server;
  }

  /** That server did not take a request of this kind. */
  failed(kind: RequestKind, server: string, nowMs: number): void {
    this.avoidedUntilMs.set(`${kind} ${server}`, nowMs + AVOID_MS);
    this.measureAtMs = Math.min(this.measureAtMs, nowMs + MEASURE_AGAIN_MS);
  }

  private choose(kind: RequestKind): void {
    const current = this.inUse.get(kind);
    let best: string | undefined;
    let bestMs = Number.POSITIVE_INFINITY;
    for (const [server, { roundTripsMs, isLeader }] of this.known) {
      if (kind === 'command' && !isLeader) continue;
      const roundTripMs = Math.min(...roundTripsMs) * (server === current ? NEARER_SHARE : 1);
      if (roundTripMs >= bestMs) continue;
      best = server;
      bestMs = roundTripMs;
    }
    if (best === undefined) this.inUse.delete(kind);
    else this.inUse.set(kind, best);
  }
}
