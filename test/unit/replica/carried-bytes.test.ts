/** What servers send each other follows what the transport carries. */
import { expect, it } from 'vitest';
import { Cores, commandsOf } from './cores.js';

const BODY = new Uint8Array(1_000);
const COUNT = 60;

it('no envelope has more entries than a message carries, in any group, except one that is larger by itself', () => {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 3 });
  cores.pass(200);
  const send = () => {
    cores.carried.length = 0;
    for (const group of [0, 1, 2]) {
      const [leader = ''] = cores.leadersOf(group);
      for (let n = 0; n < COUNT; n++) expect(cores.offer(leader, group, BODY)).toBeNull();
    }
    cores.pass(100);
    return Math.max(...cores.carried);
  };
  expect(send()).toBeGreaterThan(COUNT * BODY.length);
  for (const { core } of cores.servers) core.carry(5_000);
  expect(send()).toBeLessThanOrEqual(5_000);
  for (const { core } of cores.servers) core.carry(1);
  expect(send()).toBeLessThan(2 * BODY.length);
  for (const { core } of cores.servers) core.carry(1_000_000);
  expect(send()).toBeGreaterThan(COUNT * BODY.length);
  for (const server of cores.servers) {
    for (const group of [0, 1, 2]) expect(commandsOf(server, group)).toHaveLength(4 * COUNT);
  }
});
