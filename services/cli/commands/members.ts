/** `craft members`. */
import type { Command } from 'commander';
import { CraftError } from '../../../shared/client/errors.js';
import { examples, jsonOption, print, printAll, waitOption, withSession } from '../kit.js';
import type { MembersAdmin } from '../members.js';
import { withProgress } from '../progress.js';
import type { GlobalOptions } from '../session.js';
import { membersTable } from '../table.js';

/** Changes of members take as long as a new server needs to catch up (milliseconds). */
const MEMBERS_MS = 600_000;

export function addMembers(program: Command): void {
  const members = program
    .command('members')
    .description('list, add and remove servers')
    .addHelpText('after', examples('craft members list', 'craft members add s4', 'craft members remove s1'));
  const wait = () => waitOption('for the whole change', MEMBERS_MS);
  const admin = (work: (admin: MembersAdmin) => Promise<void>, timeoutMs: number) =>
    withSession(program, async ({ connection, client, subjects }) => {
      const groups = (await client.status())[0]?.groups.length;
      if (groups === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
      const { MembersAdmin } = await import('../members.js');
      await work(new MembersAdmin({ connection, subjects, groups, timeoutMs, print }));
    });
  members
    .command('list')
    .description('list the voters and learners of every group')
    .addOption(jsonOption())
    .action(({ json }: { json: boolean }) =>
      admin(
        (one) => printAll(json, membersTable, async (show) => (await one.list()).forEach(show)),
        program.opts<GlobalOptions>().timeout,
      ),
    );
  members
    .command('add')
    .description('add a server that has been started with CRAFT_JOIN=true')
    .argument('<server>')
    .addOption(wait())
    .action((server: string, options: { wait: number }) =>
      admin((one) => withProgress(`adding ${server}`, () => one.add(server)), options.wait),
    );
  members
    .command('remove')
    .description('remove a server; stop it afterwards')
    .argument('<server>')
    .addOption(wait())
    .action((server: string, options: { wait: number }) =>
      admin((one) => withProgress(`removing ${server}`, () => one.remove(server)), options.wait),
    );
}
