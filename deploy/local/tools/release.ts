/**
 * Release archives: the newest tag of a repository, an archive of it, checked against the checksums
 * published beside it.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { runCommand } from './command.js';

const HEAD_TIMEOUT_MS = 5_000;

interface Release {
  /** For example `v2.12.1`. */
  readonly tag: string;
  /** The tag without its `v`. */
  readonly version: string;
}

export interface ReleaseArchive {
  /** Page of the repository, without a slash at the end. */
  readonly repository: string;
  archiveName(release: Release): string;
  /** The published file that holds a line `<sha256>  <name>`. */
  checksumsName(release: Release): string;
  /**
   * What the published checksum is of: some projects give that of the archive, others that of each
   * file in it.
   */
  readonly checksumOf: 'archive' | 'program';
  /** Name of the program within the archive, at any depth. */
  readonly program: string;
  readonly timeoutMs: number;
}

/** This machine in the words of Go's ports, which release archives are named by. */
export function platformName(): string {
  const architecture = { x64: 'amd64', arm64: 'arm64', arm: 'arm7', ia32: '386' }[process.arch as string];
  return `${process.platform}-${architecture ?? process.arch}`;
}

/** Fetches, verifies and unpacks the newest release into `workDir`; returns the program's path. */
export async function fetchRelease(source: ReleaseArchive, workDir: string): Promise<string> {
  const release = await newestRelease(source.repository);
  const base = `${source.repository}/releases/download/${release.tag}`;
  const name = source.archiveName(release);
  const deadline = AbortSignal.timeout(source.timeoutMs);
  const checksums = (await download(`${base}/${source.checksumsName(release)}`, deadline)).toString();
  const archive = await download(`${base}/${name}`, deadline);
  if (source.checksumOf === 'archive') verify(archive, name, checksums);
  const file = join(workDir, 'archive.tar.gz');
  await writeFile(file, archive);
  await runCommand('tar', ['-xzf', file, '-C', workDir], { timeoutMs: 60_000 });
  const program = await findProgram(workDir, source.program);
  if (source.checksumOf === 'program') verify(await readFile(program), relative(workDir, program), checksums);
  return program;
}

/**
 * The page of the newest release redirects to the page of its tag; that needs no API and no token.
 */
async function newestRelease(repository: string): Promise<Release> {
  const response = await fetch(`${repository}/releases/latest`, {
    method: 'HEAD',
    redirect: 'manual',
    signal: AbortSignal.timeout(HEAD_TIMEOUT_MS),
  });
  const tag = /\/tag\/([^/?#]+)$/.exec(response.headers.get('location') ?? '')?.[1];
  if (tag === undefined) throw new Error(`${repository} names no newest release (HTTP ${response.status})`);
  return { tag, version: tag.replace(/^v/, '') };
}

async function download(url: string, signal: AbortSignal): Promise<Buffer> {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

/** Throws unless `content` has the checksum that `checksums` gives for `name`. */
function verify(content: Buffer, name: string, checksums: string): void {
  const lines = checksums.split('\n').map((line) => line.trim().split(/\s+\*?/));
  const expected = lines.find(([sum, file]) => file === name && /^[0-9a-f]{64}$/i.test(sum ?? ''))?.[0]?.toLowerCase();
  if (expected === undefined) throw new Error(`no checksum is published for ${name}`);
  const actual = createHash('sha256').update(content).digest('hex');
  if (actual !== expected) throw new Error(`${name} has SHA-256 ${actual}, but ${expected} is published`);
}

/** Rejects when no file of that name is there. */
export async function findProgram(dir: string, program: string): Promise<string> {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name === program) return join(entry.parentPath, entry.name);
  }
  throw new Error(`no ${program} in what was unpacked`);
}
