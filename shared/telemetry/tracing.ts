/**
 * Traces: where the time of a command or a query went, at every server.
 *
 *     client's span                      (the `traceparent` header; none: craft.command is the root)
 *     └─ craft.command kv.put            from receipt at the leader to the answer
 *        ├─ craft.commit                 leader: from the queue to commit by a majority
 *        └─ craft.server s2              each server: from receipt at the leader until it is applied here
 *           ├─ craft.append              the leader's durable write; at a follower craft.replicate
 *           ├─ craft.wait group 1        until this group's watermark here has passed the entry; that of its own group: until it is
 *           │                            known here to be committed
 *           ├─ craft.merge               from the feed to the merged log
 *           ├─ craft.queue               until its transaction begins
 *           ├─ craft.apply               the transaction
 *           │  └─ BEGIN, INSERT …        what was sent to the database
 *           └─ craft.answer              the server that answers
 *
 *     craft.query kv.get                 from receipt to the answer; craft.sync s2 likewise
 *     ├─ craft.barrier                   a majority confirms up to where the state must be
 *     ├─ craft.catch_up                  until the state is there
 *     └─ SELECT …                        what was sent to the database
 *
 * The entry carries the context of craft.command and where the trace begins (traceparent.ts), so
 * every span below it needs nothing but the entry. The id of craft.server is derived from that
 * context and the server. Therefore replica, merger and applier of a server meet there without a
 * message to each other, also as processes of their own. Whether a command is sampled is decided
 * once, by its leader. An entry that is not sampled carries empty strings, and no service allocates
 * or records anything for it. Spans are recorded when both ends are known, with explicit times, so
 * nothing is kept open.
 *
 * Configured by the standard variables, read when a service starts: OTEL_EXPORTER_OTLP_ENDPOINT or
 * OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (neither: tracing is off), OTEL_EXPORTER_OTLP_HEADERS,
 * …_TIMEOUT, …_COMPRESSION, OTEL_TRACES_EXPORTER (`otlp` or `none`), OTEL_SDK_DISABLED,
 * OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_BSP_*, OTEL_SPAN_*_LIMIT,
 * OTEL_RESOURCE_ATTRIBUTES. The service's name and server are not for the environment to say: one
 * process may run several services.
 */
import {
  type Attributes,
  type HrTime,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, getBooleanFromEnv, getStringFromEnv } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  type IdGenerator,
  RandomIdGenerator,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base';
import { ConfigError } from '../config/config.js';
import type { GroupId, LogIndex, MergedIndex, Term, Timestamp } from '../raft/entry.js';
import { formatTraceparent, parseTraceparent, serverTraceparent } from './traceparent.js';

/**
 * The spans and who they are for: a server answers, a consumer takes what another one sent, a
 * client waits for another one.
 */
const KINDS = {
  'craft.command': SpanKind.SERVER,
  'craft.query': SpanKind.SERVER,
  'craft.sync': SpanKind.SERVER,
  'craft.commit': SpanKind.INTERNAL,
  'craft.server': SpanKind.INTERNAL,
  'craft.append': SpanKind.INTERNAL,
  'craft.replicate': SpanKind.CONSUMER,
  'craft.merge': SpanKind.INTERNAL,
  'craft.wait': SpanKind.INTERNAL,
  'craft.queue': SpanKind.INTERNAL,
  'craft.apply': SpanKind.INTERNAL,
  'craft.answer': SpanKind.PRODUCER,
  'craft.barrier': SpanKind.CLIENT,
  'craft.catch_up': SpanKind.INTERNAL,
  /** Goes by its label alone, as OpenTelemetry's conventions for databases want it. */
  database: SpanKind.CLIENT,
} as const;
type SpanName = keyof typeof KINDS;
/** Spans of what a client asks for. */
type RequestName = 'craft.command' | 'craft.query' | 'craft.sync';

/** Something that happened during a span. */
export interface SpanEvent {
  readonly name: string;
  /** Microseconds since the Unix epoch. */
  readonly atUs: number;
  readonly attributes: Attributes;
}

/** What is known of the entry; most become the attribute `craft.<name>`. */
export interface SpanAttributes {
  /** Follows the span's name: the command's name, the server, the group that was waited for. */
  readonly label?: string;
  readonly command?: string;
  readonly group?: GroupId;
  readonly index?: LogIndex;
  readonly term?: Term;
  /** The entry's timestamp, microseconds since the Unix epoch. */
  readonly timestamp?: Timestamp;
  readonly mergedIndex?: MergedIndex;
  readonly ack?: string;
  /** Error code; sets the span's status. */
  readonly error?: string;
  /** In words, with `error`. */
  readonly message?: string;
  /** More attributes, by their full names. */
  readonly more?: Attributes;
  readonly events?: readonly SpanEvent[];
}

/** The span of a sampled request, made before it ends so that others can be recorded below it. */
export interface RequestSpan {
  readonly traceparent: string;
  /** The client's span; empty when it sent none. */
  readonly callerSpanId: string;
  /** Ends and exports the span; later calls do nothing. Microseconds since the Unix epoch. */
  end(endUs: number, attributes: SpanAttributes): void;
}

export interface Tracing {
  /** False: nothing is ever recorded, and no method does anything. */
  readonly enabled: boolean;
  /**
   * Begins the span of a request under the client's `traceparent` header, or as a root when there
   * is none or a malformed one. Undefined when the request is not sampled: then the entry's
   * traceparent is an empty string.
   */
  begin(name: RequestName, label: string, header: string | undefined, startUs: number): RequestSpan | undefined;
  /**
   * Records a finished span below `parent` (the entry's traceparent) and returns its own
   * traceparent; does nothing and returns an empty string when `parent` is empty. Times in
   * microseconds since the Unix epoch.
   */
  recordSpan(name: SpanName, parent: string, startUs: number, endUs: number, attributes: SpanAttributes): string;
  /**
   * Records the span whose context is `self`, below `parentSpanId` of the same trace; empty: as the
   * root. Otherwise as `recordSpan`.
   */
  recordAs(
    self: string,
    parentSpanId: string,
    name: SpanName,
    startUs: number,
    endUs: number,
    attributes: SpanAttributes,
  ): void;
  /**
   * The context of craft.server of this server, below an entry's traceparent; empty for an empty
   * one.
   */
  serverOf(traceparent: string): string;
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
  begin: () => undefined,
  recordSpan: () => '',
  recordAs: () => undefined,
  serverOf: () => '',
  stop: () => Promise.resolve(),
};

/**
 * Opens the tracing of one service. Throws ConfigError for an exporter, a protocol or an endpoint
 * that there is none of.
 */
export function createTracing(options: TracingOptions): Tracing {
  const exporter = options.exporter ?? exporterFromEnvironment();
  if (exporter === undefined || getBooleanFromEnv('OTEL_SDK_DISABLED') === true) return OFF;
  const resourceOf = (service: string) =>
    defaultResource()
      .merge(detectResources({ detectors: [envDetector] }))
      .merge(
        resourceFromAttributes({
          'service.name': `craft-${service}`,
          'service.instance.id': options.server,
          'craft.server': options.server,
          'craft.cluster': options.cluster,
        }),
      );
  const ids = new GivenIds();
  const spanProcessors = [new BatchSpanProcessor(reportErrors(exporter, options.onExportError))];
  const recording = (service: string) =>
    new BasicTracerProvider({
      resource: resourceOf(service),
      // What is recorded was sampled by the leader, whatever the sampler of this process.
      sampler: new AlwaysOnSampler(),
      idGenerator: ids,
      spanProcessors,
    });
  const own = recording(options.service);
  const receiving = options.service === RECEIVING ? own : recording(RECEIVING);
  const deciding = new BasicTracerProvider({ resource: resourceOf(options.service) }).getTracer('craft');
  return new ActiveTracing(own, own.getTracer('craft'), receiving.getTracer('craft'), deciding, ids, options.server);
}

/**
 * The service that receives commands. Their spans are its own, whichever service ends them: one
 * search finds all.
 */
const RECEIVING = 'replica';

/** Random ids, but for a span that has its id already. */
class GivenIds implements IdGenerator {
  private readonly random = new RandomIdGenerator();
  given: { readonly traceId: string; readonly spanId: string } | undefined;

  generateTraceId(): string {
    return this.given?.traceId ?? this.random.generateTraceId();
  }

  generateSpanId(): string {
    return this.given?.spanId ?? this.random.generateSpanId();
  }
}

class ActiveTracing implements Tracing {
  readonly enabled = true;

  constructor(
    private readonly provider: BasicTracerProvider,
    private readonly recorder: Tracer,
    /** For spans of commands. */
    private readonly commands: Tracer,
    /** Has the sampler of the environment. Its spans are never ended, and so never exported. */
    private readonly deciding: Tracer,
    private readonly ids: GivenIds,
    private readonly server: string,
  ) {}

  begin(name: RequestName, label: string, header: string | undefined, startUs: number): RequestSpan | undefined {
    const client = header === undefined ? undefined : parseTraceparent(header);
    const parent = client === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, client);
    const options = { kind: KINDS[name], startTime: hrTime(startUs) };
    const context = this.deciding.startSpan(`${name} ${label}`, options, parent).spanContext();
    if ((context.traceFlags & TraceFlags.SAMPLED) === 0) return undefined;
    const traceparent = formatTraceparent(context);
    const callerSpanId = client?.spanId ?? '';
    let isOver = false;
    return {
      traceparent,
      callerSpanId,
      end: (endUs, attributes) => {
        if (isOver) return;
        isOver = true;
        this.recordAs(traceparent, callerSpanId, name, startUs, endUs, { label, ...attributes });
      },
    };
  }

  recordSpan(name: SpanName, parent: string, startUs: number, endUs: number, attributes: SpanAttributes): string {
    const context = parent === '' ? undefined : parseTraceparent(parent);
    if (context === undefined || context.traceFlags === 0) return '';
    return this.record(name, context, startUs, endUs, attributes);
  }

  recordAs(
    self: string,
    parentSpanId: string,
    name: SpanName,
    startUs: number,
    endUs: number,
    attributes: SpanAttributes,
  ): void {
    const context = self === '' ? undefined : parseTraceparent(self);
    if (context === undefined || context.traceFlags === 0) return;
    this.ids.given = context;
    try {
      const parent = parentSpanId === '' ? undefined : { ...context, spanId: parentSpanId };
      this.record(name, parent, startUs, endUs, attributes);
    } finally {
      this.ids.given = undefined;
    }
  }

  serverOf(traceparent: string): string {
    return serverTraceparent(traceparent, this.server);
  }

  async stop(): Promise<void> {
    await this.provider.shutdown().catch(() => undefined);
  }

  private record(
    name: SpanName,
    parent: SpanContext | undefined,
    startUs: number,
    endUs: number,
    attributes: SpanAttributes,
  ): string {
    const { label, error, message, events = [] } = attributes;
    const called = name === 'database' ? (label ?? name) : label === undefined ? name : `${name} ${label}`;
    const recorder = name === 'craft.command' ? this.commands : this.recorder;
    const span = recorder.startSpan(
      called,
      { kind: KINDS[name], startTime: hrTime(startUs), attributes: this.attributesOf(attributes) },
      parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent),
    );
    for (const event of events) span.addEvent(event.name, event.attributes, hrTime(event.atUs));
    if (error !== undefined) {
      span.setStatus({
        code: SpanStatusCode.ERROR,
        message: message === undefined ? error : `${error}: ${message}`,
      });
    }
    span.end(hrTime(Math.max(startUs, endUs)));
    return formatTraceparent(span.spanContext());
  }

  private attributesOf(attributes: SpanAttributes): Attributes {
    const named: Attributes = { 'craft.server': this.server, ...attributes.more };
    for (const [name, key] of ATTRIBUTES) {
      const value = attributes[name];
      if (value !== undefined) named[key] = value;
    }
    return named;
  }
}

const ATTRIBUTES = [
  ['command', 'craft.command'],
  ['group', 'craft.group'],
  ['index', 'craft.index'],
  ['term', 'craft.term'],
  ['timestamp', 'craft.timestamp'],
  ['mergedIndex', 'craft.merged_index'],
  ['ack', 'craft.ack'],
  ['error', 'error.type'],
] as const;

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
    throw new ConfigError(`wrong configuration: ${key}: ${endpoint} is not a URL that begins with http:// or https://`);
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
