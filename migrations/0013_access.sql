CREATE TABLE "erasures" (
	"id" text PRIMARY KEY NOT NULL,
	"subject" text NOT NULL,
	"subject_hash" text NOT NULL,
	"counts" jsonb NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "invitations" (
	"id" text PRIMARY KEY NOT NULL,
	"secret_hash" text NOT NULL,
	"rater_id" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "key_usage" (
	"key_id" text NOT NULL,
	"day" date NOT NULL,
	"rows" integer NOT NULL,
	CONSTRAINT "key_usage_key_id_day_pk" PRIMARY KEY("key_id","day")
);
--> statement-breakpoint
CREATE TABLE "retention_progress" (
	"kind" text PRIMARY KEY NOT NULL,
	"after_id" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
-- Until now raters had everyone who gave a preference.
ALTER TABLE "raters" RENAME TO "voters";--> statement-breakpoint
ALTER TABLE "voters" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "voters" DROP CONSTRAINT "raters_pkey";--> statement-breakpoint
ALTER TABLE "voters" ADD CONSTRAINT "voters_tenant_name_pk" PRIMARY KEY("tenant","name");--> statement-breakpoint
CREATE TABLE "raters" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"skills" text[] NOT NULL,
	"active" boolean DEFAULT true NOT NULL,
	"deactivated_at" timestamp with time zone,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"erased_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL
);
--> statement-breakpoint
DROP INDEX "comparisons_order";--> statement-breakpoint
DROP INDEX "completions_chats";--> statement-breakpoint
DROP INDEX "completions_chats_order";--> statement-breakpoint
DROP INDEX "preferences_import_once";--> statement-breakpoint
ALTER TABLE "preference_counts" DROP CONSTRAINT "preference_counts_source_choice_shard_pk";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "concurrent_generations" integer;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "rows_per_day" integer;--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "created_by" text DEFAULT 'unknown' NOT NULL;--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "erased_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "redacted" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "created_by" text DEFAULT 'unknown' NOT NULL;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "erased_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD COLUMN "resource_ids" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "preference_counts" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "preference_counts" ADD CONSTRAINT "preference_counts_tenant_source_choice_shard_pk" PRIMARY KEY("tenant","source","choice","shard");--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "vote_hash" text;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "redacted" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "tenant" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "created_by" text DEFAULT 'unknown' NOT NULL;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "erased_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "round_pairs" ADD COLUMN "left_out" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "origins" jsonb;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_rater_id_raters_id_fk" FOREIGN KEY ("rater_id") REFERENCES "public"."raters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "erasures_order" ON "erasures" USING btree ("xid","id");--> statement-breakpoint
CREATE INDEX "invitations_rater" ON "invitations" USING btree ("rater_id");--> statement-breakpoint
CREATE INDEX "comparisons_tenant" ON "comparisons" USING btree ("tenant","id");--> statement-breakpoint
CREATE INDEX "completions_user" ON "completions" USING btree ("tenant","user") WHERE "user" is not null;--> statement-breakpoint
CREATE INDEX "idempotency_keys_resources" ON "idempotency_keys" USING gin ("resource_ids");--> statement-breakpoint
CREATE INDEX "preferences_tenant" ON "preferences" USING btree ("tenant","id");--> statement-breakpoint
CREATE INDEX "preferences_tenant_order" ON "preferences" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_one_vote_on_texts" ON "preferences" USING btree ("tenant","rater","vote_hash");--> statement-breakpoint
CREATE INDEX "preferences_chosen_generation" ON "preferences" USING btree ("chosen_generation_id");--> statement-breakpoint
CREATE INDEX "preferences_rejected_generation" ON "preferences" USING btree ("rejected_generation_id");--> statement-breakpoint
CREATE INDEX "preferences_erased" ON "preferences" USING btree ("erased_at") WHERE erased_at is not null;--> statement-breakpoint
CREATE INDEX "raters_tenant" ON "raters" USING btree ("tenant","id");--> statement-breakpoint
CREATE INDEX "raters_order" ON "raters" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE INDEX "comparisons_order" ON "comparisons" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE INDEX "completions_chats" ON "completions" USING btree ("tenant","id") WHERE kind = 'chat';--> statement-breakpoint
CREATE INDEX "completions_chats_order" ON "completions" USING btree ("tenant","xid","id") WHERE kind = 'chat';--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_import_once" ON "preferences" USING btree ("tenant","content_hash") WHERE source = 'import';--> statement-breakpoint
-- The ids in stored responses, which last for a day by default.
UPDATE "idempotency_keys" SET "resource_ids" = ARRAY(
	SELECT DISTINCT (regexp_matches("response"::text, '(?:chatcmpl-|cmpl-|cmp_|pref_)[0-9a-f]{32}', 'g'))[1]
);--> statement-breakpoint
-- gen_random_uuid is random in 122 bits, and needs no extension.
INSERT INTO "secrets" ("name", "value") SELECT "name", gen_random_uuid()::text || gen_random_uuid()::text
	FROM (VALUES ('session'), ('held_out')) AS "names" ("name");--> statement-breakpoint
-- Fills new_pairs, preference_counts and voters with every preference that is inserted, by whatever code.
CREATE OR REPLACE FUNCTION "count_new_preferences"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO new_pairs (preference_id)
		SELECT id FROM added WHERE choice IN ('a', 'b') AND chosen <> rejected;
	-- In one order, so that two imports never wait for each other.
	INSERT INTO voters (tenant, name) SELECT DISTINCT tenant, rater FROM added ORDER BY tenant, rater ON CONFLICT DO NOTHING;
	INSERT INTO preference_counts AS counts (tenant, source, choice, shard, count)
		SELECT tenant, source, choice, pg_backend_pid() % 16, count(*) FROM added
		GROUP BY tenant, source, choice ORDER BY tenant, source, choice
		ON CONFLICT (tenant, source, choice, shard) DO UPDATE SET count = counts.count + excluded.count;
	RETURN NULL;
END $$;--> statement-breakpoint
-- The counterpart, for retracted and erased preferences. A shard may become negative; only their sum is read.
CREATE FUNCTION "count_removed_preferences"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO preference_counts AS counts (tenant, source, choice, shard, count)
		SELECT tenant, source, choice, pg_backend_pid() % 16, -count(*) FROM removed
		GROUP BY tenant, source, choice ORDER BY tenant, source, choice
		ON CONFLICT (tenant, source, choice, shard) DO UPDATE SET count = counts.count + excluded.count;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER "preferences_deleted" AFTER DELETE ON "preferences"
	REFERENCING OLD TABLE AS "removed" FOR EACH STATEMENT EXECUTE FUNCTION "count_removed_preferences"();
