/**
 * A small collector: takes spans over OTLP/HTTP, in protobuf or JSON, and keeps the newest of them
 * in memory.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import protobuf from 'protobufjs';

/** One finished span. */
export interface ReceivedSpan {
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** Microseconds since the Unix epoch. */
  readonly startUs: number;
  readonly endUs: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** As OTLP numbers them: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  /** What went wrong; undefined when the span has no error. */
  readonly error: string | undefined;
  readonly events: readonly { readonly name: string; readonly attributes: ReceivedSpan['attributes'] }[];
  /** Attributes of the process that it comes from: `service.name` and others. */
  readonly resource: Readonly<Record<string, string | number | boolean>>;
}

export interface OtlpReceiver {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** In the order of their arrival. */
  readonly spans: readonly ReceivedSpan[];
  trace(traceId: string): ReceivedSpan[];
  stop(): Promise<void>;
}

/** The fields of opentelemetry-proto that are read here, by their published numbers. */
const SCHEMA = `syntax = "proto3";
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
message KeyValue { string key = 1; AnyValue value = 2; }
message Resource { repeated KeyValue attributes = 1; }
message Status { string message = 2; int32 code = 3; }
message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; }
message Span {
  bytes trace_id = 1;
  bytes span_id = 2;
  bytes parent_span_id = 4;
  string name = 5;
  int32 kind = 6;
  fixed64 start_time_unix_nano = 7;
  fixed64 end_time_unix_nano = 8;
  repeated KeyValue attributes = 9;
  repeated Event events = 11;
  Status status = 15;
}
message ScopeSpans { repeated Span spans = 2; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }`;

const BODY_BYTES_MAX = 16 * 1024 * 1024;
const SPANS_MAX = 200_000;

interface AnyValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
}
interface KeyValue {
  readonly key: string;
  readonly value?: AnyValue;
}
/** The request as OTLP/JSON has it; the protobuf one is brought to the same form. */
interface ExportRequest {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] };
    readonly scopeSpans?: readonly { readonly spans?: readonly WireSpan[] }[];
  }[];
}
interface WireSpan {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  readonly name?: string;
  readonly startTimeUnixNano?: string;
  readonly endTimeUnixNano?: string;
  readonly attributes?: readonly KeyValue[];
  readonly kind?: number;
  readonly events?: readonly { readonly name?: string; readonly attributes?: readonly KeyValue[] }[];
  readonly status?: { readonly message?: string; readonly code?: number };
}

/** STATUS_CODE_ERROR of OTLP. */
const ERROR = 2;

/** `port` 0: any free one. */
export async function startOtlpReceiver(port = 0): Promise<OtlpReceiver> {
  const requestType = protobuf.parse(SCHEMA).root.lookupType('ExportTraceServiceRequest');
  const spans: ReceivedSpan[] = [];

  const server = createServer((request, response) => {
    void readBody(request)
      .then((body) => {
        if (request.method !== 'POST' || request.url !== '/v1/traces') return 404;
        const isJson = request.headers['content-type']?.startsWith('application/json') ?? false;
        spans.push(...(isJson ? spansOf(JSON.parse(body.toString('utf8'))) : decode(requestType, body)));
        if (spans.length > SPANS_MAX) spans.splice(0, spans.length - SPANS_MAX);
        return 200;
      })
      .catch(() => 400)
      .then((status) => response.writeHead(status).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    trace: (traceId) => spans.filter((span) => span.traceId === traceId),
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Error('too large');
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body, { maxOutputLength: BODY_BYTES_MAX }) : body;
}

function decode(type: protobuf.Type, body: Buffer): ReceivedSpan[] {
  const request = type.toObject(type.decode(body), { longs: String, bytes: String }) as ExportRequest;
  // Bytes come out in base64; OTLP/JSON writes ids in hexadecimal.
  return spansOf(request, (id) => Buffer.from(id, 'base64').toString('hex'));
}

function spansOf(request: ExportRequest, hex: (id: string) => string = (id) => id.toLowerCase()): ReceivedSpan[] {
  return (request.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) => {
    const about = plain(resource?.attributes);
    return (scopeSpans ?? []).flatMap((scope) =>
      (scope.spans ?? []).map((span) => ({
        traceId: hex(span.traceId ?? ''),
        spanId: hex(span.spanId ?? ''),
        parentSpanId: hex(span.parentSpanId ?? ''),
        name: span.name ?? '',
        startUs: microseconds(span.startTimeUnixNano),
        endUs: microseconds(span.endTimeUnixNano),
        attributes: plain(span.attributes),
        kind: span.kind ?? 0,
        error: span.status?.code === ERROR ? (span.status.message ?? '') : undefined,
        events: (span.events ?? []).map(({ name = '', attributes }) => ({ name, attributes: plain(attributes) })),
        resource: about,
      })),
    );
  });
}

/** Nanoseconds do not fit a number; microseconds do. */
function microseconds(nanoseconds: string | undefined): number {
  return Number(BigInt(nanoseconds ?? 0) / 1000n);
}

function plain(attributes: readonly KeyValue[] = []): Record<string, string | number | boolean> {
  return Object.fromEntries(
    attributes.map(({ key, value = {} }) => {
      const number = value.intValue ?? value.doubleValue;
      return [key, number === undefined ? (value.stringValue ?? value.boolValue ?? '') : Number(number)];
    }),
  );
}
