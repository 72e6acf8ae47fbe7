/**
 * A program out of a newer Debian release than the machine's own, without installing anything. apt
 * fetches the package into a folder (from the machine's own mirror, its signature checked by apt as
 * always). dpkg-deb unpacks it there.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './command.js';
import { findProgram } from './release.js';

const UPDATE_TIMEOUT_MS = 120_000;
const DOWNLOAD_TIMEOUT_MS = 60_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Rejects on a machine that is not Debian, and when neither suite has a package that can be
 * fetched.
 */
export async function fetchDebianPackage(
  packageName: string,
  suite: string,
  program: string,
  workDir: string,
): Promise<string> {
  const mirror = await debianMirror();
  const root = join(workDir, 'apt');
  await mkdir(join(root, 'lists', 'partial'), { recursive: true });
  await mkdir(join(root, 'cache', 'archives', 'partial'), { recursive: true });
  const sources = join(root, 'sources.list');
  await writeFile(sources, `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    'Dir::Etc::SourceParts=-',
    `Dir::State::Lists=${join(root, 'lists')}`,
    `Dir::Cache=${join(root, 'cache')}`,
    'Debug::NoLocking=true',
    'APT::Sandbox::User=',
    'Acquire::Languages=none',
    'Acquire::Retries=0',
  ].flatMap((option) => ['-o', option]);
  await runCommand('apt-get', [...options, 'update'], { timeoutMs: UPDATE_TIMEOUT_MS });
  const download = ['download', `${packageName}/${suite}`];
  await runCommand('apt-get', [...options, ...download], { timeoutMs: DOWNLOAD_TIMEOUT_MS, cwd: workDir });
  const archive = (await readdir(workDir)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error(`apt-get fetched no package ${packageName}`);
  const unpacked = join(workDir, 'unpacked');
  await runCommand('dpkg-deb', ['--extract', join(workDir, archive), unpacked], { timeoutMs: 60_000 });
  return findProgram(unpacked, program);
}

async function debianMirror(): Promise<string> {
  const targets = await runCommand('apt-get', ['indextargets', '--format', '$(ORIGIN) $(REPO_URI)'], {
    timeoutMs: 10_000,
  });
  const lines = targets.split('\n').map((line) => line.split(' '));
  const mirror = lines.find(([origin, uri]) => origin === 'Debian' && uri !== undefined && !uri.includes('security'));
  if (mirror?.[1] === undefined) throw new Error('this machine has no Debian mirror configured');
  return mirror[1];
}
