/** Commands as a server runs them, on a database of the test's own: no NATS and no cluster. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { openMachine, type TestMachine } from 'craft/testing';
import machine from './machine.js';

let bank: TestMachine<typeof machine>;
before(async () => {
  bank = await openMachine(machine, {
    databaseUrl: process.env['TEST_DATABASE_URL'] ?? 'postgres://127.0.0.1/bank_test',
  });
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
