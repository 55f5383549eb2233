-- Where a job failed to start is not tried again for a while, from one attempt to the next.
CREATE TABLE avoided_nodes (
  job_id uuid NOT NULL CONSTRAINT avoided_nodes_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  node_name text NOT NULL,
  until timestamptz NOT NULL,
  CONSTRAINT avoided_nodes_pkey PRIMARY KEY (job_id, node_name)
);
COMMENT ON TABLE avoided_nodes IS 'Nodes on which a job did not start in time, or whose victims did not leave: not tried for a while';
COMMENT ON COLUMN avoided_nodes.job_id IS 'The job';
COMMENT ON COLUMN avoided_nodes.node_name IS 'The node; no foreign key, since one that left the cluster may come back';
COMMENT ON COLUMN avoided_nodes.until IS 'From then on it is tried again';
ALTER TABLE job_specs DROP COLUMN avoid_nodes;

-- The next back-off to end is asked for in every cycle; few jobs have one.
CREATE INDEX jobs_back_off_idx ON jobs (pool, not_before) WHERE not_before IS NOT NULL;

-- A pod that ended well counts, though it may be deleted before the rest of its gang has ended.
CREATE TABLE pod_completions (
  job_id uuid NOT NULL CONSTRAINT pod_completions_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  attempt integer NOT NULL,
  pod_index integer NOT NULL CONSTRAINT pod_completions_index_not_negative CHECK (pod_index >= 0),
  CONSTRAINT pod_completions_pkey PRIMARY KEY (job_id, attempt, pod_index)
);
COMMENT ON TABLE pod_completions IS 'Pods of gangs that ended well while others of their gang ran';
COMMENT ON COLUMN pod_completions.job_id IS 'The job';
COMMENT ON COLUMN pod_completions.attempt IS 'The attempt';
COMMENT ON COLUMN pod_completions.pod_index IS 'Index of the pod in the gang';

-- Stopping the pods of an attempt takes a while, and may be somebody else's to finish: without this it would look as
-- if its pods had been deleted by hand, and a job past its maxRuntime would be started again and again.
ALTER TABLE jobs ADD COLUMN ending jsonb
  CONSTRAINT jobs_ending_is_object CHECK (jsonb_typeof(ending) = 'object');
COMMENT ON COLUMN jobs.ending IS 'Why the present attempt is being ended, while its pods are being stopped; null otherwise';

-- History is append-only for everything but this: whoever prunes says so by calling it, and cannot prune what is
-- younger than a week. A job's events go together, so that no sum is ever made of half an attempt.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_ARGV[0] IN ('job_events_append_only', 'preemptions_written_once')
    AND current_setting('rota.pruning', true) = 'on'
  THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% on % is refused: its rows are history', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = TG_TABLE_NAME;
END
$$;

CREATE FUNCTION prune_history(before timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql
SET rota.pruning = 'on'
AS $$
DECLARE
  pruned_jobs uuid[];
  pruned_preemptions uuid[];
BEGIN
  IF before > now() - interval '7 days' THEN
    RAISE EXCEPTION 'history younger than 7 days is kept'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'job_events_append_only', TABLE = 'job_events';
  END IF;
  SELECT array_agg(job_id) INTO pruned_jobs FROM (
    SELECT event.job_id
    FROM job_events AS event
    WHERE event.at < before AND event.to_status IN ('succeeded', 'failed', 'cancelled')
      AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = event.job_id)
    ORDER BY event.at
    LIMIT most
  ) AS ended;
  DELETE FROM job_events WHERE job_id = ANY (pruned_jobs);
  SELECT array_agg(id) INTO pruned_preemptions FROM (
    SELECT preemption.id
    FROM preemptions AS preemption
    WHERE preemption.decided_at < before AND NOT EXISTS (
      SELECT FROM preemption_victims AS victim WHERE victim.preemption_id = preemption.id AND victim.outcome IS NULL
    )
    ORDER BY preemption.decided_at
    LIMIT most
  ) AS settled;
  DELETE FROM preemption_victims WHERE preemption_id = ANY (pruned_preemptions);
  DELETE FROM preemptions WHERE id = ANY (pruned_preemptions);
  RETURN coalesce(cardinality(pruned_jobs), 0) + coalesce(cardinality(pruned_preemptions), 0);
END
$$;
COMMENT ON FUNCTION prune_history IS 'Deletes the events of jobs that ended before an instant and whose rows are gone, and settled preemptions decided before it, at most so many of each; returns how many';
