-- A build that was given up may be over before its logs have an end: those that
-- a crash left open are found without their builds.
CREATE INDEX logs_open ON logs (id) WHERE complete = 0;
