/**
 * etcd, 3.5 or newer: found, or fetched once into the cache of tools, like nats-server
 * (deploy/local/tools).
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../../deploy/local/tools/command.js';
import { fetchDebianPackage } from '../../../deploy/local/tools/debian.js';
import {
  type FindOptions,
  type FoundTool,
  findTool,
  type ToolDescription,
} from '../../../deploy/local/tools/finder.js';
import { fetchRelease, platformName } from '../../../deploy/local/tools/release.js';
import { checkVersion } from '../../../deploy/local/tools/version.js';

const MINIMUM = [3, 5, 0] as const;
const MODULE = 'go.etcd.io/etcd/server/v3';
const MODULE_VERSION = 'v3.7.3';
const DOWNLOAD_MS_MAX = 300_000;
const BUILD_MS_MAX = 1_200_000;

const ETCD: ToolDescription = {
  name: 'etcd',
  programs: ['etcd'],
  variable: 'ETCD_BIN',
  check: (program) => checkVersion(program, MINIMUM),
  methods: [
    {
      method: 'release archive',
      fetch: (workDir) =>
        fetchRelease(
          {
            repository: 'https://github.com/etcd-io/etcd',
            archiveName: ({ tag }) => `etcd-${tag}-${platformName()}.tar.gz`,
            checksumsName: () => 'SHA256SUMS',
            checksumOf: 'archive',
            program: 'etcd',
            timeoutMs: 120_000,
          },
          workDir,
        ),
    },
    { method: `go build of ${MODULE}@${MODULE_VERSION}, which takes minutes`, fetch: buildFromSource },
    ...['sid', 'trixie'].map((suite) => ({
      method: `Debian package of ${suite}`,
      fetch: (workDir: string) => fetchDebianPackage('etcd-server', suite, 'etcd', workDir),
    })),
  ],
  advice: 'Install etcd 3.5 or newer (https://etcd.io/docs) and set ETCD_BIN to its path.',
};

/** Rejects with ToolUnavailableError. */
export function findEtcd(options?: FindOptions): Promise<FoundTool> {
  return findTool(ETCD, options);
}

/**
 * `go install` refuses a module with replace directives. So a module of our own requires it; its
 * go.sum is the one that the module carries, and every dependency has the content that etcd was
 * released with.
 */
async function buildFromSource(workDir: string): Promise<string> {
  const environment = { ...process.env, GOFLAGS: '-mod=mod', GOMAXPROCS: '1', CGO_ENABLED: '0' };
  const options = { environment, cwd: workDir };
  const download = ['mod', 'download', '-json', `${MODULE}@${MODULE_VERSION}`];
  const told = await runCommand('go', download, { ...options, timeoutMs: DOWNLOAD_MS_MAX });
  const dir = /"Dir":\s*"([^"]+)"/.exec(told)?.[1];
  if (dir === undefined) throw new Error('go did not say where it put the module');
  const goVersion = /^go .+$/m.exec(await readFile(join(dir, 'go.mod'), 'utf8'))?.[0] ?? 'go 1.26';
  const lines = ['module craft.local/etcd', goVersion, `require ${MODULE} ${MODULE_VERSION}`, ''];
  await writeFile(join(workDir, 'go.mod'), lines.join('\n'));
  await writeFile(join(workDir, 'go.sum'), await readFile(join(dir, 'go.sum')));
  const program = join(workDir, 'etcd');
  const args = ['build', '-p', '1', '-trimpath', '-ldflags', '-s -w', '-o', program, MODULE];
  await runCommand('nice', ['-n', '19', 'go', ...args], { ...options, timeoutMs: BUILD_MS_MAX });
  return program;
}
