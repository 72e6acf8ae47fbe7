/** When a local cluster says that no server runs any more. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LocalCluster } from '../../../deploy/local/cluster.js';
import { ManagedProcess } from '../../../deploy/local/managed-process.js';
import type { Part } from '../../../deploy/local/part.js';
import { temporaryFolder } from '../../harness/folder.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeEach(async () => {
  folder = await temporaryFolder('given-up');
});
afterEach(() => folder.remove());

type Add = (this: LocalCluster, name: string, launch: () => Promise<ManagedProcess>) => Part;

it('is not when Jaeger or NATS ends before a server was started', async () => {
  const notices: string[] = [];
  const cluster = new LocalCluster({ dataDir: folder.path, onNotice: (line) => notices.push(line) });
  const launch = () =>
    ManagedProcess.start({
      name: 'jaeger',
      command: process.execPath,
      args: ['-e', ''],
      logFile: join(folder.path, 'jaeger.log'),
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 1_000,
    });
  await (Reflect.get(cluster, 'add') as Add).call(cluster, 'jaeger', launch).start();
  await expect.poll(() => notices.join(), { timeout: 10_000 }).toContain('jaeger ended');
  const later = new Promise((resolve) => setImmediate(resolve, 'goes on'));
  expect(await Promise.race([cluster.givenUp, later])).toBe('goes on');
});
