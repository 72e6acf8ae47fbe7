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
import { currentHandler } from '../shared/engine/handler-context.js';
import { createLogger, type Logger } from '../shared/telemetry/log.js';
import type { Clocks } from './replica/runner.js';

/**
 * For tests only: this many milliseconds are added to the machine's clock as the replica of this process sees it. Read nowhere else,
 * and said aloud at the start: nobody has it set by accident for long.
 */
const TEST_CLOCK_OFFSET = 'CRAFT_TEST_CLOCK_OFFSET_MS';

const STARTERS: Readonly<Record<string, (logger: Logger) => Promise<Service>>> = {
  replica: async (logger) =>
    (await import('./replica/start.js')).startReplica(replicaConfig(), await replicaClocks(logger)),
  merger: async () => (await import('./merger/service.js')).startMerger(commonConfig()),
  applier: async () => (await import('./applier/start.js')).startApplier(applierConfig()),
};

/** The machine's clocks, unless a test has asked for a clock that is off. */
async function replicaClocks(logger: Logger): Promise<Clocks> {
  const { SYSTEM_CLOCKS } = await import('./replica/runner.js');
  const given = process.env[TEST_CLOCK_OFFSET];
  if (given === undefined || given === '') return SYSTEM_CLOCKS;
  const offsetMs = Number(given);
  if (!Number.isSafeInteger(offsetMs)) throw new ConfigError(`wrong configuration: ${TEST_CLOCK_OFFSET}: an integer`);
  logger.warn({ offsetMs }, `FOR TESTS ONLY: ${TEST_CLOCK_OFFSET} is set, the clock of this replica is off on purpose`);
  return { ...SYSTEM_CLOCKS, physical: () => SYSTEM_CLOCKS.physical() + offsetMs * 1_000 };
}

async function main(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => STARTERS[name] === undefined);
  if (names.length === 0 || unknown.length > 0) {
    const known = Object.keys(STARTERS).join(' | ');
    throw new ConfigError(`usage: main.js (${known})…${unknown.length > 0 ? `; not a service: ${unknown}` : ''}`);
  }
  const { server, logLevel } = commonConfig();
  const logger = createLogger({ service: 'main', server, level: logLevel });
  surviveHandlers(logger);
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
    const service = await starter(logger).catch((error: unknown) => {
      if (!(error instanceof ConfigError))
        logger.fatal({ err: error, failed: name }, `the ${name} cannot start: ${messageOf(error)}`);
      throw error;
    });
    running.push(service);
    void service.failed.then((error) => {
      logger.fatal({ err: error, failed: name }, 'a service cannot go on; stopping');
      void stop(1);
    });
  }
}

/** What a handler of the user's left behind has failed: its defect, not one of the service. Everything else ends the process, as ever. */
function surviveHandlers(logger: Logger): void {
  const onStray = (error: unknown) => {
    const handler = currentHandler();
    if (handler === undefined) {
      logger.fatal({ err: error }, `an error that nothing caught: ${messageOf(error)}`);
      process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exit(1);
    }
    logger.error({ err: error, handler }, 'something that a handler did not wait for has failed');
  };
  process.on('unhandledRejection', onStray);
  process.on('uncaughtException', onStray);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
});
