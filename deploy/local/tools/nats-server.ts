/** nats-server, 2.11 or newer. */
import { join } from 'node:path';
import { runCommand } from './command.js';
import { fetchDebianPackage } from './debian.js';
import { type FindOptions, type FoundTool, findTool, type ToolDescription } from './finder.js';
import { fetchRelease, platformName } from './release.js';
import { checkVersion } from './version.js';

const MINIMUM = [2, 11, 0] as const;
const GO_TIMEOUT_MS = 300_000;

/** `repository` is where releases are published; tests give their own. */
export function natsServerTool(repository = 'https://github.com/nats-io/nats-server'): ToolDescription {
  return {
    name: 'nats-server',
    programs: ['nats-server'],
    variable: 'NATS_SERVER_BIN',
    check: (program) => checkVersion(program, MINIMUM),
    methods: [
      {
        method: 'release archive',
        fetch: (workDir) =>
          fetchRelease(
            {
              repository,
              archiveName: ({ tag }) => `nats-server-${tag}-${platformName()}.tar.gz`,
              checksumsName: () => 'SHA256SUMS',
              checksumOf: 'archive',
              program: 'nats-server',
              timeoutMs: 60_000,
            },
            workDir,
          ),
      },
      {
        method: 'go install',
        fetch: async (workDir) => {
          const environment = { ...process.env, GOBIN: workDir, CGO_ENABLED: '0' };
          const module = 'github.com/nats-io/nats-server/v2@latest';
          await runCommand('go', ['install', module], { timeoutMs: GO_TIMEOUT_MS, environment });
          return join(workDir, 'nats-server');
        },
      },
      {
        method: 'Debian package of sid',
        fetch: (workDir) => fetchDebianPackage('nats-server', 'sid', 'nats-server', workDir),
      },
    ],
    advice: 'Install nats-server 2.11 or newer (https://nats.io/download) and set NATS_SERVER_BIN to its path.',
  };
}

/** Rejects with ToolUnavailableError. */
export function findNatsServer(options?: FindOptions): Promise<FoundTool> {
  return findTool(natsServerTool(), options);
}
