/**
 * The proxy passes bytes on, holds them back in either direction, and gives them back in their
 * order.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TcpProxy } from '../../chaos/proxy.js';
import { eventually } from '../../harness/eventually.js';

/** One end of a connection, and all that it has got. */
class End {
  text = '';
  isClosed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.text += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
    });
  }

  write(text: string): void {
    this.socket.write(text);
  }

  async got(text: string): Promise<void> {
    await eventually(`${text} arrives`, () => this.text === text);
  }
}

let server: Server;
let proxy: TcpProxy;
const accepted: End[] = [];
const ends: End[] = [];

beforeEach(async () => {
  server = createServer((socket) => accepted.push(new End(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await TcpProxy.open((server.address() as AddressInfo).port);
});
afterEach(async () => {
  await proxy.close();
  for (const { socket } of [...accepted.splice(0), ...ends.splice(0)]) socket.destroy();
  server.close();
});

async function dial(): Promise<{ client: End; target: End }> {
  const client = new End(connect(proxy.port, '127.0.0.1'));
  ends.push(client);
  const before = accepted.length;
  await once(client.socket, 'connect');
  const target = await eventually('the target is reached', () => accepted[before]);
  return { client, target };
}

it('passes bytes on in both directions, and ends', async () => {
  const { client, target } = await dial();
  client.write('ping');
  target.write('pong');
  await Promise.all([target.got('ping'), client.got('pong')]);
  client.socket.end();
  await eventually('the target hears of the end', () => target.isClosed);
});

it('is silent in one direction only, and loses nothing', async () => {
  const { client, target } = await dial();
  proxy.damage(['up']);
  client.write('a');
  target.write('x');
  await client.got('x');
  expect(target.text).toBe('');
  client.write('b');
  proxy.damage(['down']);
  // What was held back flows now; the other direction is silent.
  await target.got('ab');
  target.write('y');
  client.write('c');
  await target.got('abc');
  expect(client.text).toBe('x');
  proxy.heal();
  await client.got('xy');
});

it('connects while it is silent, and nobody hears of anything', async () => {
  proxy.damage(['up', 'down']);
  const { client, target } = await dial();
  target.write('welcome');
  client.write('hello');
  // A connection past the proxy goes there and back meanwhile.
  const direct = new End(connect((server.address() as AddressInfo).port, '127.0.0.1'));
  ends.push(direct);
  const peer = await eventually('the direct connection', () => accepted[1]);
  peer.write('direct');
  await direct.got('direct');
  expect([client.text, target.text]).toEqual(['', '']);
  proxy.heal();
  await Promise.all([client.got('welcome'), target.got('hello')]);
});

it('breaks connections and refuses new ones', async () => {
  const { client, target } = await dial();
  proxy.damage('refuse');
  await eventually('both ends hear of it', () => client.isClosed && target.isClosed);
  const late = new End(connect(proxy.port, '127.0.0.1'));
  ends.push(late);
  await eventually('it is refused', () => late.isClosed);
  expect(accepted).toHaveLength(1);
  proxy.heal();
  const again = await dial();
  again.client.write('ping');
  await again.target.got('ping');
});

it('tells of an end only when it is heard again', async () => {
  const { client, target } = await dial();
  proxy.damage(['up', 'down']);
  client.socket.resetAndDestroy();
  const other = await dial();
  expect(target.isClosed).toBe(false);
  proxy.heal();
  await eventually('the target hears of the end', () => target.isClosed);
  expect(other.target.isClosed).toBe(false);
});

it('ends the connection when nobody listens at the target', async () => {
  server.close();
  const client = new End(connect(proxy.port, '127.0.0.1'));
  ends.push(client);
  await eventually('it is told', () => client.isClosed);
});
