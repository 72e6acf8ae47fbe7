/** One command's trace, over real OTLP: from the client's span to the databases of all servers. */
import { connect, createInbox, headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../../deploy/local/otlp-receiver.js';
import { encodeBatchCommand, encodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { decodeReplyBatch, type NumberedReply } from '../../../shared/wire/reply-batch.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';

const CLIENT_SPAN_ID = 'b7ad6b7169203331';

let receiver: OtlpReceiver;
let test: TestCluster;
beforeAll(async () => {
  receiver = await startOtlpReceiver();
  test = await startTestCluster({
    otlpEndpoint: receiver.url,
    environment: { OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_TRACES_SAMPLER: 'parentbased_always_off' },
  });
});
afterAll(async () => {
  await test?.stop();
  await receiver?.stop();
});

async function put(traceparent?: string): Promise<{ index: number; group: number; timestamp: number }> {
  const connection = await connect({ servers: test.cluster.natsUrl });
  const header = headers();
  if (traceparent !== undefined) header.set('traceparent', traceparent);
  const reply = await connection.request('craft.cmd.kv.put', '{"key":"traced","value":1}', {
    headers: header,
    timeout: 10_000,
  });
  await connection.close();
  return reply.json();
}

/** As the second one of a batch of which no other command is sampled. */
async function putInBatch(traceparent: string): Promise<{ index: number; group: number; timestamp: number }> {
  const connection = await connect({ servers: test.cluster.natsUrl });
  const inbox = createInbox();
  const replies: NumberedReply[] = [];
  connection.subscribe(inbox, {
    callback: (_error, message) => void replies.push(...decodeReplyBatch(message.data).replies),
  });
  const payload = Buffer.from('{"key":"traced","value":1}');
  const frames = ['', traceparent, '00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00'].map((one) =>
    encodeBatchCommand({
      name: 'kv.put',
      payload,
      id: '',
      acknowledgement: 'applied',
      after: 0,
      traceparent: one,
      payloadFormat: 'json',
    }),
  );
  connection.publish('craft.batch', encodeCommandBatch(1, inbox, frames));
  const reply = await eventually('the answer', () => replies.find(({ number }) => number === 2));
  await connection.close();
  return reply;
}

const named = (spans: readonly ReceivedSpan[], name: string) => spans.filter((span) => span.name === name);

describe('a sampled command', () => {
  it.each([
    ['alone', '0af7651916cd43dd8448eb211c80319a', put],
    ['in a batch', '0af7651916cd43dd8448eb211c80319b', putInBatch],
  ])(
    'pitfall: rewritten traceparent: by its own copy in the entry is one trace from the client to craft.apply, with right parents, from all servers: %s',
    async (_, traceId, send) => {
      const { index, group, timestamp } = await send(`00-${traceId}-${CLIENT_SPAN_ID}-01`);
      // command, append, commit; replicate at two followers; merge and apply at three servers.
      const spans = await eventually('all spans of the trace', () => {
        const found = receiver.trace(traceId);
        return found.length >= 11 ? found : undefined;
      });
      const [command] = named(spans, 'craft.command');
      expect(command?.parentSpanId).toBe(CLIENT_SPAN_ID);
      expect(named(spans, 'craft.append')).toHaveLength(1);
      expect(named(spans, 'craft.commit')).toHaveLength(1);
      expect(named(spans, 'craft.replicate')).toHaveLength(2);
      expect(named(spans, 'craft.merge')).toHaveLength(3);
      expect(named(spans, 'craft.apply')).toHaveLength(3);
      expect(spans).toHaveLength(11);
      for (const span of spans) {
        if (span !== command) expect(span.parentSpanId).toBe(command?.spanId);
        expect(span.attributes).toMatchObject({ 'craft.group': group, 'craft.timestamp': timestamp });
        expect(span.endUs).toBeGreaterThanOrEqual(span.startUs);
      }
      for (const name of ['craft.merge', 'craft.apply', 'craft.replicate']) {
        const servers = named(spans, name).map((span) => span.attributes['craft.server']);
        expect(new Set(servers).size).toBe(servers.length);
      }
      for (const span of [...named(spans, 'craft.merge'), ...named(spans, 'craft.apply')]) {
        expect(span.attributes['craft.merged_index']).toBe(index);
      }
      const services = new Set(spans.map((span) => span.resource['service.name']));
      expect(services).toEqual(new Set(['craft-replica', 'craft-merger', 'craft-applier']));
      const processes = new Set(spans.map((span) => span.resource['craft.server']));
      expect(processes).toEqual(new Set(['s1', 's2', 's3']));
    },
  );

  it('is the only one traced: an unsampled command leaves no span', async () => {
    const before = receiver.spans.length;
    await put('00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00');
    await put();
    // A sampled one afterwards: what comes before it in every exporter's queue has been sent by then.
    const last = '0af7651916cd43dd8448eb211c80319e';
    await put(`00-${last}-${CLIENT_SPAN_ID}-01`);
    await eventually('the spans of the last one', () => receiver.trace(last).length >= 11);
    expect(receiver.spans.length - before).toBe(11);
  });
});
