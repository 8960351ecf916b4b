CREATE TABLE day_summaries (
    day         date PRIMARY KEY,
    orders      integer NOT NULL,
    items       integer NOT NULL,
    total_cents bigint NOT NULL,
    counted_at  timestamptz NOT NULL
);

-- One row for each run of nightly.py: check_nightly.py looks for a fresh one.
CREATE TABLE heartbeats (
    host text NOT NULL,
    pid  integer NOT NULL,
    at   timestamptz NOT NULL,
    PRIMARY KEY (host, pid)
);
