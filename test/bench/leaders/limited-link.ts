/**
 * The network link of a server to NATS: a proxy that is as narrow as the link, and that counts what
 * its bytes are for. It adds no delay of its own.
 */
import type { DirectionCounts } from '../proxy/direction.js';
import { LineProxy } from '../proxy/line-proxy.js';
import { type ByteKind, type BytesByKind, NatsMeter, NO_BYTES } from './nats-meter.js';

/** All count since the link was opened. */
export interface LinkCounts {
  /** From the server to NATS. */
  readonly sent: DirectionCounts;
  readonly received: DirectionCounts;
  /** Of what came to be sent; a little of it may still wait. */
  readonly sentByKind: BytesByKind;
}

/** About what the buffers of a socket hold. */
const LINE = { delayMs: 0, jitterMs: 0, heldBytesMax: 256 * 1024 };

export class LimitedLink {
  private constructor(
    private readonly proxy: LineProxy,
    private readonly sentByKind: BytesByKind,
  ) {}

  /**
   * Listens on a free port of 127.0.0.1, without a limit, for connections to the NATS server at
   * `targetPort` there.
   */
  static async open(targetPort: number, cluster: string): Promise<LimitedLink> {
    const sentByKind: Record<ByteKind, number> = { ...NO_BYTES };
    const meter = () => {
      const connection = new NatsMeter(cluster, (kind, bytes) => {
        sentByKind[kind] += bytes;
      });
      return (chunk: Buffer): void => connection.take(chunk);
    };
    return new LimitedLink(await LineProxy.open(targetPort, LINE, meter), sentByKind);
  }

  get port(): number {
    return this.proxy.port;
  }

  /** In each direction; undefined: no limit. Throws RangeError unless it is above 0. */
  limit(bytesPerSecond: number | undefined): void {
    this.proxy.limit(bytesPerSecond);
  }

  get counts(): LinkCounts {
    return { ...this.proxy.counts, sentByKind: { ...this.sentByKind } };
  }

  /** Breaks all connections. */
  close(): Promise<void> {
    return this.proxy.close();
  }
}
