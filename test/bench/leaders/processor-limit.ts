/**
 * A limit of processor time for a process with all its threads: a quota of the kernel's scheduler,
 * in a control group of its own (version 1 or 2). Needs a `cpu` controller that this user may write
 * to; in many containers there is none.
 */
import { randomUUID } from 'node:crypto';
import { access, constants, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '../../harness/index.js';

/** Short, so that a process that has used its part waits for milliseconds (microseconds). */
const PERIOD_US = 10_000;
/** The kernel takes no quota below 1 ms. */
const QUOTA_US_MIN = 1_000;
const REMOVE_MS_MAX = 30_000;

interface Controller {
  readonly folder: string;
  /** Files of a control group, with what limits it. */
  files(quotaUs: number): Readonly<Record<string, string>>;
}

async function findController(root: string): Promise<Controller | undefined> {
  const one = join(root, 'cpu');
  if (await isWritable(join(one, 'cpu.cfs_quota_us'))) {
    const files = (quotaUs: number) => ({ 'cpu.cfs_period_us': `${PERIOD_US}`, 'cpu.cfs_quota_us': `${quotaUs}` });
    return { folder: one, files };
  }
  const delegated = await readFile(join(root, 'cgroup.subtree_control'), 'utf8').catch(() => '');
  if (delegated.split(/\s+/).includes('cpu') && (await isWritable(join(root, 'cgroup.subtree_control')))) {
    return { folder: root, files: (quotaUs) => ({ 'cpu.max': `${quotaUs} ${PERIOD_US}` }) };
  }
  return undefined;
}

function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** The limits that this benchmark has set. */
export class ProcessorLimits {
  private readonly groups: string[] = [];

  private constructor(private readonly controller: Controller) {}

  /** Undefined where limits cannot be set. `root`: where control groups are mounted. */
  static async find(root = '/sys/fs/cgroup'): Promise<ProcessorLimits | undefined> {
    const controller = await findController(root);
    return controller === undefined ? undefined : new ProcessorLimits(controller);
  }

  /**
   * From now on the process gets at most `share` of one processor. Throws RangeError when that is
   * less than a tenth.
   */
  async limit(pid: number, share: number): Promise<void> {
    const quotaUs = Math.round(share * PERIOD_US);
    if (!(quotaUs >= QUOTA_US_MIN)) throw new RangeError(`a share of ${share}; at least ${QUOTA_US_MIN / PERIOD_US}`);
    const group = join(this.controller.folder, `craft-bench-${randomUUID()}`);
    await mkdir(group);
    this.groups.push(group);
    for (const [name, value] of Object.entries(this.controller.files(quotaUs))) {
      await writeFile(join(group, name), value);
    }
    await writeFile(join(group, 'cgroup.procs'), String(pid));
  }

  /** Removes the control groups of processes that have ended; rejects when one has not. */
  async remove(): Promise<void> {
    for (const group of this.groups.splice(0)) {
      const isGone = () =>
        rmdir(group).then(
          () => true,
          () => false,
        );
      await eventually(`${group} is empty`, isGone, { timeoutMs: REMOVE_MS_MAX, everyMs: 100 });
    }
  }
}
