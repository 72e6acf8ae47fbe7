/**
 * Metrics: one registry and one HTTP endpoint a process, however many services run in it; every
 * sample is labelled with its cluster, service and server. Counters and gauges are plain numbers
 * that are read at each scrape, so that counting costs an addition and nothing else. The
 * endpoint also answers the probes of orchestrators: /healthz and /readyz.
 */
import { createServer, type Server } from 'node:http';
import {
  collectDefaultMetrics,
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from 'prom-client';
import { messageOf, NamedError } from '../errors.js';
import { Counter, Family, Histogram, type Series } from './samples.js';

/** One label, or several; every service that opens the metric gives the same ones. */
type OwnLabels = string | readonly string[];

export interface Metrics {
  /**
   * `name` without prefix, in Prometheus style: `commands_total`. The same name gives the same
   * counter again.
   */
  counter(name: string, help: string): Counter;
  /**
   * Counters with more labels. The same values give the same counter again; at most SERIES_MAX,
   * then `other`.
   */
  counterBy(name: string, help: string, labels: OwnLabels): (...values: string[]) => Counter;
  /** `read` is called at every scrape. Undefined: there is no such number now. */
  gauge(name: string, help: string, read: () => number | undefined): void;
  /** A gauge with more labels: `read` gives their values, and a number for each. */
  gaugeBy(name: string, help: string, labels: OwnLabels, read: () => Series): void;
  /** `buckets` are upper bounds in the unit that `name` ends with, ascending. */
  histogram(name: string, help: string, buckets: readonly number[]): Histogram;
  /** Histograms with more labels, like `counterBy`. */
  histogramBy(
    name: string,
    help: string,
    labels: OwnLabels,
    buckets: readonly number[],
  ): (...values: string[]) => Histogram;
  /**
   * What the endpoint says of this service at `path`: no lines, and status 200; or what is wrong, a
   * line each, and status 503.
   */
  probe(path: ProbePath, read: () => readonly string[]): void;
  /** Text in Prometheus format: all services of this process. */
  text(): Promise<string>;
  /**
   * Takes everything that was opened here out; the endpoint closes with the last user of it in the
   * process.
   */
  close(): Promise<void>;
}

export interface MetricsOptions {
  /** CRAFT_CLUSTER: one Prometheus may scrape several. */
  readonly cluster: string;
  readonly service: string;
  readonly server: string;
  /**
   * CRAFT_METRICS_PORT: serves /metrics, /healthz and /readyz; undefined: no endpoint. 0 takes any
   * free port.
   */
  readonly port: number | undefined;
  /** CRAFT_METRICS_ADDRESS: of this machine; default 127.0.0.1. */
  readonly address?: string | undefined;
}

/** Whether the process lives and its loops turn; whether its services do their work. */
type ProbePath = '/healthz' | '/readyz';

/**
 * Upper bounds from 100 µs to 10 s, in seconds: for everything that a disk, a network or a database
 * takes part in.
 */
export const SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10] as const;
/** Upper bounds for the number of commands in a batch. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096] as const;

/** Upper bounds for times that clients wait for, in seconds. */
export const LATENCIES = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

const PREFIX = 'craft_';
const LABELS = ['cluster', 'service', 'server'] as const;
type Label = (typeof LABELS)[number];
type Labels = Record<Label, string>;
const LOOPBACK = '127.0.0.1';
const PLAIN_TEXT = { 'content-type': 'text/plain; charset=utf-8' };

interface Endpoint {
  readonly key: string;
  readonly http: Server;
  readonly listening: Promise<void>;
  users: number;
}

/** What all services of this process share. */
const registry = new Registry();
/** Gives the samples of one service. */
type Read<T> = (set: (labels: Record<string, string>, value: T) => void) => void;
type Readers<T> = Map<object, Read<T>>;
/** What a counter or a gauge is at a scrape. */
interface Numeric {
  readonly value: number;
}
/** By metric and by whose it is: what to read at a scrape. */
const counters = new Map<string, Readers<Counter>>();
const gauges = new Map<string, Readers<Numeric>>();
const histograms = new Map<string, Readers<Histogram>>();
const probes: Readonly<Record<ProbePath, Map<object, () => readonly string[]>>> = {
  '/healthz': new Map(),
  '/readyz': new Map(),
};
/** By address and port. */
const endpoints = new Map<string, Endpoint>();

/**
 * A metric as a service opens it: the name without prefix, and the labels beside those of every
 * metric.
 */
interface Described {
  readonly name: string;
  readonly help: string;
  readonly names: readonly string[];
}

/** The same as prom-client wants it. */
function registered({ name, help, names }: Described) {
  return { name: PREFIX + name, help, labelNames: [...LABELS, ...names], registers: [registry] };
}

/**
 * Opens a counter or a gauge whose numbers are read at each scrape: after the reset, adding sets.
 */
function createNumbers(
  Type: typeof PromCounter<string> | typeof PromGauge<string>,
  what: Described,
  collect: Read<Numeric>,
): void {
  const metric: PromCounter | PromGauge = new Type({
    ...registered(what),
    collect: () => {
      metric.reset();
      collect((labels, { value }) => metric.inc(labels, value));
    },
  });
}

/**
 * prom-client's own looks its labels up at each observation. This one only writes what was
 * observed.
 */
class WrittenHistogram extends PromHistogram {
  constructor(
    private readonly written: Described,
    private readonly collectAll: Read<Histogram>,
  ) {
    super(registered(written));
  }

  /** What the registry asks every metric for that has it, in place of `get`. */
  async getForPromString(): Promise<object> {
    const { name, help } = registered(this.written);
    const values: { labels: Record<string, string | number>; value: number; metricName: string }[] = [];
    this.collectAll((labels, { bounds, counts, sum }) => {
      let below = 0;
      for (const [at, count] of counts.entries()) {
        below += count;
        const le = bounds[at] ?? '+Inf';
        values.push({ labels: { le, ...labels }, value: below, metricName: `${name}_bucket` });
      }
      values.push({ labels, value: sum, metricName: `${name}_sum` });
      values.push({ labels, value: below, metricName: `${name}_count` });
    });
    return { name, help, type: 'histogram', values, aggregator: 'sum' };
  }
}

/** The readers of a metric, which `create` opens with the first of them. */
function readersOf<T>(all: Map<string, Readers<T>>, name: string, create: (collect: Read<T>) => unknown): Readers<T> {
  let byOwner = all.get(name);
  if (byOwner === undefined) {
    const added: Readers<T> = new Map();
    all.set(name, added);
    create((set) => {
      for (const read of added.values()) read(set);
    });
    byOwner = added;
  }
  return byOwner;
}

let isProcessObserved = false;

/**
 * Adds the metrics of this process: processor time, memory, delay of the event loop, garbage
 * collection, with the names that prom-client gives them. Of several calls the first one counts.
 */
export function observeProcess({ cluster, server }: Pick<MetricsOptions, 'cluster' | 'server'>): void {
  if (isProcessObserved) return;
  isProcessObserved = true;
  collectDefaultMetrics({ register: registry, labels: { cluster, server } });
  // Gauges with names of counters: promtool rejects them, and the same is there by type.
  for (const what of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${what}_total`);
}

function openEndpoint(port: number, address: string): Endpoint {
  const key = `${address} ${port}`;
  const known = endpoints.get(key);
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
  const endpoint = { key, http, listening, users: 1 };
  if (port !== 0) endpoints.set(key, endpoint);
  return endpoint;
}

/** Another one may have the port by now. */
function forget(endpoint: Endpoint | undefined): void {
  if (endpoint !== undefined && endpoints.get(endpoint.key) === endpoint) endpoints.delete(endpoint.key);
}

function namesOf(labels: OwnLabels): readonly string[] {
  return typeof labels === 'string' ? [labels] : labels;
}

/** Another process listens on the port, or this one may not. */
class MetricsPortError extends NamedError {
  readonly code = 'METRICS_PORT';
  constructor(port: number | undefined, cause: unknown) {
    super(`the metrics port ${port} cannot be opened: ${messageOf(cause)}`, { cause });
  }
}

/** Opens the metrics of one service. Rejects with MetricsPortError. */
export async function openMetrics(options: MetricsOptions): Promise<Metrics & { readonly port: number | undefined }> {
  const labels: Labels = { cluster: options.cluster, service: options.service, server: options.server };
  // Not the labels: a service has others beside its own, which outlive it.
  const key = {};
  const ownCounters = new Map<string, Family<Counter>>();
  const ownHistograms = new Map<string, Family<Histogram>>();
  const { address: at = LOOPBACK } = options;
  const endpoint = options.port === undefined ? undefined : openEndpoint(options.port, at);
  try {
    await endpoint?.listening;
  } catch (error) {
    forget(endpoint);
    throw new MetricsPortError(options.port, error);
  }
  const address = endpoint?.http.address();

  const labelled = (names: readonly string[], values: readonly string[]): Record<string, string> => {
    const all: Record<string, string> = { ...labels };
    for (const [i, name] of names.entries()) all[name] = values[i] ?? '';
    return all;
  };

  /** This service's samples of a metric, which is registered with the first of them. */
  const familyOf = <T>(
    own: Map<string, Family<T>>,
    all: Map<string, Readers<T>>,
    { name, names }: Described,
    create: () => T,
    register: (collect: Read<T>) => unknown,
  ): Family<T> => {
    const known = own.get(name);
    if (known !== undefined) return known;
    const family = new Family(names.length, create);
    own.set(name, family);
    readersOf(all, name, register).set(key, (set) => {
      for (const [values, sample] of family) set(labelled(names, values), sample);
    });
    return family;
  };

  const counterFamily = (what: Described): Family<Counter> => {
    const register = (collect: Read<Counter>) => createNumbers(PromCounter<string>, what, collect);
    return familyOf(ownCounters, counters, what, () => new Counter(), register);
  };

  const histogramFamily = (what: Described, buckets: readonly number[]): Family<Histogram> => {
    const register = (collect: Read<Histogram>) => new WrittenHistogram(what, collect);
    return familyOf(ownHistograms, histograms, what, () => new Histogram(buckets), register);
  };

  const openGauge = (what: Described, read: () => Series): void => {
    const register = (collect: Read<Numeric>) => createNumbers(PromGauge<string>, what, collect);
    readersOf(gauges, what.name, register).set(key, (set) => {
      for (const [values, value] of read()) set(labelled(what.names, values), { value });
    });
  };

  return {
    port: typeof address === 'object' && address !== null ? address.port : undefined,

    counter: (name, help) => counterFamily({ name, help, names: [] }).of([]),

    counterBy(name, help, own) {
      const family = counterFamily({ name, help, names: namesOf(own) });
      return (...values) => family.of(values);
    },

    gauge: (name, help, read) =>
      openGauge({ name, help, names: [] }, () => {
        const value = read();
        return value === undefined ? [] : [[[], value]];
      }),

    gaugeBy: (name, help, own, read) => openGauge({ name, help, names: namesOf(own) }, read),

    histogram: (name, help, buckets) => histogramFamily({ name, help, names: [] }, buckets).of([]),

    histogramBy(name, help, own, buckets) {
      const family = histogramFamily({ name, help, names: namesOf(own) }, buckets);
      return (...values) => family.of(values);
    },

    probe: (path, read) => void probes[path].set(key, read),

    text: () => registry.metrics(),

    async close() {
      for (const all of [counters, gauges, histograms]) for (const readers of all.values()) readers.delete(key);
      for (const readers of Object.values(probes)) readers.delete(key);
      if (endpoint === undefined) return;
      endpoint.users -= 1;
      if (endpoint.users > 0) return;
      forget(endpoint);
      endpoint.http.closeAllConnections();
      await new Promise<void>((resolve) => endpoint.http.close(() => resolve()));
    },
  };
}
