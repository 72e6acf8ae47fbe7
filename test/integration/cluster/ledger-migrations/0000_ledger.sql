create table ledger (id text primary key, at bigint not null);
