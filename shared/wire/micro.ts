/**
 * The services as `nats micro ls`, `info` and `stats` list them. They answer `$SRV.PING`,
 * `$SRV.INFO` and `$SRV.STATS`, sent to all services, to those of a name, or to one by its id
 * (ADR-32 of NATS). The library for that subscribes to the endpoints itself and times every
 * request. Here the services keep their own subscriptions; only what they count is read, and only
 * when it is asked for.
 */
import { type NatsConnection, nuid } from '@nats-io/nats-core';
import { VERSION } from '../config/version.js';
import type { ReplyGuard } from './reply-guard.js';

/** Where clients send requests to. */
export interface MicroEndpoint {
  /** Letters, digits, "-" and "_". */
  readonly name: string;
  readonly subject: string;
  readonly queueGroup?: string;
  /** Reads what was counted since the service started. */
  readonly statistics: () => MicroStatistics;
}

export interface MicroStatistics {
  readonly requests: number;
  readonly errors: number;
  /** Of the last one; empty when there was none, or when it is not kept. */
  readonly lastError?: string;
  /** Sum over all requests; absent: not measured (milliseconds). */
  readonly processingMs?: number;
}

export interface MicroService {
  /** Letters, digits, "-" and "_". */
  readonly name: string;
  readonly description: string;
  readonly server: string;
  readonly cluster: string;
  readonly endpoints: readonly MicroEndpoint[];
}

const PREFIX = '$SRV';
const TYPE = 'io.nats.micro.v1';
/** In a millisecond. */
const NANOSECONDS = 1e6;

/**
 * Answers until the connection ends. Where the NATS server does not allow that, the service is only
 * not listed.
 */
export function listService(
  connection: NatsConnection,
  service: MicroService,
  replies: Pick<ReplyGuard, 'allowsClient'>,
): void {
  const answers = new MicroAnswers(service, nuid.next(), new Date());
  connection.subscribe(`${PREFIX}.>`, {
    callback: (error, message) => {
      if (error !== null || connection.isClosed() || !message.reply || !replies.allowsClient(message.reply)) return;
      const answer = answers.to(message.subject);
      if (answer !== undefined) message.respond(JSON.stringify(answer));
    },
  });
}

/** What a service answers. Pure. */
export class MicroAnswers {
  private readonly identity;

  constructor(
    private readonly service: MicroService,
    private readonly id: string,
    private readonly started: Date,
  ) {
    const { name, server, cluster } = service;
    this.identity = { name, id, version: VERSION, metadata: { server, cluster } };
  }

  /** Undefined for a subject that asks another service, or for something else. */
  to(subject: string): object | undefined {
    const [prefix, verb, name = this.service.name, id = this.id, ...more] = subject.split('.');
    if (prefix !== PREFIX || name !== this.service.name || id !== this.id || more.length > 0) return undefined;
    const { identity, started } = this;
    const { description, endpoints } = this.service;
    switch (verb) {
      case 'PING':
        return { type: `${TYPE}.ping_response`, ...identity };
      case 'INFO':
        return { type: `${TYPE}.info_response`, ...identity, description, endpoints: endpoints.map(described) };
      case 'STATS':
        return {
          ...{ type: `${TYPE}.stats_response`, ...identity, started: started.toISOString() },
          endpoints: endpoints.map((endpoint) => ({ ...described(endpoint), ...counted(endpoint.statistics()) })),
        };
      default:
        return undefined;
    }
  }
}

function described({ name, subject, queueGroup = '' }: MicroEndpoint): object {
  return { name, subject, queue_group: queueGroup };
}

function counted({ requests, errors, lastError = '', processingMs = 0 }: MicroStatistics): object {
  const processing = Math.round(processingMs * NANOSECONDS);
  return {
    num_requests: requests,
    num_errors: errors,
    last_error: lastError,
    processing_time: processing,
    average_processing_time: requests === 0 ? 0 : Math.round(processing / requests),
  };
}
