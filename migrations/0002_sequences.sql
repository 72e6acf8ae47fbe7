CREATE TABLE "craft"."sequences" (
	"name" text COLLATE "C" PRIMARY KEY NOT NULL,
	"last_value" bigint NOT NULL,
	"is_called" boolean NOT NULL
);
