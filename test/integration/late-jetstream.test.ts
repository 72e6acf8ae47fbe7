/**
 * What starts before the JetStream of its NATS cluster has a leader waits for it; it does not take
 * its process down.
 */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startMerger } from '../../services/merger/start.js';
import { startReplica } from '../../services/replica/start.js';
import { commonConfig, replicaConfig } from '../../shared/config/config.js';
import { natsAddress } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { NatsNodes } from '../chaos/nats-nodes.js';
import { eventually, type TemporaryFolder, temporaryFolder } from '../harness/index.js';

let folder: TemporaryFolder;
let nats: NatsNodes;
beforeAll(async () => {
  folder = await temporaryFolder('late');
  nats = await NatsNodes.start(folder.path, []);
});
afterAll(async () => {
  await nats?.stop();
  await folder?.remove();
});

/** The node that has a stream, as soon as there is one. */
async function nodeOf(stream: string): Promise<string | undefined> {
  const connection = await connect(natsAddress(nats.url));
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const info = await eventually('the stream', () => manager.streams.info(stream), { timeoutMs: 30_000 });
    return info.cluster?.leader;
  } finally {
    await connection.close();
  }
}

it('has its stream once there is a quorum of NATS nodes, on the node with its tags', async () => {
  const [, second = '', third = ''] = nats.names;
  await Promise.all([nats.kill(second), nats.kill(third)]);
  const environment = {
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1',
    CRAFT_NATS_URL: nats.url,
    CRAFT_NATS_STREAM_TAGS: `node:${second}`,
    CRAFT_LOG_LEVEL: 'silent',
  };
  // Resolves although nobody can answer about streams.
  const merger = await startMerger(commonConfig(environment));
  let failure: Error | undefined;
  void merger.failed.then((error) => {
    failure = error;
  });
  try {
    await Promise.all([nats.startNode(second), nats.startNode(third)]);
    expect(await nodeOf(new Subjects('craft').logStream('s1'))).toBe(second);
    expect(failure).toBeUndefined();
  } finally {
    await merger.stop();
  }
}, 90_000);

it('has a log store in JetStream once there is a quorum of NATS nodes, on the node with its tags', async () => {
  const [, second = '', third = ''] = nats.names;
  await Promise.all([nats.kill(second), nats.kill(third)]);
  const environment = {
    CRAFT_CLUSTER: 'late',
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1',
    CRAFT_NATS_URL: nats.url,
    CRAFT_NATS_STREAM_TAGS: `node:${third}`,
    CRAFT_LOG_STORE: 'jetstream',
    CRAFT_LOG_STORE_SYNC: 'vouched',
    CRAFT_LOG_LEVEL: 'silent',
  };
  const starting = startReplica(replicaConfig(environment));
  await Promise.all([nats.startNode(second), nats.startNode(third)]);
  const replica = await starting;
  expect(await nodeOf(new Subjects('late').storeStream('s1'))).toBe(third);
  await expect(replica.stop()).resolves.toBeUndefined();
}, 90_000);
