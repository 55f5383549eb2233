-- Whose the database is, the functions that open the doors of 0007 (restoring jobs after the loss of data, and pruning
-- history), and the pruning of contents.

-- One row, made by the first operator. A copy is told from its original by where it is: the server's identifier and the
-- numbers of database and table do not survive a dump or a clone. They survive a failover, and a copy of the server's files.
CREATE TABLE installation (
  is_only boolean NOT NULL DEFAULT true CONSTRAINT installation_pkey PRIMARY KEY
    CONSTRAINT installation_is_one CHECK (is_only),
  database_id uuid NOT NULL DEFAULT gen_random_uuid(),
  former_id uuid,
  cluster_uid uuid,
  place text,
  gpu_resource text,
  CONSTRAINT installation_place_of_cluster CHECK ((cluster_uid IS NULL) = (place IS NULL))
);
COMMENT ON TABLE installation IS 'Which database this is, and which cluster it belongs to; one row';
COMMENT ON COLUMN installation.is_only IS 'Always true: there is one row';
COMMENT ON COLUMN installation.database_id IS 'Identity of the database; the marker in its cluster names it. A new one when an administrator gives it to a cluster';
COMMENT ON COLUMN installation.former_id IS 'Identity before that; null: none';
COMMENT ON COLUMN installation.cluster_uid IS 'uid of the namespace kube-system of its cluster; null: none yet, the database is empty';
COMMENT ON COLUMN installation.place IS 'Server, database and table when it was given to the cluster; null: none yet';
COMMENT ON COLUMN installation.gpu_resource IS 'Extended resource that columns of nodes and jobs count as GPUs; null: none yet';

-- A database restored from a backup is behind the cluster: jobs have started, been evicted and ended since, as the
-- statuses and pods of the Jobs show. This function applies that state, including attempts that the database never
-- saw. It only moves forward; a live job first goes back to the queue and is then live again.
CREATE FUNCTION restore_job(
  restored uuid, known_status job_status, known_attempt integer,
  new_status job_status, new_attempt integer, new_placement jsonb,
  new_started_at timestamptz, new_finished_at timestamptz, new_reason text, new_message text, since timestamptz
) RETURNS boolean
LANGUAGE plpgsql SET rota.restored_at = '' AS $$
BEGIN
  PERFORM set_config('rota.restored_at', least(since, now())::text, true);
  UPDATE jobs
  SET status = new_status, attempt = new_attempt, borrowing = false, not_before = NULL,
    ending = NULL, leaves_by = NULL, asked_grace_seconds = NULL,
    placement = CASE WHEN job_is_live(new_status) THEN new_placement ELSE placement END,
    started_at = coalesce(new_started_at, started_at), finished_at = new_finished_at,
    admitted_at = CASE WHEN job_is_live(new_status) THEN coalesce(new_started_at, now()) ELSE admitted_at END,
    reason = new_reason, message = new_message
  WHERE id = restored AND status = known_status AND attempt = known_attempt;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF NOT job_is_live(new_status) THEN
    UPDATE preemption_victims
    SET evicted_at = now(),
      outcome = CASE WHEN new_status IN ('succeeded', 'failed') THEN 'Finished' ELSE 'Evicted' END::victim_outcome
    WHERE victim_job_id = restored AND victim_attempt = known_attempt AND outcome IS NULL;
  END IF;
  RETURN true;
END
$$;
COMMENT ON FUNCTION restore_job IS 'Sets a job to its state in the cluster after the database was restored from a backup; false if it is no longer in the known state. Its history dates the change with the given time';

CREATE FUNCTION prune_history(before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql SET rota.pruning = 'on' AS $$
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
    WHERE event.at < before AND job_has_ended(event.to_status)
      AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = event.job_id)
    ORDER BY event.at
    LIMIT max_rows
  ) AS ended;
  DELETE FROM job_events WHERE job_id = ANY (pruned_jobs);
  SELECT array_agg(id) INTO pruned_preemptions FROM (
    SELECT preemption.id
    FROM preemptions AS preemption
    WHERE preemption.decided_at < before AND NOT EXISTS (
      SELECT FROM preemption_victims AS victim WHERE victim.preemption_id = preemption.id AND victim.outcome IS NULL
    )
    ORDER BY preemption.decided_at
    LIMIT max_rows
  ) AS settled;
  DELETE FROM preemption_victims WHERE preemption_id = ANY (pruned_preemptions);
  DELETE FROM preemptions WHERE id = ANY (pruned_preemptions);
  RETURN coalesce(cardinality(pruned_jobs), 0) + coalesce(cardinality(pruned_preemptions), 0);
END
$$;
COMMENT ON FUNCTION prune_history IS 'Deletes all events of ended jobs whose rows are gone, and settled preemptions, before an instant at least a week ago; at most max_rows jobs and preemptions. Returns their number';

CREATE FUNCTION prune_commits(before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql SET rota.pruning = 'on' AS $$
DECLARE
  pruned uuid[];
BEGIN
  IF before > now() - interval '12 hours' THEN
    RAISE EXCEPTION 'commits are kept for 12 hours after their deletion'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'config_commits_immutable', TABLE = 'config_commits';
  END IF;
  SELECT array_agg(id) INTO pruned FROM (
    SELECT id FROM config_commits WHERE removed_at < before ORDER BY removed_at LIMIT max_rows
  ) AS removed;
  UPDATE config_commits AS child SET parent_id = NULL
  FROM config_commits AS parent
  WHERE parent.id = ANY (pruned) AND child.project_id = parent.project_id AND child.parent_id = parent.id;
  DELETE FROM config_commits WHERE id = ANY (pruned);
  RETURN coalesce(cardinality(pruned), 0);
END
$$;
COMMENT ON FUNCTION prune_commits IS 'Deletes commits whose objects were deleted before an instant at least 12 hours ago, at most max_rows. Commits that follow them lose their parent. Returns their number';

-- A content is needed by commits, also deleted ones, and by jobs as long as they have a row. Two statements: once the
-- rows are locked, nobody can begin to need them, and the second statement sees who began before that.
CREATE FUNCTION prune_contents(before timestamptz, max_rows integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  unneeded text[];
BEGIN
  IF before > now() - interval '12 hours' THEN
    RAISE EXCEPTION 'contents are kept for 12 hours'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'config_blobs_immutable', TABLE = 'config_blobs';
  END IF;
  SELECT array_agg(hash) INTO unneeded FROM (
    SELECT blob.hash
    FROM config_blobs AS blob
    WHERE blob.created_at < before AND blob.expunged_at IS NULL
      AND NOT EXISTS (SELECT FROM config_commits WHERE blob_hash = blob.hash)
      AND NOT EXISTS (SELECT FROM jobs WHERE config_hash = blob.hash)
    LIMIT max_rows
    FOR UPDATE SKIP LOCKED
  ) AS candidate;
  DELETE FROM config_blobs AS blob
  WHERE blob.hash = ANY (unneeded)
    AND NOT EXISTS (SELECT FROM config_commits WHERE blob_hash = blob.hash)
    AND NOT EXISTS (SELECT FROM jobs WHERE config_hash = blob.hash);
  RETURN coalesce(cardinality(unneeded), 0);
END
$$;
COMMENT ON FUNCTION prune_contents IS 'Deletes contents older than an instant at least 12 hours ago that no commit and no job needs, at most max_rows. Returns how many it considered';
