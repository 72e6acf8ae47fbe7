/** Inboxes with a prefix of their own, and which reply subjects a service answers. */
import { describe, expect, it } from 'vitest';
import { INBOX_PREFIX, INBOX_PREFIX_DEFAULT } from '../../../shared/wire/inbox-prefix.js';
import { ReplyGuard } from '../../../shared/wire/reply-guard.js';
import { Subjects } from '../../../shared/wire/subjects.js';

describe('which reply subjects a service answers', () => {
  const refused: string[] = [];
  const guardOf = (prefix: string) => new ReplyGuard(new Subjects('craft'), prefix, (reply) => refused.push(reply));
  const guard = guardOf('_INBOX_services');

  it.each(['craft.log.s1', 'craft.registered.s4', 'craft.cmd.kv.put', '$JS.API.INFO', '$SYS.x', '$O.B.C.x', '$KV.b.k'])(
    'never %s',
    (reply) => {
      refused.length = 0;
      expect([guard.allowsClient(reply), guard.allowsService(reply)]).toEqual([false, false]);
      expect(refused).toEqual([reply, reply]);
    },
  );

  it('an inbox of the services for services alone', () => {
    refused.length = 0;
    for (const reply of ['_INBOX_services', '_INBOX_services.x.1']) {
      expect([guard.allowsClient(reply), guard.allowsService(reply)], reply).toEqual([false, true]);
    }
    expect(refused).toEqual(['_INBOX_services', '_INBOX_services.x.1']);
  });

  it('every other inbox, those of a request from another account, and none at all', () => {
    refused.length = 0;
    for (const reply of ['_INBOX.x', '_INBOX_services2.x', '_R_.abc.def', 'crafty.x', '', undefined]) {
      expect([guard.allowsClient(reply), guard.allowsService(reply)], reply).toEqual([true, true]);
    }
    // Clients have the default prefix, too.
    expect(guardOf(INBOX_PREFIX_DEFAULT).allowsClient(`${INBOX_PREFIX_DEFAULT}.x`)).toBe(true);
    expect(refused).toEqual([]);
  });
});

it('a prefix of inboxes is made of tokens without wildcards', () => {
  for (const right of ['_INBOX', 'a', 'a.b-c._d']) expect(right).toMatch(INBOX_PREFIX);
  for (const wrong of ['', '.', 'a.', '.a', 'a..b', '*', 'a.>', 'a b', '$JS', 'é'])
    expect(wrong).not.toMatch(INBOX_PREFIX);
});
