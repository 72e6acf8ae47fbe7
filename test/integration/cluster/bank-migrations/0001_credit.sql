alter table account add column credit bigint not null default 0;
--> statement-breakpoint
update account set credit = balance / 10;
