import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { greetingOf } from '../../../shared/wire/greeting.js';

let server: Server | undefined;
afterEach(() => {
  server?.close();
});

/** A server that does this with each connection; gives its address. */
function listen(greet: (socket: Socket) => void): Promise<string> {
  const listening = createServer(greet);
  server = listening;
  return new Promise((resolve) => {
    listening.listen(0, '127.0.0.1', () => {
      const address = listening.address();
      resolve(`127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
    });
  });
}

it('reads max_payload of the greeting, in however many pieces it comes', async () => {
  const address = await listen((socket) => {
    socket.write('INFO {"server_id":"x","max_pay');
    setImmediate(() => socket.write('load":262144,"proto":1}\r\n'));
  });
  expect(await greetingOf(address)).toEqual({ serverId: expect.any(String), payloadBytesMax: 262_144 });
});

it.each([
  ['closes at once', (socket: Socket) => void socket.end()],
  ['says something else', (socket: Socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['never ends its line', (socket: Socket) => void socket.on('error', () => undefined).write('x'.repeat(100_000))],
])('says nothing of a server that %s', async (_, greet) => {
  expect(await greetingOf(await listen(greet))).toBeUndefined();
});

it('says nothing of a server that is not there, or of what is no address', async () => {
  const address = await listen(() => undefined);
  await new Promise((resolve) => server?.close(resolve));
  expect(await greetingOf(address)).toBeUndefined();
  expect(await greetingOf('nonsense')).toBeUndefined();
});
