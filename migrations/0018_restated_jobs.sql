-- A database that was brought back to an earlier state lags behind the cluster: jobs have started, been evicted and
-- ended since, and the Jobs' statuses and pods say so. restore_job takes that over, attempts that nobody knows of
-- included. It goes forward only, and a live job keeps its allocations: it is put back into the queue first.
CREATE FUNCTION restore_job(
  restored uuid, known_status job_status, known_attempt integer,
  new_status job_status, new_attempt integer, new_placement jsonb,
  new_started_at timestamptz, new_finished_at timestamptz, new_reason text, new_message text, since timestamptz
) RETURNS boolean
LANGUAGE plpgsql SET rota.restored_at = '' AS $$
BEGIN
  PERFORM set_config('rota.restored_at', least(since, now())::text, true);
  UPDATE jobs
  SET status = new_status, attempt = new_attempt, borrowing = false, not_before = NULL, ending = NULL,
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
COMMENT ON FUNCTION restore_job IS 'Puts a job where the cluster has it, after the database was brought back to an earlier state; false when it is not where it was known to be. Its history says since when, not since the restore';

-- Differs from 0016 in what is allowed while a job is restored, in the time of the event, and in that an attempt may
-- count up without a start.
CREATE OR REPLACE FUNCTION jobs_follow_update() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  restored_at CONSTANT timestamptz := nullif(current_setting('rota.restored_at', true), '');
  followed record;
  refused record;
BEGIN
  WITH change AS MATERIALIZED (
    SELECT after.id, before.status AS old_status, after.status, after.attempt, after.reason, after.borrowing,
      after.pool, after.gpus, after.cpu_millis, after.memory_bytes, after.project_id, after.namespace, after.name,
      before.status <> after.status OR before.borrowing <> after.borrowing AS is_event,
      (before.id, before.project_id, before.created_at)
        IS DISTINCT FROM (after.id, after.project_id, after.created_at)
        OR (before.parallelism, before.pod_gpus, before.pod_cpu_millis, before.pod_memory_bytes)
        IS DISTINCT FROM (after.parallelism, after.pod_gpus, after.pod_cpu_millis, after.pod_memory_bytes)
        AS is_another_job,
      CASE WHEN restored_at IS NULL THEN
        before.status <> after.status
          AND (before.status, after.status) NOT IN (SELECT from_status, to_status FROM job_transitions)
          OR after.attempt <> before.attempt + (before.status <> after.status AND after.status = 'starting')::int
      ELSE
        after.attempt < before.attempt OR before.active_project_id IS NULL
          OR job_is_live(before.status) AND job_is_live(after.status)
      END AS is_not_allowed,
      before.attempt = after.attempt AND before.placement IS DISTINCT FROM after.placement AS is_moved,
      before.attempt < after.attempt AND job_is_live(after.status) AS starts,
      job_is_live(before.status) AND NOT job_is_live(after.status) AS stops,
      before.status <> after.status AND 'reserved' IN (before.status, after.status) AS is_of_reservations,
      before.attempt = after.attempt AND job_is_live(after.status) AND (
        before.borrowing <> after.borrowing OR before.priority <> after.priority OR before.pool <> after.pool
        OR before.status <> after.status AND after.status = 'evicting'
      ) AS is_remarked
    FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
  ), event AS (
    INSERT INTO job_events (
      job_id, at, from_status, to_status, attempt, reason, borrowing, pool,
      gpus, cpu_millis, memory_bytes, project_id, namespace, name
    )
    SELECT id, coalesce(restored_at, now()), old_status, status, attempt, reason, borrowing, pool,
      gpus, cpu_millis, memory_bytes, project_id, namespace, name
    FROM change
    WHERE is_event
  )
  SELECT bool_or(is_another_job) AS is_another_job, bool_or(is_not_allowed) AS is_not_allowed,
    bool_or(is_moved) AS is_moved, bool_or(starts) AS starts, bool_or(is_of_reservations) AS is_of_reservations,
    array_agg(id) FILTER (WHERE stops) AS stopped, bool_or(is_remarked) AS is_remarked
  INTO followed
  FROM change;

  IF followed.is_another_job THEN
    RAISE EXCEPTION 'identity and demand of a job are fixed'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_identity_is_fixed', TABLE = 'jobs';
  END IF;
  IF followed.is_not_allowed THEN
    SELECT before.name, before.status AS old_status, after.status AS new_status,
      before.attempt AS old_attempt, after.attempt AS new_attempt
    INTO refused
    FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    WHERE (before.status, before.attempt) IS DISTINCT FROM (after.status, after.attempt)
      AND (
        restored_at IS NOT NULL
        OR (before.status, after.status) NOT IN (SELECT from_status, to_status FROM job_transitions)
        OR after.attempt <> before.attempt + (after.status = 'starting')::int
      )
    LIMIT 1;
    RAISE EXCEPTION 'job % cannot go from % (attempt %) to % (attempt %)',
      refused.name, refused.old_status, refused.old_attempt, refused.new_status, refused.new_attempt
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_transition_allowed', TABLE = 'jobs';
  END IF;
  IF followed.is_moved THEN
    RAISE EXCEPTION 'a job is placed when it starts, and stays there'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
  END IF;
  IF followed.starts THEN
    WITH started AS MATERIALIZED (
      SELECT after.id, after.name, after.attempt, after.parallelism, after.placement,
        after.pod_gpus, after.pod_cpu_millis, after.pod_memory_bytes,
        after.pool, after.priority, after.borrowing, after.admitted_at
      FROM old_rows AS before
      FULL JOIN new_rows AS after ON after.id = before.id
      WHERE before.attempt IS DISTINCT FROM after.attempt AND job_is_live(after.status)
    ), placed AS (
      INSERT INTO allocations (
        job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
        pool, gang, priority, borrowing, started_at, evictable
      )
      SELECT job.id, job.attempt, place.node, place.pods, place.pods * job.pod_gpus,
        place.pods * job.pod_cpu_millis, place.pods * job.pod_memory_bytes,
        job.pool, job.parallelism, job.priority, job.borrowing, job.admitted_at, true
      FROM started AS job
      CROSS JOIN LATERAL jsonb_to_recordset(job.placement) AS place (node text, pods int)
      RETURNING job_id, pods
    )
    SELECT started.name, started.parallelism, gang.pods INTO refused
    FROM started
    FULL JOIN (SELECT job_id, sum(pods) AS pods FROM placed GROUP BY job_id) AS gang ON gang.job_id = started.id
    WHERE started.parallelism IS DISTINCT FROM gang.pods
    LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'job % starts with % of its % pods placed', refused.name, coalesce(refused.pods, 0), refused.parallelism
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
    END IF;
  END IF;
  IF followed.stopped IS NOT NULL THEN
    DELETE FROM allocations WHERE job_id = ANY (followed.stopped);
  END IF;
  IF followed.is_remarked THEN
    UPDATE allocations
    SET pool = job.pool, priority = job.priority, borrowing = job.borrowing, evictable = job.status <> 'evicting'
    FROM new_rows AS job
    WHERE allocations.job_id = job.id AND allocations.job_id = ANY (ARRAY(SELECT id FROM new_rows))
      AND (allocations.pool, allocations.priority, allocations.borrowing, allocations.evictable)
        IS DISTINCT FROM (job.pool, job.priority, job.borrowing, job.status <> 'evicting');
  END IF;
  IF followed.is_of_reservations THEN
    PERFORM jobs_check_reservations(ARRAY(SELECT id FROM new_rows));
  END IF;
  RETURN NULL;
END
$$;
