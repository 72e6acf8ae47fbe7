/**
 * Lets a child process of a test run TypeScript from source: `node --import <this file> child.ts`.
 * Nothing needs to be built, and nothing that was built before can be tested by mistake. Types are
 * stripped, not checked. What was stripped once is kept by its content in the folder that
 * `TEST_TRANSPILED` names: a test starts the same program again and again.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { register } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const { TEST_TRANSPILED } = process.env;

// Node.js loads this file twice: in the main thread to register it, in the loader's thread for its
// hooks.
if (isMainThread) register(import.meta.url);

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || !specifier.startsWith('.')) throw error;
    return next(specifier.replace(/\.js$/, '.ts'), context);
  }
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const source = await readFile(fileURLToPath(url), 'utf8');
  return { format: 'module', source: await stripped(source), shortCircuit: true };
}

async function stripped(source) {
  if (TEST_TRANSPILED === undefined) return transpile(source);
  const kept = join(TEST_TRANSPILED, createHash('sha256').update(source).digest('hex'));
  try {
    return await readFile(kept, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const output = await transpile(source);
  await mkdir(TEST_TRANSPILED, { recursive: true });
  // In one step: another process may read it.
  const unfinished = `${kept}.${randomUUID()}`;
  await writeFile(unfinished, output);
  await rename(unfinished, kept);
  return output;
}

async function transpile(source) {
  const { default: typescript } = await import('typescript');
  const { ModuleKind, ScriptTarget } = typescript;
  const compilerOptions = { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 };
  return typescript.transpileModule(source, { compilerOptions }).outputText;
}
