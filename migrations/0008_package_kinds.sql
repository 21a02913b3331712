ALTER TABLE "policies" ADD COLUMN "kind" text DEFAULT 'policy' NOT NULL;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "method" text DEFAULT 'dil' NOT NULL;--> statement-breakpoint
ALTER TABLE "policies" ADD CONSTRAINT "policies_kind" CHECK (kind in ('policy', 'reward'));--> statement-breakpoint
ALTER TABLE "rounds" ADD CONSTRAINT "rounds_method" CHECK (method in ('dil', 'reward'));