alter table ledger add column amount integer not null default 0;
--> statement-breakpoint
create index ledger_at on ledger (at);
