CREATE TABLE "answer_batches" (
	"id" text PRIMARY KEY NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "answer_counts" (
	"method" text NOT NULL,
	"route" text NOT NULL,
	"status" integer NOT NULL,
	"bucket" integer NOT NULL,
	"count" bigint NOT NULL,
	"seconds" double precision NOT NULL,
	CONSTRAINT "answer_counts_method_route_status_bucket_pk" PRIMARY KEY("method","route","status","bucket")
);
--> statement-breakpoint
CREATE TABLE "webhook_events" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"data" jsonb NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_at" timestamp with time zone DEFAULT now() NOT NULL,
	"delivered_at" timestamp with time zone,
	"given_up_at" timestamp with time zone,
	"last_error" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE INDEX "answer_batches_created" ON "answer_batches" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "webhook_events_due" ON "webhook_events" USING btree ("next_at") WHERE delivered_at is null and given_up_at is null;