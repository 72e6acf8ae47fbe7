/**
 * Metrics: one registry and one HTTP endpoint a process, however many services run in it; every sample is labelled with its
 * service and server. Counters and gauges are plain numbers that are read when somebody scrapes, so that counting costs an
 * addition and nothing else.
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
  /** `buckets` are upper bounds in the unit that `name` ends with, ascending. */
  histogram(name: string, help: string, buckets: readonly number[]): Histogram;
  /** Text in Prometheus format: all services of this process. */
  text(): Promise<string>;
  /** Takes the counters and gauges opened here out; the endpoint closes with the last user of it in the process. */
  close(): Promise<void>;
}

export interface MetricsOptions {
  readonly service: string;
  readonly server: string;
  /** CRAFT_METRICS_PORT: serves /metrics on 127.0.0.1; undefined: no endpoint. 0 takes any free port. */
  readonly port: number | undefined;
}

/** Upper bounds from 100 µs to 10 s, in seconds: for everything that a disk, a network or a database takes part in. */
export const SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10] as const;
/** Upper bounds for the number of commands in a batch. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096] as const;

const PREFIX = 'craft_';
const LABELS = ['service', 'server'] as const;
type Label = (typeof LABELS)[number];
type Labels = Record<Label, string>;

interface Endpoint {
  readonly http: Server;
  readonly listening: Promise<void>;
  users: number;
}

/** What all services of this process share. */
const registry = new Registry();
/** By metric and by whose it is: what to read at a scrape. */
const readers = new Map<string, Map<object, { labels: Labels; read: () => number }>>();
const endpoints = new Map<number, Endpoint>();

function readersOf(name: string, create: (collect: (set: (labels: Labels, value: number) => void) => void) => void) {
  let byLabels = readers.get(name);
  if (byLabels === undefined) {
    const added: Map<object, { labels: Labels; read: () => number }> = new Map();
    readers.set(name, added);
    create((set) => {
      for (const { labels, read } of added.values()) set(labels, read());
    });
    byLabels = added;
  }
  return byLabels;
}

function openEndpoint(port: number): Endpoint {
  const known = endpoints.get(port);
  if (known !== undefined) {
    known.users += 1;
    return known;
  }
  const http = createServer((request, response) => {
    if (request.url !== '/metrics') {
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
    http.listen(port, '127.0.0.1', resolve);
  });
  const endpoint = { http, listening, users: 1 };
  if (port !== 0) endpoints.set(port, endpoint);
  return endpoint;
}

/** Another one may have the port by now. */
function forget(port: number | undefined, endpoint: Endpoint | undefined): void {
  if (port !== undefined && endpoints.get(port) === endpoint) endpoints.delete(port);
}

/** Opens the metrics of one service. Rejects when the port cannot be had. */
export async function openMetrics(options: MetricsOptions): Promise<Metrics & { readonly port: number | undefined }> {
  const labels: Labels = { service: options.service, server: options.server };
  // Not the labels: a service has others beside its own, which outlive it.
  const key = {};
  const counters = new Map<string, Counter>();
  const endpoint = options.port === undefined ? undefined : openEndpoint(options.port);
  try {
    await endpoint?.listening;
  } catch (error) {
    forget(options.port, endpoint);
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
      const byLabels = readersOf(name, (collect) => {
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
      byLabels.set(key, { labels, read: () => added.value });
      return added;
    },

    gauge(name, help, read) {
      const byLabels = readersOf(name, (collect) => {
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
      byLabels.set(key, { labels, read });
    },

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
      for (const byLabels of readers.values()) byLabels.delete(key);
      if (endpoint === undefined) return;
      endpoint.users -= 1;
      if (endpoint.users > 0) return;
      forget(options.port, endpoint);
      endpoint.http.closeAllConnections();
      await new Promise<void>((resolve) => endpoint.http.close(() => resolve()));
    },
  };
}
