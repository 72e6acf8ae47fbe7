/**
 * Runs the services of a process, and starts again what fails. What is done when is decided in
 * supervisor-core.ts.
 */
import { within } from '../shared/config/deadline.js';
import { exitCodeOf, isFinal, type Service, staysDown } from '../shared/config/service.js';
import { messageOf } from '../shared/errors.js';
import type { Logger } from '../shared/telemetry/log.js';
import { type Effect, type Supervised, SupervisorCore, type Verdict } from './supervisor-core.js';

/**
 * A service that has not closed within this is not waited for any longer (milliseconds). The
 * deadlines of the steps of its stop add up to less.
 */
const CLOSE_MS_MAX = 30_000;

export interface SupervisedService extends Supervised {
  /**
   * Rejects, with everything closed again, when it cannot start; and soon after `signal` has
   * aborted, if it has not started by then.
   */
  start(signal: AbortSignal): Promise<Service>;
  /** It is started again. */
  onRestart(): void;
  /** It runs from now on; or it does not, because of this, in words. */
  onRunning(whyNot: string | undefined, reason?: unknown): void;
}

export interface SupervisorOptions {
  readonly services: readonly SupervisedService[];
  readonly logger: Logger;
  /** All services are stopped; `reason` is the error because of which. */
  readonly onEnd: (exitCode: number, reason: unknown) => void;
}

export class Supervisor {
  private readonly core: SupervisorCore;
  private readonly running = new Map<string, Service>();
  private readonly starts = new Map<string, AbortController>();
  private readonly pauses = new Map<string, NodeJS.Timeout>();
  private reason: unknown;

  constructor(private readonly options: SupervisorOptions) {
    this.core = new SupervisorCore(options.services);
  }

  begin(): void {
    this.execute(this.core.begin());
  }

  /**
   * Stops everything, also what is only just starting or between two tries; `onEnd` hears of it.
   */
  stop(): void {
    this.execute(this.core.stop());
  }

  private execute(effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'start':
          void this.start(effect.service, effect.isAgain);
          break;
        case 'give-up':
          this.starts.get(effect.service)?.abort(new Error('the start was given up'));
          break;
        case 'stop':
          void this.close(effect.service);
          break;
        case 'pause':
          this.pauses.set(
            effect.service,
            setTimeout(() => this.execute(this.core.due(effect.service)), effect.delayMs),
          );
          break;
        case 'wake':
          clearTimeout(this.pauses.get(effect.service));
          break;
        case 'say':
          this.say(effect);
          break;
        case 'end':
          this.options.onEnd(effect.exitCode, this.reason);
          break;
      }
    }
  }

  private async start(name: string, isAgain: boolean): Promise<void> {
    const described = this.described(name);
    if (described === undefined) return;
    if (isAgain) described.onRestart();
    const start = new AbortController();
    this.starts.set(name, start);
    try {
      const starting = described.start(start.signal);
      const service = await orGivenUp(starting, start.signal);
      this.running.set(name, service);
      described.onRunning(undefined);
      void service.failed.then((error) => {
        if (this.running.get(name) === service) this.fail(name, error);
      });
      if (isAgain) this.options.logger.info({ restarted: name }, `the ${name} has started again`);
      this.execute(this.core.started(name, performance.now()));
    } catch (error) {
      this.fail(name, error);
    }
  }

  private described(name: string): SupervisedService | undefined {
    return this.options.services.find((one) => one.name === name);
  }

  private fail(name: string, error: unknown): void {
    this.execute(this.core.failed(name, error, verdictOn(error), performance.now()));
  }

  private async close(name: string): Promise<void> {
    const service = this.running.get(name);
    let isClosed = true;
    if (this.core.isEnding) this.described(name)?.onRunning('it is being stopped');
    try {
      if (service !== undefined) await within(CLOSE_MS_MAX, service.stop());
    } catch (error) {
      isClosed = false;
      this.options.logger.error({ err: error, failed: name }, `the ${name} did not stop: ${messageOf(error)}`);
    }
    this.running.delete(name);
    this.execute(this.core.stopped(name, isClosed));
  }

  private say({ service, during, reason, consequence }: Effect & { type: 'say' }): void {
    const { logger } = this.options;
    const about = { err: reason, failed: service };
    const what = `the ${service} cannot ${during === 'start' ? 'start' : 'go on'}: ${messageOf(reason)}`;
    this.described(service)?.onRunning(what, reason);
    if (consequence.type === 'again') {
      const { attempt, delayMs } = consequence;
      logger.error({ ...about, attempt, delayMs }, `${what}; try ${attempt} in ${delayMs} ms`);
    } else if (consequence.type === 'down') {
      logger.fatal(about, `${what}; the ${service} stays down until this process is started again`);
    } else {
      this.reason = reason;
      logger.fatal(about, `${what}; this process ends`);
    }
  }
}

function verdictOn(error: unknown): Verdict {
  if (isFinal(error)) return { type: 'end', exitCode: exitCodeOf(error) };
  return { type: staysDown(error) ? 'down' : 'again' };
}

/** As `starting`, but rejects some time after `signal` has aborted in any case. */
async function orGivenUp(starting: Promise<Service>, signal: AbortSignal): Promise<Service> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      timer = setTimeout(() => reject(new Error('the start does not end')), CLOSE_MS_MAX);
    });
  });
  try {
    return await Promise.race([starting, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
