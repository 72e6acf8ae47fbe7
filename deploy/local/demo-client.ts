/**
 * What any NATS client does to run commands: nothing here but the package `nats` and the subjects.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, headers, type NatsConnection } from 'nats';
import { z } from 'zod';

const REQUEST_TIMEOUT_MS = 5_000;
const ATTEMPTS = 10;

const success = z.object({
  ok: z.literal(true),
  index: z.number(),
  group: z.number(),
  timestamp: z.number(),
  result: z.unknown(),
});
const failure = z.object({
  ok: z.literal(false),
  error: z.object({ code: z.string(), message: z.string(), retryable: z.boolean() }),
});
const reply = z.union([success, failure]);

export type Success = z.infer<typeof success>;

interface Put {
  readonly key: string;
  readonly value: unknown;
}

export class DemoClient {
  private constructor(
    private readonly connection: NatsConnection,
    private readonly cluster: string,
  ) {}

  static async connect(natsUrl: string, cluster: string): Promise<DemoClient> {
    return new DemoClient(await connect({ servers: natsUrl, name: 'demo' }), cluster);
  }

  /** A put through the leader of one group. */
  put(group: number, put: Put): Promise<Success> {
    return this.request(`${this.cluster}.group.${group}.cmd.kv.put`, put);
  }

  /**
   * A put through whichever leader NATS picks, below a span of this client's, which is sent to
   * `collector`.
   */
  async putTraced(traceId: string, put: Put, collector: string | undefined): Promise<Success> {
    const spanId = randomBytes(8).toString('hex');
    const startMs = Date.now();
    const result = await this.request(`${this.cluster}.cmd.kv.put`, put, `00-${traceId}-${spanId}-01`);
    if (collector !== undefined) await exportSpan(collector, traceId, spanId, startMs, Date.now());
    return result;
  }

  close(): Promise<void> {
    return this.connection.close();
  }

  /** Asks again with the same id while the answer allows it: the command takes effect once. */
  private async request(subject: string, input: unknown, traceparent?: string): Promise<Success> {
    const header = headers();
    header.set('Nats-Msg-Id', randomUUID());
    if (traceparent !== undefined) header.set('traceparent', traceparent);
    let problem = '';
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      try {
        const options = { timeout: REQUEST_TIMEOUT_MS, headers: header };
        const answer = reply.parse((await this.connection.request(subject, JSON.stringify(input), options)).json());
        if (answer.ok) return answer;
        problem = `${answer.error.code}: ${answer.error.message}`;
        if (!answer.error.retryable) break;
      } catch (error) {
        problem = error instanceof Error ? error.message : String(error);
      }
      await delay(attempt * 50);
    }
    throw new Error(`${subject} was not executed: ${problem}`);
  }
}

/** One span as OTLP/JSON. */
async function exportSpan(
  collector: string,
  traceId: string,
  spanId: string,
  startMs: number,
  endMs: number,
): Promise<void> {
  const span = {
    traceId,
    spanId,
    name: 'put',
    kind: 3,
    startTimeUnixNano: `${startMs}000000`,
    endTimeUnixNano: `${endMs}999999`,
  };
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'demo-client' } }] };
  await fetch(`${collector}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans: [span] }] }] }),
    signal: AbortSignal.timeout(5_000),
  });
}
