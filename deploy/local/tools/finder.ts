/**
 * Finding a program, or fetching it once:
 *
 *     environment variable -> PATH -> tool cache -> each way of fetching, in order, each within a bounded time
 *
 * A program counts only when `check` accepts it, so one that is too old or built for another
 * machine is passed over.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { installTool, toolsDir } from './cache.js';
import { type Attempt, ToolUnavailableError } from './errors.js';

/** A way of getting a program into a work folder. */
export interface FetchMethod {
  readonly method: string;
  /**
   * Puts the program somewhere below `workDir` and returns its path. Rejects when this way does not
   * work here.
   */
  fetch(workDir: string): Promise<string>;
}

export interface ToolDescription {
  readonly name: string;
  /**
   * Names under which it may be found on PATH and in the cache; the first one is the name that it
   * is installed under.
   */
  readonly programs: readonly string[];
  /** The environment variable that names the program; when it is set, nothing else is tried. */
  readonly variable: string;
  /** Returns the version of a usable program. Rejects with the reason when it is not usable. */
  check(program: string): Promise<string>;
  readonly methods: readonly FetchMethod[];
  /** What a person can do when nothing worked. */
  readonly advice: string;
}

export interface FoundTool {
  readonly path: string;
  readonly version: string;
  /** Where it came from, in a word or two. */
  readonly origin: string;
}

export interface FindOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Told before each attempt to fetch, because those take a while. */
  readonly onFetch?: (method: string) => void;
}

/** Rejects with ToolUnavailableError, which lists every attempt. */
export async function findTool(tool: ToolDescription, options: FindOptions = {}): Promise<FoundTool> {
  const environment = options.environment ?? process.env;
  const attempts: Attempt[] = [];

  const usable = async (path: string, origin: string): Promise<FoundTool | undefined> => {
    try {
      return { path, version: await tool.check(path), origin };
    } catch (error) {
      attempts.push({ method: `${origin} (${path})`, reason: reasonOf(error) });
      return undefined;
    }
  };

  const named = environment[tool.variable];
  if (named) {
    const found = await usable(named, tool.variable);
    if (found) return found;
    throw new ToolUnavailableError(tool.name, attempts, `Correct or unset ${tool.variable}.`);
  }
  const cacheDir = toolsDir(environment);
  const places = [
    ...(environment['PATH'] ?? '').split(delimiter).map((dir) => ({ dir, origin: 'PATH' })),
    { dir: cacheDir, origin: 'tool cache' },
  ];
  for (const { dir, origin } of places) {
    for (const program of tool.programs) {
      const path = join(dir, program);
      if (dir === '' || !(await isExecutable(path))) continue;
      const found = await usable(path, origin);
      if (found) return found;
    }
  }
  if (attempts.length === 0) attempts.push({ method: `PATH and ${cacheDir}`, reason: 'not there' });
  for (const { method, fetch } of tool.methods) {
    options.onFetch?.(method);
    try {
      // Checked before it is moved into the cache: what does not run here must not stay there.
      const path = await installTool(cacheDir, tool.programs[0] ?? tool.name, async (workDir) => {
        const program = await fetch(workDir);
        await tool.check(program);
        return program;
      });
      return { path, version: await tool.check(path), origin: method };
    } catch (error) {
      attempts.push({ method, reason: reasonOf(error) });
    }
  }
  throw new ToolUnavailableError(tool.name, attempts, tool.advice);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
