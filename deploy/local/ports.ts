/** TCP ports of this machine: whether one is free, and who holds it. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';

/** A port that something needs is taken; the message names the variable to change. */
export class PortBusyError extends Error {
  readonly code = 'PORT_BUSY';
  constructor(
    readonly port: number,
    purpose: string,
    variable: string,
    holder: string | undefined,
  ) {
    const by = holder === undefined ? '' : ` by ${holder}`;
    super(`port ${port} (${purpose}) is in use${by}; stop that, or set ${variable} to a free port`);
    this.name = 'PortBusyError';
  }
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Different ports of 127.0.0.1 that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

const LOW_PORTS = [10_000, 30_000] as const;
const LOW_TRIES_MAX = 1_000;

/**
 * The same below the range from which systems take the ports of outgoing connections. For what is
 * stopped and started again on its port: such a connection could have taken it meanwhile.
 */
export async function freeLowPorts(count: number): Promise<number[]> {
  const [low, high] = LOW_PORTS;
  const found = new Set<number>();
  for (let tries = 0; found.size < count; tries++) {
    if (tries >= LOW_TRIES_MAX) throw new Error(`no ${count} free ports from ${low} to ${high}`);
    const port = low + Math.floor(Math.random() * (high - low));
    if (!(await isBusy(port))) found.add(port);
  }
  return [...found];
}

/** Rejects with the error of the system when it is neither free nor in use. */
function isBusy(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(true);
      else reject(error);
    });
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}

/** Rejects with PortBusyError when nothing can listen on 127.0.0.1:`port`. */
export async function requireFreePort(port: number, purpose: string, variable: string): Promise<void> {
  const busy = await isBusy(port).catch((error: Error) => {
    throw new Error(`port ${port} (${purpose}, ${variable}) cannot be used: ${error.message}`);
  });
  if (busy) throw new PortBusyError(port, purpose, variable, await portHolder(port).catch(() => undefined));
}

/**
 * The process that listens on a port, as `name (pid)`: Linux only, and only when this user may see
 * it.
 */
async function portHolder(port: number): Promise<string | undefined> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8')));
  const LISTEN = '0A';
  const inodes = tables
    .flatMap((table) => table.split('\n').map((line) => line.trim().split(/\s+/)))
    .filter((fields) => fields[1]?.endsWith(suffix) && fields[3] === LISTEN)
    .map((fields) => `socket:[${fields[9]}]`);
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const file of files) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '');
      if (!inodes.includes(target)) continue;
      return `${(await readFile(`/proc/${pid}/comm`, 'utf8')).trim()} (process ${pid})`;
    }
  }
  return undefined;
}
