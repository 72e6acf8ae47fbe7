import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../../deploy/local/otlp-receiver.js';
import { ConfigError } from '../../../shared/config/config.js';
import { parseTraceparent } from '../../../shared/telemetry/traceparent.js';
import { createTracing, type Tracing } from '../../../shared/telemetry/tracing.js';

const CLIENT_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT_SPAN = '00f067aa0ba902b7';
const SAMPLED = `00-${CLIENT_TRACE}-${CLIENT_SPAN}-01`;
const NOT_SAMPLED = `00-${CLIENT_TRACE}-${CLIENT_SPAN}-00`;
const T = 1_790_000_000_123_456;

function open(service: string, server: string): Tracing {
  return createTracing({ service, server, cluster: 'craft' });
}

function only(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const [span, ...more] = spans.filter((candidate) => candidate.name === name);
  if (span === undefined || more.length > 0) throw new Error(`expected one ${name}, got ${1 + more.length}`);
  return span;
}

describe('tracing', () => {
  let receiver: OtlpReceiver;
  beforeEach(async () => {
    for (const key of Object.keys(process.env)) if (key.startsWith('OTEL_')) vi.stubEnv(key, undefined);
    receiver = await startOtlpReceiver();
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await receiver.stop();
  });

  it('joins the spans of three services of one process into the trace of the client', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment.name=test,service.name=overridden');
    const replica = open('replica', 's1');
    const merger = open('merger', 's1');
    const applier = open('applier', 's2');

    const command = replica.begin('craft.command', 'kv.put', SAMPLED, T);
    if (command === undefined) throw new Error('the client sampled this command');
    const entry = { group: 1, index: 7, term: 2, timestamp: T };
    replica.recordSpan('craft.append', command.traceparent, T + 10, T + 500, entry);
    merger.recordSpan('craft.merge', command.traceparent, T + 900, T + 950, { ...entry, mergedIndex: 12 });
    applier.recordSpan('craft.apply', command.traceparent, T + 1_000, T + 3_000, { ...entry, mergedIndex: 12 });
    command.end(T + 4_000, { ...entry, command: 'kv.put', ack: 'applied' });
    command.end(T + 9_000, {});
    await Promise.all([replica.stop(), merger.stop(), applier.stop()]);

    expect(receiver.spans).toHaveLength(4);
    expect(new Set(receiver.spans.map((span) => span.traceId))).toEqual(new Set([CLIENT_TRACE]));
    const root = only(receiver.spans, 'craft.command kv.put');
    expect(root).toMatchObject({ parentSpanId: CLIENT_SPAN, startUs: T, endUs: T + 4_000 });
    expect(root.attributes).toMatchObject({ 'craft.command': 'kv.put', 'craft.ack': 'applied', 'craft.server': 's1' });
    expect(command.traceparent).toBe(`00-${CLIENT_TRACE}-${root.spanId}-01`);
    for (const name of ['craft.append', 'craft.merge', 'craft.apply']) {
      expect(only(receiver.spans, name).parentSpanId).toBe(root.spanId);
    }
    const apply = only(receiver.spans, 'craft.apply');
    expect(apply).toMatchObject({ startUs: T + 1_000, endUs: T + 3_000 });
    expect(apply.attributes).toEqual({
      'craft.server': 's2',
      'craft.group': 1,
      'craft.index': 7,
      'craft.term': 2,
      'craft.timestamp': T,
      'craft.merged_index': 12,
    });
    expect(apply.resource).toMatchObject({
      'service.name': 'craft-applier',
      'service.instance.id': 's2',
      'craft.server': 's2',
      'craft.cluster': 'craft',
      'deployment.environment.name': 'test',
    });
    expect(only(receiver.spans, 'craft.merge').resource).toMatchObject({ 'service.name': 'craft-merger' });
  });

  it('starts a root without a parent when the client sent no context or a malformed one', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', `${receiver.url}/v1/traces`);
    const replica = open('replica', 's1');
    for (const header of [undefined, '', 'nonsense', `00-${'0'.repeat(32)}-${CLIENT_SPAN}-01`]) {
      replica.begin('craft.command', 'kv.put', header, T)?.end(T + 1, { error: 'OVERLOADED' });
    }
    await replica.stop();
    expect(receiver.spans.map((span) => span.parentSpanId)).toEqual(['', '', '', '']);
    expect(new Set(receiver.spans.map((span) => span.traceId)).size).toBe(4);
    expect(receiver.spans.every((span) => span.error !== undefined)).toBe(true);
  });

  it('records nothing for a command that is not sampled', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
    const replica = open('replica', 's1');
    expect(replica.begin('craft.command', 'kv.put', NOT_SAMPLED, T)).toBeUndefined();
    expect(replica.recordSpan('craft.append', '', T, T, {})).toBe('');
    expect(replica.recordSpan('craft.append', NOT_SAMPLED, T, T, {})).toBe('');
    expect(replica.recordSpan('craft.append', 'nonsense', T, T, {})).toBe('');
    await replica.stop();
    expect(receiver.spans).toEqual([]);
  });

  it('samples roots as OTEL_TRACES_SAMPLER says, and follows the client', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
    vi.stubEnv('OTEL_TRACES_SAMPLER', 'parentbased_traceidratio');
    vi.stubEnv('OTEL_TRACES_SAMPLER_ARG', '0.25');
    const replica = open('replica', 's1');
    const sampled = Array.from({ length: 2_000 }, () => replica.begin('craft.command', 'kv.put', undefined, T)).filter(
      Boolean,
    ).length;
    expect(sampled).toBeGreaterThan(350);
    expect(sampled).toBeLessThan(650);
    expect(replica.begin('craft.command', 'kv.put', SAMPLED, T)).toBeDefined();
    await replica.stop();
  });

  it.each([
    ['no endpoint', {}],
    ['OTEL_SDK_DISABLED', { OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }],
    ['OTEL_TRACES_EXPORTER=none', { OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }],
  ])('is off with %s', (_name, environment: Record<string, string>) => {
    for (const [key, value] of Object.entries(environment)) vi.stubEnv(key, value);
    const replica = open('replica', 's1');
    expect(replica.enabled).toBe(false);
    expect(replica.begin('craft.command', 'kv.put', SAMPLED, T)).toBeUndefined();
    expect(replica.recordSpan('craft.append', SAMPLED, T, T, {})).toBe('');
  });

  it.each([
    ['OTEL_TRACES_EXPORTER', 'zipkin'],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc'],
  ])('refuses %s=%s', (key, value) => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
    vi.stubEnv(key, value);
    expect(() => open('replica', 's1')).toThrow(key);
  });

  it.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'not a url'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'grpc://collector:4317'],
  ])('refuses %s=%s as wrong configuration', (key, value) => {
    vi.stubEnv(key, value);
    expect(() => open('replica', 's1')).toThrow(
      new ConfigError(`wrong configuration: ${key}: ${value} is not a URL that begins with http:// or https://`),
    );
  });

  it('tells about a failed export and goes on', async () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', `${receiver.url}/elsewhere`);
    const errors: Error[] = [];
    const replica = createTracing({
      service: 'replica',
      server: 's1',
      cluster: 'craft',
      onExportError: (error) => errors.push(error),
    });
    replica.begin('craft.command', 'kv.put', undefined, T)?.end(T, {});
    await replica.stop();
    expect(errors).toHaveLength(1);
    expect(receiver.spans).toEqual([]);
  });
});

describe('traceparent', () => {
  it.each([
    ['version 00', SAMPLED],
    ['upper case', SAMPLED.toUpperCase()],
    ['a later version', SAMPLED.replace(/^00/, '01')],
    ['a later version with more parts', `${SAMPLED.replace(/^00/, 'cc')}-more-of-it`],
    ['flags that are not known', SAMPLED.replace(/01$/, 'ff')],
  ])('is read: %s', (_, value) => {
    expect(parseTraceparent(value)).toMatchObject({ traceId: CLIENT_TRACE, spanId: CLIENT_SPAN, traceFlags: 1 });
  });

  it('says when the client does not sample', () => {
    expect(parseTraceparent(NOT_SAMPLED)?.traceFlags).toBe(0);
    expect(parseTraceparent(SAMPLED.replace(/01$/, 'fe'))?.traceFlags).toBe(0);
  });

  it.each([
    ['a space before', ` ${SAMPLED}`],
    ['more parts in version 00', `${SAMPLED}-extra`],
    ['more without a hyphen', `${SAMPLED.replace(/^00/, '01')}extra`],
    ['the forbidden version', SAMPLED.replace(/^00/, 'ff')],
    ['no span', `00-${CLIENT_TRACE}-${'0'.repeat(16)}-01`],
    ['no trace', `00-${'0'.repeat(32)}-${CLIENT_SPAN}-01`],
    ['a digit missing', SAMPLED.slice(0, -1)],
    ['digits that are not hexadecimal', SAMPLED.replace('4bf9', '4bg9')],
  ])('is dropped with %s', (_, value) => {
    expect(parseTraceparent(value)).toBeUndefined();
  });
});
