-- Run once by the administrator of an empty Postgres server, through psql: the database of one server of craft, and
-- two roles. craft owns nothing but what it makes there; craft_reader reads it. Their passwords are in files.
\set craft_password `cat /run/secrets/craft.password`
\set reader_password `cat /run/secrets/reader.password`

create role craft login password :'craft_password';
create database craft;
revoke all on database craft from public;
grant connect, create, temporary on database craft to craft;

\connect craft
grant usage, create on schema public to craft;
create role craft_reader login password :'reader_password';
grant connect on database craft to craft_reader;
grant usage on schema public to craft_reader;
grant craft to current_user;
alter default privileges for role craft grant select on tables to craft_reader;
revoke craft from current_user;
