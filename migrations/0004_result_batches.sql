CREATE TABLE "craft"."result_batches" (
	"number" bigint PRIMARY KEY NOT NULL,
	"merged_index" bigint NOT NULL,
	"timestamp" bigint NOT NULL,
	"ids" text NOT NULL,
	"outcomes" text NOT NULL
);
--> statement-breakpoint
ALTER TABLE "craft"."result_batches" ALTER COLUMN "ids" SET STORAGE EXTERNAL, ALTER COLUMN "outcomes" SET STORAGE EXTERNAL;
