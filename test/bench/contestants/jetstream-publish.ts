/** Bare publishes to JetStream R3: what a durable log costs without any state made from it. */
import { startNatsCluster } from '../systems/nats.js';
import { createStream, streamMessages } from '../systems/stream.js';
import type { Contestant } from './contestant.js';

const STREAM = 'PUBLISH';

export const jetstreamPublish: Contestant = {
  name: 'jetstream-publish',
  title: 'JetStream R3, publish alone',
  async start(stage) {
    const nats = await startNatsCluster(await stage.nextTurn());
    const subject = await createStream(nats, STREAM);
    return {
      target: { kind: 'publish', urls: nats.urls, subject },
      processes: nats.processes,
      monitors: nats.monitors,
      async verify(succeeded) {
        const messages = await streamMessages(nats, STREAM);
        if (messages < succeeded) throw new Error(`the stream has ${messages} messages of ${succeeded}`);
        return `a stream of ${messages} messages`;
      },
      stop: nats.stop,
    };
  },
};
