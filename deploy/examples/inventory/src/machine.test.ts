/** Both versions as servers run them, on databases of the test's own: no NATS and no cluster. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { checkDeterminism, openMachine, type TestMachine } from 'craft/testing';
import { startTestDatabases } from 'craft/testing/databases';
import one from './machine-1.ts';
import two from './machine-2.ts';

const databases = await startTestDatabases('one', 'two', 'inventory');
const [first, second, own] = databases.urls;
after(() => databases.stop());

const east = { warehouse: 'east', item: 'bolt' };
const west = { warehouse: 'west', item: 'bolt' };
const START = 1_900_000_000_000_000;
const MINUTE_MS = 60_000;
const afterTwoMinutes = { timestamp: START + 2 * MINUTE_MS * 1_000 };

/** It is sent twice, and comes again after it has expired. */
const reserve = { order: 'a', lines: [east, west].map((at) => ({ ...at, quantity: 4 })), holdMs: MINUTE_MS };

describe('two servers come to the same rows and results', () => {
  it('with version 1', async () => {
    await checkDeterminism(one, {
      databaseUrls: [first, second],
      commands: [
        ['stock.receive', { ...east, quantity: 10 }, { timestamp: START }],
        ['stock.receive', { ...west, quantity: 5 }],
        ['order.reserve', reserve, { id: 'reserve a' }],
        ['order.reserve', reserve, { id: 'reserve a' }],
        ['order.reserve', { ...reserve, order: 'b' }],
        ['order.reserve', { ...reserve, lines: [...reserve.lines, ...reserve.lines] }],
        ['order.reserve', { order: 'c', lines: [{ ...east, quantity: 6 }], holdMs: 10 * MINUTE_MS }],
        ['order.ship', { order: 'nobody' }],
        ['order.reserve', { ...reserve, order: 'b' }, afterTwoMinutes],
        ['order.ship', { order: 'a' }],
        ['order.ship', { order: 'c' }],
        ['order.expire', {}, { timestamp: START + 60 * MINUTE_MS * 1_000 }],
      ],
    });
  });

  it('with version 2, on the rows of version 1', async () => {
    await checkDeterminism(two, {
      databaseUrls: [first, second],
      commands: [
        ['stock.watch', { ...east, reorderBelow: 20 }],
        ['stock.watch', { warehouse: 'north', item: 'bolt', reorderBelow: 1 }],
        ['order.reserve', { ...reserve, order: 'd' }],
        ['order.ship', { order: 'd' }],
      ],
    });
  });
});

describe('an inventory', () => {
  let inventory: TestMachine<typeof two>;
  before(async () => {
    inventory = await openMachine(two, { databaseUrl: own });
    await inventory.command('stock.receive', { ...east, quantity: 10 }, { timestamp: START });
    await inventory.command('stock.receive', { ...west, quantity: 5 });
  });
  after(() => inventory?.close());
  const stock = () => inventory.query('stock.list', {});

  it('reserves all lines of an order or none', async () => {
    const untouched = await stock();
    const lines = [
      { ...east, quantity: 10 },
      { ...west, quantity: 6 },
    ];
    await assert.rejects(inventory.command('order.reserve', { order: 'big', lines, holdMs: MINUTE_MS }), {
      code: 'REJECTED',
      message: 'west has less than 6 free of bolt',
    });
    assert.deepEqual(await stock(), untouched);
  });

  it('takes effect once for one id', async () => {
    const first = await inventory.command('order.reserve', reserve, { id: 'once' });
    assert.deepEqual(await inventory.command('order.reserve', reserve, { id: 'once' }), first);
    assert.deepEqual(
      (await stock()).map(({ reserved }) => reserved),
      [4, 4],
    );
  });

  it('gives back what is not shipped in time, by the timestamps of the log', async () => {
    assert.deepEqual(await inventory.command('order.expire', {}), { released: 0 });
    await assert.rejects(inventory.command('order.ship', { order: 'a' }, afterTwoMinutes), { code: 'REJECTED' });
    // The refused command gave nothing back: all that it wrote is undone.
    assert.deepEqual(await inventory.command('order.expire', {}), { released: 2 });
    assert.deepEqual(
      (await stock()).map(({ reserved }) => reserved),
      [0, 0],
    );
  });

  it('ships what is reserved, and says what to order more of', async () => {
    await inventory.command('order.reserve', reserve);
    assert.deepEqual(await inventory.command('order.ship', { order: 'a' }), { shipped: 2 });
    await inventory.command('stock.watch', { ...east, reorderBelow: 7 });
    assert.deepEqual(await inventory.query('stock.low', { warehouse: 'east' }), [{ item: 'bolt', missing: 1 }]);
    assert.deepEqual(await inventory.query('stock.low', { warehouse: 'west' }), []);
  });

  it('lists page by page, in the order of bytes', async () => {
    for (const item of ['Zinc', 'anvil', 'Äther']) {
      await inventory.command('stock.receive', { warehouse: 'east', item, quantity: 1 });
    }
    const pages: string[][] = [];
    for (let after: typeof east | undefined, isLast = false; !isLast; ) {
      const page = await inventory.query('stock.list', { limit: 2, ...(after && { after }) });
      pages.push(page.map(({ warehouse, item }) => `${warehouse} ${item}`));
      for (const { warehouse, item } of page) after = { warehouse, item };
      isLast = page.length < 2;
    }
    assert.deepEqual(pages, [['east Zinc', 'east anvil'], ['east bolt', 'east Äther'], ['west bolt']]);
  });
});
