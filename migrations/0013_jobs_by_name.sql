-- A Job that leaves the cluster is looked up by its name, and by a user's question too: that read all active
-- jobs. The index of the foreign key finds it when the name stands in it as well, at no further cost to updates.
DROP INDEX jobs_active_project_idx;
CREATE INDEX jobs_active_project_idx ON jobs (active_project_id, name) WHERE active_project_id IS NOT NULL;
