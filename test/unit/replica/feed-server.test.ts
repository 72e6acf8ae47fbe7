/** Polls of the mergers of one server, directly and over NATS. */
import type { Msg, MsgHdrs } from '@nats-io/nats-core';
import { beforeEach, expect, it } from 'vitest';
import type { ClientCommand } from '../../../services/replica/commands.js';
import type { ReplicaCore } from '../../../services/replica/core/server.js';
import { FeedServer } from '../../../services/replica/feed-server.js';
import { DirectFeed, FeedUnavailableError, MergerReplacedError } from '../../../shared/link/feed.js';
import {
  decodeFeedReply,
  encodeFeedRequest,
  MERGER_HEADER,
  mergerHeader,
  PROTOCOL_HEADER,
} from '../../../shared/wire/feed.js';
import { Subjects } from '../../../shared/wire/subjects.js';

const REQUEST = { positions: [1], bytesMax: 1_000, waitingFor: 0, watermarks: [0] };
const GROUPS = [{ group: 0, entries: [], watermark: 7 }];

let direct: DirectFeed;
let server: FeedServer;
/** The numbers of the polls that the core has. */
let polls: number[];
let hear: (message: Msg) => void;

beforeEach(() => {
  direct = new DirectFeed();
  polls = [];
  const core = { poll: (id: number) => void polls.push(id) } as unknown as ReplicaCore<ClientCommand>;
  const transport = {
    listen: (_: string, take: (message: Msg) => void) => {
      hear = take;
    },
    guard: (_: string, action: () => void) => action(),
  };
  const dispatch = (event: (one: typeof core) => void) => event(core);
  server = new FeedServer({ transport, subjects: new Subjects('c'), server: 's1', groups: 1, direct, dispatch });
  server.start();
});

function answer(): void {
  for (const request of polls.splice(0)) server.answer({ type: 'feed', request, groups: GROUPS, bases: null });
}

/** A poll over NATS: what it is answered with. */
function poll(merger: string, data = encodeFeedRequest(REQUEST)) {
  const answers: { data: Uint8Array; headers: MsgHdrs | undefined }[] = [];
  const respond = (bytes: Uint8Array, options?: { headers?: MsgHdrs }) => {
    answers.push({ data: bytes, headers: options?.headers });
    return true;
  };
  const message = { data, reply: '_INBOX.1', headers: mergerHeader(merger), respond } as unknown as Msg;
  return { answers, send: () => hear(message) };
}

it('answers polls of both kinds when the core does', async () => {
  const near = direct.source('s1', 'm1').poll(REQUEST, 1_000);
  const far = poll('m1');
  far.send();
  expect(polls).toHaveLength(2);
  answer();
  expect((await near)?.groups).toEqual(GROUPS);
  expect(far.answers.map(({ data }) => decodeFeedReply(data, 1).groups)).toEqual([GROUPS]);
});

it('tells a merger of the one that has come after it, whichever way it asks', async () => {
  poll('m1').send();
  const newer = poll('m2');
  newer.send();
  await expect(direct.source('s1', 'm1').poll(REQUEST, 1_000)).rejects.toBeInstanceOf(MergerReplacedError);
  const replaced = poll('m1');
  replaced.send();
  expect(replaced.answers.map(({ headers }) => headers?.get(MERGER_HEADER))).toEqual(['m2']);
  expect(polls).toHaveLength(2);
  answer();
  expect(newer.answers).toHaveLength(1);
});

it('tells a merger of another protocol which ones it reads', () => {
  // Field 5 of the request.
  const other = poll('m1', Uint8Array.of(...encodeFeedRequest(REQUEST), 5 << 3, 99));
  expect(other.send).toThrow('99');
  expect(other.answers.map(({ headers }) => headers?.has(PROTOCOL_HEADER))).toEqual([true]);
  expect(polls).toEqual([]);
});

it('ends polls of the merger of this process when it stops', async () => {
  const polling = direct.source('s1', 'm1').poll(REQUEST, 1_000);
  server.stop();
  await expect(polling).rejects.toBeInstanceOf(FeedUnavailableError);
});
