ALTER TABLE "craft"."position" ADD COLUMN "machine" text;--> statement-breakpoint
ALTER TABLE "craft"."position" ADD COLUMN "version" integer;