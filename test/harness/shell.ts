/** The `sh` blocks of the project's pages, and running them as they stand. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { projectRoot } from '../../deploy/local/project.js';

/**
 * The `sh` blocks directly below a heading of a page, in their order. Rejects when there is no such
 * heading.
 */
export async function shellBlocks(page: string, heading: string): Promise<string[]> {
  const text = await readFile(join(projectRoot(), page), 'utf8');
  const section: string[] = [];
  let isHere = false;
  let isFound = false;
  let isCode = false;
  for (const line of text.split('\n')) {
    if (/^ *```/.test(line)) isCode = !isCode;
    const [, found] = (!isCode && /^#+ (.+)$/.exec(line)) || [];
    if (found !== undefined) isHere = found === heading;
    isFound ||= isHere;
    if (isHere) section.push(line);
  }
  if (!isFound) throw new Error(`${page} has no heading ${JSON.stringify(heading)}`);
  return blocksOf(section.join('\n'));
}

/** All `sh` blocks of a text, without the indentation that they have in a list. */
export function blocksOf(markdown: string): string[] {
  return [...markdown.matchAll(/^( *)```sh\n([\s\S]*?)^\1```$/gm)].map(([, indentation = '', block = '']) =>
    block.replaceAll(new RegExp(`^${indentation}`, 'gm'), ''),
  );
}

/**
 * Runs a block, up to its first command that fails; resolves with the lines of its standard output.
 * `craft` is the built command line. `folder` takes a file for that. `cwd` is where it runs: in the
 * folder of the project, unless the page is of another one. Rejects with all that the block
 * printed.
 */
export async function runBlock(
  block: string,
  folder: string,
  environment: NodeJS.ProcessEnv,
  cwd = projectRoot(),
): Promise<string[]> {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  const craft = join(bin, 'craft');
  const program = join(projectRoot(), 'dist/services/cli/main.js');
  await writeFile(craft, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  await chmod(craft, 0o755);
  const PATH = `${bin}${delimiter}${process.env['PATH'] ?? ''}`;
  const options = { cwd, env: { ...process.env, ...environment, PATH } };
  try {
    const { stdout } = await promisify(execFile)('sh', ['-e', '-c', block], options);
    return stdout.trimEnd().split('\n');
  } catch (cause) {
    const { message, stdout = '' } = cause as Error & { stdout?: string };
    throw new Error(`${message}\n${stdout}`, { cause });
  }
}

/**
 * The rows of a block that calls psql, which may not be installed: its statement goes through
 * another client, to the same address but for the port.
 */
export async function runPsqlBlock(block: string, port: number): Promise<object[]> {
  const [, given = '', statement = ''] = /^psql (\S+) -c '([^']+)'\n$/.exec(block) ?? [];
  if (statement === '') throw new Error(`not a call of psql: ${block}`);
  const url = new URL(given);
  url.port = String(port);
  const database = postgres(url.href, { max: 1 });
  try {
    return [...(await database.unsafe(statement))];
  } finally {
    await database.end();
  }
}
