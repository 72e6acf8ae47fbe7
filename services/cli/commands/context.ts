/** `craft context`, and what a context does: its settings take the place of defaults. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CONTEXT_KEYS, type Context, ContextError, Contexts } from '../contexts.js';
import { examples, print } from '../kit.js';

const FILES: ReadonlySet<keyof Context> = new Set(['creds', 'nkey', 'tlsCa', 'tlsCert', 'tlsKey']);

/** They ask no cluster: a file of contexts that is damaged does not keep them from working. */
const WITHOUT_CLUSTER: ReadonlySet<string> = new Set(['dev', 'init', 'nats-config', 'completion']);

export function addContext(program: Command): void {
  const context = program
    .command('context')
    .description('named connection settings, so that they need not be repeated')
    .addHelpText(
      'after',
      `\nAn option overrides the environment, the environment overrides the context,\nand the context overrides the default.\n${examples(
        'craft context add production --nats nats://n1 --creds ~/ops.creds --select',
        'craft --context production status',
      )}`,
    );
  context
    .command('list')
    .description('list all contexts; the selected one has an asterisk')
    .action(async () => {
      const contexts = await Contexts.read();
      for (const name of contexts.names) {
        const { nats = '-', cluster = 'craft' } = contexts.get(name);
        print(`${name === contexts.selected ? '*' : ' '} ${name}  ${withoutPassword(nats)}  ${cluster}`);
      }
    });
  context
    .command('show')
    .description('print the settings of a context as JSON, without passwords')
    .argument('<name>')
    .action(async (name: string) => {
      const { nats, ...others } = (await Contexts.read()).get(name);
      print({ ...(nats !== undefined && { nats: withoutPassword(nats) }), ...others });
    });
  context
    .command('add')
    .description('keep the address, the cluster and the credentials of this call under a name')
    .argument('<name>')
    .option('--select', 'use it from now on', false)
    .action(async (name: string, { select }: { select: boolean }) => {
      const settings = given(program);
      if (Object.keys(settings).length === 0)
        throw new ContextError('nothing to keep: give at least one setting, for example --nats');
      const contexts = await Contexts.read();
      await contexts.put(name, settings);
      if (select) await contexts.select(name);
    });
  context
    .command('select')
    .description('use a context from now on')
    .argument('<name>')
    .action(async (name: string) => (await Contexts.read()).select(name));
  context
    .command('remove')
    .description('forget a context')
    .argument('<name>')
    .action(async (name: string) => (await Contexts.read()).remove(name));
  program.hook('preAction', async (_program, action) => {
    const isWithoutCluster = action.parent === context || WITHOUT_CLUSTER.has(action.name());
    if (!isWithoutCluster) await applyContext(program);
  });
}

/** The settings of this call: options, and what the environment has. */
function given(program: Command): Context {
  const options = program.opts<Context>();
  // An empty variable is none.
  const isGiven = (key: keyof Context) => ['cli', 'env'].includes(program.getOptionValueSource(key) ?? '');
  const keys = CONTEXT_KEYS.filter((key) => isGiven(key) && options[key] !== '');
  return Object.fromEntries(keys.map((key) => [key, absolute(key, options[key])]));
}

/** Contexts are used in any folder. */
function absolute<V>(key: keyof Context, value: V): V | string {
  return FILES.has(key) && typeof value === 'string' ? resolve(value) : value;
}

/**
 * Settings of the context that is named, or else selected, where neither an option nor the
 * environment has one.
 */
async function applyContext(program: Command): Promise<void> {
  const named = program.opts<{ context?: string }>().context;
  const contexts = await Contexts.read();
  const name = named ?? contexts.selected;
  if (name === undefined) return;
  for (const [key, value] of Object.entries(contexts.get(name))) {
    const source = program.getOptionValueSource(key);
    if (source === undefined || source === 'default') program.setOptionValueWithSource(key, value, 'context');
  }
}

/** Addresses for the eyes of others. */
function withoutPassword(nats: string): string {
  return nats.replaceAll(/\/\/[^@/,]*@/g, '//…@');
}
