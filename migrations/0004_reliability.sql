CREATE TABLE "new_pairs" (
	"preference_id" text PRIMARY KEY NOT NULL
);
--> statement-breakpoint
CREATE TABLE "preference_counts" (
	"source" text NOT NULL,
	"choice" text NOT NULL,
	"shard" integer NOT NULL,
	"count" bigint NOT NULL,
	CONSTRAINT "preference_counts_source_choice_shard_pk" PRIMARY KEY("source","choice","shard")
);
--> statement-breakpoint
CREATE TABLE "raters" (
	"name" text PRIMARY KEY NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD COLUMN "caller" text DEFAULT 'anonymous' NOT NULL;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD COLUMN "operation" text;--> statement-breakpoint
-- First, because two operations may have had the same key.
ALTER TABLE "idempotency_keys" DROP CONSTRAINT "idempotency_keys_pkey";--> statement-breakpoint
-- Until now the key began with the name of its operation. What was hashed was different too: a request that is repeated
-- after the upgrade gets a 409, and does not take effect twice.
UPDATE "idempotency_keys" SET "operation" = '/v1/' || split_part("key", ':', 1), "key" = substr("key", strpos("key", ':') + 1);--> statement-breakpoint
ALTER TABLE "idempotency_keys" ALTER COLUMN "operation" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_caller_operation_key_pk" PRIMARY KEY("caller","operation","key");--> statement-breakpoint
ALTER TABLE "policies" ADD COLUMN "xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "owner" text;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
ALTER TABLE "new_pairs" ADD CONSTRAINT "new_pairs_preference_id_preferences_id_fk" FOREIGN KEY ("preference_id") REFERENCES "public"."preferences"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "comparisons_order" ON "comparisons" USING btree ("xid","id");--> statement-breakpoint
CREATE INDEX "comparisons_a_generation" ON "comparisons" USING btree ("a_generation_id");--> statement-breakpoint
CREATE INDEX "comparisons_b_generation" ON "comparisons" USING btree ("b_generation_id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_created" ON "idempotency_keys" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "policies_order" ON "policies" USING btree ("xid","id");--> statement-breakpoint
-- Until now two trainers could publish one round: it keeps the policy that its row names, or else the newest.
UPDATE "policies" SET "round_id" = NULL WHERE "round_id" IS NOT NULL AND "id" NOT IN (
	SELECT DISTINCT ON ("policies"."round_id") "policies"."id"
	FROM "policies" LEFT JOIN "rounds" ON "rounds"."id" = "policies"."round_id"
	ORDER BY "policies"."round_id", "policies"."id" = "rounds"."policy_id" DESC NULLS LAST, "policies"."id" DESC
);--> statement-breakpoint
CREATE UNIQUE INDEX "policies_one_per_round" ON "policies" USING btree ("round_id");--> statement-breakpoint
CREATE INDEX "preferences_order" ON "preferences" USING btree ("xid","id");--> statement-breakpoint
CREATE INDEX "rounds_order" ON "rounds" USING btree ("xid","id");--> statement-breakpoint
CREATE INDEX "rounds_parent" ON "rounds" USING btree ("parent_id","id");--> statement-breakpoint
-- Fills new_pairs, preference_counts and raters with every preference that is inserted, by whatever code.
CREATE FUNCTION "count_new_preferences"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO new_pairs (preference_id)
		SELECT id FROM added WHERE choice IN ('a', 'b') AND chosen <> rejected;
	-- In one order, so that two imports never wait for each other.
	INSERT INTO raters (name) SELECT DISTINCT rater FROM added ORDER BY rater ON CONFLICT DO NOTHING;
	INSERT INTO preference_counts AS counts (source, choice, shard, count)
		SELECT source, choice, pg_backend_pid() % 16, count(*) FROM added GROUP BY source, choice ORDER BY source, choice
		ON CONFLICT (source, choice, shard) DO UPDATE SET count = counts.count + excluded.count;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER "preferences_inserted" AFTER INSERT ON "preferences"
	REFERENCING NEW TABLE AS "added" FOR EACH STATEMENT EXECUTE FUNCTION "count_new_preferences"();--> statement-breakpoint
INSERT INTO "raters" ("name") SELECT DISTINCT "rater" FROM "preferences";--> statement-breakpoint
INSERT INTO "preference_counts" SELECT "source", "choice", 0, count(*) FROM "preferences" GROUP BY "source", "choice";--> statement-breakpoint
-- Until now the pairs of every successful round counted as learned, even if the gate refused its policy.
WITH RECURSIVE "ancestors" AS (
	SELECT "policies"."id", "parent_id", "round_id" FROM "policies"
	WHERE "id" = (SELECT "policy_id" FROM "activations" ORDER BY "id" DESC LIMIT 1)
	UNION
	SELECT "policies"."id", "policies"."parent_id", "policies"."round_id"
	FROM "policies" JOIN "ancestors" ON "policies"."id" = "ancestors"."parent_id"
)
INSERT INTO "new_pairs" SELECT "id" FROM "preferences"
WHERE "choice" IN ('a', 'b') AND "chosen" <> "rejected" AND NOT EXISTS (
	SELECT 1 FROM "round_pairs" JOIN "ancestors" USING ("round_id") WHERE "preference_id" = "preferences"."id"
);
