CREATE TABLE "reservations" (
	"order_id" text NOT NULL,
	"warehouse" text NOT NULL,
	"item" text NOT NULL,
	"quantity" integer NOT NULL,
	"expires_at" bigint NOT NULL,
	CONSTRAINT "reservations_order_id_warehouse_item_pk" PRIMARY KEY("order_id","warehouse","item")
);
--> statement-breakpoint
CREATE TABLE "stock" (
	"warehouse" text NOT NULL,
	"item" text NOT NULL,
	"on_hand" integer NOT NULL,
	"reserved" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "stock_warehouse_item_pk" PRIMARY KEY("warehouse","item"),
	CONSTRAINT "reserved_is_on_hand" CHECK (reserved between 0 and on_hand)
);
--> statement-breakpoint
CREATE INDEX "reservations_expires_at" ON "reservations" USING btree ("expires_at");