/** Finding and fetching programs, against a release server of the test's own. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ToolUnavailableError } from '../../../deploy/local/tools/errors.js';
import { findTool, type ToolDescription } from '../../../deploy/local/tools/finder.js';
import { jaegerTool } from '../../../deploy/local/tools/jaeger.js';
import { natsServerTool } from '../../../deploy/local/tools/nats-server.js';
import { platformName } from '../../../deploy/local/tools/release.js';
import { isAtLeast, parseVersion } from '../../../deploy/local/tools/version.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';

/** A program that prints one line, whatever it is asked. */
function writeProgram(path: string, line: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho '${line}'\n`);
  chmodSync(path, 0o755);
  return path;
}

const BIN = process.env['PATH'] ?? '';
let folder: TemporaryFolder;
let environment: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = await temporaryFolder('tools');
  environment = { PATH: join(folder.path, 'bin'), CRAFT_TOOLS_DIR: join(folder.path, 'cache') };
});
afterEach(() => folder.remove());

const inBin = (line: string) => writeProgram(join(folder.path, 'bin', 'nats-server'), line);
const inCache = (line: string) => writeProgram(join(folder.path, 'cache', 'nats-server'), line);
const offline = (): ToolDescription => ({ ...natsServerTool(), methods: [] });

describe('looking for nats-server', () => {
  it('takes the one that NATS_SERVER_BIN names before any other', async () => {
    inBin('nats-server: v2.12.0');
    const named = writeProgram(join(folder.path, 'own', 'nats'), 'nats-server: v2.11.4');
    const found = await findTool(offline(), { environment: { ...environment, NATS_SERVER_BIN: named } });
    expect(found).toEqual({ path: named, version: '2.11.4', origin: 'NATS_SERVER_BIN' });
  });

  it('looks no further when what NATS_SERVER_BIN names is too old', async () => {
    inBin('nats-server: v2.12.0');
    const named = writeProgram(join(folder.path, 'own', 'nats'), 'nats-server: v2.9.25');
    const looking = findTool(offline(), { environment: { ...environment, NATS_SERVER_BIN: named } });
    await expect(looking).rejects.toThrow(/2\.9\.25.*2\.11\.0 or newer.*\n.*NATS_SERVER_BIN/s);
  });

  it('prefers PATH to the cache', async () => {
    const path = inBin('nats-server: v2.11.0');
    inCache('nats-server: v2.12.0');
    expect(await findTool(offline(), { environment })).toMatchObject({ path, origin: 'PATH' });
  });

  it('passes over an old one on PATH', async () => {
    inBin('nats-server: v2.9.25');
    const path = inCache('nats-server: v2.12.0');
    expect(await findTool(offline(), { environment })).toEqual({ path, version: '2.12.0', origin: 'tool cache' });
  });

  it('says what was tried, and what to do', async () => {
    inBin('nats-server: v2.9.25');
    const failing = { method: 'by magic', fetch: () => Promise.reject(new Error('no magic here')) };
    const error = await findTool({ ...offline(), methods: [failing] }, { environment }).catch((caught) => caught);
    expect(error).toBeInstanceOf(ToolUnavailableError);
    expect(error.attempts.map(({ method }: { method: string }) => method)).toEqual([
      `PATH (${join(folder.path, 'bin', 'nats-server')})`,
      'by magic',
    ]);
    expect(error.message).toContain('no magic here');
    expect(error.message).toContain('NATS_SERVER_BIN');
  });

  it('goes on to the next way, and keeps nothing in the cache that does not run', async () => {
    const way = (method: string, line: string) => ({
      method,
      fetch: async (workDir: string) => writeProgram(join(workDir, 'deep', 'program'), line),
    });
    const tool = { ...offline(), methods: [way('first', 'not a version'), way('second', 'v2.13.1')] };
    const asked: string[] = [];
    const found = await findTool(tool, { environment, onFetch: (method) => asked.push(method) });
    expect(found).toEqual({
      path: join(folder.path, 'cache', 'nats-server'),
      version: '2.13.1',
      origin: 'second',
    });
    expect(asked).toEqual(['first', 'second']);
    expect(readdirSync(join(folder.path, 'cache'))).toEqual(['nats-server']);
    expect(await findTool(offline(), { environment })).toMatchObject({ origin: 'tool cache' });
  });

  it('can be fetched by several at once', async () => {
    const methods = [
      { method: 'slowly', fetch: async (workDir: string) => writeProgram(join(workDir, 'program'), 'v2.13.1') },
    ];
    const all = await Promise.all(
      Array.from({ length: 5 }, () => findTool({ ...offline(), methods }, { environment })),
    );
    expect(new Set(all.map(({ path }) => path)).size).toBe(1);
    expect(readdirSync(join(folder.path, 'cache'))).toEqual(['nats-server']);
  });
});

/**
 * Serves one release the way the real place does: a redirect to the newest tag, archives,
 * checksums.
 */
class ReleaseServer {
  readonly files = new Map<string, Buffer>();
  private constructor(private readonly server: Server) {}

  static async start(tag: string): Promise<ReleaseServer> {
    const server = createServer((request, response) => {
      const url = request.url ?? '';
      if (url === '/releases/latest') response.writeHead(302, { location: `/releases/tag/${tag}` }).end();
      else {
        const file = self.files.get(url.replace(`/releases/download/${tag}/`, ''));
        response.writeHead(file ? 200 : 404).end(file);
      }
    });
    const self = new ReleaseServer(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return self;
  }
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }
  stop(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

function archiveOf(root: string, dir: string): Buffer {
  execFileSync('tar', ['-czf', join(root, 'archive.tgz'), '-C', root, dir], { env: { PATH: BIN } });
  return readFileSync(join(root, 'archive.tgz'));
}

describe('a release archive', () => {
  let releases: ReleaseServer;
  const natsDir = `nats-server-v2.14.2-${platformName()}`;
  const firstWay = (tool: ToolDescription): ToolDescription => ({ ...tool, methods: tool.methods.slice(0, 1) });

  beforeEach(async () => {
    releases = await ReleaseServer.start('v2.14.2');
  });
  afterEach(() => releases.stop());

  function publishNats(sum: (archive: Buffer) => string): void {
    writeProgram(join(folder.path, natsDir, 'nats-server'), 'nats-server: v2.14.2');
    const archive = archiveOf(folder.path, natsDir);
    releases.files.set(`${natsDir}.tar.gz`, archive);
    releases.files.set('SHA256SUMS', Buffer.from(`${'0'.repeat(64)}  other\n${sum(archive)}  ${natsDir}.tar.gz\n`));
  }

  it('is fetched, verified and kept', async () => {
    publishNats(sha256);
    const found = await findTool(firstWay(natsServerTool(releases.url)), { environment });
    expect(found).toMatchObject({ version: '2.14.2', origin: 'release archive' });
    expect(execFileSync(found.path).toString()).toBe('nats-server: v2.14.2\n');
  });

  it('is refused when it is not what its checksum says', async () => {
    publishNats(() => 'a'.repeat(64));
    const finding = findTool(firstWay(natsServerTool(releases.url)), { environment });
    await expect(finding).rejects.toThrow(/has SHA-256 .* but a{64} is published/);
    expect(existsSync(join(folder.path, 'cache', 'nats-server'))).toBe(false);
  });

  it('is refused when no checksum is published for it', async () => {
    publishNats(sha256);
    releases.files.set('SHA256SUMS', Buffer.from(''));
    const finding = findTool(firstWay(natsServerTool(releases.url)), { environment });
    await expect(finding).rejects.toThrow(/no checksum is published/);
  });

  it('of Jaeger is verified by the checksum of the program in it', async () => {
    const name = `jaeger-2.14.2-${platformName()}`;
    writeProgram(join(folder.path, name, 'jaeger'), '{"gitVersion":"v2.14.2"}');
    releases.files.set(`${name}.tar.gz`, archiveOf(folder.path, name));
    const program = readFileSync(join(folder.path, name, 'jaeger'));
    releases.files.set(`${name}.sha256sum.txt`, Buffer.from(`${sha256(program)} *${name}/jaeger\n`));
    const tool = jaegerTool(false, releases.url);
    expect(await findTool(tool, { environment })).toMatchObject({ version: '2.14.2', origin: 'release archive' });
    releases.files.set(`${name}.sha256sum.txt`, Buffer.from(`${'b'.repeat(64)} *${name}/jaeger\n`));
    const elsewhere = { ...environment, CRAFT_TOOLS_DIR: join(folder.path, 'other') };
    await expect(findTool(tool, { environment: elsewhere })).rejects.toThrow(/has SHA-256/);
  });

  it('is given up soon when nobody answers', async () => {
    const { url } = releases;
    await releases.stop();
    await expect(findTool(firstWay(natsServerTool(url)), { environment })).rejects.toThrow(
      /release archive: fetch failed/,
    );
    releases = await ReleaseServer.start('v2.14.2');
  });
});

describe('versions', () => {
  it('are compared by number', () => {
    expect(isAtLeast(parseVersion('nats-server: v2.10.0'), [2, 10, 0])).toBe(true);
    expect(isAtLeast(parseVersion('v2.9.25'), [2, 10, 0])).toBe(false);
    expect(isAtLeast(parseVersion('v2.12.0-preview.1'), [2, 10, 7])).toBe(true);
    expect(isAtLeast(parseVersion('3.0'), [2, 10, 0])).toBe(true);
    expect(() => parseVersion('none')).toThrow(/no version number/);
  });
});
