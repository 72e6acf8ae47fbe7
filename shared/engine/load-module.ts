/** Importing a module of the user's, so that what is wrong with it is told with file and line. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A second try, only to learn where a syntax error is, may take so long (milliseconds). */
const SYNTAX_MS_MAX = 10_000;

/**
 * Imports the module at `path`; a relative one begins at the working directory. Rejects with one
 * line that has the place of the error, in the source when there is a source map.
 */
export async function loadModule(path: string): Promise<{ readonly default?: unknown; readonly earlier?: unknown }> {
  const url = pathToFileURL(resolve(path)).href;
  process.setSourceMapsEnabled(true);
  try {
    return await import(url);
  } catch (cause) {
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    const [line = ''] = why.split('\n');
    const place = placeOf(cause, url);
    const hint = hintFor(cause);
    throw new Error(`${path} does not load: ${place === undefined ? '' : `${place}: `}${line}${hint}`, { cause });
  } finally {
    process.setSourceMapsEnabled(false);
  }
}

/**
 * For TypeScript, which Node.js runs without a compiler since 22.18: it only leaves the types out.
 */
function hintFor(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.ts\b/.test(error.message)) {
    return '; Node.js runs TypeScript from 22.18 on: compile it, or use a newer Node.js';
  }
  const [, missing = ''] = /^Cannot find module '(.+)\.js' imported from .+\.ts$/.exec(error.message) ?? [];
  return missing !== '' && existsSync(`${missing}.ts`)
    ? `; there is ${basename(missing)}.ts: without a compiler, an import names the file with that ending`
    : '';
}

/** `file:line` of an error that importing `url` has thrown. */
function placeOf(error: unknown, url: string): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const missing = /^Cannot find (?:module|package) '(.+)' imported from (.+)$/.exec(error.message);
  if (missing !== null) return importOf(missing[1] ?? '', missing[2] ?? '');
  const stack = error.stack ?? '';
  // An error of linking or of the syntax begins with the place, if it has one.
  return headOf(stack) ?? frameOf(stack) ?? (error instanceof SyntaxError ? placeOfSyntaxError(url) : undefined);
}

/** Of a text that begins with a line `file:line`. */
function headOf(text: string): string | undefined {
  const head = /^(file:\/\/\S+|\/.+):(\d+)$/m.exec(text.split('\n    at ')[0] ?? '');
  return head === null ? undefined : `${pathOf(head[1] ?? '')}:${head[2]}`;
}

/** The innermost frame that is no code of Node or of a package; else the innermost of a package. */
function frameOf(stack: string): string | undefined {
  const places = stack.split('\n').flatMap((line) => {
    const frame = /^ {4}at (?:async )?(?:.* \()?((?:file:\/\/|\/)[^()]*:\d+):\d+\)?$/.exec(line);
    return frame === null ? [] : [pathOf(frame[1] ?? '')];
  });
  const own = fileURLToPath(import.meta.url);
  const others = places.filter((place) => !place.startsWith(own));
  return others.find((place) => !place.includes('/node_modules/')) ?? others[0];
}

/** The line of `importer` that imports what cannot be found. */
function importOf(missing: string, importer: string): string {
  const lines = readFileSync(importer, 'utf8').split('\n');
  const name = basename(missing);
  const at = lines.findIndex((line) => /\b(import|export|require)\b/.test(line) && line.includes(name));
  return at < 0 ? importer : `${importer}:${at + 1}`;
}

/**
 * Node tells a program nothing about where a syntax error is; it prints that when it ends because
 * of one.
 */
function placeOfSyntaxError(url: string): string | undefined {
  const program = `import(${JSON.stringify(url)})`;
  const given = ['--input-type=module', '--eval', program];
  const { stderr } = spawnSync(process.execPath, given, { encoding: 'utf8', timeout: SYNTAX_MS_MAX });
  return headOf(stderr);
}

function pathOf(place: string): string {
  if (!place.startsWith('file://')) return place;
  const [, url = '', line = ''] = /^(.*?)((?::\d+)*)$/.exec(place) ?? [];
  return `${fileURLToPath(url)}${line}`;
}
