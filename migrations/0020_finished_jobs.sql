-- Rows of jobs that ended long ago are forgotten a few at a time: without an index each time reads all jobs.
CREATE INDEX jobs_finished_idx ON jobs (finished_at) WHERE finished_at IS NOT NULL;
