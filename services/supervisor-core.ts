/**
 * Which of a process's services is started, stopped and started again, and when: events in, effects
 * out, time as input (milliseconds of a clock that never goes back). services/supervisor.ts does
 * the effects.
 *
 *     new ──▶ starting ──▶ running ──▶ closing ──▶ pausing ──▶ starting …
 *                 └────────────────────────────────▲  └──▶ down
 *
 * A service that fails is closed, and started again after a pause that doubles as long as it fails;
 * the others run on. Some failures keep it down for good, and some end the process
 * (shared/config/service.ts). Then, and when it is asked to stop, the services are stopped one
 * after the other in the order given.
 */
import type { MonotonicMs } from '../shared/raft/entry.js';

/** Before another try (milliseconds): doubles from the first to the second. */
export const PAUSE_MS = 250;
export const PAUSE_MS_MAX = 10_000;
/** What has run for so long (milliseconds) was well: the pauses begin at the first again. */
export const WELL_MS = 30_000;

export interface Supervised {
  readonly name: string;
  /**
   * It keeps a second copy of this server away. The others wait until it has started for the first
   * time, so that a second copy's do not take over from the first one's. And what it had open must
   * be closed before it is started again.
   */
  readonly holdsLock: boolean;
}

/** What a failure means for the process. */
export type Verdict =
  | { readonly type: 'again' }
  | { readonly type: 'down' }
  | { readonly type: 'end'; readonly exitCode: number };

/** What follows from a failure, for the log. */
type Consequence =
  /** The try with this number, counted since the service was last well, comes after this pause. */
  | { readonly type: 'again'; readonly attempt: number; readonly delayMs: number }
  | { readonly type: 'down' }
  | { readonly type: 'end'; readonly exitCode: number };

export type Effect =
  /** Then `started` or `failed`. */
  | { readonly type: 'start'; readonly service: string; readonly isAgain: boolean }
  /** Of a start under way, which settles all the same. */
  | { readonly type: 'give-up'; readonly service: string }
  /** Then `stopped`. */
  | { readonly type: 'stop'; readonly service: string }
  /** Then `due`, unless `wake` comes first. */
  | { readonly type: 'pause'; readonly service: string; readonly delayMs: number }
  | { readonly type: 'wake'; readonly service: string }
  | {
      readonly type: 'say';
      readonly service: string;
      readonly during: 'start' | 'run';
      readonly reason: unknown;
      readonly consequence: Consequence;
    }
  /** Everything is stopped. */
  | { readonly type: 'end'; readonly exitCode: number };

type Phase = 'new' | 'starting' | 'running' | 'closing' | 'pausing' | 'down' | 'closed';

interface State extends Supervised {
  phase: Phase;
  /** Failures since it was last well. */
  failures: number;
  /** When it had started. */
  sinceMs: MonotonicMs;
  /** What comes when it is closed. */
  next: Consequence;
}

export class SupervisorCore {
  private readonly states: readonly State[];
  private exitCode: number | undefined;
  private isOver = false;

  constructor(services: readonly Supervised[]) {
    const next: Consequence = { type: 'down' };
    this.states = services.map((one) => ({ ...one, phase: 'new', failures: 0, sinceMs: 0, next }));
  }

  /** All services are stopped, or about to be. */
  get isEnding(): boolean {
    return this.exitCode !== undefined;
  }

  begin(): Effect[] {
    const first = this.states.filter(({ holdsLock }) => holdsLock);
    return (first.length > 0 ? first : this.states).map((state) => this.start(state));
  }

  started(name: string, nowMs: MonotonicMs): Effect[] {
    const state = this.stateOf(name);
    if (state.phase !== 'starting') return [];
    state.phase = 'running';
    state.sinceMs = nowMs;
    if (this.exitCode !== undefined) return this.proceed(this.exitCode);
    const waiting = state.holdsLock ? this.states.filter(({ phase }) => phase === 'new') : [];
    return waiting.map((other) => this.start(other));
  }

  /** A start has failed, with everything closed again; or what has started cannot go on. */
  failed(name: string, reason: unknown, verdict: Verdict, nowMs: MonotonicMs): Effect[] {
    const state = this.stateOf(name);
    const { phase } = state;
    if (phase !== 'starting' && phase !== 'running') return [];
    const isRunning = phase === 'running';
    if (this.exitCode !== undefined) {
      // What runs is stopped in its turn.
      if (!isRunning) state.phase = 'closed';
      return this.proceed(this.exitCode);
    }
    if (isRunning && nowMs - state.sinceMs >= WELL_MS) state.failures = 0;
    state.failures += 1;
    const consequence = consequenceOf(verdict, state.failures);
    const say: Effect = { type: 'say', service: name, during: isRunning ? 'run' : 'start', reason, consequence };
    if (consequence.type === 'end') {
      if (!isRunning) state.phase = 'closed';
      return [say, ...this.end(consequence.exitCode)];
    }
    state.next = consequence;
    if (!isRunning) return [say, ...this.goOn(state)];
    state.phase = 'closing';
    return [say, { type: 'stop', service: name }];
  }

  /** `isClosed`: nothing of it is open any more. */
  stopped(name: string, isClosed: boolean): Effect[] {
    const state = this.stateOf(name);
    if (state.phase !== 'closing') return [];
    if (this.exitCode !== undefined) {
      state.phase = 'closed';
      return this.proceed(this.exitCode);
    }
    if (isClosed || !state.holdsLock) return this.goOn(state);
    state.phase = 'closed';
    return this.end(1);
  }

  /** The pause of a service is over. */
  due(name: string): Effect[] {
    const state = this.stateOf(name);
    return state.phase === 'pausing' ? [this.start(state)] : [];
  }

  /** The process has been asked to end. */
  stop(): Effect[] {
    return this.end(0);
  }

  private start(state: State): Effect {
    const isAgain = state.phase !== 'new';
    state.phase = 'starting';
    return { type: 'start', service: state.name, isAgain };
  }

  /** From a failure, with everything closed. */
  private goOn(state: State): Effect[] {
    if (state.next.type === 'again') {
      state.phase = 'pausing';
      return [{ type: 'pause', service: state.name, delayMs: state.next.delayMs }];
    }
    state.phase = 'down';
    const isNothingLeft = this.states.every(({ phase }) => phase === 'down' || phase === 'new');
    return isNothingLeft ? this.end(1) : [];
  }

  private end(exitCode: number): Effect[] {
    if (this.exitCode !== undefined) return [];
    this.exitCode = exitCode;
    const effects: Effect[] = [];
    for (const state of this.states) {
      if (state.phase === 'pausing') effects.push({ type: 'wake', service: state.name });
      if (state.phase === 'starting') effects.push({ type: 'give-up', service: state.name });
      if (state.phase === 'pausing' || state.phase === 'new' || state.phase === 'down') state.phase = 'closed';
    }
    return [...effects, ...this.proceed(exitCode)];
  }

  /** The next one to be stopped: only when all before it are closed. */
  private proceed(exitCode: number): Effect[] {
    const state = this.states.find(({ phase }) => phase !== 'closed');
    if (state?.phase === 'running') {
      state.phase = 'closing';
      return [{ type: 'stop', service: state.name }];
    }
    if (state !== undefined || this.isOver) return [];
    this.isOver = true;
    return [{ type: 'end', exitCode }];
  }

  private stateOf(name: string): State {
    const state = this.states.find((one) => one.name === name);
    if (state === undefined) throw new RangeError(`there is no service ${name}`);
    return state;
  }
}

function consequenceOf(verdict: Verdict, failures: number): Consequence {
  if (verdict.type !== 'again') return verdict;
  return { type: 'again', attempt: failures + 1, delayMs: Math.min(PAUSE_MS * 2 ** (failures - 1), PAUSE_MS_MAX) };
}
