/** Running a short command to its end within a bounded time. */
import { spawn } from 'node:child_process';
import { CommandError } from './errors.js';

export interface CommandOptions {
  readonly timeoutMs: number;
  readonly cwd?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
}

const OUTPUT_BYTES_MAX = 1024 * 1024;

/**
 * Runs a command and returns what it wrote to both outputs. Rejects with CommandError when it
 * cannot be started, exits with another code than 0, or is not done after `timeoutMs` milliseconds;
 * then its whole process group has been ended.
 */
export function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    // Its own process group, so that a compiler's or an installer's children end with it.
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.environment ?? process.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid !== undefined && { uid: options.uid }),
      ...(options.gid !== undefined && { gid: options.gid }),
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      if (output.length < OUTPUT_BYTES_MAX) output += chunk.toString('utf8');
    };
    const endGroup = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    };
    const timer = setTimeout(() => {
      endGroup();
      reject(new CommandError(`${command} was not done after ${options.timeoutMs / 1000} s`));
    }, options.timeoutMs);
    process.once('exit', endGroup);
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (cause) => {
      clearTimeout(timer);
      process.off('exit', endGroup);
      reject(new CommandError(`${command} could not be started: ${cause.message}`, { cause }));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      process.off('exit', endGroup);
      if (code === 0) resolve(output);
      else reject(new CommandError(`${command} ended with ${signal ?? `code ${code}`}: ${lastLine(output)}`));
    });
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}
