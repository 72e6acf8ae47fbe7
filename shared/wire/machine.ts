/**
 * The command that switches the state machine to another version (T12). It has its place in the log
 * like every other one. On every server, what is before it is executed by the version before, and
 * what is after it by the new one. Only the services themselves append it.
 */
import { z } from 'zod';

export const MACHINE_COMMAND = 'craft.machine';

/** The input of the command, and of the request for it to the leader of group 0. */
export const machineInput = z.object({
  /** Of the state machine: another one's is refused. */
  name: z.string().min(1).max(256),
  version: z.number().int().min(1).max(2_147_483_647),
  /** The log is to begin with it: refused where anything comes before. */
  initial: z.boolean().optional(),
});
export type MachineInput = z.output<typeof machineInput>;

/**
 * What an applier tells its own server's replica, `<c>.version.<server>`: the version in force
 * behind a merged index.
 */
export const versionNotice = z.object({ version: machineInput.shape.version, mergedIndex: z.number().int().min(0) });
export type VersionNotice = z.output<typeof versionNotice>;
