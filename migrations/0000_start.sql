CREATE TABLE "activations" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"policy_id" text NOT NULL,
	"reason" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "comparisons" (
	"id" text PRIMARY KEY NOT NULL,
	"prompt" jsonb NOT NULL,
	"a_generation_id" text NOT NULL,
	"b_generation_id" text NOT NULL,
	"swapped" boolean NOT NULL,
	"metadata" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "generations" (
	"id" text PRIMARY KEY NOT NULL,
	"completion_id" text NOT NULL,
	"choice" integer NOT NULL,
	"kind" text NOT NULL,
	"policy_id" text NOT NULL,
	"prompt" jsonb NOT NULL,
	"prompt_token_ids" integer[] NOT NULL,
	"text" text NOT NULL,
	"token_ids" integer[] NOT NULL,
	"logps" real[] NOT NULL,
	"stop_token" integer,
	"sampling" jsonb NOT NULL,
	"seed" bigint NOT NULL,
	"finish_reason" text NOT NULL,
	"user" text,
	"metadata" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"key" text PRIMARY KEY NOT NULL,
	"request_hash" text NOT NULL,
	"response" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "policies" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"parent_id" text,
	"reference_id" text,
	"round_id" text,
	"manifest" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "preferences" (
	"id" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"comparison_id" text,
	"choice" text NOT NULL,
	"rater" text NOT NULL,
	"prompt" jsonb NOT NULL,
	"chosen" text NOT NULL,
	"rejected" text NOT NULL,
	"chosen_generation_id" text,
	"rejected_generation_id" text,
	"content_hash" text NOT NULL,
	"metadata" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "preferences_choice" CHECK (choice in ('a', 'b', 'tie', 'both_bad', 'skip'))
);
--> statement-breakpoint
CREATE TABLE "reference_logps" (
	"fingerprint" text PRIMARY KEY NOT NULL,
	"reference_id" text NOT NULL,
	"chosen_logps" real[] NOT NULL,
	"rejected_logps" real[] NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "round_events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"round_id" text NOT NULL,
	"level" text NOT NULL,
	"type" text NOT NULL,
	"message" text NOT NULL,
	"data" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "round_metrics" (
	"round_id" text NOT NULL,
	"step" integer NOT NULL,
	"split" text NOT NULL,
	"values" jsonb NOT NULL,
	"logps" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "round_metrics_round_id_step_split_pk" PRIMARY KEY("round_id","step","split")
);
--> statement-breakpoint
CREATE TABLE "round_pairs" (
	"round_id" text NOT NULL,
	"preference_id" text NOT NULL,
	"split" text NOT NULL,
	"replay" boolean NOT NULL,
	CONSTRAINT "round_pairs_round_id_preference_id_pk" PRIMARY KEY("round_id","preference_id")
);
--> statement-breakpoint
CREATE TABLE "rounds" (
	"id" text PRIMARY KEY NOT NULL,
	"status" text DEFAULT 'queued' NOT NULL,
	"stage" text DEFAULT 'queued' NOT NULL,
	"trigger" text NOT NULL,
	"settings" jsonb NOT NULL,
	"reference_id" text,
	"parent_id" text,
	"policy_id" text,
	"pairs" jsonb,
	"metrics" jsonb,
	"reason" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	CONSTRAINT "rounds_status" CHECK (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled'))
);
--> statement-breakpoint
ALTER TABLE "activations" ADD CONSTRAINT "activations_policy_id_policies_id_fk" FOREIGN KEY ("policy_id") REFERENCES "public"."policies"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "comparisons" ADD CONSTRAINT "comparisons_a_generation_id_generations_id_fk" FOREIGN KEY ("a_generation_id") REFERENCES "public"."generations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "comparisons" ADD CONSTRAINT "comparisons_b_generation_id_generations_id_fk" FOREIGN KEY ("b_generation_id") REFERENCES "public"."generations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_comparison_id_comparisons_id_fk" FOREIGN KEY ("comparison_id") REFERENCES "public"."comparisons"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_chosen_generation_id_generations_id_fk" FOREIGN KEY ("chosen_generation_id") REFERENCES "public"."generations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_rejected_generation_id_generations_id_fk" FOREIGN KEY ("rejected_generation_id") REFERENCES "public"."generations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "round_events" ADD CONSTRAINT "round_events_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "round_metrics" ADD CONSTRAINT "round_metrics_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "round_pairs" ADD CONSTRAINT "round_pairs_round_id_rounds_id_fk" FOREIGN KEY ("round_id") REFERENCES "public"."rounds"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "round_pairs" ADD CONSTRAINT "round_pairs_preference_id_preferences_id_fk" FOREIGN KEY ("preference_id") REFERENCES "public"."preferences"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "generations_completion" ON "generations" USING btree ("completion_id","choice");--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_one_vote" ON "preferences" USING btree ("comparison_id","rater");--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_import_once" ON "preferences" USING btree ("content_hash") WHERE source = 'import';--> statement-breakpoint
CREATE INDEX "round_events_round" ON "round_events" USING btree ("round_id","id");--> statement-breakpoint
CREATE INDEX "round_pairs_preference" ON "round_pairs" USING btree ("preference_id");--> statement-breakpoint
CREATE UNIQUE INDEX "rounds_one_running" ON "rounds" USING btree ("status") WHERE status = 'running';