-- Files of builds that are kept, below the base directory.
CREATE TABLE artifacts (
    build  INTEGER NOT NULL,
    number INTEGER NOT NULL, -- counts within the build, from 1
    step   INTEGER NOT NULL,
    name   TEXT NOT NULL,    -- relative to the build's directory, with slashes
    size   INTEGER NOT NULL,
    sha256 TEXT NOT NULL,    -- hexadecimal
    PRIMARY KEY (build, number)
) STRICT, WITHOUT ROWID;

-- What the test reports of a step say in all.
CREATE TABLE test_runs (
    build    INTEGER NOT NULL,
    step     INTEGER NOT NULL,
    reports  INTEGER NOT NULL,
    tests    INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    errors   INTEGER NOT NULL,
    skipped  INTEGER NOT NULL,
    duration INTEGER NOT NULL, -- nanoseconds
    PRIMARY KEY (build, step)
) STRICT, WITHOUT ROWID;

-- The first tests of a build that did not pass.
CREATE TABLE failed_tests (
    build    INTEGER NOT NULL,
    number   INTEGER NOT NULL, -- counts within the build, from 1
    step     INTEGER NOT NULL,
    error    INTEGER NOT NULL, -- 1: it broke, 0: it failed
    duration INTEGER NOT NULL, -- nanoseconds
    name     TEXT NOT NULL,
    class    TEXT NOT NULL,
    file     TEXT NOT NULL,
    message  TEXT NOT NULL,
    output   TEXT NOT NULL,
    PRIMARY KEY (build, number)
) STRICT;
