CREATE TABLE "alerts" (
	"name" text PRIMARY KEY NOT NULL,
	"since" timestamp with time zone NOT NULL,
	"raised_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "canaries" (
	"id" text PRIMARY KEY NOT NULL,
	"policy_id" text NOT NULL,
	"baseline_id" text NOT NULL,
	"round_id" text,
	"state" text NOT NULL,
	"share" real NOT NULL,
	"reason" text,
	"promoted_at" timestamp with time zone,
	"ended_at" timestamp with time zone,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "canaries_state" CHECK (state in ('running', 'watching', 'kept', 'rolled_back', 'expired', 'cancelled')),
	CONSTRAINT "canaries_share" CHECK (share between 0 and 1)
);
--> statement-breakpoint
CREATE TABLE "heartbeats" (
	"name" text PRIMARY KEY NOT NULL,
	"seen_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "policy_minutes" (
	"policy_id" text NOT NULL,
	"minute" timestamp with time zone NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"load_failures" bigint DEFAULT 0 NOT NULL,
	"prompt_tokens" bigint DEFAULT 0 NOT NULL,
	"completion_tokens" bigint DEFAULT 0 NOT NULL,
	"seconds" double precision DEFAULT 0 NOT NULL,
	"first_tokens" bigint DEFAULT 0 NOT NULL,
	"first_token_log" double precision DEFAULT 0 NOT NULL,
	"first_token_log_squares" double precision DEFAULT 0 NOT NULL,
	"responses" bigint DEFAULT 0 NOT NULL,
	"length_stops" bigint DEFAULT 0 NOT NULL,
	"empty" bigint DEFAULT 0 NOT NULL,
	"length_log" double precision DEFAULT 0 NOT NULL,
	"length_log_squares" double precision DEFAULT 0 NOT NULL,
	"repetition" double precision DEFAULT 0 NOT NULL,
	"repetition_squares" double precision DEFAULT 0 NOT NULL,
	CONSTRAINT "policy_minutes_policy_id_minute_pk" PRIMARY KEY("policy_id","minute")
);
--> statement-breakpoint
CREATE TABLE "preference_facets" (
	"tenant" text NOT NULL,
	"facet" text NOT NULL,
	"value" text NOT NULL,
	"preference_id" text NOT NULL,
	CONSTRAINT "preference_facets_tenant_facet_value_preference_id_pk" PRIMARY KEY("tenant","facet","value","preference_id")
);
--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "canary_id" text;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "canary_id" text;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "dry_run" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "preview" jsonb;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "progress" jsonb;--> statement-breakpoint
ALTER TABLE "canaries" ADD CONSTRAINT "canaries_policy_id_policies_id_fk" FOREIGN KEY ("policy_id") REFERENCES "public"."policies"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "canaries" ADD CONSTRAINT "canaries_baseline_id_policies_id_fk" FOREIGN KEY ("baseline_id") REFERENCES "public"."policies"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "canaries" ADD CONSTRAINT "canaries_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "preference_facets" ADD CONSTRAINT "preference_facets_preference_id_preferences_id_fk" FOREIGN KEY ("preference_id") REFERENCES "public"."preferences"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "canaries_order" ON "canaries" USING btree ("xid","id");--> statement-breakpoint
CREATE INDEX "canaries_policy" ON "canaries" USING btree ("policy_id","id");--> statement-breakpoint
CREATE UNIQUE INDEX "canaries_one_running" ON "canaries" USING btree ("state") WHERE state = 'running';--> statement-breakpoint
CREATE UNIQUE INDEX "canaries_one_watching" ON "canaries" USING btree ("state") WHERE state = 'watching';--> statement-breakpoint
CREATE INDEX "policy_minutes_minute" ON "policy_minutes" USING btree ("minute");--> statement-breakpoint
CREATE INDEX "preference_facets_preference" ON "preference_facets" USING btree ("preference_id");--> statement-breakpoint
CREATE INDEX "audit_events_action" ON "audit_events" USING btree ("action","id");--> statement-breakpoint
CREATE INDEX "audit_events_actor" ON "audit_events" USING btree ("actor","id");--> statement-breakpoint
CREATE INDEX "audit_events_target" ON "audit_events" USING btree ("target","id");--> statement-breakpoint
CREATE INDEX "audit_events_created" ON "audit_events" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "comparisons_canary" ON "comparisons" USING btree ("canary_id") WHERE canary_id is not null;--> statement-breakpoint
CREATE INDEX "preferences_choice" ON "preferences" USING btree ("tenant","choice","id");--> statement-breakpoint
CREATE INDEX "preferences_source" ON "preferences" USING btree ("tenant","source","id");--> statement-breakpoint
CREATE INDEX "preferences_rater" ON "preferences" USING btree ("tenant","rater","id");--> statement-breakpoint
CREATE INDEX "preferences_search" ON "preferences" USING gin ((to_tsvector('simple', left("prompt"::text, 20000)) || to_tsvector('simple', left("chosen", 20000)) || to_tsvector('simple', left("rejected", 20000))));--> statement-breakpoint
-- Written by hand from here on; generating this file anew must keep it.
-- Fills new_pairs, preference_counts, voters and preference_facets with every preference that is inserted, by whatever code.
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
	-- Imports, and preferences between given texts, are about none of these. The subqueries are looks into indexes, whatever
	-- the planner thinks of the number of rows.
	INSERT INTO preference_facets (tenant, facet, value, preference_id)
		SELECT DISTINCT added.tenant, facets.facet, facets.value, added.id FROM added CROSS JOIN LATERAL (VALUES
			('policy', (SELECT completions.policy_id FROM generations JOIN completions ON completions.id = completion_id
				WHERE generations.id = added.chosen_generation_id)),
			('policy', (SELECT completions.policy_id FROM generations JOIN completions ON completions.id = completion_id
				WHERE generations.id = added.rejected_generation_id)),
			('queue', (SELECT queue_id FROM reservations WHERE reservations.id = added.reservation_id)),
			('canary', (SELECT canary_id FROM comparisons WHERE comparisons.id = added.comparison_id))
		) AS facets (facet, value)
		WHERE coalesce(added.chosen_generation_id, added.rejected_generation_id, added.reservation_id, added.comparison_id) IS NOT NULL
			AND facets.value IS NOT NULL AND facets.value <> 'given'
		ON CONFLICT DO NOTHING;
	RETURN NULL;
END $$;--> statement-breakpoint
-- Of the preferences before. None is of a canary.
INSERT INTO "preference_facets" ("tenant", "facet", "value", "preference_id")
	SELECT "tenant", 'policy', "policy_id", "id" FROM (
		SELECT "preferences"."tenant", "completions"."policy_id", "preferences"."id" FROM "preferences"
			JOIN "generations" ON "generations"."id" = "preferences"."chosen_generation_id"
			JOIN "completions" ON "completions"."id" = "generations"."completion_id"
		UNION
		SELECT "preferences"."tenant", "completions"."policy_id", "preferences"."id" FROM "preferences"
			JOIN "generations" ON "generations"."id" = "preferences"."rejected_generation_id"
			JOIN "completions" ON "completions"."id" = "generations"."completion_id"
	) AS "policies" WHERE "policy_id" <> 'given'
	UNION ALL
	SELECT "preferences"."tenant", 'queue', "reservations"."queue_id", "preferences"."id" FROM "preferences"
		JOIN "reservations" ON "reservations"."id" = "preferences"."reservation_id";
