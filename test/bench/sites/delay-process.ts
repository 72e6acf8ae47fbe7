/** The lines between the sites, in a process of their own. */
import { LineProxy } from '../proxy/line-proxy.js';
import { summarize } from '../summary.js';
import { serveParent } from '../told-process.js';

export interface Delay {
  /** One way, the same in both directions (milliseconds). */
  readonly delayMs: number;
  /** At most so much more, evenly spread (milliseconds). */
  readonly jitterMs: number;
}

export type ToLines =
  | { readonly type: 'open'; readonly name: string; readonly targetPort: number; readonly delay: Delay }
  | { readonly type: 'cut' | 'heal'; readonly names: readonly string[] }
  /** Of all pieces since it was asked last. */
  | { readonly type: 'lateness' };

export type FromLines =
  | { readonly type: 'done' }
  | { readonly type: 'opened'; readonly port: number }
  | { readonly type: 'lateness'; readonly count: number; readonly p50: number; readonly p99: number };

/** Far above what is under way on any line: there is no limit of bandwidth. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;

const proxies = new Map<string, LineProxy>();

async function run(told: ToLines): Promise<FromLines> {
  switch (told.type) {
    case 'open': {
      const proxy = await LineProxy.open(told.targetPort, { ...told.delay, heldBytesMax: HELD_BYTES_MAX });
      proxies.set(told.name, proxy);
      return { type: 'opened', port: proxy.port };
    }
    case 'cut':
    case 'heal':
      for (const name of told.names) proxies.get(name)?.[told.type]();
      return { type: 'done' };
    case 'lateness': {
      const all = Float64Array.from([...proxies.values()].flatMap(({ lateness }) => [...lateness.take()]));
      for (const { lateness } of proxies.values()) lateness.clear();
      return { type: 'lateness', ...summarize(all, 1) };
    }
  }
}

serveParent(run);
