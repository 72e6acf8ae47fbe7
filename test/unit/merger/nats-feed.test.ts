/** The merger's feed from a replica in another process: answers that are no entries. */
import { headers, type Msg, type NatsConnection } from '@nats-io/nats-core';
import { expect, it } from 'vitest';
import { natsFeed } from '../../../services/merger/nats-feed.js';
import { MergerReplacedError, OtherProtocolError } from '../../../shared/link/feed.js';

/** A replica that answers every request with this header and no data. */
function feedAnswering(name: string, value: string) {
  const header = headers();
  header.set(name, value);
  const reply = { headers: header, data: new Uint8Array(0) } as Partial<Msg> as Msg;
  async function* requestMany() {
    yield reply;
  }
  return natsFeed({ requestMany } as unknown as NatsConnection, {
    cluster: 'c',
    server: 's1',
    groups: 1,
    merger: 'm1',
  });
}

const REQUEST = { positions: [1], bytesMax: 1_000, waitingFor: 0, watermarks: [0] };

it('says which versions of the protocol the replica reads when it cannot read this one', async () => {
  const polling = feedAnswering('Craft-Protocol', '2 to 3').poll(REQUEST, 1_000);
  await expect(polling).rejects.toThrow(OtherProtocolError);
  await expect(polling).rejects.toThrow('this merger writes protocol 1, and the replica of s1 reads 2 to 3');
});

it('ends for a newer merger', async () => {
  await expect(feedAnswering('Craft-Merger', 'm2').poll(REQUEST, 1_000)).rejects.toThrow(MergerReplacedError);
});
