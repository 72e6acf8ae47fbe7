/**
 * Ends the processes that this one started when this one dies in whatever way, `kill -9` included.
 * A small shell reads their ids from a pipe. The operating system closes the pipe when this process
 * is gone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/**
 * Reads `+ PID SIGNAL` and `- PID`; at the end of its input sends each remaining process its
 * signal.
 */
const SCRIPT = `
kept=''
while read -r what pid signal; do
  case "$what" in
    +) kept="$kept $pid:$signal" ;;
    -) rest=''; for one in $kept; do [ "\${one%:*}" = "$pid" ] || rest="$rest $one"; done; kept="$rest" ;;
  esac
done
for one in $kept; do kill -"\${one#*:}" "\${one%:*}" 2>/dev/null; done
`;

let shell: ChildProcess | undefined;

function input(): Writable | null {
  if (shell === undefined) {
    // In its own session, so that an interrupt from the terminal does not end it before it has done
    // its work.
    shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    shell.on('error', () => {});
    shell.stdin?.on('error', () => {});
    shell.unref();
    (shell.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  }
  return shell.stdin;
}

/** From now on the process gets `signal` (without SIG) when this process dies. */
export function guard(pid: number, signal: 'KILL' | 'QUIT'): void {
  input()?.write(`+ ${pid} ${signal}\n`);
}

/** The process has ended: its id may soon belong to another one. */
export function unguard(pid: number): void {
  input()?.write(`- ${pid}\n`);
}
