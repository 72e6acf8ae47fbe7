/** An OTLP/HTTP endpoint that keeps the spans it is sent: what a collector would see. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';

/** The part of opentelemetry/proto/trace/v1 and collector/trace/v1 that is read here. */
const SCHEMA = `syntax = "proto3";
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
message KeyValue { string key = 1; AnyValue value = 2; }
message Resource { repeated KeyValue attributes = 1; }
message Status { string message = 2; int32 code = 3; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
}
message ScopeSpans { repeated Span spans = 2; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }`;

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root span. */
  readonly parentSpanId: string;
  readonly name: string;
  /** Microseconds since the Unix epoch. */
  readonly startUs: number;
  readonly endUs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly resource: Readonly<Record<string, string | number>>;
  readonly statusCode: number;
}

export interface OtlpReceiver {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: ReceivedSpan[];
  /** The HTTP status that exports are answered with from now on. */
  answer(status: number): void;
  close(): Promise<void>;
}

interface WireAttribute {
  key: string;
  value: Record<string, string | number>;
}
interface WireSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: WireAttribute[];
  status?: { code?: number };
}
interface WireRequest {
  resourceSpans?: { resource?: { attributes?: WireAttribute[] }; scopeSpans?: { spans?: WireSpan[] }[] }[];
}

function plain(attributes: readonly WireAttribute[] = []): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value['intValue'] !== undefined ? Number(value['intValue']) : (Object.values(value)[0] ?? ''),
    ]),
  );
}

function hex(base64: string | undefined): string {
  return base64 === undefined ? '' : Buffer.from(base64, 'base64').toString('hex');
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const type = protobuf.parse(SCHEMA).root.lookupType('ExportTraceServiceRequest');
  const spans: ReceivedSpan[] = [];
  let status = 200;

  function receive(body: Buffer): void {
    const request = type.toObject(type.decode(body), { longs: String, bytes: String }) as WireRequest;
    for (const { resource, scopeSpans } of request.resourceSpans ?? []) {
      for (const span of (scopeSpans ?? []).flatMap((scope) => scope.spans ?? [])) {
        spans.push({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId),
          name: span.name,
          startUs: Number(BigInt(span.startTimeUnixNano) / 1000n),
          endUs: Number(BigInt(span.endTimeUnixNano) / 1000n),
          attributes: plain(span.attributes),
          resource: plain(resource?.attributes),
          statusCode: span.status?.code ?? 0,
        });
      }
    }
  }

  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (status === 200 && request.url === '/v1/traces') receive(Buffer.concat(chunks));
      response.writeHead(request.url === '/v1/traces' ? status : 404).end();
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    answer: (next) => {
      status = next;
    },
    close: () => {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(() => resolve()));
    },
  };
}
