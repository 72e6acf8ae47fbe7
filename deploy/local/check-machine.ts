/**
 * Loads the state machine of a file in a process of its own, since a process loads each module
 * once. Prints what was loaded as JSON; when it does not load, prints why to standard error, and
 * ends with exit code 2.
 *
 *     node check-machine.js FILE
 */
import { loadStateMachine, moduleFiles } from '../../shared/engine/loading.js';
import type { CheckedMachine } from './machine-watch.js';

const [path = ''] = process.argv.slice(2);
try {
  const { name, versions, newest } = await loadStateMachine(path);
  const folders = versions.flatMap(({ contract }) => {
    const { migrations } = contract as { migrations?: unknown };
    return typeof migrations === 'string' ? [migrations] : [];
  });
  const checked: CheckedMachine = {
    name,
    version: newest.version,
    fingerprints: Object.fromEntries(versions.map(({ version, fingerprint }) => [version, fingerprint])),
    paths: [...moduleFiles(path), ...new Set(folders)],
  };
  process.stdout.write(JSON.stringify(checked));
} catch (error) {
  process.stderr.write(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
