/** `craft cmd`, `craft query`, `craft commands`: what clients do. */
import { type Command, Option } from 'commander';
import { commandsTable, inputSchema } from '../description.js';
import { examples, inputOf, integer, print, withSession } from '../kit.js';

export function addCalls(program: Command): void {
  program
    .command('cmd')
    .description('run a command and print its reply')
    .argument('<name>', 'for example kv.put')
    .argument('<json>', 'the input; @FILE reads a file, - reads standard input')
    .option('--group <g>', "send it to this group's leader", integer(0))
    .option('--id <id>', 'idempotency id: commands with the same id take effect once')
    .addOption(new Option('--ack <when>', 'when to answer').choices(['applied', 'ordered', 'committed']))
    .option('--after <timestamp>', 'order it after this timestamp (microseconds)', integer(1))
    .addHelpText(
      'after',
      examples(
        'craft cmd kv.put \'{"key":"a","value":{"n":1}}\' --id order-17',
        'craft cmd kv.txn @changes.json --ack committed',
      ),
    )
    .action(async (name: string, given: string, options: object) => {
      const input = await inputOf(given, program);
      await withSession(program, async ({ client }) => print(await client.command(name, input, options)));
    });

  program
    .command('query')
    .description('read, and print the result')
    .argument('<name>', 'for example kv.get')
    .argument('<json>', 'the input; @FILE reads a file, - reads standard input')
    .addOption(new Option('--consistency <which>', 'which state to read').choices(['linearizable', 'local']))
    .addHelpText(
      'after',
      examples('craft query kv.get \'{"key":"a"}\'', 'craft query kv.list \'{"prefix":"order-"}\' --consistency local'),
    )
    .action(async (name: string, given: string, options: object) => {
      const input = await inputOf(given, program);
      await withSession(program, async ({ client }) =>
        print(JSON.stringify((await client.query(name, input, options)) ?? null)),
      );
    });

  program
    .command('commands')
    .description('list the commands and queries of the cluster, with their inputs')
    .argument('[name]', 'print the JSON Schema of the input of this one')
    .option('--json', 'all, as JSON with JSON Schemas')
    .addHelpText('after', examples('craft commands', 'craft commands kv.put'))
    .action((name: string | undefined, { json: asJson = false }: { json?: boolean }) =>
      withSession(program, async ({ client }) => {
        const description = await client.describe();
        if (name !== undefined) print(JSON.stringify(inputSchema(description, name), undefined, 2));
        else print(asJson ? description : commandsTable(description));
      }),
    );
}
