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
/**
 * How long a server that did not take a request is left out: twice as long with each failure that
 * follows, until it takes one (milliseconds).
 */
const AVOID_MS = 1_000;
const AVOID_MS_MAX = 30_000;
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
  /** By kind and server: until when it is left out, and for how long that is. */
  private readonly avoided = new Map<string, { readonly untilMs: number; readonly forMs: number }>();
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
    if (server === undefined || nowMs < (this.avoided.get(`${kind} ${server}`)?.untilMs ?? nowMs)) return undefined;
    return server;
  }

  /** That server did not take a request of this kind. */
  failed(kind: RequestKind, server: string, nowMs: number): void {
    const before = this.avoided.get(`${kind} ${server}`);
    // Many requests may have been under way there: they fail together, and count once.
    if (before !== undefined && nowMs < before.untilMs) return;
    const forMs = before === undefined ? AVOID_MS : Math.min(AVOID_MS_MAX, 2 * before.forMs);
    this.avoided.set(`${kind} ${server}`, { untilMs: nowMs + forMs, forMs });
    this.measureAtMs = Math.min(this.measureAtMs, nowMs + MEASURE_AGAIN_MS);
  }

  /** That server has taken a request of this kind. */
  succeeded(kind: RequestKind, server: string): void {
    if (this.avoided.size > 0) this.avoided.delete(`${kind} ${server}`);
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
