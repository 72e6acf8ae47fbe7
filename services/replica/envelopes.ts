/**
 * Sends and receives envelopes, which is what the replicas of two servers send each other. It also
 * knows the servers whose protocol this one cannot read.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ServerId } from '../../shared/raft/entry.js';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../shared/wire/envelope.js';
import { ProtocolError } from '../../shared/wire/protocol.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import type { ClientCommand } from './commands.js';
import type { EffectOf } from './executor.js';
import { Peers } from './peers.js';
import { Probes } from './probes.js';
import type { Dispatch } from './runner.js';
import type { Transport } from './transport.js';

export interface EnvelopesOptions {
  readonly connection: NatsConnection;
  readonly transport: Pick<Transport, 'listen' | 'publish' | 'drop'>;
  readonly subjects: Subjects;
  readonly server: ServerId;
  readonly dispatch: Dispatch<ClientCommand>;
}

export class Envelopes {
  readonly peers = new Peers();
  private readonly probes: Probes;

  constructor(private readonly options: EnvelopesOptions) {
    const { connection, dispatch } = options;
    this.probes = new Probes(connection, (peer) => dispatch((core) => core.unreachable(peer)));
  }

  /** Listens until the connection is closed. */
  start(): void {
    const { transport, subjects, server, dispatch } = this.options;
    this.probes.start();
    transport.listen(subjects.rpc(server), ({ data }) => {
      const envelope = this.read(data);
      dispatch((core) => {
        if (!core.receive(envelope))
          transport.drop('an envelope with other groups than this cluster has', envelope.from);
      });
    });
  }

  send({ to, envelope, isProbe }: EffectOf<ClientCommand, 'send'>): void {
    const { transport, subjects } = this.options;
    transport.publish(subjects.rpc(to), encodeEnvelope(envelope), isProbe ? this.probes.replyFor(to) : undefined);
  }

  private read(data: Uint8Array): Envelope {
    try {
      const envelope = decodeEnvelope(data, this.options.server);
      this.peers.understand(envelope.from);
      return envelope;
    } catch (error) {
      if (error instanceof ProtocolError) this.peers.refuse(error.from, error.protocol);
      throw error;
    }
  }
}
