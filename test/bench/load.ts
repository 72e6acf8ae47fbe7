/**
 * The load, a process of its own so that it does not share an event loop with what it measures. Driven by the parent over
 * IPC: one LoadRun after the other; each is a closed loop, a new request for each one that ends.
 */
import { connect, headers, type Msg, type NatsConnection } from 'nats';
import { Requester, type RequestFailure } from '../../shared/client/requester.js';
import { REPLY_TO } from './peer-protocol.js';
import { Samples, type Summary, summarize } from './summary.js';

export interface LoadRun {
  readonly natsUrls: readonly string[];
  readonly connections: number;
  readonly subject: string;
  /** `craft`: a command and its reply. `publish`: a JetStream publish and its acknowledgement. `peer`: answered by a consumer that has applied it. */
  readonly kind: 'craft' | 'publish' | 'peer';
  readonly ack: string;
  readonly withId: boolean;
  readonly inFlight: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly keys: number;
  readonly valueBytes: number;
}

export interface LoadResult extends Summary {
  /** Over the whole run, warm-up included: ended well, and by kind of failure. */
  readonly succeeded: number;
  readonly failures: Readonly<Record<string, number>>;
}

export type FromLoad =
  | { readonly event: 'measuring' }
  | { readonly event: 'measured' }
  | { readonly event: 'done'; readonly result: LoadResult }
  | { readonly event: 'failed'; readonly message: string };

const REQUEST_TIMEOUT_MS = 10_000;
/** A refused request comes again after this, so that a refusing cluster is not hammered by a spinning loop. */
const PAUSE_MS = 5;

function send(event: FromLoad): void {
  process.send?.(event);
}

async function run(options: LoadRun): Promise<LoadResult> {
  const connections = await Promise.all(
    Array.from({ length: options.connections }, () =>
      connect({ servers: [...options.natsUrls], name: 'bench load', noAsyncTraces: true }),
    ),
  );
  const requesters = connections.map((connection) => new Requester(connection));
  const loop = new ClosedLoop(options, connections, requesters);
  loop.start();
  await seconds(options.warmUpSeconds);
  send({ event: 'measuring' });
  loop.measure();
  const started = performance.now();
  await seconds(options.seconds);
  const samples = loop.stop();
  const elapsed = (performance.now() - started) / 1000;
  send({ event: 'measured' });
  await loop.idle;
  for (const requester of requesters) requester.close();
  await Promise.all(connections.map((connection) => connection.close()));
  return { ...summarize(samples.take(), elapsed), succeeded: loop.succeeded, failures: loop.failures };
}

class ClosedLoop {
  succeeded = 0;
  readonly failures: Record<string, number> = {};
  readonly idle: Promise<void>;
  private readonly pad: string;
  private readonly prefix = `${process.pid.toString(36)}-${Date.now().toString(36)}-`;
  private sequence = 0;
  private running = 0;
  private stopped = false;
  private samples: Samples | undefined;
  private onIdle: () => void = () => undefined;

  constructor(
    private readonly options: LoadRun,
    private readonly connections: readonly NatsConnection[],
    private readonly requesters: readonly Requester[],
  ) {
    this.pad = 'x'.repeat(Math.max(0, options.valueBytes - 24));
    this.idle = new Promise((resolve) => {
      this.onIdle = resolve;
    });
  }

  start(): void {
    for (let i = 0; i < this.options.inFlight; i += 1) {
      this.running += 1;
      this.next(i % this.requesters.length);
    }
  }
  measure(): void {
    this.samples = new Samples();
  }
  stop(): Samples {
    const samples = this.samples ?? new Samples();
    this.samples = undefined;
    this.stopped = true;
    return samples;
  }

  private next(slot: number): void {
    const requester = this.requesters[slot];
    if (this.stopped || requester === undefined) {
      this.running -= 1;
      if (this.running === 0) this.onIdle();
      return;
    }
    const { options } = this;
    const n = this.sequence++;
    const key = Math.floor(Math.random() * options.keys);
    const payload = `{"key":"key-${key}","value":{"n":${n},"pad":"${this.pad}"}}`;
    const started = performance.now();
    const onReply = (reply: Msg | RequestFailure) => this.onReply(slot, started, reply);
    if (options.kind === 'peer') {
      requester.expect(REQUEST_TIMEOUT_MS, onReply, (replyTo) => {
        const header = headers();
        header.set(REPLY_TO, replyTo);
        this.connections[slot]?.publish(options.subject, payload, { headers: header });
      });
      return;
    }
    const header = options.withId || options.ack !== 'applied' ? headers() : undefined;
    if (options.withId) header?.set('Nats-Msg-Id', this.prefix + n.toString(36));
    if (options.ack !== 'applied') header?.set('Craft-Ack', options.ack);
    requester.send(options.subject, payload, header, REQUEST_TIMEOUT_MS, onReply);
  }

  private onReply(slot: number, started: number, reply: Msg | RequestFailure): void {
    const failure = typeof reply === 'string' ? reply : failureOf(reply);
    if (failure === undefined) {
      this.samples?.add(performance.now() - started);
      this.succeeded += 1;
      this.next(slot);
      return;
    }
    this.failures[failure] = (this.failures[failure] ?? 0) + 1;
    setTimeout(() => this.next(slot), PAUSE_MS);
  }
}

/** The two kinds of good reply are recognised by how they begin; everything else is looked at. */
function failureOf(reply: Msg): string | undefined {
  const text = reply.string();
  if (text.startsWith('{"ok":true') || text.startsWith('{"stream":')) {
    return text.includes('"error"') ? text.slice(0, 120) : undefined;
  }
  try {
    const value = JSON.parse(text) as { ok?: boolean; error?: { code?: string | number } };
    return value.ok === true ? undefined : String(value.error?.code ?? 'refused');
  } catch {
    return 'malformed';
  }
}

function seconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * 1000));
}

process.on('message', (options: LoadRun) => {
  run(options).then(
    (result) => send({ event: 'done', result }),
    (error: unknown) => send({ event: 'failed', message: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
