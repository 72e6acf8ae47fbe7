ALTER TABLE "craft"."position" ADD COLUMN "divergence" text;--> statement-breakpoint
ALTER TABLE "craft"."position" ADD COLUMN "tables" text[];