/** The lines between the sites, in a process of their own. */
import { summarize } from '../summary.js';
import { serveParent } from '../told-process.js';
import { DelayProxy, type Line } from './delay-proxy.js';

export type ToLines =
  | { readonly type: 'open'; readonly name: string; readonly targetPort: number; readonly line: Line }
  | { readonly type: 'cut' | 'heal'; readonly names: readonly string[] }
  | { readonly type: 'lateness' };

export type FromLines =
  | { readonly type: 'done' }
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

serveParent(run);
