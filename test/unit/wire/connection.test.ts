/** What of an address of NATS is the server, and what are credentials. */
import { expect, it } from 'vitest';
import { natsAddress } from '../../../shared/wire/connection.js';

it.each([
  ['nats://h:4222', { servers: ['nats://h:4222'] }],
  ['h1,tls://h2', { servers: ['h1', 'tls://h2'] }],
  ['nats://u:p@h:4222', { servers: ['nats://h:4222'], user: 'u', pass: 'p' }],
  ['nats://u:p%2Fss@h1,h2', { servers: ['nats://h1', 'h2'], user: 'u', pass: 'p/ss' }],
  ['nats://u:p@ss@h', { servers: ['nats://h'], user: 'u', pass: 'p@ss' }],
  ['nats://u:12/3:4@h', { servers: ['nats://h'], user: 'u', pass: '12/3:4' }],
  ['u@domain:p@h', { servers: ['h'], user: 'u@domain', pass: 'p' }],
  ['tok@en@h', { servers: ['h'], user: 'tok@en', pass: '' }],
])('of %s no part of the password is taken for the server', (url, address) => {
  expect(natsAddress(url)).toEqual(address);
});
