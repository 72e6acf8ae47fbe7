/** Traces as they arrive and as they are shown. */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OtlpReceiver, startOtlpReceiver } from '../../../deploy/local/otlp-receiver.js';
import { type TraceSpan, traceTree } from '../../../deploy/local/trace-tree.js';
import { createTracing } from '../../../shared/telemetry/tracing.js';
import { eventually } from '../../harness/eventually.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';

function span(id: string, parent: string, name: string, startUs: number, server: string): TraceSpan {
  return {
    traceId: TRACE,
    spanId: id,
    parentSpanId: parent,
    name,
    startUs,
    endUs: startUs + 500,
    attributes: { 'craft.group': 1, unrelated: 'x' },
    resource: { 'craft.server': server, 'service.name': 'craft-replica' },
  };
}

describe('a trace as a tree', () => {
  it('shows each span below its parent, in order of time, with where and when', () => {
    const lines = traceTree([
      span('c', 'a', 'craft.apply', 3_000, 's2'),
      span('a', 'client', 'craft.command', 1_000, 's1'),
      span('d', 'b', 'deep', 2_500, 's1'),
      span('b', 'a', 'craft.append', 2_000, 's1'),
    ]);
    expect(lines).toEqual([
      'craft.command    s1   replica     +0.00 ms     0.50 ms  group=1',
      '├─ craft.append  s1   replica     +1.00 ms     0.50 ms  group=1',
      '│  └─ deep       s1   replica     +1.50 ms     0.50 ms  group=1',
      '└─ craft.apply   s2   replica     +2.00 ms     0.50 ms  group=1',
    ]);
  });

  it('shows what begins at the same time in one order: first the same server, then by name', () => {
    const names = [
      ['craft.server s1', 's1'],
      ['craft.server s3', 's3'],
      ['craft.server s2', 's2'],
      ['craft.commit', 's2'],
    ] as const;
    const below = names.map(([name, server]) => span(name, 'a', name, 1_000, server));
    const lines = traceTree([...below, span('a', 'client', 'craft.command', 1_000, 's2')]);
    expect(lines.map((line) => line.replace(/ {2,}.*/, ''))).toEqual([
      'craft.command',
      '├─ craft.commit',
      '├─ craft.server s2',
      '├─ craft.server s1',
      '└─ craft.server s3',
    ]);
  });

  it('is empty without spans', () => expect(traceTree([])).toEqual([]));
});

describe('the receiver', () => {
  let receiver: OtlpReceiver;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
  });
  afterAll(() => receiver.stop());

  it('keeps what the real exporter sends', async () => {
    const before = process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = receiver.url;
    const tracing = createTracing({ service: 'replica', server: 's1', cluster: 'craft' });
    if (before === undefined) delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    else process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = before;
    const startUs = 1_790_000_000_000_123;
    const command = tracing.begin('craft.command', 'kv.put', `00-${TRACE}-b7ad6b7169203331-01`, startUs);
    tracing.recordSpan('craft.append', command?.traceparent ?? '', startUs + 10, startUs + 20, { group: 2 });
    command?.end(startUs + 1_000, {});
    await tracing.stop();
    const spans = await eventually('both spans', () => (receiver.spans.length === 2 ? receiver.spans : undefined));
    const root = spans.find(({ name }) => name === 'craft.command kv.put');
    const append = spans.find(({ name }) => name === 'craft.append');
    expect(root).toMatchObject({ traceId: TRACE, parentSpanId: 'b7ad6b7169203331', startUs, endUs: startUs + 1_000 });
    expect(root?.resource).toMatchObject({ 'service.name': 'craft-replica', 'craft.server': 's1' });
    expect(append).toMatchObject({ traceId: TRACE, parentSpanId: root?.spanId, startUs: startUs + 10 });
    expect(append?.attributes).toMatchObject({ 'craft.group': 2 });
    expect(receiver.trace('0'.repeat(32))).toEqual([]);
  });

  it('takes JSON, also compressed, and refuses what is neither', async () => {
    const sent = {
      traceId: 'F'.repeat(32),
      spanId: 'e'.repeat(16),
      name: 'put',
      startTimeUnixNano: '1999999999999999999',
    };
    const body = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [sent] }] }] });
    const post = (data: string | Buffer, headers: Record<string, string>, path = '/v1/traces') =>
      fetch(`${receiver.url}${path}`, { method: 'POST', body: data, headers }).then(({ status }) => status);
    const json = { 'content-type': 'application/json' };
    expect(await post(gzipSync(body), { ...json, 'content-encoding': 'gzip' })).toBe(200);
    expect(receiver.trace('f'.repeat(32))).toMatchObject([
      { name: 'put', startUs: 1_999_999_999_999_999, parentSpanId: '' },
    ]);
    expect(await post('{', json)).toBe(400);
    expect(await post(Buffer.from([0x0a, 0xff]), { 'content-type': 'application/x-protobuf' })).toBe(400);
    expect(await post(body, json, '/v1/metrics')).toBe(404);
  });
});
