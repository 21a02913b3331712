ALTER TABLE "activations" ADD COLUMN "restores_id" bigint;--> statement-breakpoint
ALTER TABLE "rounds" ADD COLUMN "attempts" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "activations" ADD CONSTRAINT "activations_restores_id_activations_id_fk" FOREIGN KEY ("restores_id") REFERENCES "public"."activations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
-- Until now a rollback was recognised by its reason and went back to the newest activation of its policy.
UPDATE "activations" "rollback" SET "restores_id" = (
	SELECT max("earlier"."id") FROM "activations" "earlier"
	WHERE "earlier"."id" < "rollback"."id" AND "earlier"."policy_id" = "rollback"."policy_id"
) WHERE "reason" LIKE 'rollback from pol\_%';--> statement-breakpoint
-- Until now each resumption of a round was one of its events.
UPDATE "rounds" SET "attempts" = 1 + (
	SELECT count(*) FROM "round_events" WHERE "round_id" = "rounds"."id" AND "data" ? 'taken_up'
) WHERE "started_at" IS NOT NULL;
