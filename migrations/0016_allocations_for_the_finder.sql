-- Allocations carry what the victim finder asks of their jobs: it reads those of a whole pool for every blocked
-- job, and a join of jobs and allocations took three quarters of its time.
ALTER TABLE allocations
  ADD COLUMN pool text,
  ADD COLUMN gang integer,
  ADD COLUMN priority integer,
  ADD COLUMN borrowing boolean,
  ADD COLUMN started_at timestamptz,
  ADD COLUMN evictable boolean;
DROP TRIGGER allocations_not_changed ON allocations;
UPDATE allocations
SET pool = job.pool, gang = job.parallelism, priority = job.priority, borrowing = job.borrowing,
  started_at = job.admitted_at, evictable = job.status <> 'evicting'
FROM jobs AS job
WHERE job.id = allocations.job_id;
ALTER TABLE allocations
  ALTER COLUMN pool SET NOT NULL,
  ALTER COLUMN gang SET NOT NULL,
  ALTER COLUMN priority SET NOT NULL,
  ALTER COLUMN borrowing SET NOT NULL,
  ALTER COLUMN evictable SET NOT NULL;
COMMENT ON COLUMN allocations.pool IS 'The job''s pool; this and the following are copies, kept by trigger, for the victim finder';
COMMENT ON COLUMN allocations.gang IS 'Pods of the whole gang';
COMMENT ON COLUMN allocations.priority IS 'The job''s priority';
COMMENT ON COLUMN allocations.borrowing IS 'Whether the job is outside the plans';
COMMENT ON COLUMN allocations.started_at IS 'When the attempt was admitted';
COMMENT ON COLUMN allocations.evictable IS 'Whether the job is starting or running; false while it is evicting';
-- Only copies change, and only by the trigger on jobs; the statement trigger would forbid that, too.
CREATE TRIGGER allocations_not_changed BEFORE UPDATE OR TRUNCATE ON allocations
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change('allocations_not_changed');
-- GPUs are what is short, as a rule, and few of all pods have them: these are read from the index alone.
CREATE INDEX allocations_gpu_idx ON allocations (pool, node_name)
  INCLUDE (pods, gpus, cpu_millis, memory_bytes, gang, priority, borrowing) WHERE evictable AND gpus > 0;
CREATE INDEX allocations_leaving_idx ON allocations (pool, node_name) WHERE NOT evictable;

-- Refuses transitions outside job_transitions and attempts that do not count up by one at each start; writes
-- the others to job_events; allocates what starts and frees what stops. A live job has allocations of its
-- whole gang, a reserved one has reservations of it, no other job has either.
CREATE OR REPLACE FUNCTION jobs_follow_update() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
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
      before.status <> after.status
        AND (before.status, after.status) NOT IN (SELECT from_status, to_status FROM job_transitions)
        OR after.attempt <> before.attempt + (before.status <> after.status AND after.status = 'starting')::int
        AS is_not_allowed,
      before.attempt = after.attempt AND before.placement IS DISTINCT FROM after.placement AS is_moved,
      before.attempt < after.attempt AS starts,
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
      job_id, from_status, to_status, attempt, reason, borrowing, pool,
      gpus, cpu_millis, memory_bytes, project_id, namespace, name
    )
    SELECT id, old_status, status, attempt, reason, borrowing, pool,
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
        (before.status, after.status) NOT IN (SELECT from_status, to_status FROM job_transitions)
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
      WHERE before.attempt IS DISTINCT FROM after.attempt
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
CREATE OR REPLACE FUNCTION jobs_follow_insert() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  refused record;
BEGIN
  WITH event AS (
    INSERT INTO job_events (
      job_id, to_status, attempt, reason, borrowing, pool,
      gpus, cpu_millis, memory_bytes, project_id, namespace, name
    )
    SELECT id, status, attempt, reason, borrowing, pool, gpus, cpu_millis, memory_bytes, project_id, namespace, name
    FROM new_rows
  ), placed AS (
    INSERT INTO allocations (
      job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
      pool, gang, priority, borrowing, started_at, evictable
    )
    SELECT job.id, job.attempt, place.node, place.pods, place.pods * job.pod_gpus,
      place.pods * job.pod_cpu_millis, place.pods * job.pod_memory_bytes,
      job.pool, job.parallelism, job.priority, job.borrowing, job.admitted_at, job.status <> 'evicting'
    FROM new_rows AS job
    CROSS JOIN LATERAL jsonb_to_recordset(job.placement) AS place (node text, pods int)
    WHERE job_is_live(job.status)
    RETURNING job_id, pods
  )
  SELECT job.name, job.parallelism, gang.pods INTO refused
  FROM new_rows AS job
  LEFT JOIN (SELECT job_id, sum(pods) AS pods FROM placed GROUP BY job_id) AS gang ON gang.job_id = job.id
  WHERE job_is_live(job.status) AND job.parallelism IS DISTINCT FROM gang.pods
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % is live with % of its % pods placed', refused.name, coalesce(refused.pods, 0), refused.parallelism
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
  END IF;
  IF EXISTS (SELECT FROM new_rows WHERE status = 'reserved') THEN
    PERFORM jobs_check_reservations(ARRAY(SELECT id FROM new_rows));
  END IF;
  RETURN NULL;
END
$$;
