ALTER TABLE "rounds" ADD COLUMN "from_root" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "baseline_id" text;--> statement-breakpoint
UPDATE "rounds" SET "baseline_id" = "parent_id";