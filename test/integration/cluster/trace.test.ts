/**
 * Traces of single commands and reads, over real OTLP: from the client's span to the databases of
 * all servers.
 */
import { randomBytes } from 'node:crypto';
import { connect, createInbox, headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../../deploy/local/otlp-receiver.js';
import { encodeBatchCommand, encodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { decodeReplyBatch, type NumberedReply } from '../../../shared/wire/reply-batch.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';

const CLIENT_SPAN_ID = 'b7ad6b7169203331';
const PUT = '{"key":"traced","value":1}';
/** Kinds of spans, as OTLP numbers them. */
const [SERVER, CLIENT, PRODUCER, CONSUMER] = [2, 3, 4, 5];

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

async function request(
  subject: string,
  payload: string,
  given: Record<string, string>,
): Promise<Record<string, unknown>> {
  const header = headers();
  for (const [name, value] of Object.entries(given)) header.set(name, value);
  const connection = await connect({ servers: test.cluster.natsUrl });
  const reply = await connection.request(subject, payload, { headers: header, timeout: 10_000 });
  await connection.close();
  return reply.json();
}

interface Placed {
  readonly index: number;
  readonly group: number;
  readonly timestamp: number;
}

async function put(traceparent?: string): Promise<Placed> {
  const reply = await request('craft.cmd.kv.put', PUT, traceparent === undefined ? {} : { traceparent });
  return reply as unknown as Placed;
}

/** As the second one of a batch of which no other command is sampled. */
async function putInBatch(traceparent: string): Promise<Placed> {
  const connection = await connect({ servers: test.cluster.natsUrl });
  const inbox = createInbox();
  const replies: NumberedReply[] = [];
  connection.subscribe(inbox, {
    callback: (_error, message) => void replies.push(...decodeReplyBatch(message.data).replies),
  });
  const payload = Buffer.from(PUT);
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
  connection.publish('craft.batch', encodeCommandBatch(1, inbox, frames), { reply: inbox });
  const reply = await eventually('the answer', () => replies.find(({ number }) => number === 2));
  await connection.close();
  return reply;
}

/** With this name, also where a label follows it. */
const named = (spans: readonly ReceivedSpan[], name: string) =>
  spans.filter((span) => span.name === name || span.name.startsWith(`${name} `));

const SERVERS = ['s1', 's2', 's3'];
/** How many there are of each span of an applied command, in whatever order they arrive. */
const WHOLE = {
  'craft.command': 1,
  'craft.commit': 1,
  'craft.append': 1,
  'craft.replicate': 2,
  'craft.merge': 3,
  'craft.apply': 3,
  'craft.server': 3,
  'craft.answer': 1,
};

function whole(traceId: string): Promise<ReceivedSpan[]> {
  return eventually('all spans of the trace', () => {
    const spans = receiver.trace(traceId);
    return Object.entries(WHOLE).every(([name, count]) => named(spans, name).length >= count) ? spans : undefined;
  });
}

describe('a sampled command', () => {
  it.each([
    ['alone', '0af7651916cd43dd8448eb211c80319a', put],
    ['in a batch', '0af7651916cd43dd8448eb211c80319b', putInBatch],
  ])(
    'pitfall: rewritten traceparent: by its own copy in the entry is one trace from the client to the answer, with right parents, from all servers: %s',
    async (_, traceId, send) => {
      const { index, group, timestamp } = await send(`00-${traceId}-${CLIENT_SPAN_ID}-01`);
      const spans = await whole(traceId);
      for (const [name, count] of Object.entries(WHOLE)) expect(named(spans, name), name).toHaveLength(count);
      expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);

      const [command] = named(spans, 'craft.command');
      expect(command).toMatchObject({ name: 'craft.command kv.put', parentSpanId: CLIENT_SPAN_ID, kind: SERVER });
      expect(named(spans, 'craft.commit')[0]?.parentSpanId).toBe(command?.spanId);
      const parents = new Map<string, string>();
      for (const server of SERVERS) {
        const [own] = named(spans, `craft.server ${server}`);
        expect(own?.parentSpanId).toBe(command?.spanId);
        parents.set(own?.spanId ?? '', server);
      }
      // Whatever a server did is below its own span: equal rows are told apart.
      for (const name of ['append', 'replicate', 'wait', 'merge', 'queue', 'apply', 'answer']) {
        for (const span of named(spans, `craft.${name}`)) {
          expect(parents.get(span.parentSpanId), name).toBe(span.attributes['craft.server']);
        }
      }
      const applies = new Map(named(spans, 'craft.apply').map((span) => [span.spanId, span]));
      const calls = spans.filter(({ attributes }) => attributes['db.system.name'] !== undefined);
      expect(new Set(calls.map(({ parentSpanId }) => parentSpanId))).toEqual(new Set(applies.keys()));

      for (const span of spans) {
        expect(span.endUs).toBeGreaterThanOrEqual(span.startUs);
        if (calls.includes(span)) continue;
        expect(span.attributes, span.name).toMatchObject({ 'craft.group': group, 'craft.timestamp': timestamp });
      }
      for (const span of [...named(spans, 'craft.merge'), ...applies.values()]) {
        expect(span.attributes['craft.merged_index']).toBe(index);
      }
      expect(command?.resource['service.name']).toBe('craft-replica');
      // The client waits for the answer, and not only for the commit.
      const [answer] = named(spans, 'craft.answer');
      expect(command?.endUs).toBe(answer?.endUs);
      const services = new Set(spans.map((span) => span.resource['service.name']));
      expect(services).toEqual(new Set(['craft-replica', 'craft-merger', 'craft-applier']));
      expect(new Set(spans.map((span) => span.resource['craft.server']))).toEqual(new Set(SERVERS));
    },
  );

  it('uses the semantic conventions for messages and databases', async () => {
    const traceId = '0af7651916cd43dd8448eb211c8031a0';
    await put(`00-${traceId}-${CLIENT_SPAN_ID}-01`);
    const spans = await whole(traceId);
    expect(named(spans, 'craft.command')[0]?.attributes).toMatchObject({
      'messaging.system': 'nats',
      'messaging.destination.name': 'craft.cmd.kv.put',
      'messaging.operation.type': 'process',
    });
    const [replicate] = named(spans, 'craft.replicate');
    expect(replicate).toMatchObject({ kind: CONSUMER });
    expect(replicate?.attributes['messaging.destination.name']).toBe(
      `craft.rpc.${replicate?.resource['craft.server']}`,
    );
    expect(named(spans, 'craft.answer')[0]).toMatchObject({
      kind: PRODUCER,
      attributes: { 'messaging.system': 'nats', 'messaging.operation.type': 'send' },
    });
    const calls = spans.filter(({ attributes }) => attributes['db.system.name'] !== undefined);
    for (const call of calls) {
      expect(call).toMatchObject({ kind: CLIENT, attributes: { 'db.system.name': 'postgresql' } });
      expect(call.name.split(' ')[0]).toBe(call.attributes['db.operation.name']);
      expect(call.attributes['db.query.text']).toContain('$1');
    }
  });

  it('says for which group it waited', async () => {
    const waits = await eventually('an entry that waited for another group', async () => {
      const traceId = randomBytes(16).toString('hex');
      const { group } = await put(`00-${traceId}-${CLIENT_SPAN_ID}-01`);
      const all = named(await whole(traceId), 'craft.wait');
      const others = all.filter(({ attributes }) => attributes['craft.awaited_group'] !== group);
      return others.length > 0 ? others : undefined;
    });
    for (const { name, attributes } of waits)
      expect(name).toBe(`craft.wait group ${attributes['craft.awaited_group']}`);
  });

  it('that is answered before it is applied ends with that answer', async () => {
    const traceId = '0af7651916cd43dd8448eb211c8031a1';
    await request('craft.cmd.kv.put', PUT, {
      traceparent: `00-${traceId}-${CLIENT_SPAN_ID}-01`,
      'Craft-Ack': 'committed',
    });
    const spans = await eventually('the command and all servers', () => {
      const found = receiver.trace(traceId);
      return named(found, 'craft.server').length === 3 && named(found, 'craft.command').length > 0 ? found : undefined;
    });
    const [command, ...more] = named(spans, 'craft.command');
    expect(more).toEqual([]);
    expect(command?.attributes['craft.ack']).toBe('committed');
    expect(command?.resource['service.name']).toBe('craft-replica');
    expect(named(spans, 'craft.answer')).toEqual([]);
    for (const server of named(spans, 'craft.server')) expect(server.parentSpanId).toBe(command?.spanId);
  });

  it('that is rejected is found by a search for errors, with its code', async () => {
    const traceId = '0af7651916cd43dd8448eb211c8031a2';
    const input = '{"key":"traced","ifVersion":99999}';
    const reply = await request('craft.cmd.kv.delete', input, { traceparent: `00-${traceId}-${CLIENT_SPAN_ID}-01` });
    expect(reply).toMatchObject({ ok: false, error: { code: 'REJECTED' } });
    const spans = await whole(traceId);
    for (const span of [...named(spans, 'craft.command'), ...named(spans, 'craft.apply')]) {
      expect(span.error).toMatch(/^REJECTED: /);
      expect(span.attributes['error.type']).toBe('REJECTED');
    }
  });

  it.each([
    ['INVALID_ARGUMENT', 'kv.put', '{"key":5}', '0af7651916cd43dd8448eb211c8031a3'],
    ['UNKNOWN_COMMAND', 'kv.grow', '{}', '0af7651916cd43dd8448eb211c8031a4'],
  ])('that is refused with %s is one span with that error', async (code, name, input, traceId) => {
    await request(`craft.cmd.${name}`, input, { traceparent: `00-${traceId}-${CLIENT_SPAN_ID}-01` });
    const spans = await eventually('the refusal', () => {
      const found = receiver.trace(traceId);
      return found.length > 0 ? found : undefined;
    });
    expect(spans).toHaveLength(1);
    expect(spans[0]).toMatchObject({ name: `craft.command ${name}`, parentSpanId: CLIENT_SPAN_ID });
    expect(spans[0]?.error).toMatch(new RegExp(`^${code}: `));
  });

  it('that takes no effect since its id is known says so, with the place of the first', async () => {
    const id = { 'Nats-Msg-Id': 'traced twice' };
    const first = await request('craft.cmd.kv.put', PUT, id);
    const traceId = '0af7651916cd43dd8448eb211c8031a5';
    await request('craft.cmd.kv.put', PUT, { ...id, traceparent: `00-${traceId}-${CLIENT_SPAN_ID}-01` });
    for (const apply of named(await whole(traceId), 'craft.apply')) {
      expect(apply.attributes['craft.duplicate']).toBe(true);
      const events = [{ name: 'craft.duplicate', attributes: { 'craft.merged_index': first['index'] } }];
      expect(apply.events).toMatchObject(events);
    }
  });

  it('is the only one traced: an unsampled command leaves no span', async () => {
    const before = receiver.spans.length;
    await put('00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00');
    await put();
    // A sampled one afterwards: what comes before it in every exporter's queue has been sent by
    // then.
    const last = '0af7651916cd43dd8448eb211c80319e';
    await put(`00-${last}-${CLIENT_SPAN_ID}-01`);
    await whole(last);
    expect(new Set(receiver.spans.slice(before).map(({ traceId }) => traceId))).toEqual(new Set([last]));
  });
});

describe('a sampled read', () => {
  it('shows its barrier, what the state still lacked, and the database', async () => {
    const traceId = '0af7651916cd43dd8448eb211c8031b0';
    await request('craft.query.kv.get', '{"key":"traced"}', { traceparent: `00-${traceId}-${CLIENT_SPAN_ID}-01` });
    const spans = await eventually('the query', () => {
      const found = receiver.trace(traceId);
      return named(found, 'craft.query').length > 0 ? found : undefined;
    });
    const [query] = named(spans, 'craft.query');
    expect(query).toMatchObject({ name: 'craft.query kv.get', parentSpanId: CLIENT_SPAN_ID, kind: SERVER });
    expect(query?.error).toBeUndefined();
    const below = spans.filter(({ parentSpanId }) => parentSpanId === query?.spanId);
    const names = below.map(({ name }) => name.split(' ')[0]);
    expect(names).toEqual(expect.arrayContaining(['craft.barrier', 'craft.catch_up', 'SELECT']));
    expect(below).toHaveLength(spans.length - 1);
  });

  it('of a server shows its barrier, and a refused one its code', async () => {
    const [synced, refused] = ['0af7651916cd43dd8448eb211c8031b1', '0af7651916cd43dd8448eb211c8031b2'];
    await request('craft.sync.s2', '', { traceparent: `00-${synced}-${CLIENT_SPAN_ID}-01` });
    await request('craft.query.kv.gat', '{}', { traceparent: `00-${refused}-${CLIENT_SPAN_ID}-01` });
    const both = await eventually('both', () => {
      const found = [...receiver.trace(synced ?? ''), ...receiver.trace(refused ?? '')];
      const isThere = ['craft.sync', 'craft.query'].every((name) => named(found, name).length > 0);
      return isThere ? found : undefined;
    });
    expect(named(both, 'craft.sync s2')).toHaveLength(1);
    expect(named(both, 'craft.barrier').some(({ traceId }) => traceId === synced)).toBe(true);
    expect(named(both, 'craft.query kv.gat')[0]?.error).toMatch(/^UNKNOWN_COMMAND: /);
  });
});
