/**
 * Which handler a piece of asynchronous work belongs to. What a handler leaves behind (a promise
 * that it does not wait for, a timer) may fail when its command is long done, outside of everything
 * that could catch it. Without a trace back to the handler that would end the process, at every
 * server that executes the command, and again after each restart.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

const context = new AsyncLocalStorage<string>();

/** Runs `work`; everything that it begins belongs to `handler`, which is named in the log. */
export function asHandler<T>(handler: string, work: () => T): T {
  return context.run(handler, work);
}

/** The handler that the present work belongs to, if any. */
export function currentHandler(): string | undefined {
  return context.getStore();
}
