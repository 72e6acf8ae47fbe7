/** Jaeger with everything in one process and its traces in memory, listening on 127.0.0.1 only. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ManagedProcess } from './managed-process.js';
import type { PidFolder } from './pid-file.js';
import { freePorts } from './ports.js';
import type { FoundTool } from './tools/finder.js';

export interface LocalJaegerOptions {
  readonly tool: FoundTool;
  readonly dataDir: string;
  /** Of the web pages and of the query API. */
  readonly uiPort: number;
  /** Of OTLP over HTTP. */
  readonly otlpPort: number;
  readonly pidFolder?: PidFolder | undefined;
}

const READY_TIMEOUT_MS = 30_000;
const TRACES_MAX = 20_000;

/** Resolves when it takes spans and answers queries. Rejects with ProcessFailedError. */
export async function startJaeger(options: LocalJaegerOptions): Promise<ManagedProcess> {
  await mkdir(options.dataDir, { recursive: true });
  const isFirstGeneration = options.tool.version.startsWith('1.');
  const jaeger = await ManagedProcess.start({
    name: 'jaeger',
    command: options.tool.path,
    args: isFirstGeneration ? await firstGenerationFlags(options) : await secondGenerationFlags(options),
    // It would trace itself, and wait at its end for a collector of those traces.
    environment: { PATH: process.env['PATH'], SPAN_STORAGE_TYPE: 'memory', OTEL_TRACES_SAMPLER: 'always_off' },
    logFile: join(options.dataDir, 'jaeger.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 2_000,
    pidFolder: options.pidFolder,
  });
  try {
    await jaeger.ready(async () => {
      const pages = await answers(`http://127.0.0.1:${options.uiPort}/api/services`);
      return pages && (await answers(`http://127.0.0.1:${options.otlpPort}/v1/traces`));
    }, READY_TIMEOUT_MS);
  } catch (error) {
    await jaeger.stop();
    throw error;
  }
  return jaeger;
}

/** The first generation opens many ports; those that nobody asked for get any free one. */
async function firstGenerationFlags({ uiPort, otlpPort }: LocalJaegerOptions): Promise<string[]> {
  const others = [
    'admin.http',
    'collector.grpc-server',
    'collector.http-server',
    'collector.otlp.grpc',
    'query.grpc-server',
  ];
  const ports = await freePorts(others.length);
  return [
    `--query.http-server.host-port=127.0.0.1:${uiPort}`,
    `--collector.otlp.http.host-port=127.0.0.1:${otlpPort}`,
    ...others.map((name, i) => `--${name}.host-port=127.0.0.1:${ports[i]}`),
    `--memory.max-traces=${TRACES_MAX}`,
  ];
}

async function secondGenerationFlags({ dataDir, uiPort, otlpPort }: LocalJaegerOptions): Promise<string[]> {
  const [grpcPort] = await freePorts(1);
  const file = join(dataDir, 'jaeger.yaml');
  await writeFile(
    file,
    `service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: { receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter] }
  telemetry:
    metrics: { level: none }
    logs: { level: warn }
extensions:
  jaeger_storage: { backends: { memory: { memory: { max_traces: ${TRACES_MAX} } } } }
  jaeger_query:
    storage: { traces: memory }
    http: { endpoint: "127.0.0.1:${uiPort}" }
    grpc: { endpoint: "127.0.0.1:${grpcPort}" }
receivers:
  otlp: { protocols: { http: { endpoint: "127.0.0.1:${otlpPort}" } } }
processors:
  batch: { timeout: 200ms }
exporters:
  jaeger_storage_exporter: { trace_storage: memory }
`,
  );
  return [`--config=${file}`];
}

/** Any answer will do: the endpoint for spans refuses a GET, which shows that it is there. */
async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
