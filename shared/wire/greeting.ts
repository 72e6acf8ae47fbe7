/**
 * The line with which a NATS server greets every connection. A server that is reloaded with another
 * `max_payload` does not tell the connections that it has; only a new one hears of it.
 */
import { connect } from 'node:net';

/** Without a whole line by then the server is taken for one that does not greet (milliseconds). */
const GREETING_MS = 2_000;
/** Longer than any greeting (bytes). */
const GREETING_BYTES_MAX = 64 * 1024;

export interface Greeting {
  /** Changes with every start of the server. */
  readonly serverId: string;
  /** `max_payload` (bytes). */
  readonly payloadBytesMax: number;
}

/**
 * Of the server at `address` (host:port); undefined when it does not answer, or greets only after a
 * TLS handshake.
 */
export function greetingOf(address: string): Promise<Greeting | undefined> {
  return new Promise((resolve) => {
    const match = /^\[?(.+?)\]?:(\d+)$/.exec(address);
    if (match === null) {
      resolve(undefined);
      return;
    }
    const socket = connect({ host: match[1] ?? '', port: Number(match[2]) });
    const end = (greeting: Greeting | undefined): void => {
      socket.destroy();
      resolve(greeting);
    };
    let text = '';
    socket.setTimeout(GREETING_MS, () => end(undefined));
    socket.once('error', () => end(undefined));
    socket.once('close', () => end(undefined));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (text.includes('\r\n')) end(parse(text));
      else if (text.length > GREETING_BYTES_MAX) end(undefined);
    });
  });
}

function parse(greeting: string): Greeting | undefined {
  const [, serverId] = /^INFO .*"server_id":\s*"([^"]+)"/.exec(greeting) ?? [];
  const [, bytes] = /^INFO .*"max_payload":\s*(\d+)/.exec(greeting) ?? [];
  return serverId === undefined || bytes === undefined ? undefined : { serverId, payloadBytesMax: Number(bytes) };
}
