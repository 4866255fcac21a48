-- +goose Up

-- What this database alone knows, by name.
CREATE TABLE secret (
  name  text  COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL
);

-- labels are joined by line feeds; progress is percent + 1, 0: none said.
ALTER TABLE job ADD COLUMN labels bytea NOT NULL DEFAULT '';
ALTER TABLE job_state ADD COLUMN progress smallint NOT NULL DEFAULT 0;

-- job.labels once more, to find jobs by.
CREATE TABLE label (
  label   bytea  NOT NULL,
  job_seq bigint NOT NULL,
  PRIMARY KEY (label, job_seq)
);
CREATE INDEX label_job ON label (job_seq);

-- Result streams, kept as logs are; of one execution, the newest.
CREATE TABLE stream (
  job_seq   bigint NOT NULL,
  end_utf16 bigint NOT NULL,
  end_byte  bigint NOT NULL,
  utf16     bigint NOT NULL, -- code units before it
  byte      bigint NOT NULL, -- bytes before it
  text      bytea  NOT NULL,
  PRIMARY KEY (job_seq, end_utf16)
);

CREATE TABLE stream_raw (
  job_seq   bigint NOT NULL,
  execution bigint NOT NULL,
  raw_end   bigint NOT NULL,
  PRIMARY KEY (job_seq, execution)
) WITH (fillfactor = 80);
