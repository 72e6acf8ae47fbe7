/** What shells offer at each place of a command line. */
import { Argument, Command, Option } from 'commander';
import { expect, it } from 'vitest';
import { complete } from '../../../services/cli/completion.js';

const program = new Command('craft')
  .description('a client')
  .version('1.0.0')
  .addOption(new Option('--nats <urls>', 'NATS servers'));
program
  .command('cmd')
  .argument('<name>')
  .argument('<json>')
  .addOption(new Option('--ack <when>', 'when to answer').choices(['applied', 'ordered']))
  .option('--watch [seconds]', 'again and again');
const members = program.command('members').description('who belongs to it');
members.command('add').description('add a server').argument('<server>');
members.command('remove').argument('<server>');
program.command('completion').addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh']));
program.command('secret', { hidden: true });

const words = (...line: string[]) => complete(program, line).candidates.map(({ word }) => word);

it('offers commands, and the commands below one', () => {
  expect(words('')).toEqual(['cmd', 'members', 'completion', 'help']);
  expect(words('me')).toEqual(['members']);
  expect(complete(program, ['members', 'a'])).toEqual({
    candidates: [{ word: 'add', description: 'add a server' }],
  });
  expect(words('members', 'add', '')).toEqual([]);
});

it('offers the options of the command and of those above, once each, and no hidden ones', () => {
  expect(words('cmd', '--')).toEqual(['--ack', '--watch', '--help', '--version', '--nats']);
  expect(words('members', 'add', '--n')).toEqual(['--nats']);
});

it('offers the values of an option, and nothing where one of its own is wanted', () => {
  expect(words('cmd', '--ack', '')).toEqual(['applied', 'ordered']);
  expect(words('cmd', '--ack', 'o')).toEqual(['ordered']);
  expect(words('--nats', '')).toEqual([]);
});

it('goes on behind options with and without values', () => {
  expect(words('--nats', 'cmd', 'members', '')).toEqual(['add', 'remove', 'help']);
  expect(words('cmd', '--ack', 'ordered', '--a')).toEqual(['--ack']);
});

it('offers the choices of an argument, and says where a name of the cluster belongs', () => {
  expect(words('completion', 'z')).toEqual(['zsh']);
  expect(complete(program, ['cmd', 'kv.']).names).toBe('commands');
  expect(complete(program, ['cmd', 'kv.put', '']).names).toBeUndefined();
  expect(complete(program, ['cmd', '--ack', 'ordered', '']).names).toBe('commands');
});
