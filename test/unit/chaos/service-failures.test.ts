import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { serviceFailures } from '../../chaos/service-failures.js';
import { temporaryFolder } from '../../harness/index.js';

it('finds the services that failed in the logs of all processes of the servers', async () => {
  const folder = await temporaryFolder('failures');
  try {
    const lines = (...all: readonly object[]) => all.map((line) => `${JSON.stringify(line)}\n`).join('');
    const failure = {
      level: 50,
      service: 'main',
      failed: 'applier',
      msg: 'the applier cannot go on: why; try 2 in 250 ms',
    };
    for (const server of ['s1', 's2', 's3']) await mkdir(join(folder.path, server));
    await writeFile(join(folder.path, 's1', 's1.log'), `${lines({ msg: 'merging' })}Node says\n${lines(failure)}{"fai`);
    await writeFile(join(folder.path, 's2', 's2.applier.log'), lines(failure, failure));
    await writeFile(join(folder.path, 's3', '000012.log'), lines(failure));
    const found = await serviceFailures(folder.path, ['s1', 's2', 's3', 's4']);
    expect(found).toEqual(['s1', 's2', 's2'].map((server) => `${server}: ${failure.msg}`));
  } finally {
    await folder.remove();
  }
});
