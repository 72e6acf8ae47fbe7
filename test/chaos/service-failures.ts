/**
 * Services that have failed and were started again by their own processes: no process ends of it,
 * so only the logs say so.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Line {
  /** The service that failed (services/supervisor.ts). */
  readonly failed?: string;
  readonly msg?: string;
}

/**
 * What the logs of the servers' processes in `dataDir` say of it, a sentence each; those of a
 * server that is gone are gone with it.
 */
export async function serviceFailures(dataDir: string, servers: readonly string[]): Promise<string[]> {
  const all = await Promise.all(servers.map((server) => failuresOf(join(dataDir, server), server)));
  return all.flat();
}

async function failuresOf(folder: string, server: string): Promise<string[]> {
  const files = await readdir(folder).catch(() => []);
  const logs = files.filter((file) => file.startsWith(server) && file.endsWith('.log'));
  const texts = await Promise.all(logs.map((file) => readFile(join(folder, file), 'utf8')));
  return texts
    .flatMap((text) => text.split('\n'))
    .flatMap((text) => {
      const line = parse(text);
      return line?.failed === undefined ? [] : [`${server}: ${line.msg}`];
    });
}

/**
 * Undefined for what is no line of a service: Node's own words, or a line that kill -9 has cut off.
 */
function parse(text: string): Line | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null ? line : undefined;
  } catch {
    return undefined;
  }
}
