CREATE TABLE "feedback" (
	"id" text PRIMARY KEY NOT NULL,
	"generation_id" text NOT NULL,
	"rater" text NOT NULL,
	"thumb" integer,
	"score" real,
	"comment" text,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"demonstration" text,
	"preference_id" text,
	"redacted" boolean DEFAULT false NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"erased_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "feedback_thumb" CHECK (thumb in (-1, 1)),
	CONSTRAINT "feedback_score" CHECK (score between 0 and 1)
);
--> statement-breakpoint
CREATE TABLE "queue_guidelines" (
	"queue_id" text NOT NULL,
	"version" integer NOT NULL,
	"text" text NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "queue_guidelines_queue_id_version_pk" PRIMARY KEY("queue_id","version")
);
--> statement-breakpoint
CREATE TABLE "queue_items" (
	"id" text PRIMARY KEY NOT NULL,
	"queue_id" text NOT NULL,
	"kind" text DEFAULT 'rated' NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"prompt" jsonb NOT NULL,
	"content_hash" text NOT NULL,
	"prompt_group" text DEFAULT '' NOT NULL,
	"given" text,
	"comparison_id" text,
	"expected" text,
	"explanation" text,
	"reason" text,
	"drawn_from" text,
	"reviews" integer DEFAULT 0 NOT NULL,
	"skips" integer DEFAULT 0 NOT NULL,
	"redacted" boolean DEFAULT false NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"erased_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "queue_items_kind" CHECK (kind in ('rated', 'gold', 'calibration')),
	CONSTRAINT "queue_items_state" CHECK (state in ('pending', 'open', 'done', 'dropped'))
);
--> statement-breakpoint
CREATE TABLE "queue_raters" (
	"queue_id" text NOT NULL,
	"rater" text NOT NULL,
	"calibrated_at" timestamp with time zone,
	"paused_at" timestamp with time zone,
	"paused_reason" text,
	"resumed_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "queue_raters_queue_id_rater_pk" PRIMARY KEY("queue_id","rater")
);
--> statement-breakpoint
CREATE TABLE "queues" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"status" text DEFAULT 'open' NOT NULL,
	"settings" jsonb NOT NULL,
	"guidelines_version" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"erased_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "queues_status" CHECK (status in ('open', 'closed'))
);
--> statement-breakpoint
CREATE TABLE "reservations" (
	"id" text PRIMARY KEY NOT NULL,
	"queue_id" text NOT NULL,
	"item_id" text NOT NULL,
	"rater" text NOT NULL,
	"purpose" text DEFAULT 'vote' NOT NULL,
	"state" text DEFAULT 'open' NOT NULL,
	"swapped" boolean NOT NULL,
	"probability" real NOT NULL,
	"guidelines_version" integer NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"finished_at" timestamp with time zone,
	"requeued" boolean DEFAULT false NOT NULL,
	"choice" text,
	"strength" text,
	"seconds" real,
	"remarks" jsonb,
	"tenant" text DEFAULT 'default' NOT NULL,
	"created_by" text DEFAULT 'unknown' NOT NULL,
	"erased_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "reservations_purpose" CHECK (purpose in ('vote', 'gold', 'calibration', 'repeat')),
	CONSTRAINT "reservations_state" CHECK (state in ('open', 'voted', 'skipped', 'lapsed'))
);
--> statement-breakpoint
ALTER TABLE "comparisons" ADD COLUMN "queue_id" text;--> statement-breakpoint
ALTER TABLE "completions" ADD COLUMN "regenerated_from" text;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "strength" text;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "tags" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "comment" text;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "seconds" real;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "reservation_id" text;--> statement-breakpoint
ALTER TABLE "preferences" ADD COLUMN "edit_of" text;--> statement-breakpoint
ALTER TABLE "feedback" ADD CONSTRAINT "feedback_generation_id_generations_id_fk" FOREIGN KEY ("generation_id") REFERENCES "public"."generations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "queue_guidelines" ADD CONSTRAINT "queue_guidelines_queue_id_queues_id_fk" FOREIGN KEY ("queue_id") REFERENCES "public"."queues"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "queue_items" ADD CONSTRAINT "queue_items_queue_id_queues_id_fk" FOREIGN KEY ("queue_id") REFERENCES "public"."queues"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "queue_items" ADD CONSTRAINT "queue_items_comparison_id_comparisons_id_fk" FOREIGN KEY ("comparison_id") REFERENCES "public"."comparisons"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "queue_raters" ADD CONSTRAINT "queue_raters_queue_id_queues_id_fk" FOREIGN KEY ("queue_id") REFERENCES "public"."queues"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "reservations" ADD CONSTRAINT "reservations_queue_id_queues_id_fk" FOREIGN KEY ("queue_id") REFERENCES "public"."queues"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "reservations" ADD CONSTRAINT "reservations_item_id_queue_items_id_fk" FOREIGN KEY ("item_id") REFERENCES "public"."queue_items"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "feedback_one_per_rater" ON "feedback" USING btree ("generation_id","rater","created_by");--> statement-breakpoint
CREATE INDEX "feedback_tenant" ON "feedback" USING btree ("tenant","id");--> statement-breakpoint
CREATE INDEX "feedback_order" ON "feedback" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE UNIQUE INDEX "queue_items_once" ON "queue_items" USING btree ("queue_id","content_hash");--> statement-breakpoint
CREATE INDEX "queue_items_next" ON "queue_items" USING btree ("queue_id","kind","state","reviews");--> statement-breakpoint
CREATE INDEX "queue_items_tenant" ON "queue_items" USING btree ("tenant","id");--> statement-breakpoint
CREATE INDEX "queue_items_order" ON "queue_items" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE INDEX "queue_items_comparison" ON "queue_items" USING btree ("comparison_id");--> statement-breakpoint
CREATE INDEX "queue_items_drawn" ON "queue_items" USING btree ("drawn_from") WHERE drawn_from is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "queues_name" ON "queues" USING btree ("tenant","name");--> statement-breakpoint
CREATE INDEX "queues_order" ON "queues" USING btree ("tenant","xid","id");--> statement-breakpoint
CREATE INDEX "reservations_rater" ON "reservations" USING btree ("queue_id","rater","id");--> statement-breakpoint
CREATE INDEX "reservations_item" ON "reservations" USING btree ("item_id");--> statement-breakpoint
CREATE INDEX "reservations_open" ON "reservations" USING btree ("queue_id","expires_at") WHERE state = 'open';--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_reservation_id_reservations_id_fk" FOREIGN KEY ("reservation_id") REFERENCES "public"."reservations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_one_implicit" ON "preferences" USING btree ("rejected_generation_id") WHERE source = 'implicit';--> statement-breakpoint
CREATE UNIQUE INDEX "preferences_one_per_reservation" ON "preferences" USING btree ("reservation_id","source");--> statement-breakpoint
CREATE INDEX "preferences_edits" ON "preferences" USING btree ("edit_of") WHERE edit_of is not null;--> statement-breakpoint
ALTER TABLE "preferences" ADD CONSTRAINT "preferences_strength" CHECK (strength in ('slightly', 'clearly', 'much'));