/**
 * The lines between the sites, in a process of their own: what else the benchmark does must not make them slower. It is told what to do by
 * messages of its parent, one after the other, and answers each.
 */
import { summarize } from '../summary.js';
import { DelayProxy, type Line } from './delay-proxy.js';

export type ToLines =
  | { readonly type: 'open'; readonly name: string; readonly targetPort: number; readonly line: Line }
  | { readonly type: 'cut' | 'heal'; readonly names: readonly string[] }
  | { readonly type: 'lateness' };

export type FromLines =
  | { readonly type: 'ready' | 'done' }
  | { readonly type: 'opened'; readonly port: number }
  | { readonly type: 'lateness'; readonly count: number; readonly p50: number; readonly p99: number };

const proxies = new Map<string, DelayProxy>();

async function run(told: ToLines): Promise<FromLines> {
  switch (told.type) {
    case 'open': {
      const proxy = await DelayProxy.open(told.targetPort, told.line);
      proxies.set(told.name, proxy);
      return { type: 'opened', port: proxy.port };
    }
    case 'cut':
    case 'heal':
      for (const name of told.names) proxies.get(name)?.[told.type]();
      return { type: 'done' };
    case 'lateness': {
      const all = Float64Array.from([...proxies.values()].flatMap(({ lateness }) => [...lateness.take()]));
      return { type: 'lateness', ...summarize(all, 1) };
    }
  }
}

const answer = (message: FromLines): void => {
  process.send?.(message);
};

let last: Promise<void> = Promise.resolve();
process.on('message', (told: ToLines) => {
  last = last.then(async () => answer(await run(told)));
});
process.on('disconnect', () => process.exit(0));
answer({ type: 'ready' });
