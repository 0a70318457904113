-- Names get ids, which the rows of removed workers and builders keep.

CREATE TABLE workers (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    configured INTEGER NOT NULL, -- when the configuration first named it
    removed    INTEGER NOT NULL, -- 0: the configuration names it
    last_seen  INTEGER NOT NULL,
    state      BLOB,             -- JSON of package worker
    info       TEXT NOT NULL     -- JSON, '' for none
) STRICT;

CREATE TABLE builders (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    configured  INTEGER NOT NULL,
    removed     INTEGER NOT NULL,
    description TEXT NOT NULL,
    tags        TEXT NOT NULL -- a JSON list, '' for none
) STRICT;

CREATE TABLE schedulers (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    enabled INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    who     TEXT NOT NULL,
    reason  TEXT NOT NULL
) STRICT;

-- What is to be sent, one row per recipient.
CREATE TABLE mails (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL UNIQUE, -- of what happened and to whom it is told
    kind       TEXT NOT NULL,
    worker     TEXT NOT NULL,
    build      INTEGER NOT NULL,
    recipient  TEXT NOT NULL,
    created    INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    next_try   INTEGER NOT NULL,
    done       INTEGER NOT NULL, -- 0: not settled
    state      INTEGER NOT NULL, -- 0 queued, 1 sending, 2 uncertain, 3 sent, 4 failed
    attempts   INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    error      TEXT NOT NULL,
    payload    BLOB
) STRICT;
CREATE INDEX mails_open ON mails (id) WHERE done = 0;
CREATE INDEX mails_worker ON mails (worker);
CREATE INDEX mails_build ON mails (build);

-- What happened to whom, and who did it. Rows never change.
CREATE TABLE journal (
    id     INTEGER PRIMARY KEY,
    time   INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    ref    INTEGER NOT NULL,
    build  INTEGER NOT NULL,
    what   TEXT NOT NULL,
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail BLOB
) STRICT;
CREATE INDEX journal_name ON journal (name);
CREATE INDEX journal_ref ON journal (ref);
CREATE INDEX journal_build ON journal (build);

-- Builders and workers of the builds that are there already, in the order of
-- their first build. Both queries jump from name to name in an index.
INSERT INTO builders (name, configured, removed, description, tags)
    WITH RECURSIVE
        built (name) AS (
            SELECT min(builder) FROM builds
            UNION ALL
            SELECT (SELECT min(builder) FROM builds WHERE builder > name) FROM built WHERE name IS NOT NULL),
        requested (name) AS (
            SELECT min(builder) FROM requests
            UNION ALL
            SELECT (SELECT min(builder) FROM requests WHERE builder > name) FROM requested WHERE name IS NOT NULL),
        known (name) AS (SELECT name FROM built UNION SELECT name FROM requested UNION SELECT builder FROM numbers),
        first (name, id) AS (
            SELECT name, (SELECT id FROM builds WHERE builder = name ORDER BY number LIMIT 1) FROM known WHERE name <> '')
    SELECT name, ifnull((SELECT started FROM builds WHERE builds.id = first.id),
            ifnull((SELECT submitted FROM requests WHERE builder = name ORDER BY requests.id LIMIT 1), 0)), 0, '', ''
        FROM first ORDER BY id IS NULL, id, name;

INSERT INTO workers (name, kind, configured, removed, last_seen, state, info)
    WITH RECURSIVE
        used (name) AS (
            SELECT min(worker) FROM builds
            UNION ALL
            SELECT (SELECT min(worker) FROM builds WHERE worker > name) FROM used WHERE name IS NOT NULL),
        first (name, id) AS (
            SELECT name, (SELECT min(id) FROM builds WHERE worker = name) FROM used WHERE name <> '')
    SELECT name, 'local', (SELECT started FROM builds WHERE builds.id = first.id), 0,
            (SELECT max(started, completed) FROM builds WHERE worker = name ORDER BY builds.id DESC LIMIT 1), NULL, ''
        FROM first ORDER BY id;

-- What is asked of a million builds. A build without a result has -1, so that
-- its place in builds_result serves what builds_open did.
CREATE INDEX builds_result ON builds (result);
DROP INDEX builds_open;
CREATE INDEX builds_started ON builds (started);
CREATE INDEX builds_completed ON builds (completed);

-- How many rows there are, since counting them takes as long as reading them.
CREATE TABLE totals (
    of    TEXT NOT NULL, -- a table, or a column of it: 'builds', 'builds.worker'
    value TEXT NOT NULL, -- of the column, '' for the table
    n     INTEGER NOT NULL,
    PRIMARY KEY (of, value)
) STRICT, WITHOUT ROWID;

INSERT INTO totals SELECT 'builds', '', count(*) FROM builds;
INSERT INTO totals SELECT 'builds.builder', builder, count(*) FROM builds GROUP BY builder;
INSERT INTO totals SELECT 'builds.worker', worker, count(*) FROM builds GROUP BY worker;
INSERT INTO totals SELECT 'builds.result', result, count(*) FROM builds GROUP BY result;
INSERT INTO totals SELECT 'requests', '', count(*) FROM requests;
INSERT INTO totals SELECT 'requests.builder', builder, count(*) FROM requests GROUP BY builder;
INSERT INTO totals SELECT 'requests.state', state, count(*) FROM requests GROUP BY state;

CREATE TRIGGER builds_added AFTER INSERT ON builds BEGIN
    INSERT INTO totals VALUES ('builds', '', 1), ('builds.builder', new.builder, 1), ('builds.worker', new.worker, 1),
            ('builds.result', new.result, 1)
        ON CONFLICT (of, value) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER builds_ended AFTER UPDATE OF result ON builds WHEN old.result <> new.result BEGIN
    INSERT INTO totals VALUES ('builds.result', old.result, -1), ('builds.result', new.result, 1)
        ON CONFLICT (of, value) DO UPDATE SET n = n + excluded.n;
END;
CREATE TRIGGER builds_removed AFTER DELETE ON builds BEGIN
    INSERT INTO totals VALUES ('builds', '', -1), ('builds.builder', old.builder, -1), ('builds.worker', old.worker, -1),
            ('builds.result', old.result, -1)
        ON CONFLICT (of, value) DO UPDATE SET n = n - 1;
END;
CREATE TRIGGER requests_added AFTER INSERT ON requests BEGIN
    INSERT INTO totals VALUES ('requests', '', 1), ('requests.builder', new.builder, 1), ('requests.state', new.state, 1)
        ON CONFLICT (of, value) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER requests_moved AFTER UPDATE OF state ON requests WHEN old.state <> new.state BEGIN
    INSERT INTO totals VALUES ('requests.state', old.state, -1), ('requests.state', new.state, 1)
        ON CONFLICT (of, value) DO UPDATE SET n = n + excluded.n;
END;
CREATE TRIGGER requests_removed AFTER DELETE ON requests BEGIN
    INSERT INTO totals VALUES ('requests', '', -1), ('requests.builder', old.builder, -1), ('requests.state', old.state, -1)
        ON CONFLICT (of, value) DO UPDATE SET n = n - 1;
END;
