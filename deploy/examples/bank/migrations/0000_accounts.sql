CREATE TABLE "accounts" (
	"account" text PRIMARY KEY NOT NULL,
	"cents" bigint NOT NULL,
	"changed_at" bigint NOT NULL,
	CONSTRAINT "cents_not_negative" CHECK (cents >= 0)
);
