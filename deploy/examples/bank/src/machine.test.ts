/** Commands as a server runs them, on databases of the test's own: no NATS and no cluster. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { checkDeterminism, openMachine, type TestMachine } from 'craft/testing';
import { startTestDatabases } from 'craft/testing/databases';
import machine from './machine.ts';

const databases = await startTestDatabases('one', 'two', 'bank');
const [one, two, own] = databases.urls;
after(() => databases.stop());

describe('two servers', () => {
  it('come to the same rows and results', async () => {
    await checkDeterminism(machine, {
      databaseUrls: [one, two],
      commands: [
        ['bank.open', { account: 'cat', cents: 100 }],
        ['bank.open', { account: 'dog', cents: 50 }],
        ['bank.transfer', { from: 'cat', to: 'dog', cents: 30 }],
        ['bank.transfer', { from: 'dog', to: 'nobody', cents: 30 }],
        ['bank.open', { account: 'cat', cents: 1 }],
      ],
    });
  });
});

describe('a bank', () => {
  let bank: TestMachine<typeof machine>;
  before(async () => {
    bank = await openMachine(machine, { databaseUrl: own });
    await bank.command('bank.open', { account: 'ann', cents: 100 }, { id: 'open ann' });
    await bank.command('bank.open', { account: 'bob', cents: 100 }, { id: 'open bob' });
  });
  after(() => bank?.close());

  it('moves money', async () => {
    assert.deepEqual(await bank.command('bank.transfer', { from: 'ann', to: 'bob', cents: 30 }), { from: 70, to: 130 });
  });

  it('refuses to move what is not there, and moves nothing then', async () => {
    const before = await bank.query('bank.balance', { account: 'ann' });
    const moving = bank.command('bank.transfer', { from: 'ann', to: 'bob', cents: 1_000 });
    await assert.rejects(moving, { code: 'REJECTED', message: 'ann has less than 1000 cents' });
    assert.deepEqual(await bank.query('bank.balance', { account: 'ann' }), before);
  });
});
