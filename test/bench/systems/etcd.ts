/** Three members of etcd with default settings: each syncs its log before it acknowledges. */
import { join } from 'node:path';
import { z } from 'zod';
import { ManagedProcess } from '../../../deploy/local/managed-process.js';
import { freeLowPorts } from '../../../deploy/local/ports.js';
import { eventually } from '../../harness/index.js';
import type { Processes } from '../processes.js';
import { findEtcd } from './etcd-binary.js';

export interface Etcd {
  readonly urls: readonly string[];
  readonly processes: Processes;
  /** Rejects when the members do not come to one revision that counts at least `puts`. */
  verify(puts: number): Promise<string>;
  stop(): Promise<void>;
}

const MEMBERS = 3;
const WAIT_MS_MAX = 30_000;

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

/** Resolves when all members are healthy. */
export async function startEtcd(folder: string): Promise<Etcd> {
  const { path } = await findEtcd();
  const ports = await freeLowPorts(2 * MEMBERS);
  const members = Array.from({ length: MEMBERS }, (_, at): Member => {
    const [client = 0, peer = 0] = ports.slice(2 * at);
    return { name: `etcd${at + 1}`, clientUrl: `http://127.0.0.1:${client}`, peerUrl: `http://127.0.0.1:${peer}` };
  });
  const running: ManagedProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((process) => process.stop()));
  };
  try {
    for (const member of members) running.push(await startMember(path, folder, member, members));
    await Promise.all(
      members.map(({ name, clientUrl }) =>
        eventually(`${name} is healthy`, async () => (await fetch(`${clientUrl}/health`)).ok, {
          timeoutMs: WAIT_MS_MAX,
        }),
      ),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const urls = members.map(({ clientUrl }) => clientUrl);
  return {
    urls,
    processes: Object.fromEntries(members.map(({ name }, at) => [name, running[at]?.pid ?? 0])),
    verify: (puts) => verify(urls, puts),
    stop,
  };
}

function startMember(
  program: string,
  folder: string,
  { name, clientUrl, peerUrl }: Member,
  all: readonly Member[],
): Promise<ManagedProcess> {
  const settings = {
    name,
    'data-dir': join(folder, name),
    'listen-client-urls': clientUrl,
    'advertise-client-urls': clientUrl,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': all.map((member) => `${member.name}=${member.peerUrl}`).join(','),
    'log-level': 'error',
  };
  return ManagedProcess.start({
    name,
    command: program,
    args: Object.entries(settings).map(([key, value]) => `--${key}=${value}`),
    logFile: join(folder, `${name}.log`),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
  });
}

const range = z.object({ header: z.object({ revision: z.string() }) });

/** A new store has revision 1, and each put adds one. */
async function verify(urls: readonly string[], puts: number): Promise<string> {
  const revision = await eventually(
    `the members count ${puts} puts`,
    async () => {
      const revisions = await Promise.all(urls.map(revisionOf));
      const [first = 0] = revisions;
      return new Set(revisions).size === 1 && first > puts && first;
    },
    { timeoutMs: WAIT_MS_MAX },
  );
  return `three members at revision ${revision}`;
}

async function revisionOf(url: string): Promise<number> {
  const body = JSON.stringify({ key: Buffer.from('key-0').toString('base64') });
  const response = await fetch(`${url}/v3/kv/range`, { method: 'POST', body });
  return Number(range.parse(await response.json()).header.revision);
}
