#!/usr/bin/env node
/**
 * `craft-server`: runs the services named on the command line in this process:
 *
 *     node dist/services/main.js replica merger applier
 *
 * Each is configured by environment variables (shared/config). One that cannot start or cannot go
 * on is started again, alone, until it can (services/supervisor.ts). Stops in order on SIGTERM or
 * SIGINT with exit code 0. Ends with exit code 2 when the configuration is wrong, and with exit
 * code 1 when something has happened that no other try mends (shared/config/service.ts), or that
 * nothing has caught.
 */
import { applierConfig, ConfigError, commonConfig, replicaConfig } from '../shared/config/config.js';
import { exitCodeOf, type Service } from '../shared/config/service.js';
import { VERSION } from '../shared/config/version.js';
import { currentHandler } from '../shared/engine/handler-context.js';
import { loadStateMachine } from '../shared/engine/loading.js';
import { messageOf } from '../shared/errors.js';
import { remedyOf, type ServiceName } from '../shared/health/conditions.js';
import { ProcessHealth } from '../shared/health/health.js';
import { AppliedMark } from '../shared/link/applied-mark.js';
import { DirectFeed } from '../shared/link/feed.js';
import type { Links } from '../shared/link/links.js';
import { DirectMergedLog } from '../shared/link/merged-log.js';
import { createLogger, type Logger } from '../shared/telemetry/log.js';
import { observeProcess, openMetrics } from '../shared/telemetry/metrics.js';
import { HealthReports } from './health.js';
import type { Clocks } from './replica/runner.js';
import { type SupervisedService, Supervisor } from './supervisor.js';

/**
 * For tests only: this many milliseconds are added to the machine's clock as the replica of this
 * process sees it. Read nowhere else, and said aloud at the start: nobody has it set by accident
 * for long.
 */
const TEST_CLOCK_OFFSET = 'CRAFT_TEST_CLOCK_OFFSET_MS';

type Start = (links: Links, signal: AbortSignal) => Promise<Service>;

/**
 * Of each service: reads its configuration and what it names, and gives what starts it. Rejects
 * with ConfigError; opens nothing.
 */
const SERVICES: Readonly<Record<ServiceName, (logger: Logger) => Promise<Start>>> = {
  replica: async (logger) => {
    const config = replicaConfig();
    await loadStateMachine(config.stateMachine);
    const { startReplica } = await import('./replica/start.js');
    const clocks = await replicaClocks(logger);
    return (links, signal) => startReplica(config, clocks, links, signal);
  },
  merger: async () => {
    const config = commonConfig();
    const { startMerger } = await import('./merger/start.js');
    return (links, signal) => startMerger(config, links, signal);
  },
  applier: async () => {
    const config = applierConfig();
    await loadStateMachine(config.stateMachine);
    const { startApplier } = await import('./applier/start.js');
    return (links, signal) => startApplier(config, { links }, signal);
  },
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
  const given = [...new Set(names)].filter(isService);
  const unknown = names.filter((name) => !isService(name));
  if (given.length === 0 || unknown.length > 0) {
    const known = Object.keys(SERVICES).join(' | ');
    throw new ConfigError(`usage: craft-server (${known})…${unknown.length > 0 ? `; not a service: ${unknown}` : ''}`);
  }
  const config = commonConfig();
  const logger = createLogger({ service: 'main', server: config.server, level: config.logLevel });
  surviveHandlers(logger);
  // Until there is something to stop in order.
  let stop = (): void => process.exit(0);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop());

  const services: SupervisedService[] = [];
  const health = new ProcessHealth();
  const links = { ...linksOf(given), health };
  const starts = await Promise.all(given.map((name) => SERVICES[name](logger)));
  const reports = new HealthReports({ config, health, logger });
  reports.start();
  for (const [at, start] of starts.entries()) {
    const name = given[at];
    if (name === undefined) continue;
    services.push({ ...(await supervised(name, config, reports, health)), start: (signal) => start(links, signal) });
  }
  const { metricsPort, metricsAddress } = config;
  if (metricsPort !== undefined) {
    observeProcess(config);
    const endpoint = `http://${metricsAddress?.includes(':') ? `[${metricsAddress}]` : metricsAddress}:${metricsPort}`;
    logger.info({ endpoint }, `metrics at ${endpoint}/metrics, probes at ${endpoint}/healthz and ${endpoint}/readyz`);
  }
  const supervisor = new Supervisor({
    services,
    logger,
    onEnd: (exitCode, reason) => {
      if (reason !== undefined) process.stderr.write(`${messageOf(reason)}\n`);
      void reports.stop().finally(() => process.exit(exitCode));
    },
  });
  stop = () => supervisor.stop();
  supervisor.begin();
}

/** Services of one process pass each other what they have; others meet over NATS. */
function linksOf(names: readonly string[]): Links {
  const hasAll = (...wanted: string[]) => wanted.every((name) => names.includes(name));
  return {
    ...(hasAll('replica', 'merger') ? { feed: new DirectFeed() } : {}),
    ...(hasAll('merger', 'applier') ? { mergedLog: new DirectMergedLog() } : {}),
    ...(hasAll('replica', 'applier') ? { applied: new AppliedMark() } : {}),
  };
}

function isService(name: string): name is ServiceName {
  return Object.hasOwn(SERVICES, name);
}

/**
 * Its restarts are counted beside its own metrics, which end with each of its lives; and the port
 * stays open between them.
 */
async function supervised(
  name: ServiceName,
  { cluster, server, metricsPort, metricsAddress }: ReturnType<typeof commonConfig>,
  reports: HealthReports,
  processHealth: ProcessHealth,
): Promise<Omit<SupervisedService, 'start'>> {
  const metrics = await openMetrics({ cluster, service: name, server, port: metricsPort, address: metricsAddress });
  const health = processHealth.of(name);
  health.report('running', { why: 'it is starting', remedy: 'wait; if it lasts, read the log' });
  reports.observe(name, metrics);
  metrics.gaugeBy('build_info', 'Always 1: the versions of craft and of Node.js', ['version', 'node'], () => [
    [[VERSION, process.version], 1],
  ]);
  const restarts = metrics.counter(
    'service_restarts_total',
    'Times that the service was started again after a failure',
  );
  return {
    name,
    holdsLock: name === 'replica',
    onRestart: () => restarts.add(),
    onRunning: (whyNot, reason) =>
      health.report('running', whyNot === undefined ? undefined : { why: whyNot, remedy: remedyOf(reason) }),
  };
}

/**
 * What a handler of the user's left behind has failed: its defect, not one of the service.
 * Everything else ends the process, as ever.
 */
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

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(exitCodeOf(error));
});
