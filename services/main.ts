/**
 * Runs the services named on the command line in this process:
 *
 *     node dist/services/main.js replica merger applier
 *
 * Each is configured by environment variables (shared/config). Stops in order on SIGTERM or SIGINT with exit code 0; ends with
 * exit code 1 when a service cannot start or cannot go on, so that a supervisor starts it anew.
 */
import { applierConfig, ConfigError, commonConfig, replicaConfig } from '../shared/config/config.js';
import type { Service } from '../shared/config/service.js';
import { createLogger } from '../shared/telemetry/log.js';

const STARTERS: Readonly<Record<string, () => Promise<Service>>> = {
  replica: async () => (await import('./replica/service.js')).startReplica(replicaConfig()),
  merger: async () => (await import('./merger/service.js')).startMerger(commonConfig()),
  applier: async () => (await import('./applier/service.js')).startApplier(applierConfig()),
};

async function main(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => STARTERS[name] === undefined);
  if (names.length === 0 || unknown.length > 0) {
    const known = Object.keys(STARTERS).join(' | ');
    throw new ConfigError(`usage: main.js (${known})…${unknown.length > 0 ? `; not a service: ${unknown}` : ''}`);
  }
  const { server, logLevel } = commonConfig();
  const logger = createLogger({ service: 'main', server, level: logLevel });
  const running: Service[] = [];
  let isStopping = false;

  const stop = async (exitCode: number) => {
    if (isStopping) return;
    isStopping = true;
    // In the order of the data: the replica first, so that what it has acknowledged still flows through the others.
    for (const service of running) {
      await service
        .stop()
        .catch((error: unknown) => logger.error({ err: error, service: service.name }, 'did not stop'));
    }
    process.exit(exitCode);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(0));

  for (const name of names) {
    const starter = STARTERS[name];
    if (starter === undefined || isStopping) continue;
    const service = await starter();
    running.push(service);
    void service.failed.then((error) => {
      logger.fatal({ err: error, failed: name }, 'a service cannot go on; stopping');
      void stop(1);
    });
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
});
