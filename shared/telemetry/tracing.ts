/**
 * Traces of commands, from the client to every server's state machine.
 *
 *     client's span                      (the `traceparent` header; none: craft.command is the root)
 *     └─ craft.command                   leader: from receipt to the acknowledgement, or to commit where another service acknowledges
 *        ├─ craft.append                 leader: durable write of the entry
 *        ├─ craft.replicate              each follower: from receipt to durable
 *        ├─ craft.commit                 leader: from the timestamp to commit
 *        ├─ craft.merge                  each server: from the feed to the merged log
 *        └─ craft.apply                  each server: the transaction that applied it
 *
 * The entry carries the context of craft.command, so every span below it needs nothing but the entry. Whether a command is
 * sampled is decided once, by its leader; an entry that is not sampled carries an empty string, and nobody allocates or
 * records anything for it. Spans are recorded when both ends are known, with explicit times, so nothing is kept open.
 *
 * Configured by the standard variables, read when a service starts: OTEL_EXPORTER_OTLP_ENDPOINT or
 * OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (neither: tracing is off), OTEL_EXPORTER_OTLP_HEADERS, …_TIMEOUT, …_COMPRESSION,
 * OTEL_TRACES_EXPORTER (`otlp` or `none`), OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_BSP_*,
 * OTEL_RESOURCE_ATTRIBUTES. The service's name and server are not for the environment to say: one process may run several services.
 */
import {
  type Attributes,
  type Context,
  type HrTime,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, getBooleanFromEnv, getStringFromEnv } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { ConfigError } from '../config/config.js';
import { formatTraceparent, parseTraceparent } from './traceparent.js';

/** The spans of a command and who they are for: a server answers, a consumer takes what another one sent. */
const KINDS = {
  'craft.command': SpanKind.SERVER,
  'craft.append': SpanKind.INTERNAL,
  'craft.replicate': SpanKind.CONSUMER,
  'craft.commit': SpanKind.INTERNAL,
  'craft.merge': SpanKind.CONSUMER,
  'craft.apply': SpanKind.CONSUMER,
} as const;
export type SpanName = keyof typeof KINDS;

/** What is known of the entry; each becomes the attribute `craft.<name>`. */
export interface SpanAttributes {
  readonly command?: string;
  readonly group?: number;
  readonly index?: number;
  readonly term?: number;
  /** The entry's timestamp, microseconds since the Unix epoch. */
  readonly timestamp?: number;
  readonly mergedIndex?: number;
  readonly ack?: string;
  /** Error code; sets the span's status. */
  readonly error?: string;
}

/** The craft.command span of a sampled command, made before the entry so that the entry can carry its context. */
export interface CommandSpan {
  readonly traceparent: string;
  /** Ends and exports the span; later calls do nothing. Microseconds since the Unix epoch. */
  end(endUs: number, attributes: SpanAttributes): void;
}

export interface Tracing {
  /** False: nothing is ever recorded, and no method does anything. */
  readonly enabled: boolean;
  /**
   * Begins craft.command under the client's `traceparent` header, or as a root when there is none or a malformed one.
   * Undefined when the command is not sampled: then the entry's traceparent is an empty string.
   */
  startCommand(header: string | undefined, startUs: number): CommandSpan | undefined;
  /**
   * Records a finished span below `parent` (the entry's traceparent) and returns its own traceparent; does nothing and
   * returns an empty string when `parent` is empty. Times in microseconds since the Unix epoch.
   */
  recordSpan(name: SpanName, parent: string, startUs: number, endUs: number, attributes: SpanAttributes): string;
  /** Exports what is still queued, then stops. Never rejects. */
  stop(): Promise<void>;
}

export interface TracingOptions {
  /** `replica`, `merger` or `applier`: traced as `craft-replica` … */
  readonly service: string;
  readonly server: string;
  readonly cluster: string;
  /** Told of each failed export; the spans of it are lost. */
  readonly onExportError?: (error: Error) => void;
  /** Instead of the exporter that the environment describes. */
  readonly exporter?: SpanExporter;
}

const OFF: Tracing = {
  enabled: false,
  startCommand: () => undefined,
  recordSpan: () => '',
  stop: () => Promise.resolve(),
};

/** Opens the tracing of one service. Throws ConfigError for an exporter, a protocol or an
 * endpoint that there is none of. */
export function createTracing(options: TracingOptions): Tracing {
  const exporter = options.exporter ?? exporterFromEnvironment();
  if (exporter === undefined || getBooleanFromEnv('OTEL_SDK_DISABLED') === true) return OFF;
  const resource = defaultResource()
    .merge(detectResources({ detectors: [envDetector] }))
    .merge(
      resourceFromAttributes({
        'service.name': `craft-${options.service}`,
        'service.instance.id': options.server,
        'craft.server': options.server,
        'craft.cluster': options.cluster,
      }),
    );
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(reportErrors(exporter, options.onExportError))],
  });
  return new ActiveTracing(provider, provider.getTracer('craft'), options.server);
}

class ActiveTracing implements Tracing {
  readonly enabled = true;

  constructor(
    private readonly provider: BasicTracerProvider,
    private readonly tracer: Tracer,
    private readonly server: string,
  ) {}

  startCommand(header: string | undefined, startUs: number): CommandSpan | undefined {
    const client = header === undefined ? undefined : parseTraceparent(header);
    const parent = client === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, client);
    const span = this.start('craft.command', parent, startUs);
    const context = span.spanContext();
    if ((context.traceFlags & TraceFlags.SAMPLED) === 0) return undefined;
    return {
      traceparent: formatTraceparent(context),
      end: (endUs, attributes) => {
        if (span.isRecording()) this.finish(span, endUs, attributes);
      },
    };
  }

  recordSpan(name: SpanName, parent: string, startUs: number, endUs: number, attributes: SpanAttributes): string {
    if (parent === '') return '';
    const context = parseTraceparent(parent);
    if (context === undefined) return '';
    const span = this.start(name, trace.setSpanContext(ROOT_CONTEXT, context), startUs);
    if (!span.isRecording()) return '';
    this.finish(span, Math.max(startUs, endUs), attributes);
    return formatTraceparent(span.spanContext());
  }

  async stop(): Promise<void> {
    await this.provider.shutdown().catch(() => undefined);
  }

  private start(name: SpanName, parent: Context, startUs: number): Span {
    return this.tracer.startSpan(name, { kind: KINDS[name], startTime: hrTime(startUs) }, parent);
  }

  private finish(span: Span, endUs: number, attributes: SpanAttributes): void {
    const named: Attributes = { 'craft.server': this.server };
    for (const [name, key] of ATTRIBUTES) {
      const value = attributes[name];
      if (value !== undefined) named[key] = value;
    }
    span.setAttributes(named);
    if (attributes.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: attributes.error });
    span.end(hrTime(endUs));
  }
}

const ATTRIBUTES: readonly (readonly [keyof SpanAttributes, string])[] = [
  ['command', 'craft.command'],
  ['group', 'craft.group'],
  ['index', 'craft.index'],
  ['term', 'craft.term'],
  ['timestamp', 'craft.timestamp'],
  ['mergedIndex', 'craft.merged_index'],
  ['ack', 'craft.ack'],
  ['error', 'error.type'],
];

function hrTime(us: number): HrTime {
  const seconds = Math.floor(us / 1_000_000);
  return [seconds, Math.round(us - seconds * 1_000_000) * 1_000];
}

/** The first one that is set counts. */
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;

function exporterFromEnvironment(): SpanExporter | undefined {
  const exporter = getStringFromEnv('OTEL_TRACES_EXPORTER') ?? 'otlp';
  if (exporter === 'none') return undefined;
  if (exporter !== 'otlp') {
    throw new ConfigError(`wrong configuration: OTEL_TRACES_EXPORTER: ${exporter} is not one of otlp, none`);
  }
  const key = ENDPOINTS.find((name) => getStringFromEnv(name) !== undefined);
  if (key === undefined) return undefined;
  const endpoint = getStringFromEnv(key) ?? '';
  const { protocol: scheme } = URL.canParse(endpoint) ? new URL(endpoint) : { protocol: '' };
  if (scheme !== 'http:' && scheme !== 'https:') {
    throw new ConfigError(`wrong configuration: ${key}: ${endpoint} is no URL that begins with http:// or https://`);
  }
  const protocol =
    getStringFromEnv('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ?? getStringFromEnv('OTEL_EXPORTER_OTLP_PROTOCOL');
  if (protocol !== undefined && protocol !== 'http/protobuf') {
    throw new ConfigError(`wrong configuration: OTEL_EXPORTER_OTLP_PROTOCOL: ${protocol} is not http/protobuf`);
  }
  return new OTLPTraceExporter();
}

/** The SDK tells failures to a process-wide handler only; a service wants its own. */
function reportErrors(exporter: SpanExporter, onError: ((error: Error) => void) | undefined): SpanExporter {
  if (onError === undefined) return exporter;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result: ExportResult) => {
        if (result.code !== ExportResultCode.SUCCESS) onError(result.error ?? new Error('span export failed'));
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush === undefined ? {} : { forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve() }),
  };
}
