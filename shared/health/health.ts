/**
 * The health of the services of one process. Pure: time is an input. Ages are of a clock that
 * nobody sets; when something began is told by the machine's.
 *
 *     report: something has failed, or works again ─┐
 *     watch: a look at something that may hang     ─┴─▶ conditions ──▶ status answers, metrics, probes, log
 *
 * There are only the conditions of `conditions.ts`, each with its newest detail, so that nothing
 * grows.
 */

import { messageWithCause } from '../errors.js';
import { CONDITIONS, type ConditionCode, type ConditionKind, type ServiceName } from './conditions.js';

/** Time as the health sees it. */
export interface HealthClocks {
  /** Never goes back (milliseconds). */
  monotonicMs(): number;
  /** The machine's clock (milliseconds since the Unix epoch). */
  epochMs(): number;
}

const SYSTEM_CLOCKS: HealthClocks = { monotonicMs: () => performance.now(), epochMs: () => Date.now() };

/** What is wrong. */
export interface Trouble {
  readonly why: string;
  /** What to do, when that is not what it is for every trouble of this condition. */
  readonly remedy?: string | undefined;
  /** How long it has lasted when it is first told (milliseconds). */
  readonly forMs?: number | undefined;
}

export interface Condition {
  readonly condition: string;
  readonly ok: boolean;
  /** Of the last change (milliseconds since the Unix epoch). */
  readonly since: number;
  /** Only when it is not ok. */
  readonly why?: string;
  readonly remedy?: string;
}

export interface ServiceStatus {
  readonly service: ServiceName;
  /** It does its work. */
  readonly serves: boolean;
  /** How far it is, in a number that only grows while all is well; absent before it has started. */
  readonly position?: number;
  /** How long that number has not changed (milliseconds). */
  readonly stillMs?: number;
  readonly conditions: readonly Condition[];
}

/** A loop that has not turned for so long never will (milliseconds). */
export const STUCK_MS = 30_000;
/** Longest text that is kept of an error (characters). */
const WHY_MAX = 400;

interface State {
  readonly kind: ConditionKind;
  /** Of the last change: for people, and for ages. */
  since: number;
  sinceMs: number;
  trouble: Trouble | undefined;
  watch: (() => Trouble | undefined) | undefined;
}

/** The conditions of one service. */
export class ServiceHealth<S extends ServiceName = ServiceName> {
  private readonly states = new Map<string, State>();
  private readPosition: (() => number | undefined) | undefined;
  /** Counts the lives of the service in this process. */
  private lives = 0;
  private position: number | undefined;
  private movedAt: number;
  /** When each loop of the service has turned last. */
  private readonly turns = new Map<string, number>();

  constructor(
    readonly service: S,
    private readonly clocks: HealthClocks = SYSTEM_CLOCKS,
  ) {
    const since = clocks.epochMs();
    const sinceMs = clocks.monotonicMs();
    this.movedAt = sinceMs;
    for (const [code, kind] of Object.entries<ConditionKind>(CONDITIONS[service])) {
      this.states.set(code, { kind, since, sinceMs, trouble: undefined, watch: undefined });
    }
  }

  /**
   * Something is wrong, or, when `trouble` is undefined, right again. Cheap: to be called as often
   * as it happens.
   */
  report(code: ConditionCode<S>, trouble: Trouble | unknown): void {
    const state = this.state(code);
    if (state.trouble === undefined && trouble === undefined) return;
    this.set(state, trouble === undefined ? undefined : troubleOf(trouble));
  }

  /** Asks `read` at every look. It takes the place of the watch before; undefined ends it. */
  watch(code: ConditionCode<S>, read: (() => Trouble | undefined) | undefined): void {
    const state = this.state(code);
    state.watch = read;
    if (read === undefined) this.set(state, undefined);
  }

  /**
   * How far the service is: asked at every look; undefined while that means nothing. Without `read`
   * it has ended.
   */
  watchPosition(read: (() => number | undefined) | undefined): void {
    this.readPosition = read;
    if (read === undefined) this.position = undefined;
  }

  /**
   * A loop of the service has turned: it does so every few seconds, whatever happens, until
   * `reset`.
   */
  turned(loop: string): void {
    this.turns.set(loop, this.clocks.monotonicMs());
  }

  /** Which life of the service this is, for `end`. */
  get life(): number {
    return this.lives;
  }

  /**
   * That life of the service has ended; a stop that takes long may end after the next one has
   * begun.
   */
  end(life: number): void {
    if (life === this.lives) this.reset();
  }

  /** The service begins: nothing is known of it but whether it runs. */
  reset(): void {
    this.lives += 1;
    this.watchPosition(undefined);
    this.turns.clear();
    for (const [code, state] of this.states) {
      if (code === 'running') continue;
      state.watch = undefined;
      this.set(state, undefined);
    }
  }

  condition(code: ConditionCode<S>): Condition {
    return conditionOf(code, this.state(code));
  }

  /** Asks what is watched. To be called once a second, and before `status`. */
  look(): void {
    for (const state of this.states.values()) if (state.watch !== undefined) this.set(state, state.watch());
    const position = this.readPosition?.();
    if (position === this.position) return;
    this.position = position;
    this.movedAt = this.clocks.monotonicMs();
  }

  status(): ServiceStatus {
    const conditions = [...this.states].map(([code, state]) => conditionOf(code, state));
    const { service, position, serves } = this;
    if (position === undefined) return { service, serves, conditions };
    return { service, serves, position, stillMs: this.clocks.monotonicMs() - this.movedAt, conditions };
  }

  get serves(): boolean {
    return this.hindrances.length === 0;
  }

  /** The conditions because of which the service does not do its work. */
  get hindrances(): readonly Condition[] {
    const nowMs = this.clocks.monotonicMs();
    return [...this.states].flatMap(([code, state]) => {
      const { stops, stopsAfterMs = 0 } = state.kind;
      const isStopped = state.trouble !== undefined && stops && nowMs - state.sinceMs >= stopsAfterMs;
      return isStopped ? [conditionOf(code, state)] : [];
    });
  }

  /** Loops that have not turned for long, in words. */
  get stuck(): readonly string[] {
    const now = this.clocks.monotonicMs();
    return [...this.turns].flatMap(([loop, at]) =>
      now - at < STUCK_MS ? [] : [`${loop} has not turned for ${Math.round((now - at) / 1_000)} s`],
    );
  }

  private set(state: State, trouble: Trouble | undefined): void {
    const isChange = (state.trouble === undefined) !== (trouble === undefined);
    if (isChange) {
      const forMs = trouble?.forMs ?? 0;
      state.since = Math.round(this.clocks.epochMs() - forMs);
      state.sinceMs = this.clocks.monotonicMs() - forMs;
    }
    state.trouble = trouble;
  }

  private state(code: string): State {
    const state = this.states.get(code);
    if (state === undefined) throw new RangeError(`the ${this.service} has no condition ${code}`);
    return state;
  }
}

function conditionOf(condition: string, { kind, since, trouble }: State): Condition {
  if (trouble === undefined) return { condition, ok: true, since };
  return { condition, ok: false, since, why: trouble.why, remedy: trouble.remedy ?? kind.remedy };
}

/** Of all services of a process. */
export class ProcessHealth {
  private readonly services = new Map<ServiceName, ServiceHealth>();

  constructor(private readonly clocks: HealthClocks = SYSTEM_CLOCKS) {}

  /** The same for every life of a service. */
  of<S extends ServiceName>(service: S): ServiceHealth<S> {
    let health = this.services.get(service);
    if (health === undefined) {
      health = new ServiceHealth<ServiceName>(service, this.clocks);
      this.services.set(service, health);
    }
    return health as unknown as ServiceHealth<S>;
  }

  look(): void {
    for (const health of this.services.values()) health.look();
  }

  status(): ServiceStatus[] {
    return [...this.services.values()].map((health) => health.status());
  }
}

/**
 * What has lasted, of things that come and go: told once it has been so for `limitMs` without a
 * pause.
 */
export class Lasting<K> {
  private readonly since = new Map<K, number>();

  constructor(
    private readonly limitMs: number,
    /** Never goes back (milliseconds). */
    private readonly nowMs: () => number = SYSTEM_CLOCKS.monotonicMs,
  ) {}

  /**
   * @param now what is so at this moment; what is not in it is forgotten. Gives those that last,
   * and for how long the oldest (milliseconds).
   */
  see(now: readonly K[]): { readonly lasting: readonly K[]; readonly forMs: number } {
    const at = this.nowMs();
    for (const key of this.since.keys()) if (!now.includes(key)) this.since.delete(key);
    for (const key of now) if (!this.since.has(key)) this.since.set(key, at);
    const lasting = now.filter((key) => at - (this.since.get(key) ?? at) >= this.limitMs);
    return { lasting, forMs: Math.max(0, ...lasting.map((key) => at - (this.since.get(key) ?? at))) };
  }
}

/** What lasts shorter than this is no trouble of those that are watched (milliseconds). */
export const TROUBLE_MS = 2_500;

function troubleOf(given: unknown): Trouble {
  const trouble = isTrouble(given) ? given : { why: messageWithCause(given) };
  const { why } = trouble;
  return why.length <= WHY_MAX ? trouble : { ...trouble, why: `${why.slice(0, WHY_MAX)}…` };
}

function isTrouble(given: unknown): given is Trouble {
  return typeof given === 'object' && given !== null && !(given instanceof Error) && 'why' in given;
}
