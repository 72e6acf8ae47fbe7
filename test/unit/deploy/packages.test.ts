/**
 * The two packages agree. That they work when they are installed is shown by
 * test/integration/packages.test.ts.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';

const manifest = z.object({
  version: z.string(),
  license: z.string(),
  private: z.boolean().optional(),
  engines: z.object({ node: z.string() }),
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()).default({}),
  bin: z.record(z.string(), z.string()).optional(),
  exports: z.record(z.string(), z.union([z.string(), z.object({ types: z.string(), default: z.string() })])),
});
const read = (...path: string[]) => readFileSync(join(projectRoot(), ...path), 'utf8');
const server = manifest.parse(JSON.parse(read('package.json')));
const client = manifest.parse(JSON.parse(read('shared', 'client', 'package.json')));

it('both packages have one version, licence and range of Node versions, and may be packed', () => {
  const { version, license, engines } = server;
  expect(client).toMatchObject({ version, license, engines });
  expect([server.private, client.private]).toEqual([undefined, undefined]);
});

it('.nvmrc, README.md, the image and the examples name the versions of Node that the packages want', () => {
  expect(server.engines.node).toBe('>=22.2');
  expect(read('.nvmrc').trim()).toBe('22');
  expect(read('README.md')).toMatch(/^craft needs Node\.js 22 \(22\.2 or later\) or 24, and npm/m);
  expect(read('deploy', 'compose', 'Dockerfile').match(/^FROM node:.*$/gm)).toEqual([
    expect.stringMatching(/^FROM node:22\.\d+\.\d+-slim AS build$/),
    expect.stringMatching(/^FROM node:22\.\d+\.\d+-slim$/),
  ]);
  for (const name of ['bank', 'inventory']) {
    const example: unknown = JSON.parse(read('deploy', 'examples', name, 'package.json'));
    // It runs TypeScript as it is.
    expect(example, name).toMatchObject({ engines: { node: '>=22.18' } });
  }
});

it('the client package wants the same dependencies as the server package, in the same versions', () => {
  for (const [name, range] of Object.entries(client.dependencies)) expect(server.dependencies[name], name).toBe(range);
});

it('every command is a source file that names its interpreter', () => {
  for (const [command, path] of Object.entries(server.bin ?? {})) {
    const source = read(path.replace(/^dist\//, '').replace(/\.js$/, '.ts'));
    expect(source.split('\n')[0], command).toBe('#!/usr/bin/env node');
  }
});

it('every entry point is built from a source file', () => {
  for (const [manifest, folder] of [
    [server, projectRoot()],
    [client, projectRoot()],
  ] as const) {
    for (const [entry, target] of Object.entries(manifest.exports)) {
      if (typeof target === 'string') continue;
      const source = target.default.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts');
      expect(existsSync(join(folder, source)), entry).toBe(true);
      expect(target.types).toBe(target.default.replace(/\.js$/, '.d.ts'));
    }
  }
});

it('CONTRIBUTING.md gives a reason for every dependency, and for nothing else', () => {
  const [, table = ''] = read('CONTRIBUTING.md').split('## Dependencies');
  const rows = table.split('\n').filter((line) => line.startsWith('| `'));
  const reasons = rows.map((row) => row.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));
  // `a`, `b` of one scope; what follows in brackets is the package behind an alias.
  const named = (cell: string) => {
    const names = [...cell.replace(/\(.*\)/, '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
    const scope = names[0]?.startsWith('@opentelemetry/') ? '@opentelemetry/' : '';
    return names.map((name) => (name.startsWith('@') ? name : `${scope}${name}`));
  };
  const where = (use: string) =>
    reasons.filter(([, uses = '']) => uses.includes(use)).flatMap(([cell = '']) => named(cell));
  expect(where('server').sort()).toEqual(Object.keys(server.dependencies).sort());
  expect(where('client').sort()).toEqual(Object.keys(client.dependencies).sort());
  expect(where('development').sort()).toEqual(Object.keys(server.devDependencies).sort());
  for (const [cell, , reason = ''] of reasons) expect(reason, cell).toMatch(/\w{3}/);
});
