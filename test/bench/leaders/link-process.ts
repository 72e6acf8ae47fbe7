/** The limited links of all servers, in a process of their own. */
import { serveParent } from '../told-process.js';
import { LimitedLink, type LinkCounts } from './limited-link.js';

export type ToLinks =
  | { readonly type: 'open'; readonly server: string; readonly targetPort: number; readonly cluster: string }
  /** In each direction of every link; without a number: no limit. */
  | { readonly type: 'limit'; readonly bytesPerSecond?: number }
  | { readonly type: 'count' };

export type FromLinks =
  | { readonly type: 'opened'; readonly port: number }
  | { readonly type: 'limited' }
  /** By server. */
  | { readonly type: 'counted'; readonly counts: Readonly<Record<string, LinkCounts>> };

const links = new Map<string, LimitedLink>();

async function run(told: ToLinks): Promise<FromLinks> {
  switch (told.type) {
    case 'open': {
      const link = await LimitedLink.open(told.targetPort, told.cluster);
      links.set(told.server, link);
      return { type: 'opened', port: link.port };
    }
    case 'limit':
      for (const link of links.values()) link.limit(told.bytesPerSecond);
      return { type: 'limited' };
    case 'count':
      return { type: 'counted', counts: Object.fromEntries([...links].map(([server, link]) => [server, link.counts])) };
  }
}

serveParent(run);
