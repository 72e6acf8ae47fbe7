/**
 * Jaeger with everything in one process: the `jaeger` of its second generation, or
 * `jaeger-all-in-one` of its first. It is a convenience, so fetching it is tried briefly; a build
 * from source, which takes ten minutes or more, only when asked for. What is built that way answers
 * queries, but its web pages are a placeholder: the module does not carry them.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './command.js';
import { type FetchMethod, type FindOptions, type FoundTool, findTool, type ToolDescription } from './finder.js';
import { fetchRelease, platformName } from './release.js';
import { parseVersion } from './version.js';

const ARCHIVE_TIMEOUT_MS = 60_000;
const BUILD_TIMEOUT_MS = 3_600_000;
const SOURCE_MODULE = 'github.com/jaegertracing/jaeger';
/**
 * The newest version that the Go module path can name: later ones do not carry the `/v2` that Go
 * asks for.
 */
const SOURCE_VERSION = 'v1.76.0';
/** What that version calls the second generation that it carries. */
const SOURCE_PROGRAM_VERSION = 'v2.13.0';

/** `repository` is where releases are published; tests give their own. */
export function jaegerTool(
  allowBuild: boolean,
  repository = 'https://github.com/jaegertracing/jaeger',
): ToolDescription {
  const archive: FetchMethod = {
    method: 'release archive',
    fetch: (workDir) =>
      fetchRelease(
        {
          repository,
          archiveName: ({ version }) => `jaeger-${version}-${platformName()}.tar.gz`,
          checksumsName: ({ version }) => `jaeger-${version}-${platformName()}.sha256sum.txt`,
          checksumOf: 'program',
          program: 'jaeger',
          timeoutMs: ARCHIVE_TIMEOUT_MS,
        },
        workDir,
      ),
  };
  const build: FetchMethod = { method: `go build of ${SOURCE_MODULE}@${SOURCE_VERSION}`, fetch: buildFromSource };
  return {
    name: 'Jaeger',
    programs: ['jaeger', 'jaeger-all-in-one'],
    variable: 'JAEGER_BIN',
    check: async (program) => parseVersion(await runCommand(program, ['version'], { timeoutMs: 20_000 })).join('.'),
    methods: allowBuild ? [archive, build] : [archive],
    advice:
      'Set JAEGER_BIN to a Jaeger binary, CRAFT_JAEGER=build to build one with Go (ten minutes or more, once), ' +
      'or OTEL_EXPORTER_OTLP_ENDPOINT to a collector that runs already.',
  };
}

/** How much may be done to get one: only look, also fetch a release archive, or also build it. */
export type JaegerEffort = 'installed' | 'find' | 'build';

/** Rejects with ToolUnavailableError. */
export function findJaeger(effort: JaegerEffort, options?: FindOptions): Promise<FoundTool> {
  const tool = jaegerTool(effort === 'build');
  return findTool(effort === 'installed' ? { ...tool, methods: [] } : tool, options);
}

/**
 * `go install` refuses a module with replace directives, so a module of our own requires it and
 * repeats them. Its go.sum is the one that Jaeger's module carries, so every dependency has the
 * content that Jaeger was released with.
 */
async function buildFromSource(workDir: string): Promise<string> {
  const environment = { ...process.env, GOFLAGS: '-mod=mod', GOMAXPROCS: '1' };
  const download = ['mod', 'download', '-json', `${SOURCE_MODULE}@${SOURCE_VERSION}`];
  const told = await runCommand('go', download, { timeoutMs: 300_000, environment, cwd: workDir });
  const dir = /"Dir":\s*"([^"]+)"/.exec(told)?.[1];
  if (dir === undefined) throw new Error('go did not say where it put the module');
  const original = await readFile(join(dir, 'go.mod'), 'utf8');
  const replaces = original.split('\n').filter((line) => line.startsWith('replace '));
  const goVersion = /^go .+$/m.exec(original)?.[0] ?? 'go 1.24';
  const lines = ['module craft.local/jaeger', goVersion, `require ${SOURCE_MODULE} ${SOURCE_VERSION}`, ...replaces];
  await writeFile(join(workDir, 'go.mod'), `${lines.join('\n')}\n`);
  await writeFile(join(workDir, 'go.sum'), await readFile(join(dir, 'go.sum')));
  const program = join(workDir, 'jaeger');
  const linkerFlags = `-s -w -X ${SOURCE_MODULE}/internal/version.latestVersion=${SOURCE_PROGRAM_VERSION}`;
  const args = ['build', '-p', '1', '-trimpath', '-ldflags', linkerFlags, '-o', program, `${SOURCE_MODULE}/cmd/jaeger`];
  await runCommand('nice', ['-n', '19', 'go', ...args], { timeoutMs: BUILD_TIMEOUT_MS, environment, cwd: workDir });
  return program;
}
