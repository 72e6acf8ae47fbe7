/**
 * The end of an npm script. npm passes signals to the shell that runs a script, and that shell ends
 * without a word to its own children: the only thing that they notice is another parent.
 */

/** Between two looks (milliseconds). */
const LOOK_MS = 500;

/**
 * Calls `onEnd` once, when the process that started this one ends; only in a script of npm:
 * elsewhere a process may outlive its parent.
 */
export function onScriptEnd(onEnd: () => void): void {
  if (process.env['npm_lifecycle_event'] === undefined) return;
  const parent = process.ppid;
  const looking = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(looking);
    onEnd();
  }, LOOK_MS);
  looking.unref();
}
