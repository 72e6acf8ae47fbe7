alter table account add constraint rich check (balance >= 1000000);
