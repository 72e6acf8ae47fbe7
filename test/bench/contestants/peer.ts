/**
 * JetStream R3 with hand-written consumers into three databases: what a user of NATS and Postgres
 * would build.
 */
import { startNatsCluster } from '../systems/nats.js';
import { startPeer } from '../systems/peer.js';
import { createStream } from '../systems/stream.js';
import type { Contestant } from './contestant.js';

const STREAM = 'PEER';

export const peer: Contestant = {
  name: 'peer',
  title: 'JetStream R3 + consumers into three databases',
  async start(stage) {
    const nats = await startNatsCluster(await stage.nextTurn());
    try {
      const subject = await createStream(nats, STREAM);
      const sites = await startPeer(stage, nats, STREAM);
      return {
        target: { kind: 'peer', urls: nats.urls, subject },
        processes: { ...sites.processes, ...nats.processes, postgres: stage.postgresPid },
        monitors: nats.monitors,
        verify: sites.verify,
        async stop() {
          await sites.stop();
          await nats.stop();
        },
      };
    } catch (error) {
      await nats.stop();
      throw error;
    }
  },
};
