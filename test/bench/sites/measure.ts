/** What a client at a site waits for: closed loops of requests, at all sites at once. */
import { setTimeout as delay } from 'node:timers/promises';
import { headers, type NatsConnection } from 'nats';
import type { Subjects } from '../../../shared/wire/subjects.js';
import { Samples, summarize } from '../summary.js';

/** What is asked for. */
export const KINDS = ['committed', 'ordered', 'applied', 'linearizable', 'local', 'sync'] as const;
export type Kind = (typeof KINDS)[number];

export interface Site {
  readonly name: string;
  /** The craft server there. */
  readonly server: string;
  readonly connection: NatsConnection;
  /** Requests name `server`, as a client does that prefers the nearest. */
  readonly asksOwnServer: boolean;
}

export interface Measured {
  readonly count: number;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly failures: number;
}

const TIMEOUT_MS = 10_000;
/** Between a failure and the next try (milliseconds). */
const PAUSE_MS = 20;
const decoder = new TextDecoder();

interface Request {
  readonly subject: string;
  readonly payload: string;
  readonly header: Readonly<Record<string, string>>;
}

function requestOf(kind: Kind, subjects: Subjects, { name, server, asksOwnServer }: Site, n: number): Request {
  const key = `${name}-${n % 1_000}`;
  switch (kind) {
    case 'committed':
    case 'ordered':
    case 'applied': {
      const header = { 'Craft-Ack': kind, 'Nats-Msg-Id': `${name}-${kind}-${process.pid}-${n}` };
      const subject = asksOwnServer ? subjects.serverCommand(server, 'kv.put') : subjects.command('kv.put');
      return { subject, payload: JSON.stringify({ key, value: n }), header };
    }
    case 'linearizable':
    case 'local':
      return {
        subject: asksOwnServer ? subjects.serverQuery(server, 'kv.get') : subjects.query('kv.get'),
        payload: JSON.stringify({ key }),
        header: { 'Craft-Consistency': kind },
      };
    case 'sync':
      return { subject: subjects.sync(server), payload: '', header: {} };
  }
}

let sent = 0;

/** One request; resolves with whether it was answered well. */
export async function isAnswered(kind: Kind, subjects: Subjects, site: Site, timeoutMs = TIMEOUT_MS): Promise<boolean> {
  sent += 1;
  const { subject, payload, header } = requestOf(kind, subjects, site, sent);
  const all = headers();
  for (const [name, value] of Object.entries(header)) all.set(name, value);
  try {
    const reply = await site.connection.request(subject, payload, { timeout: timeoutMs, headers: all });
    return (JSON.parse(decoder.decode(reply.data)) as { ok?: boolean }).ok === true;
  } catch {
    return false;
  }
}

/**
 * `inFlight` requests at each site at any time, for so many seconds after a warm-up. In the order
 * of the sites.
 */
export async function measure(
  kind: Kind,
  subjects: Subjects,
  sites: readonly Site[],
  { inFlight, seconds, warmUpSeconds }: { inFlight: number; seconds: number; warmUpSeconds: number },
): Promise<Measured[]> {
  const beginMs = performance.now() + warmUpSeconds * 1_000;
  const endMs = beginMs + seconds * 1_000;
  return Promise.all(
    sites.map(async (site) => {
      const samples = new Samples();
      let failures = 0;
      const loop = async (): Promise<void> => {
        for (let startMs = performance.now(); startMs < endMs; startMs = performance.now()) {
          const isGood = await isAnswered(kind, subjects, site);
          const nowMs = performance.now();
          if (!isGood) {
            failures += 1;
            await delay(PAUSE_MS);
          } else if (startMs >= beginMs) samples.add(nowMs - startMs);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, loop));
      return { ...summarize(samples.take(), seconds), failures };
    }),
  );
}
