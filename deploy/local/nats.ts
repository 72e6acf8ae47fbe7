/** A nats-server with JetStream for one machine. */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ManagedProcess } from './managed-process.js';
import type { PidFolder } from './pid-file.js';
import { findNatsServer } from './tools/nats-server.js';

export interface LocalNatsOptions {
  /** Path of nats-server; found or fetched when not given. */
  readonly program?: string;
  /** Configuration, streams and log live here. */
  readonly dataDir: string;
  readonly port: number;
  /**
   * Sync every message to the disk before it is acknowledged: what a log store in JetStream needs.
   */
  readonly syncAlways?: boolean;
  /**
   * Most that JetStream keeps on the disk, for example `64MB`. Default: what the NATS server finds
   * free.
   */
  readonly fileStoreMax?: string | undefined;
  /** Port of the HTTP monitoring on 127.0.0.1; none when not given. */
  readonly monitorPort?: number | undefined;
  readonly pidFolder?: PidFolder;
  readonly print?: boolean;
}

const READY_TIMEOUT_MS = 20_000;
/**
 * Four times the largest payload that craft accepts by default leaves room for batches of the
 * merged log.
 */
const MAX_PAYLOAD = '4MB';

/**
 * Starts the server and resolves when it accepts clients. Rejects with ToolUnavailableError or
 * ProcessFailedError.
 */
export async function startNats(options: LocalNatsOptions): Promise<ManagedProcess> {
  const program = options.program ?? (await findNatsServer()).path;
  await mkdir(options.dataDir, { recursive: true });
  const configFile = join(options.dataDir, 'nats.conf');
  // New at every start, so that an answer on the port shows that it is this server that has it.
  const name = `craft-local-${randomUUID()}`;
  await writeFile(configFile, natsConfiguration(name, options));
  const server = await ManagedProcess.start({
    name: 'nats',
    command: program,
    args: ['--config', configFile],
    logFile: join(options.dataDir, 'nats.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
    pidFolder: options.pidFolder,
    print: options.print ?? false,
  });
  try {
    await server.ready(() => greetsWithJetStream(name, options.port), READY_TIMEOUT_MS);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/**
 * The merged log can be rebuilt from the groups' own logs, so JetStream keeps its default of
 * syncing to disk now and then, unless the groups' logs themselves are there.
 */
function natsConfiguration(name: string, options: LocalNatsOptions): string {
  const { port, monitorPort, syncAlways = false, fileStoreMax, dataDir } = options;
  const storeDir = `store_dir: ${JSON.stringify(join(dataDir, 'jetstream'))}`;
  return [
    `listen: "127.0.0.1:${port}"`,
    ...(monitorPort === undefined ? [] : [`http: "127.0.0.1:${monitorPort}"`]),
    `server_name: "${name}"`,
    `max_payload: ${MAX_PAYLOAD}`,
    `jetstream { ${[
      storeDir,
      ...(syncAlways ? ['sync_interval: always'] : []),
      ...(fileStoreMax === undefined ? [] : [`max_file_store: ${fileStoreMax}`]),
    ].join(', ')} }`,
    '',
  ].join('\n');
}

/** The server greets with a line of JSON about itself. */
function greetsWithJetStream(name: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    let greeting = '';
    socket.setTimeout(1_000, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
    socket.on('data', (chunk) => {
      greeting += chunk.toString('utf8');
      if (greeting.includes('\r\n')) finish(greeting.includes(name) && /"jetstream":\s*true/.test(greeting));
    });
  });
}
