/**
 * What NATS servers have carried, by their monitoring: messages and bytes of clients and of other
 * servers.
 */
import { z } from 'zod';

export interface Traffic {
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

const varz = z.looseObject({
  in_msgs: z.number(),
  out_msgs: z.number(),
  in_bytes: z.number(),
  out_bytes: z.number(),
});

const NONE: Traffic = { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 };

/** Since they started, over all servers. `monitors`: addresses of their monitoring. */
export async function readTraffic(monitors: readonly string[]): Promise<Traffic> {
  const all = await Promise.all(
    monitors.map(async (url): Promise<Traffic> => {
      const response = await fetch(`${url}/varz`);
      const { in_msgs, out_msgs, in_bytes, out_bytes } = varz.parse(await response.json());
      return { messagesIn: in_msgs, messagesOut: out_msgs, bytesIn: in_bytes, bytesOut: out_bytes };
    }),
  );
  return all.reduce((sum, one) => combine(sum, one, (a, b) => a + b), NONE);
}

export function trafficBetween(before: Traffic, after: Traffic): Traffic {
  return combine(after, before, (a, b) => a - b);
}

function combine(a: Traffic, b: Traffic, operation: (a: number, b: number) => number): Traffic {
  return {
    messagesIn: operation(a.messagesIn, b.messagesIn),
    messagesOut: operation(a.messagesOut, b.messagesOut),
    bytesIn: operation(a.bytesIn, b.bytesIn),
    bytesOut: operation(a.bytesOut, b.bytesOut),
  };
}
