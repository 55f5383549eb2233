-- What the rows of jobs, allocations and reservations must agree on. Triggers per statement with transition
-- tables: they see all that one statement wrote, over all its CTEs, so a transition and its
-- allocations are one statement or are refused; and they cost a hundred rows little more than one.

-- FULL JOIN, though every row has its partner: it is never a nested loop. The plan is made once in a
-- session, perhaps for one row, and would compare each with each when a thousand rows come.
-- Refuses transitions outside job_transitions, and attempts that do not count up by one at each start.
CREATE FUNCTION jobs_check_transitions() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  refused record;
BEGIN
  SELECT before.name, before.status AS old_status, after.status AS new_status,
    before.attempt AS old_attempt, after.attempt AS new_attempt
  INTO refused
  FROM old_rows AS before
  FULL JOIN new_rows AS after ON after.id = before.id
  WHERE (before.status, before.attempt) IS DISTINCT FROM (after.status, after.attempt)
    AND (
      NOT EXISTS (
        SELECT FROM job_transitions AS allowed
        WHERE allowed.from_status = before.status AND allowed.to_status = after.status
      )
      OR after.attempt <> before.attempt + (after.status = 'starting')::int
    )
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % cannot go from % (attempt %) to % (attempt %)',
      refused.name, refused.old_status, refused.old_attempt, refused.new_status, refused.new_attempt
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_transition_allowed', TABLE = 'jobs';
  END IF;
  INSERT INTO job_events (
    job_id, from_status, to_status, attempt, reason, borrowing, pool,
    gpus, cpu_millis, memory_bytes, project_id, project_path, namespace, name
  )
  SELECT after.id, before.status, after.status, after.attempt, after.reason, after.borrowing, after.pool,
    after.gpus, after.cpu_millis, after.memory_bytes, after.project_id,
    (SELECT path::text FROM projects WHERE projects.id = after.project_id), after.namespace, after.name
  FROM old_rows AS before
  FULL JOIN new_rows AS after ON after.id = before.id
  WHERE (before.status, before.attempt, before.borrowing)
    IS DISTINCT FROM (after.status, after.attempt, after.borrowing);
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_check_transitions IS 'Refuses transitions that are not allowed, and writes the others to job_events';

CREATE FUNCTION jobs_record_arrival() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job_events (
    job_id, to_status, attempt, reason, borrowing, pool,
    gpus, cpu_millis, memory_bytes, project_id, project_path, namespace, name
  )
  SELECT after.id, after.status, after.attempt, after.reason, after.borrowing, after.pool,
    after.gpus, after.cpu_millis, after.memory_bytes, after.project_id,
    (SELECT path::text FROM projects WHERE projects.id = after.project_id), after.namespace, after.name
  FROM new_rows AS after;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_record_arrival IS 'Writes the arrival of jobs to job_events';

-- A live job has allocations of its whole gang, of its current attempt and no other; a reserved job has
-- reservations of its whole gang; no other job has either.
CREATE FUNCTION jobs_check_capacity() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  refused record;
BEGIN
  SELECT job.name, job.status, job.attempt INTO refused
  FROM new_rows AS job
  WHERE CASE WHEN job_is_live(job.status) THEN job.parallelism ELSE 0 END IS DISTINCT FROM (
      SELECT coalesce(sum(CASE WHEN allocation.attempt = job.attempt THEN allocation.pods END), 0)
      FROM allocations AS allocation
      WHERE allocation.job_id = job.id
      HAVING count(*) FILTER (WHERE allocation.attempt <> job.attempt) = 0
    )
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % is % in attempt %, and its allocations do not say so',
      refused.name, refused.status, refused.attempt
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
  END IF;
  SELECT job.name, job.status INTO refused
  FROM new_rows AS job
  WHERE CASE WHEN job.status = 'reserved' THEN job.parallelism ELSE 0 END
    <> (SELECT coalesce(sum(reservation.pods), 0) FROM reservations AS reservation WHERE reservation.job_id = job.id)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % is %, and its reservations do not say so', refused.name, refused.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_reservations', TABLE = 'jobs';
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_check_capacity IS 'Refuses jobs whose allocations or reservations do not agree with their status';

CREATE TRIGGER jobs_a_transitions AFTER UPDATE ON jobs
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_check_transitions();
CREATE TRIGGER jobs_b_capacity_on_update AFTER UPDATE ON jobs
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_check_capacity();
CREATE TRIGGER jobs_a_arrival AFTER INSERT ON jobs
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_record_arrival();
CREATE TRIGGER jobs_b_capacity_on_insert AFTER INSERT ON jobs
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_check_capacity();

CREATE FUNCTION jobs_refuse_row_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of job % in status % is refused', TG_OP, OLD.name, OLD.status
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = 'jobs';
END
$$;
COMMENT ON FUNCTION jobs_refuse_row_change IS 'Trigger that refuses a change of a job; its argument names the rule';
CREATE TRIGGER jobs_identity_is_fixed BEFORE UPDATE ON jobs FOR EACH ROW
WHEN (
  OLD.id <> NEW.id OR OLD.project_id <> NEW.project_id OR OLD.created_at <> NEW.created_at
  OR (OLD.parallelism, OLD.pod_gpus, OLD.pod_cpu_millis, OLD.pod_memory_bytes)
  IS DISTINCT FROM (NEW.parallelism, NEW.pod_gpus, NEW.pod_cpu_millis, NEW.pod_memory_bytes)
)
EXECUTE FUNCTION jobs_refuse_row_change('jobs_identity_is_fixed');
CREATE TRIGGER jobs_only_ended_are_deleted BEFORE DELETE ON jobs FOR EACH ROW
WHEN (OLD.status NOT IN ('succeeded', 'failed', 'cancelled'))
EXECUTE FUNCTION jobs_refuse_row_change('jobs_only_ended_are_deleted');

-- Stand for foreign keys to jobs and nodes, which would cost a lookup with a row lock per row, and
-- mix shared and exclusive locks on the nodes' rows: several times the cost of the statement itself.
CREATE FUNCTION allocations_commit() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  touched integer;
BEGIN
  IF EXISTS (
    SELECT FROM new_rows AS allocation
    LEFT JOIN jobs AS job ON job.id = allocation.job_id
    WHERE job.id IS NULL OR NOT job_is_live(job.status) OR job.attempt <> allocation.attempt
      OR (allocation.gpus, allocation.cpu_millis, allocation.memory_bytes) IS DISTINCT FROM (
        allocation.pods * job.pod_gpus, allocation.pods * job.pod_cpu_millis, allocation.pods * job.pod_memory_bytes
      )
  ) THEN
    RAISE EXCEPTION 'allocations are made for live jobs, for the current attempt and its demand'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'allocations_of_live_jobs', TABLE = 'allocations';
  END IF;
  -- In the order of names, so that two statements on the same nodes cannot wait for each other.
  PERFORM FROM nodes WHERE name IN (SELECT node_name FROM new_rows) ORDER BY name FOR NO KEY UPDATE;
  UPDATE nodes
  SET gpus_committed = gpus_committed + change.gpus,
    cpu_millis_committed = cpu_millis_committed + change.cpu_millis,
    memory_bytes_committed = memory_bytes_committed + change.memory_bytes,
    pods_committed = pods_committed + change.pods
  FROM (
    SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis,
      sum(memory_bytes) AS memory_bytes, sum(pods) AS pods
    FROM new_rows GROUP BY node_name
  ) AS change
  WHERE nodes.name = change.node_name;
  GET DIAGNOSTICS touched = ROW_COUNT;
  IF touched <> (SELECT count(DISTINCT node_name) FROM new_rows) THEN
    RAISE EXCEPTION 'allocations are made on nodes that exist'
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'allocations_node_exists', TABLE = 'allocations';
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION allocations_commit IS 'Adds new allocations to their nodes; refuses them without a live job, a node, or room';

CREATE FUNCTION allocations_release() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  -- A scalar subquery by id: a join on the status as well may walk the index of all live jobs for each row.
  IF EXISTS (
    SELECT FROM old_rows AS allocation
    WHERE (
      SELECT job_is_live(job.status) AND job.attempt = allocation.attempt
      FROM jobs AS job
      WHERE job.id = allocation.job_id
    )
  ) THEN
    RAISE EXCEPTION 'a live job keeps its allocations'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'allocations_of_live_jobs', TABLE = 'allocations';
  END IF;
  PERFORM FROM nodes WHERE name IN (SELECT node_name FROM old_rows) ORDER BY name FOR NO KEY UPDATE;
  UPDATE nodes
  SET gpus_committed = gpus_committed - change.gpus,
    cpu_millis_committed = cpu_millis_committed - change.cpu_millis,
    memory_bytes_committed = memory_bytes_committed - change.memory_bytes,
    pods_committed = pods_committed - change.pods
  FROM (
    SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis,
      sum(memory_bytes) AS memory_bytes, sum(pods) AS pods
    FROM old_rows GROUP BY node_name
  ) AS change
  WHERE nodes.name = change.node_name;
  DELETE FROM nodes
  WHERE name IN (SELECT node_name FROM old_rows) AND NOT present AND pods_committed = 0
    AND NOT EXISTS (SELECT FROM reservations WHERE reservations.node_name = nodes.name);
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION allocations_release IS 'Takes deleted allocations off their nodes; forgets a node that left the cluster with its last one';

CREATE TRIGGER allocations_commit AFTER INSERT ON allocations
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_commit();
CREATE TRIGGER allocations_release AFTER DELETE ON allocations
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_release();
CREATE TRIGGER allocations_not_changed BEFORE UPDATE OR TRUNCATE ON allocations
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('allocations_not_changed');

CREATE FUNCTION reservations_check() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM changed_rows AS reservation
    JOIN jobs AS job ON job.id = reservation.job_id
    WHERE CASE WHEN job.status = 'reserved' THEN job.parallelism ELSE 0 END
      <> (SELECT coalesce(sum(pods), 0) FROM reservations WHERE reservations.job_id = job.id)
  ) THEN
    RAISE EXCEPTION 'a reserved job has reservations of its whole gang, no other job has any'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_reservations', TABLE = 'reservations';
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION reservations_check IS 'Refuses reservations that do not agree with their job''s status';
CREATE TRIGGER reservations_check_on_insert AFTER INSERT ON reservations
REFERENCING NEW TABLE AS changed_rows
FOR EACH STATEMENT EXECUTE FUNCTION reservations_check();
CREATE TRIGGER reservations_check_on_delete AFTER DELETE ON reservations
REFERENCING OLD TABLE AS changed_rows
FOR EACH STATEMENT EXECUTE FUNCTION reservations_check();
