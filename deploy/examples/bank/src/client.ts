/**
 * Opens two accounts and moves money between them. Run it again: the accounts are there, and the
 * money moves again.
 */
import { connectCraft, RejectedError } from 'craft/client';
import type machine from './machine.ts';

const craft = await connectCraft<typeof machine>({ servers: process.env['CRAFT_NATS_URL'] ?? 'nats://127.0.0.1:4222' });

/** Runs a command that the bank may refuse. */
async function tried(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    console.log(`rejected: ${error.message}`);
  }
}

// Commands of one turn travel in one message.
await Promise.all([
  tried(craft.commands['bank.open']({ account: 'ann', cents: 100 })),
  tried(craft.commands['bank.open']({ account: 'bob', cents: 100 })),
]);
const { result } = await craft.commands['bank.transfer']({ from: 'ann', to: 'bob', cents: 30 });
console.log(`ann has ${result.from} cents, bob has ${result.to}`);
await tried(craft.commands['bank.transfer']({ from: 'ann', to: 'bob', cents: 1_000 }));
const { cents } = await craft.queries['bank.balance']({ account: 'ann' });
console.log(`ann still has ${cents}`);
await craft.close();
