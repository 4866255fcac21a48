-- +goose Up

-- What this database alone knows, by name.
CREATE TABLE secret (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

-- labels are joined by line feeds; progress is percent + 1, 0: none said.
ALTER TABLE job ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN progress INTEGER NOT NULL DEFAULT 0;

-- job.labels once more, to find jobs by.
CREATE TABLE label (
  label   TEXT    NOT NULL,
  job_seq INTEGER NOT NULL,
  PRIMARY KEY (label, job_seq)
) WITHOUT ROWID;
CREATE INDEX label_job ON label (job_seq);

-- Result streams, kept as logs are; of one execution, the newest.
CREATE TABLE stream (
  job_seq   INTEGER NOT NULL,
  end_utf16 INTEGER NOT NULL,
  end_byte  INTEGER NOT NULL,
  utf16     INTEGER NOT NULL, -- code units before it
  byte      INTEGER NOT NULL, -- bytes before it
  text      TEXT NOT NULL
);
CREATE UNIQUE INDEX stream_end ON stream (job_seq, end_utf16);

CREATE TABLE stream_raw (
  job_seq   INTEGER NOT NULL,
  execution INTEGER NOT NULL,
  raw_end   INTEGER NOT NULL,
  PRIMARY KEY (job_seq, execution)
) WITHOUT ROWID;
