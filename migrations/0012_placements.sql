-- Allocations follow their jobs: a start says where its pods go, and one trigger writes what follows from a
-- change of jobs. Before, code wrote both, and triggers looked each up from the other: four index probes for
-- every change of a job. And nothing refused a further allocation of a job that had started already.
ALTER TABLE jobs ADD COLUMN placement jsonb
  CONSTRAINT jobs_placement_is_array CHECK (jsonb_typeof(placement) = 'array');
COMMENT ON COLUMN jobs.placement IS 'Where its latest attempt was placed, [{"node": name, "pods": number}]; null before the first. Its allocations say the same while it is live';

DROP TRIGGER jobs_a_transitions ON jobs;
DROP TRIGGER jobs_b_capacity_on_update ON jobs;
DROP TRIGGER jobs_a_arrival ON jobs;
DROP TRIGGER jobs_b_capacity_on_insert ON jobs;
-- A BEFORE trigger for each row locks each row, in the log too, before the update does so again.
DROP TRIGGER jobs_identity_is_fixed ON jobs;
DROP TRIGGER nodes_not_overcommitted ON nodes;
DROP TRIGGER nodes_committed_is_derived ON nodes;
DROP TRIGGER allocations_commit ON allocations;
DROP TRIGGER allocations_release ON allocations;
DROP FUNCTION jobs_check_transitions;
DROP FUNCTION jobs_record_arrival;
DROP FUNCTION jobs_check_capacity;
DROP FUNCTION nodes_refuse_overcommit;
-- Nothing looks allocations up by node: a node's commitment is in its row.
DROP INDEX allocations_node_idx;
-- project_periods says where a project was at any time.
ALTER TABLE job_events DROP COLUMN project_path;

UPDATE jobs
SET placement = (
  SELECT jsonb_agg(jsonb_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
  FROM allocations
  WHERE job_id = jobs.id
)
WHERE job_is_live(status);

-- The triggers are per statement with transition tables: a hundred rows cost them little more than one. Their
-- plans are made once in a session, perhaps for one row or while a table is empty. So: FULL JOIN, though every
-- row has its partner, because it is never a nested loop over all pairs; and no sequential scans, which would
-- read all rows once there are many.

CREATE FUNCTION jobs_check_reservations(job_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  refused record;
BEGIN
  SELECT job.name, job.status INTO refused
  FROM jobs AS job
  WHERE job.id = ANY (job_ids) AND CASE WHEN job.status = 'reserved' THEN job.parallelism ELSE 0 END
    <> (SELECT coalesce(sum(reservation.pods), 0) FROM reservations AS reservation WHERE reservation.job_id = job.id)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % is %, and its reservations do not say so', refused.name, refused.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_reservations', TABLE = 'jobs';
  END IF;
END
$$;
COMMENT ON FUNCTION jobs_check_reservations IS 'Refuses jobs whose reservations do not agree with their status';

-- Refuses transitions outside job_transitions and attempts that do not count up by one at each start; writes
-- the others to job_events; allocates what starts and frees what stops. A live job has allocations of its
-- whole gang, a reserved one has reservations of it, no other job has either.
CREATE FUNCTION jobs_follow_update() RETURNS trigger
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
      before.status <> after.status AND 'reserved' IN (before.status, after.status) AS is_of_reservations
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
    array_agg(id) FILTER (WHERE stops) AS stopped
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
        after.pod_gpus, after.pod_cpu_millis, after.pod_memory_bytes
      FROM old_rows AS before
      FULL JOIN new_rows AS after ON after.id = before.id
      WHERE before.attempt IS DISTINCT FROM after.attempt
    ), placed AS (
      INSERT INTO allocations (job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes)
      SELECT job.id, job.attempt, place.node, place.pods, place.pods * job.pod_gpus,
        place.pods * job.pod_cpu_millis, place.pods * job.pod_memory_bytes
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
  IF followed.is_of_reservations THEN
    PERFORM jobs_check_reservations(ARRAY(SELECT id FROM new_rows));
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_follow_update IS 'Refuses changes of jobs that are not allowed; writes history and allocations of the others';

CREATE FUNCTION jobs_follow_insert() RETURNS trigger
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
    INSERT INTO allocations (job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes)
    SELECT job.id, job.attempt, place.node, place.pods, place.pods * job.pod_gpus,
      place.pods * job.pod_cpu_millis, place.pods * job.pod_memory_bytes
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
COMMENT ON FUNCTION jobs_follow_insert IS 'Writes history of jobs that arrive, and allocations of those that are live';

CREATE TRIGGER jobs_follow_update AFTER UPDATE ON jobs
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_follow_update();
CREATE TRIGGER jobs_follow_insert AFTER INSERT ON jobs
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_follow_insert();

CREATE FUNCTION allocations_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'allocations follow from their jobs, which are placed when they start'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'allocations_of_live_jobs', TABLE = 'allocations';
END
$$;
COMMENT ON FUNCTION allocations_refuse_change IS 'Keeps the allocations to the triggers on jobs';
CREATE TRIGGER allocations_of_live_jobs BEFORE INSERT OR DELETE ON allocations
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION allocations_refuse_change();

-- By hand, as before: foreign keys to nodes would mix shared and exclusive locks on the nodes' rows. A node that
-- shrinks, and a foreign pod, are facts and pass; a commitment grows here and nowhere else, so it is here that
-- the database refuses to commit more than a node has. Nodes are locked in the order of their names, so that
-- two statements on the same nodes cannot wait for each other.
CREATE OR REPLACE FUNCTION allocations_commit() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  refused record;
BEGIN
  WITH change AS MATERIALIZED (
    SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis,
      sum(memory_bytes) AS memory_bytes, sum(pods) AS pods
    FROM new_rows
    GROUP BY node_name
  ), locked AS MATERIALIZED (
    SELECT name FROM nodes WHERE name = ANY (ARRAY(SELECT node_name FROM change)) ORDER BY name FOR NO KEY UPDATE
  ), committed AS (
    UPDATE nodes
    SET gpus_committed = gpus_committed + change.gpus,
      cpu_millis_committed = cpu_millis_committed + change.cpu_millis,
      memory_bytes_committed = memory_bytes_committed + change.memory_bytes,
      pods_committed = pods_committed + change.pods
    FROM locked
    JOIN change ON change.node_name = locked.name
    WHERE nodes.name = locked.name
    RETURNING nodes.*,
      change.gpus > 0 AND gpus_committed + gpus_other > gpus_allocatable
        OR change.cpu_millis > 0 AND cpu_millis_committed + cpu_millis_other > cpu_millis_allocatable
        OR change.memory_bytes > 0 AND memory_bytes_committed + memory_bytes_other > memory_bytes_allocatable
        OR pods_committed + pods_other > pods_allocatable
        AS is_too_much
  )
  SELECT change.node_name, committed.* INTO refused
  FROM change
  LEFT JOIN committed ON committed.name = change.node_name
  WHERE committed.is_too_much IS NOT FALSE
  ORDER BY change.node_name
  LIMIT 1;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF refused.is_too_much IS NULL THEN
    RAISE EXCEPTION 'node % does not exist', refused.node_name
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'allocations_node_exists', TABLE = 'allocations';
  END IF;
  RAISE EXCEPTION 'node % has no room for this commitment', refused.node_name
    USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_not_overcommitted', TABLE = 'nodes',
      DETAIL = format(
        'GPUs %s of %s, millicores %s of %s, bytes %s of %s, pods %s of %s',
        refused.gpus_committed + refused.gpus_other, refused.gpus_allocatable,
        refused.cpu_millis_committed + refused.cpu_millis_other, refused.cpu_millis_allocatable,
        refused.memory_bytes_committed + refused.memory_bytes_other, refused.memory_bytes_allocatable,
        refused.pods_committed + refused.pods_other, refused.pods_allocatable
      );
END
$$;
COMMENT ON FUNCTION allocations_commit IS 'Adds new allocations to their nodes; refuses them without a node, or room';

CREATE OR REPLACE FUNCTION allocations_release() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  has_left boolean;
BEGIN
  WITH change AS MATERIALIZED (
    SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis,
      sum(memory_bytes) AS memory_bytes, sum(pods) AS pods
    FROM old_rows
    GROUP BY node_name
  ), locked AS MATERIALIZED (
    SELECT name FROM nodes WHERE name = ANY (ARRAY(SELECT node_name FROM change)) ORDER BY name FOR NO KEY UPDATE
  ), released AS (
    UPDATE nodes
    SET gpus_committed = gpus_committed - change.gpus,
      cpu_millis_committed = cpu_millis_committed - change.cpu_millis,
      memory_bytes_committed = memory_bytes_committed - change.memory_bytes,
      pods_committed = pods_committed - change.pods
    FROM locked
    JOIN change ON change.node_name = locked.name
    WHERE nodes.name = locked.name
    RETURNING NOT present AND pods_committed = 0 AS is_left
  )
  SELECT bool_or(is_left) INTO has_left FROM released;
  IF has_left THEN
    DELETE FROM nodes
    WHERE name = ANY (ARRAY(SELECT node_name FROM old_rows)) AND NOT present AND pods_committed = 0
      AND NOT EXISTS (SELECT FROM reservations WHERE reservations.node_name = nodes.name);
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER allocations_commit AFTER INSERT ON allocations
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_commit();
CREATE TRIGGER allocations_release AFTER DELETE ON allocations
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_release();

CREATE OR REPLACE FUNCTION nodes_refuse_commitment_by_hand() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what is committed on nodes follows their allocations'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_committed_is_derived', TABLE = 'nodes';
END
$$;
CREATE TRIGGER nodes_committed_is_derived
BEFORE UPDATE OF gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed ON nodes
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION nodes_refuse_commitment_by_hand();

-- Only inserts and deletes of reservations were looked at.
CREATE FUNCTION reservations_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'reservations of job % are given back and made again, not changed', OLD.job_id
    USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_reservations', TABLE = 'reservations';
END
$$;
COMMENT ON FUNCTION reservations_refuse_change IS 'Keeps whose a reservation is and what it keeps';
CREATE TRIGGER reservations_not_changed BEFORE UPDATE ON reservations FOR EACH ROW
WHEN ((OLD.job_id, OLD.pods) IS DISTINCT FROM (NEW.job_id, NEW.pods))
EXECUTE FUNCTION reservations_refuse_change();
