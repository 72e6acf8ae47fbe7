/** What the log of a service says went wrong. */
import { open } from 'node:fs/promises';

/** Levels of pino: error and fatal. */
const ERROR_LEVEL = 50;
/** Of the end of a log (bytes). */
const TAIL_BYTES = 65_536;

/**
 * The newest error in a JSON log that is not older than `sinceMs` (milliseconds since the Unix
 * epoch); undefined when there is none.
 */
export async function newestError(file: string, sinceMs: number): Promise<string | undefined> {
  const lines = (await tailOf(file)).split('\n').reverse();
  for (const line of lines) {
    const found = parse(line);
    if (found !== undefined && found.level >= ERROR_LEVEL && found.time >= sinceMs) return found.msg;
  }
  return undefined;
}

/**
 * Why a process ended, as far as its log says: the newest error of the JSON lines from byte
 * `fromByte` on. Without one, the last line, because a program that has no logger yet writes there.
 * Undefined when there is neither.
 */
export async function endReason(file: string, fromByte: number): Promise<string | undefined> {
  const lines = (await tailOf(file, fromByte)).split('\n').reverse();
  for (const line of lines) {
    const found = parse(line);
    if (found !== undefined && found.level >= ERROR_LEVEL) return found.msg;
  }
  return lines.map((line) => line.trim()).find((line) => line !== '' && parse(line) === undefined);
}

async function tailOf(file: string, fromByte = 0): Promise<string> {
  try {
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      const length = Math.max(0, Math.min(size - fromByte, TAIL_BYTES));
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
      return buffer.subarray(0, bytesRead).toString();
    } finally {
      await handle.close();
    }
  } catch {
    return '';
  }
}

function parse(line: string): { level: number; time: number; msg: string } | undefined {
  try {
    const { level, time, msg } = JSON.parse(line) as Record<string, unknown>;
    const timeMs = typeof time === 'string' ? Date.parse(time) : time;
    if (typeof level !== 'number' || typeof timeMs !== 'number' || typeof msg !== 'string') return undefined;
    return { level, time: timeMs, msg };
  } catch {
    return undefined;
  }
}
