/**
 * Does what a Dockerfile says, in folders instead of images: for machines without a Docker engine.
 * Each stage is a folder that starts empty and stands for `/`; base images are the machine itself.
 * Knows the instructions that this project uses, and refuses every other one.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';

/** What the last stage has become. Paths in it are those of this machine. */
export interface BuiltImage {
  /** Stands for `/`. */
  readonly root: string;
  /** Where its program starts. */
  readonly workdir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
  readonly volumes: readonly string[];
  readonly ports: readonly string[];
  /** Image that the stage begins with. */
  readonly from: string;
}

interface Instruction {
  readonly name: string;
  readonly text: string;
  readonly line: number;
}

interface Stage extends BuiltImage {
  readonly name: string;
}

export interface DockerfileOptions {
  readonly dockerfile: string;
  /** Folder that `COPY` takes from. `DOCKERFILE.dockerignore` says what it does not see. */
  readonly context: string;
  /** Empty; takes a folder for each stage. */
  readonly folder: string;
  /** Of commands, in addition to what the Dockerfile sets. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** Runs all instructions in order. Rejects with the line of the one that fails or is not known. */
export async function buildDockerfile(options: DockerfileOptions): Promise<BuiltImage> {
  const ignored = await dockerignore(`${options.dockerfile}.dockerignore`);
  const stages: Stage[] = [];
  for (const instruction of instructionsOf(await readFile(options.dockerfile, 'utf8'))) {
    const { name, text, line } = instruction;
    const failed = (cause: unknown) =>
      new Error(`line ${line}: ${name} ${text}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    try {
      if (name === 'FROM') {
        stages.push(await newStage(text, stages.length, options.folder));
        continue;
      }
      const stage = stages.pop();
      if (stage === undefined) throw new Error('FROM has to come first');
      const changed = name === 'COPY' ? await copy(text, stage, stages, options.context, ignored) : undefined;
      stages.push(changed ?? (await step(instruction, stage, options.environment ?? {})));
    } catch (cause) {
      throw failed(cause);
    }
  }
  const image = stages.at(-1);
  if (image === undefined) throw new Error(`${options.dockerfile} has no FROM`);
  return image;
}

/**
 * A program of the image, as this machine runs it: absolute paths in its arguments are those of the
 * image.
 */
export function programOf({ root }: BuiltImage, given: readonly string[]): string[] {
  return given.map((argument) => argument.replace(/(^|=)(\/[\w./-]+)$/, (_, before, path) => before + root + path));
}

function instructionsOf(dockerfile: string): Instruction[] {
  const found: Instruction[] = [];
  const lines = dockerfile.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const line = at + 1;
    let text = (lines[at] ?? '').trim();
    if (text === '' || text.startsWith('#')) continue;
    while (text.endsWith('\\')) text = `${text.slice(0, -1)}${(lines[++at] ?? '').trim()}`;
    const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(text) ?? [];
    found.push({ name: name.toUpperCase(), text: rest, line });
  }
  return found;
}

async function newStage(text: string, count: number, folder: string): Promise<Stage> {
  const [, from = '', name = String(count)] = /^(\S+)(?: AS (\S+))?$/i.exec(text) ?? [];
  if (from === '') throw new Error('not IMAGE or IMAGE AS NAME');
  const root = join(folder, `stage-${count}`);
  await mkdir(root);
  return {
    ...{ name, from, root, workdir: root, environment: {}, user: 'root', volumes: [], ports: [] },
    ...{ entrypoint: [], command: [], healthcheck: [] },
  };
}

async function step({ name, text }: Instruction, stage: Stage, environment: NodeJS.ProcessEnv): Promise<Stage> {
  switch (name) {
    case 'WORKDIR': {
      const workdir = inStage(stage, text);
      await mkdir(workdir, { recursive: true });
      return { ...stage, workdir };
    }
    case 'RUN':
      await run(text, stage.workdir, { ...environment, ...stage.environment });
      return stage;
    case 'ENV': {
      const pairs = text.split(' ').map((pair) => /^(\w+)=([^"'\\$]*)$/.exec(pair) ?? []);
      if (pairs.some(({ length }) => length === 0)) throw new Error('not NAME=VALUE …');
      const set = Object.fromEntries(
        pairs.map(([, key = '', value = '']) => [key, value.replace(/^\//, `${stage.root}/`)]),
      );
      return { ...stage, environment: { ...stage.environment, ...set } };
    }
    case 'USER':
      return { ...stage, user: text };
    case 'VOLUME':
      return { ...stage, volumes: [...stage.volumes, inStage(stage, text)] };
    case 'EXPOSE':
      return { ...stage, ports: [...stage.ports, ...text.split(' ')] };
    case 'HEALTHCHECK': {
      const [, list = ''] = /^(?:--[a-z-]+=\S+ )*CMD (.+)$/.exec(text) ?? [];
      return { ...stage, healthcheck: listOf(list) };
    }
    case 'ENTRYPOINT':
      // As Docker does it: a command of before belongs to another entry point.
      return { ...stage, entrypoint: listOf(text), command: [] };
    case 'CMD':
      return { ...stage, command: listOf(text) };
    default:
      throw new Error('an instruction that is not known here');
  }
}

async function copy(
  text: string,
  stage: Stage,
  stages: readonly Stage[],
  context: string,
  ignored: (path: string) => boolean,
): Promise<Stage> {
  const words = text.split(' ');
  const flags = words.filter((word) => word.startsWith('--'));
  const paths = words.filter((word) => !word.startsWith('--'));
  const unknown = flags.filter((flag) => !/^--(?:from|chown)=/.test(flag));
  if (unknown.length > 0) throw new Error(`a flag that is not known here: ${unknown}`);
  const from = flags.find((flag) => flag.startsWith('--from='))?.slice('--from='.length);
  const source = stages.find(({ name }) => name === from);
  if (from !== undefined && source === undefined) throw new Error(`there is no stage ${from}`);
  const target = paths.pop() ?? '';
  if (paths.length === 0 || (paths.length > 1 && !target.endsWith('/'))) throw new Error('not SOURCE … TARGET');
  for (const path of paths) {
    const origin = source === undefined ? resolve(context, path.replace(/^\//, '')) : inStage(source, path);
    const isFolder = (await stat(origin)).isDirectory();
    // The contents of a folder, but a file by its name.
    const goal = join(inStage(stage, target), !isFolder && target.endsWith('/') ? basename(path) : '');
    await mkdir(dirname(goal), { recursive: true });
    if (source !== undefined) await cp(origin, goal, { recursive: true, verbatimSymlinks: true });
    else if ((await copySeen(origin, goal, (at) => !ignored(relative(context, at)))) === 0) {
      throw new Error(`the .dockerignore file leaves ${path} out`);
    }
  }
  return stage;
}

/**
 * Copies what the build sees of a file or a folder of the context. Gives how many files these are.
 */
async function copySeen(origin: string, goal: string, isSeen: (path: string) => boolean): Promise<number> {
  if ((await stat(origin)).isDirectory()) {
    let count = 0;
    for (const name of await readdir(origin)) count += await copySeen(join(origin, name), join(goal, name), isSeen);
    return count;
  }
  if (!isSeen(origin)) return 0;
  await mkdir(dirname(goal), { recursive: true });
  await cp(origin, goal);
  return 1;
}

function inStage({ root, workdir }: Pick<Stage, 'root' | 'workdir'>, path: string): string {
  return isAbsolute(path) ? join(root, path) : join(workdir, path);
}

/** The exec form: a list in JSON. */
function listOf(text: string): string[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list) || list.some((one) => typeof one !== 'string')) throw new Error('not a list of texts');
  return list;
}

/** Rejects with what it printed when it fails. */
async function run(line: string, cwd: string, environment: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn('sh', ['-c', line], { cwd, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`ended with ${code}:\n${printed}`);
}

/**
 * Whether a path of the context is left out: the last rule that matches it or a folder above it
 * decides.
 */
async function dockerignore(file: string): Promise<(path: string) => boolean> {
  const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
  const rules = lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ isBack: line.startsWith('!'), pattern: patternOf(line.replace(/^!/, '')) }));
  return (path) => {
    const parts = path.split('/');
    const above = parts.map((_, at) => parts.slice(0, at + 1).join('/'));
    const last = rules.findLast(({ pattern }) => above.some((one) => pattern.test(one)));
    return last !== undefined && !last.isBack;
  };
}

function patternOf(rule: string): RegExp {
  if (/[?[\]\\]/.test(rule)) throw new Error(`a pattern of .dockerignore that is not known here: ${rule}`);
  const text = rule
    .replace(/^\/|\/$/g, '')
    .replaceAll('.', '\\.')
    .replaceAll(/\*\*\/|\*/g, (stars) => (stars === '*' ? '[^/]*' : '(?:.*/)?'));
  return new RegExp(`^${text}$`);
}
