-- +goose Up

-- What a dependency job found a script to depend on; NULL: nothing was found,
-- and lock_error says why if it was looked for.
ALTER TABLE script ADD COLUMN lock bytea;
ALTER TABLE script ADD COLUMN lock_error bytea NOT NULL DEFAULT '';

-- phase: 0 the arguments are as pushed, 1 a preprocessor is to make them, 2 it
-- has made them. queue_limit is that of the push + 1 while phase is 1; 0: none.
ALTER TABLE job ADD COLUMN phase smallint NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN queue_limit bigint NOT NULL DEFAULT 0;
