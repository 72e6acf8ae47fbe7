/** Which batch replaces the whole state: the command `craft.restore` (T10). Pure. */
import type { EngineBatch } from '../../../shared/engine/port.js';
import { RESTORE_COMMAND, type RestoreInput, restoreInput } from '../../../shared/wire/restore.js';

/**
 * What the batch restores; undefined for any other batch, and for one that every engine has to
 * refuse: its input is none, or there is a state.
 */
export function restoringOf({ commands }: EngineBatch): RestoreInput | undefined {
  const [command] = commands;
  if (command?.name !== RESTORE_COMMAND || commands.length > 1) return undefined;
  let input: RestoreInput | undefined;
  try {
    input = restoreInput.safeParse(JSON.parse(new TextDecoder().decode(command.payload))).data;
  } catch {
    return undefined;
  }
  return input?.replace === true || command.mergedIndex === 1 ? input : undefined;
}
