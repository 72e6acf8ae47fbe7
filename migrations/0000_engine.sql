CREATE SCHEMA IF NOT EXISTS "craft";
--> statement-breakpoint
CREATE TABLE "kv" (
	"key" text COLLATE "C" PRIMARY KEY NOT NULL,
	"value" jsonb NOT NULL,
	"version" bigint NOT NULL,
	"merged_index" bigint NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "craft"."position" (
	"id" integer PRIMARY KEY NOT NULL,
	"merged_index" bigint NOT NULL,
	"checksum" text NOT NULL,
	"results_checksum" text NOT NULL,
	"timestamp" bigint NOT NULL,
	"positions" bigint[] NOT NULL,
	"terms" bigint[] NOT NULL,
	"timestamps" bigint[] NOT NULL,
	"epoch" bigint NOT NULL,
	"server" text NOT NULL,
	CONSTRAINT "position_is_one_row" CHECK ("craft"."position"."id" = 1)
);
--> statement-breakpoint
CREATE TABLE "craft"."results" (
	"id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"merged_index" bigint NOT NULL,
	"group" integer NOT NULL,
	"timestamp" bigint NOT NULL,
	"ok" boolean NOT NULL,
	"outcome" text NOT NULL
);
--> statement-breakpoint
CREATE INDEX "results_timestamp" ON "craft"."results" USING btree ("timestamp");