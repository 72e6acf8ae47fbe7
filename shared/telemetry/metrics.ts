/**
 * Metrics: one registry and one HTTP endpoint a process, however many services run in it; every sample is labelled with its
 * service and server. Counters and gauges are plain numbers that are read when somebody scrapes, so that counting costs an
 * addition and nothing else. The endpoint also answers the probes of orchestrators: /healthz and /readyz.
 */
import { createServer, type Server } from 'node:http';
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client';

/** Only ever grows. Counting is an addition. */
export class Counter {
  value = 0;
  add(amount = 1): void {
    this.value += amount;
  }
}

/** A distribution; observe once a batch rather than once a command. */
export interface Histogram {
  observe(value: number): void;
}

export interface Metrics {
  /** `name` without prefix, in Prometheus style: `commands_total`. The same name gives the same counter again. */
  counter(name: string, help: string): Counter;
  /** `read` is called at every scrape. */
  gauge(name: string, help: string, read: () => number): void;
  /** A gauge with one more label: `read` gives its values and a number for each. The label must be the same for every service. */
  gaugeBy(name: string, help: string, label: string, read: () => Iterable<readonly [string, number]>): void;
  /** What the endpoint says of this service at `path`: no lines, and status 200; or what is wrong, a line each, and status 503. */
  probe(path: ProbePath, read: () => readonly string[]): void;
  /** `buckets` are upper bounds in the unit that `name` ends with, ascending. */
  histogram(name: string, help: string, buckets: readonly number[]): Histogram;
  /** Text in Prometheus format: all services of this process. */
  text(): Promise<string>;
  /** Takes the counters, gauges and probes opened here out; the endpoint closes with the last user of it in the process. */
  close(): Promise<void>;
}

export interface MetricsOptions {
  readonly service: string;
  readonly server: string;
  /** CRAFT_METRICS_PORT: serves /metrics, /healthz and /readyz; undefined: no endpoint. 0 takes any free port. */
  readonly port: number | undefined;
  /** CRAFT_METRICS_ADDRESS: of this machine; default 127.0.0.1. */
  readonly address?: string | undefined;
}

/** Whether the process lives and its loops turn; whether its services do their work. */
export type ProbePath = '/healthz' | '/readyz';

/** Upper bounds from 100 µs to 10 s, in seconds: for everything that a disk, a network or a database takes part in. */
export const SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10] as const;
/** Upper bounds for the number of commands in a batch. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096] as const;

const PREFIX = 'craft_';
const LABELS = ['service', 'server'] as const;
type Label = (typeof LABELS)[number];
type Labels = Record<Label, string>;
const LOOPBACK = '127.0.0.1';
const PLAIN_TEXT = { 'content-type': 'text/plain; charset=utf-8' };

interface Endpoint {
  readonly http: Server;
  readonly listening: Promise<void>;
  users: number;
}

/** What all services of this process share. */
const registry = new Registry();
/** Gives the samples of one service. */
type Read = (set: (labels: Record<string, string>, value: number) => void) => void;
/** By metric and by whose it is: what to read at a scrape. */
const readers = new Map<string, Map<object, Read>>();
const probes: Readonly<Record<ProbePath, Map<object, () => readonly string[]>>> = {
  '/healthz': new Map(),
  '/readyz': new Map(),
};
/** By address and port. */
const endpoints = new Map<string, Endpoint>();

function readersOf(name: string, create: (collect: Read) => void): Map<object, Read> {
  let byOwner = readers.get(name);
  if (byOwner === undefined) {
    const added: Map<object, Read> = new Map();
    readers.set(name, added);
    create((set) => {
      for (const read of added.values()) read(set);
    });
    byOwner = added;
  }
  return byOwner;
}

function openEndpoint(port: number, address: string): Endpoint {
  const known = endpoints.get(endpointKey(port, address));
  if (known !== undefined) {
    known.users += 1;
    return known;
  }
  const http = createServer((request, response) => {
    const { url = '' } = request;
    if (url === '/healthz' || url === '/readyz') {
      const lines = [...probes[url].values()].flatMap((read) => read());
      response.writeHead(lines.length === 0 ? 200 : 503, PLAIN_TEXT).end(`${lines.join('\n') || 'ok'}\n`);
      return;
    }
    if (url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  http.unref();
  const listening = new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, address, resolve);
  });
  const endpoint = { http, listening, users: 1 };
  if (port !== 0) endpoints.set(endpointKey(port, address), endpoint);
  return endpoint;
}

function endpointKey(port: number, address: string): string {
  return `${address} ${port}`;
}

/** Another one may have the port by now. */
function forget(key: string, endpoint: Endpoint | undefined): void {
  if (endpoints.get(key) === endpoint) endpoints.delete(key);
}

/** Opens the metrics of one service. Rejects when the port cannot be had. */
export async function openMetrics(options: MetricsOptions): Promise<Metrics & { readonly port: number | undefined }> {
  const labels: Labels = { service: options.service, server: options.server };
  // Not the labels: a service has others beside its own, which outlive it.
  const key = {};
  const counters = new Map<string, Counter>();
  const { address: at = LOOPBACK } = options;
  const where = endpointKey(options.port ?? 0, at);
  const endpoint = options.port === undefined ? undefined : openEndpoint(options.port, at);
  try {
    await endpoint?.listening;
  } catch (error) {
    forget(where, endpoint);
    throw new Error(
      `the metrics port ${options.port} cannot be had: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  }
  const address = endpoint?.http.address();

  return {
    port: typeof address === 'object' && address !== null ? address.port : undefined,

    counter(name, help) {
      let counter = counters.get(name);
      if (counter !== undefined) return counter;
      const added = new Counter();
      counter = added;
      counters.set(name, added);
      const byOwner = readersOf(name, (collect) => {
        new PromCounter<Label>({
          name: PREFIX + name,
          help,
          labelNames: LABELS,
          registers: [registry],
          collect() {
            this.reset();
            collect((of, value) => this.inc(of, value));
          },
        });
      });
      byOwner.set(key, (set) => set(labels, added.value));
      return added;
    },

    gauge(name, help, read) {
      const byOwner = readersOf(name, (collect) => {
        new PromGauge<Label>({
          name: PREFIX + name,
          help,
          labelNames: LABELS,
          registers: [registry],
          collect() {
            this.reset();
            collect((of, value) => this.set(of, value));
          },
        });
      });
      byOwner.set(key, (set) => set(labels, read()));
    },

    gaugeBy(name, help, label, read) {
      const byOwner = readersOf(name, (collect) => {
        new PromGauge<string>({
          name: PREFIX + name,
          help,
          labelNames: [...LABELS, label],
          registers: [registry],
          collect() {
            this.reset();
            collect((of, value) => this.set(of, value));
          },
        });
      });
      byOwner.set(key, (set) => {
        for (const [value, number] of read()) set({ ...labels, [label]: value }, number);
      });
    },

    probe: (path, read) => void probes[path].set(key, read),

    histogram(name, help, buckets) {
      const known = registry.getSingleMetric(PREFIX + name);
      const histogram =
        known instanceof PromHistogram
          ? known
          : new PromHistogram<Label>({
              name: PREFIX + name,
              help,
              labelNames: LABELS,
              buckets: [...buckets],
              registers: [registry],
            });
      return histogram.labels(labels);
    },

    text: () => registry.metrics(),

    async close() {
      for (const byOwner of [...readers.values(), ...Object.values(probes)]) byOwner.delete(key);
      if (endpoint === undefined) return;
      endpoint.users -= 1;
      if (endpoint.users > 0) return;
      forget(where, endpoint);
      endpoint.http.closeAllConnections();
      await new Promise<void>((resolve) => endpoint.http.close(() => resolve()));
    },
  };
}
