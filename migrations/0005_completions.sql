CREATE TABLE "completions" (
	"id" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"policy_id" text NOT NULL,
	"prompt" jsonb NOT NULL,
	"prompt_token_ids" integer[] NOT NULL,
	"sampling" jsonb NOT NULL,
	"seed" bigint NOT NULL,
	"user" text,
	"metadata" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL
);
--> statement-breakpoint
-- The first choice may be missing: an interrupted choice without tokens is not stored.
INSERT INTO "completions" SELECT DISTINCT ON ("completion_id")
	"completion_id", "kind", "policy_id", "prompt", "prompt_token_ids", "sampling", "seed", "user", "metadata", "created_at"
FROM "generations" ORDER BY "completion_id", "choice";--> statement-breakpoint
UPDATE "completions" SET "kind" = 'comparison' FROM "comparisons" JOIN "generations" ON "generations"."id" IN ("a_generation_id", "b_generation_id")
WHERE "completion_id" = "completions"."id";--> statement-breakpoint
CREATE INDEX "completions_chats" ON "completions" USING btree ("id") WHERE kind = 'chat';--> statement-breakpoint
CREATE INDEX "completions_chats_order" ON "completions" USING btree ("xid","id") WHERE kind = 'chat';--> statement-breakpoint
ALTER TABLE "generations" ADD CONSTRAINT "generations_completion_id_completions_id_fk" FOREIGN KEY ("completion_id") REFERENCES "public"."completions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "kind";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "policy_id";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "prompt";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "prompt_token_ids";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "sampling";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "seed";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "user";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "metadata";--> statement-breakpoint
ALTER TABLE "generations" DROP COLUMN "created_at";--> statement-breakpoint
-- Until now a prompt that is JSON ("0", "null") was parsed when it was read, and a vote stored what had been read.
UPDATE "preferences" SET "prompt" = "comparisons"."prompt" FROM "comparisons"
WHERE "comparisons"."id" = "comparison_id" AND "comparisons"."prompt" <> "preferences"."prompt";--> statement-breakpoint
UPDATE "preferences" SET "prompt" = "completions"."prompt"
FROM "generations" JOIN "completions" ON "completions"."id" = "completion_id"
WHERE "source" = 'generations' AND "generations"."id" = "chosen_generation_id" AND "completions"."prompt" <> "preferences"."prompt";--> statement-breakpoint
UPDATE "idempotency_keys" SET "response" = jsonb_set("response", '{prompt}', "prompt") FROM "preferences"
WHERE "operation" = '/v1/preferences' AND "id" = "response" ->> 'id' AND "prompt" <> "response" -> 'prompt';
