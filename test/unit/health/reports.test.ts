/** Answers about health end with their process, whatever NATS does. */
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { HealthReports } from '../../../services/health.js';
import type { CommonConfig } from '../../../shared/config/config.js';
import { ProcessHealth } from '../../../shared/health/health.js';
import type { Logger } from '../../../shared/telemetry/log.js';
import { eventually } from '../../harness/eventually.js';

const INFO = `INFO ${JSON.stringify({ server_id: 'x', version: '2.10.0', max_payload: 1_048_576, headers: true })}\r\n`;

/** What takes connections like NATS, and may fall silent. */
class FakeNats {
  readonly sockets = new Set<Socket>();
  /** Connections so far. */
  taken = 0;
  /** Subscriptions so far. */
  heard = '';
  isSilent = false;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<FakeNats> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    const nats = new FakeNats(server, `nats://127.0.0.1:${address.port}`);
    server.on('connection', (socket) => nats.take(socket));
    return nats;
  }

  private take(socket: Socket): void {
    this.taken += 1;
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.sockets.delete(socket));
    if (!this.isSilent) socket.write(INFO);
    socket.on('data', (data) => {
      if (this.isSilent) return;
      this.heard += data.toString();
      if (data.includes('PING')) socket.write('PONG\r\n');
    });
  }

  /** Greets those that wait for it. */
  speak(): void {
    this.isSilent = false;
    for (const socket of this.sockets) socket.write(INFO);
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

let nats: FakeNats;
afterEach(() => nats.stop());

function reportsTo(natsUrl: string) {
  const logger = { error: vi.fn(), warn: vi.fn(), info: vi.fn() };
  const config = { natsUrl, cluster: 'craft', server: 's1' } as CommonConfig;
  const reports = new HealthReports({ config, health: new ProcessHealth(), logger: logger as unknown as Logger });
  reports.start();
  return { reports, logger };
}

it.each(['does not greet', 'has fallen silent'])('a stop does not wait for a NATS server that %s', async (how) => {
  nats = await FakeNats.start();
  nats.isSilent = how === 'does not greet';
  const { reports, logger } = reportsTo(nats.url);
  if (nats.isSilent) await eventually('a dial', () => nats.taken > 0);
  else await eventually('a connection', () => nats.heard.includes('SUB'));
  nats.isSilent = true;
  await reports.stop();
  // It has not exceeded its time, and nothing else has failed.
  expect(logger.error).not.toHaveBeenCalled();
  expect(logger.warn).not.toHaveBeenCalled();
});

it('a connection that comes after the stop is closed', async () => {
  nats = await FakeNats.start();
  nats.isSilent = true;
  const { reports } = reportsTo(nats.url);
  await eventually('a dial', () => nats.taken === 1);
  await reports.stop();
  nats.speak();
  await eventually('the end of the connection', () => nats.heard.includes('CONNECT') && nats.sockets.size === 0);
  expect(nats.heard).not.toContain('SUB');
});
