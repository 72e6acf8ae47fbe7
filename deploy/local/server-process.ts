/** The processes of a cluster's servers. */
import { ManagedProcess } from './managed-process.js';
import type { PidFolder } from './pid-file.js';

const SERVICES = ['replica', 'merger', 'applier'] as const;
/** A leader hands its groups over, and what is in flight is finished. */
const STOP_TIMEOUT_MS = 20_000;

export interface ServerProcess {
  readonly name: string;
  readonly server: string;
  readonly services: readonly string[];
}

/** One process for each server, or one for each service of each server. */
export function serverProcesses(servers: readonly string[], layout: 'server' | 'service'): ServerProcess[] {
  return servers.flatMap((server): ServerProcess[] =>
    layout === 'server'
      ? [{ name: server, server, services: SERVICES }]
      : SERVICES.map((service) => ({ name: `${server}.${service}`, server, services: [service] })),
  );
}

export interface ServerProcessOptions {
  /** The built services/main.js. */
  readonly program: string;
  readonly nodeArguments: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly print: boolean;
  readonly pidFolder: PidFolder;
}

/** Resolves when the process runs, which is before its services are ready. */
export function startServerProcess(one: ServerProcess, options: ServerProcessOptions): Promise<ManagedProcess> {
  return ManagedProcess.start({
    name: one.name,
    command: process.execPath,
    args: [...options.nodeArguments, options.program, ...one.services],
    environment: options.environment,
    logFile: options.logFile,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    print: options.print,
    pidFolder: options.pidFolder,
  });
}
