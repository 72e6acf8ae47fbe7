/** Which migrations would begin or end the transaction that they run in. */
import { expect, it } from 'vitest';
import { transactionControlIn } from '../../../shared/engine/migration-text.js';

it.each([
  ['commit', 'commit'],
  ['create table a (); COMMIT WORK; drop table a', 'commit'],
  ['begin;\ncreate table a ()', 'begin'],
  ['-- first\n/* then */ start   transaction', 'start transaction'],
  ['create table a (); end', 'end'],
  ['rollback', 'rollback'],
  ["select 'it''s'; abort", 'abort'],
  ["select e'it\\'s'; commit", 'commit'],
  ['do $$ begin end $$; commit', 'commit'],
  ["prepare transaction 'x'", 'prepare transaction'],
])('finds it in %j', (sql, word) => {
  expect(transactionControlIn(sql)).toBe(word);
});

it.each([
  'create table "commit" (a text); insert into "commit" values (\'; commit;\')',
  '-- ; commit\n/* ; commit; */ select 1',
  'create function f() returns trigger language plpgsql as $body$ begin return new; end; $body$',
  'do $$ begin perform 1; end $$',
  'create function g() returns int language sql begin atomic select 1; select 2; end',
  'savepoint a; rollback to savepoint a; release a',
  'alter table committed add column ending text; create table beginnings (a int)',
  'create table a (b text default $$; commit; $$)',
])('finds none in %j', (sql) => {
  expect(transactionControlIn(sql)).toBeUndefined();
});
