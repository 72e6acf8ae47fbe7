/** The units of systemd, and their files of variables, against the services. No unit is started. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { applierConfig, replicaConfig } from '../../../shared/config/config.js';
import { SERVICES } from '../../../shared/health/conditions.js';
import { temporaryFolder } from '../../harness/folder.js';
import { knownVariables, variablesOf } from './variables.js';

const folder = join(projectRoot(), 'deploy/systemd');
const UNITS = ['craft@.service', 'craft-role@.service'];
const read = (name: string) => readFile(join(folder, name), 'utf8');

/** All values of a setting of a unit, for this instance. */
function valuesOf(unit: string, setting: string, instance: string): string[] {
  const lines = unit.matchAll(new RegExp(`^${setting}=(.*)$`, 'gm'));
  return [...lines].map(([, value = '']) => value.replaceAll('%i', instance));
}

it('a unit starts services that are there, and gives up where another try does not help', async () => {
  const started = await Promise.all(
    UNITS.map(async (name) => {
      const unit = await read(name);
      expect(valuesOf(unit, 'RestartPreventExitStatus', '')).toEqual(['2']);
      expect(valuesOf(unit, 'Restart', '')).toEqual(['on-failure']);
      const [program = '', ...services] = valuesOf(unit, 'ExecStart', 'replica')[0]?.split(' ') ?? [];
      const { bin } = JSON.parse(await readFile(join(projectRoot(), 'package.json'), 'utf8'));
      expect(Object.keys(bin).map((one) => `/usr/bin/${one}`)).toContain(program);
      return services;
    }),
  );
  expect(started).toEqual([[...SERVICES], ['replica']]);
});

it('a server has the variables that the services accept, and none that they do not know', async () => {
  const unit = await read('craft@.service');
  const files = valuesOf(unit, 'EnvironmentFile', 's1').map((path) => path.replace(/^\/etc\/craft\//, ''));
  expect(files).toEqual(['cluster.env', 's1.env']);
  const [own = ''] = valuesOf(unit, 'Environment', 's1');
  const texts = await Promise.all(files.map(read));
  const environment = variablesOf([own.replaceAll(' ', '\n'), ...texts].join('\n'));
  const known = knownVariables();
  expect(Object.keys(environment).filter((name) => name !== 'NODE_ENV' && !known.has(name))).toEqual([]);
  expect(replicaConfig(environment)).toMatchObject({ server: 's1', servers: ['s1', 's2', 's3'], metricsPort: 9464 });
  expect(applierConfig(environment).databaseUrl).toContain('/craft_s1');
  const [state] = valuesOf(unit, 'StateDirectory', 's1');
  expect(replicaConfig(environment).dataDir).toBe(`/var/lib/${state}`);
});

it('both units have the same rights, and the guide names every file', async () => {
  const [one = '', other = ''] = await Promise.all(UNITS.map(read));
  const rights = (unit: string) => unit.slice(unit.indexOf('NoNewPrivileges='));
  expect(rights(one)).toBe(rights(other));
  expect(rights(one)).toContain('\nCapabilityBoundingSet=\n');
  const guide = await read('README.md');
  for (const name of await readdir(folder)) if (name !== 'README.md') expect(guide).toContain(`[${name}](${name})`);
});

it('systemd accepts the units, where it is installed', async ({ skip }) => {
  const { path, remove } = await temporaryFolder('units');
  await mkdir(join(path, 'units'));
  try {
    for (const name of UNITS) {
      const file = join(path, 'units', name.replace('@', '@replica'));
      // The program is not installed here.
      await writeFile(file, (await read(name)).replace('/usr/bin/craft-server', process.execPath));
      const verified = promisify(execFile)('systemd-analyze', ['verify', '--man=no', file]);
      const result = await verified.catch((error: NodeJS.ErrnoException & { stderr?: string }) => error);
      if (result instanceof Error && result.code === 'ENOENT') skip('systemd-analyze is not installed');
      expect(result, name).toEqual({ stdout: '', stderr: '' });
    }
  } finally {
    await remove();
  }
});
