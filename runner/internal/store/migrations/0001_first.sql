-- Times are nanoseconds since 1970, 0 for none. Results are Buildbot's numbers,
-- -1 while there is none. Properties are JSON, '' for none. What can be large
-- comes last, so that reading the columns before it touches no overflow page.

CREATE TABLE requests (
    id           INTEGER PRIMARY KEY,
    builder      TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    submitted    INTEGER NOT NULL,
    state        INTEGER NOT NULL, -- 0 pending, 1 running, 2 done
    result       INTEGER NOT NULL,
    completed    INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    retries      INTEGER NOT NULL,
    memory       INTEGER NOT NULL,
    replaced     INTEGER NOT NULL,
    collapse_key TEXT NOT NULL,
    worker       TEXT NOT NULL,
    session      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    text         TEXT NOT NULL,
    spec         BLOB,
    properties   TEXT NOT NULL
) STRICT;
CREATE INDEX requests_open ON requests (id) WHERE state < 2;
CREATE INDEX requests_builder ON requests (builder);

CREATE TABLE builds (
    id          INTEGER PRIMARY KEY,
    request     INTEGER NOT NULL,
    builder     TEXT NOT NULL,
    number      INTEGER NOT NULL,
    worker      TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    started     INTEGER NOT NULL,
    completed   INTEGER NOT NULL,
    result      INTEGER NOT NULL,
    peak_memory INTEGER NOT NULL,
    cpu         INTEGER NOT NULL, -- nanoseconds
    steps_hash  TEXT NOT NULL,
    cause       TEXT NOT NULL,
    dir         TEXT NOT NULL,
    kept        TEXT NOT NULL,
    text        TEXT NOT NULL,
    ended       TEXT NOT NULL,    -- a JSON list, '' for none
    properties  TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX builds_number ON builds (builder, number);
CREATE INDEX builds_request ON builds (request);
CREATE INDEX builds_worker ON builds (worker);
CREATE INDEX builds_open ON builds (id) WHERE result < 0;
CREATE INDEX builds_good ON builds (builder, number) WHERE result IN (0, 1);

CREATE TABLE steps (
    build     INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    name      TEXT NOT NULL,
    started   INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    result    INTEGER NOT NULL,
    hidden    INTEGER NOT NULL,
    text      TEXT NOT NULL,
    PRIMARY KEY (build, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    id        INTEGER PRIMARY KEY,
    build     INTEGER NOT NULL,
    step      INTEGER NOT NULL,
    name      TEXT NOT NULL,
    ref       TEXT NOT NULL,
    lines     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    complete  INTEGER NOT NULL
) STRICT;
CREATE INDEX logs_build ON logs (build);

-- What the users of the store keep under keys of their own.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The store's own numbers: the epoch, and the highest ids ever given out, since
-- the rows that had them may have been removed.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The highest number of a builder whose builds were removed.
CREATE TABLE numbers (
    builder TEXT PRIMARY KEY,
    last    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
