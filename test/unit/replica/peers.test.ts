/** Servers of another protocol, as status and log tell of them. */
import { expect, it } from 'vitest';
import { Peers } from '../../../services/replica/peers.js';

it('remembers since when a server cannot be read, until it can be', () => {
  let second = 0;
  const peers = new Peers(() => new Date(Date.UTC(2026, 0, 1, 0, 0, second++)));
  peers.refuse('s2', 7);
  peers.refuse('s2', 7);
  peers.refuse('s3', 8);
  expect(peers.refused).toEqual([
    { server: 's2', protocol: 7, since: '2026-01-01T00:00:00.000Z' },
    { server: 's3', protocol: 8, since: '2026-01-01T00:00:01.000Z' },
  ]);
  peers.understand('s2');
  expect(peers.refused.map(({ server }) => server)).toEqual(['s3']);
});

it('remembers a bounded number, whatever is sent', () => {
  const peers = new Peers();
  for (let n = 0; n < 1_000; n++) peers.refuse(`x${n}`, 9);
  expect(peers.refused).toHaveLength(64);
});
