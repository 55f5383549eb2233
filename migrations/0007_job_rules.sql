-- Consequences of a change of a job: its history, its allocations, and the committed capacity of nodes. Code writes
-- jobs and reservations; these triggers write the rest, or refuse the change.
--
-- Triggers are per statement, with transition tables: a hundred rows cost little more than one. Their plans are
-- made once per session, possibly for one row or for an empty table. Hence two rules for the bodies: use FULL JOIN,
-- although every row has a match, because it is never a nested loop over all pairs; and avoid sequential scans,
-- which would read all rows of a table that has grown since.
--
-- Three settings open doors that are closed otherwise. Each is set by one function, and only while it runs:
--
--   rota.restored_at  restore_job(): allows transitions outside job_transitions, and dates their events
--   rota.are_facts    jobs_follow_change(): pods that exist already are committed whatever room their node has
--   rota.pruning      prune_history(), prune_commits(): allow history to be deleted

CREATE FUNCTION job_restored_at() RETURNS timestamptz
LANGUAGE sql STABLE
RETURN nullif(current_setting('rota.restored_at', true), '')::timestamptz;
COMMENT ON FUNCTION job_restored_at IS 'Within restore_job: since when the job has been in its state. Null otherwise';

CREATE FUNCTION jobs_check_reservations(job_ids uuid[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  refused record;
BEGIN
  SELECT job.name, job.status INTO refused
  FROM jobs AS job
  WHERE job.id = ANY (job_ids) AND CASE WHEN job.status = 'reserved' THEN job.parallelism ELSE 0 END
    <> (SELECT coalesce(sum(pods), 0) FROM reservations WHERE reservations.job_id = job.id)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job % is %, and its reservations do not agree', refused.name, refused.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_reservations', TABLE = 'jobs';
  END IF;
END
$$;
COMMENT ON FUNCTION jobs_check_reservations IS 'Refuses jobs that disagree with their reservations: a reserved job has reservations for its whole gang, any other job has none';

-- One function for inserts and updates. For an update it computes, per row, whether the change is refused and its
-- consequences; then it raises the first refusal or applies the consequences.
CREATE FUNCTION jobs_follow_change() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  restored_at CONSTANT timestamptz := job_restored_at();
  changed_identity text;
  refused_transition text;
  moved text;
  unplaced text;
  -- Ids of jobs that start, stop, or have left some of their nodes, whose allocations need new copies, or that have or
  -- had reservations.
  started uuid[];
  stopped uuid[];
  vacating uuid[];
  updated uuid[];
  reserved uuid[];
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO job_events (
      job_id, to_status, attempt, reason, borrowing, pool,
      gpus, cpu_millis, memory_bytes, project_id, namespace, name
    )
    SELECT id, status, attempt, reason, borrowing, pool,
      required_gpu, cpu_millis, memory_bytes, project_id, namespace, name
    FROM new_rows;
    SELECT array_agg(id) FILTER (WHERE job_is_live(status)), array_agg(id) FILTER (WHERE status = 'reserved')
    INTO started, reserved
    FROM new_rows;
  ELSE
    WITH change AS MATERIALIZED (
      SELECT after.id, before.status AS old_status, after.status, before.attempt AS old_attempt, after.attempt,
        after.reason, after.borrowing, after.pool, after.required_gpu, after.cpu_millis, after.memory_bytes,
        after.project_id, after.namespace, after.name,
        before.status <> after.status OR before.borrowing <> after.borrowing AS is_event,
        (before.id, before.project_id, before.created_at)
          IS DISTINCT FROM (after.id, after.project_id, after.created_at)
          OR (before.parallelism, before.pod_gpus, before.pod_other_gpus, before.pod_cpu_millis, before.pod_memory_bytes)
          IS DISTINCT FROM (after.parallelism, after.pod_gpus, after.pod_other_gpus, after.pod_cpu_millis, after.pod_memory_bytes)
          AS changes_identity,
        CASE WHEN restored_at IS NULL THEN
          -- Every start increments the attempt by one; nothing else changes it.
          before.status <> after.status
            AND (before.status, after.status) NOT IN (SELECT from_status, to_status FROM job_transitions)
            OR after.attempt <> before.attempt + (before.status <> after.status AND after.status = 'starting')::int
        ELSE
          -- A restored job only moves forward, and its allocations are written in a later attempt.
          after.attempt < before.attempt OR before.active_project_id IS NULL
            OR job_is_live(before.status) AND job_is_live(after.status)
            OR job_is_live(after.status) AND after.attempt = before.attempt
        END AS is_refused,
        before.attempt = after.attempt AND before.placement IS DISTINCT FROM after.placement AS is_placed_anew,
        -- Pods of an attempt that is being stopped have left some nodes, not all.
        job_is_live(before.status) AND job_is_live(after.status) AND (after.status = 'evicting' OR after.ending IS NOT NULL)
          AND after.placement <> '[]' AND before.placement @> after.placement AS may_vacate,
        job_is_live(after.status) AND NOT job_is_live(before.status) AS starts,
        job_is_live(before.status) AND NOT job_is_live(after.status) AS stops,
        job_is_live(before.status) AND job_is_live(after.status)
          AND (before.pool, before.priority, before.borrowing, before.evictable, before.leaves_by)
          IS DISTINCT FROM (after.pool, after.priority, after.borrowing, after.evictable, after.leaves_by)
          AS updates_allocations,
        before.status <> after.status AND 'reserved' IN (before.status, after.status) AS is_of_reservation
      FROM old_rows AS before
      FULL JOIN new_rows AS after ON after.id = before.id
    ), event AS (
      INSERT INTO job_events (
        job_id, at, from_status, to_status, attempt, reason, borrowing, pool,
        gpus, cpu_millis, memory_bytes, project_id, namespace, name
      )
      SELECT id, coalesce(restored_at, now()), old_status, status, attempt, reason, borrowing, pool,
        required_gpu, cpu_millis, memory_bytes, project_id, namespace, name
      FROM change
      WHERE is_event
    )
    SELECT min(name) FILTER (WHERE changes_identity),
      min(format('%s cannot go from %s (attempt %s) to %s (attempt %s)', name, old_status, old_attempt, status, attempt))
        FILTER (WHERE is_refused),
      min(name) FILTER (WHERE is_placed_anew AND may_vacate IS NOT TRUE),
      array_agg(id) FILTER (WHERE starts), array_agg(id) FILTER (WHERE stops),
      array_agg(id) FILTER (WHERE is_placed_anew AND may_vacate),
      array_agg(id) FILTER (WHERE updates_allocations), array_agg(id) FILTER (WHERE is_of_reservation)
    INTO changed_identity, refused_transition, moved, started, stopped, vacating, updated, reserved
    FROM change;

    IF changed_identity IS NOT NULL THEN
      RAISE EXCEPTION 'identity and demand of job % are fixed', changed_identity
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_identity_is_fixed', TABLE = 'jobs';
    END IF;
    IF refused_transition IS NOT NULL THEN
      RAISE EXCEPTION 'job %', refused_transition
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_transition_allowed', TABLE = 'jobs';
    END IF;
    IF moved IS NOT NULL THEN
      RAISE EXCEPTION 'job % is placed when it starts, and stays there', moved
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
    END IF;
  END IF;

  IF started IS NOT NULL THEN
    -- A job that arrives live, or is restored, has its pods: a fact, as a node that shrinks is.
    PERFORM set_config('rota.are_facts', CASE WHEN TG_OP = 'INSERT' OR restored_at IS NOT NULL THEN 'on' ELSE '' END, true);
    WITH placed AS (
      INSERT INTO allocations (
        job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
        pool, gang_size, priority, borrowing, started_at, evictable, leaves_by
      )
      SELECT job.id, job.attempt, place.node, place.pods, place.pods * job.pod_gpus,
        place.pods * job.pod_cpu_millis, place.pods * job.pod_memory_bytes,
        job.pool, job.parallelism, job.priority, job.borrowing, job.admitted_at, job.evictable, job.leaves_by
      FROM jobs AS job
      CROSS JOIN LATERAL jsonb_to_recordset(job.placement) AS place (node text, pods int)
      WHERE job.id = ANY (started)
      RETURNING job_id, pods
    )
    SELECT min(format('%s starts with %s of its %s pods placed', job.name, coalesce(gang.pods, 0), job.parallelism))
    INTO unplaced
    FROM (SELECT id, name, parallelism FROM jobs WHERE id = ANY (started)) AS job
    FULL JOIN (SELECT job_id, sum(pods) AS pods FROM placed GROUP BY job_id) AS gang ON gang.job_id = job.id
    WHERE job.parallelism IS DISTINCT FROM gang.pods;
    PERFORM set_config('rota.are_facts', '', true);
    IF unplaced IS NOT NULL THEN
      RAISE EXCEPTION 'job %', unplaced
        USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_agree_with_allocations', TABLE = 'jobs';
    END IF;
  END IF;
  IF stopped IS NOT NULL THEN
    DELETE FROM allocations WHERE job_id = ANY (stopped);
  END IF;
  IF vacating IS NOT NULL THEN
    DELETE FROM allocations
    USING jobs AS job
    WHERE job.id = allocations.job_id AND allocations.job_id = ANY (vacating)
      AND NOT job.placement @> jsonb_build_array(jsonb_build_object('node', allocations.node_name));
  END IF;
  IF updated IS NOT NULL THEN
    UPDATE allocations
    SET pool = job.pool, priority = job.priority, borrowing = job.borrowing,
      evictable = job.evictable, leaves_by = job.leaves_by
    FROM jobs AS job
    WHERE job.id = allocations.job_id AND allocations.job_id = ANY (updated);
  END IF;
  IF reserved IS NOT NULL THEN
    PERFORM jobs_check_reservations(reserved);
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_follow_change IS 'Refuses changes of jobs that are not allowed, and applies what follows from the others: history, allocations of jobs that start, stop or change, and the check of reservations';

CREATE TRIGGER jobs_follow_insert AFTER INSERT ON jobs
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_follow_change();
CREATE TRIGGER jobs_follow_update AFTER UPDATE ON jobs
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION jobs_follow_change();
CREATE TRIGGER jobs_only_ended_are_deleted BEFORE DELETE ON jobs FOR EACH ROW
WHEN (NOT job_has_ended(OLD.status))
EXECUTE FUNCTION refuse_change('jobs_only_ended_are_deleted', 'the job has not ended');

CREATE TRIGGER job_resources_are_fixed BEFORE UPDATE OR DELETE ON job_resources
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('jobs_identity_is_fixed', 'identity and demand of a job are fixed');

-- Allocations: written only by the triggers on jobs.
CREATE TRIGGER allocations_of_live_jobs BEFORE INSERT OR DELETE ON allocations
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('allocations_of_live_jobs', 'allocations follow from their jobs');
CREATE TRIGGER allocations_not_changed BEFORE UPDATE OR TRUNCATE ON allocations
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('allocations_not_changed', 'allocations follow from their jobs');

-- A foreign key to nodes would mix shared and exclusive locks on the rows of nodes, at several times the cost of
-- the statement itself, so this trigger checks that the node exists. A node that shrinks, a pod of somebody else,
-- and a job that is taken over with its pods are facts and pass; a commitment grows here and nowhere else, so the
-- database refuses here to decide to commit more than a node has. Nodes are locked in the order of their names, so two statements cannot deadlock over them.
CREATE FUNCTION allocations_commit() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  are_facts CONSTANT boolean := coalesce(current_setting('rota.are_facts', true) = 'on', false);
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
    RETURNING nodes.*, NOT are_facts AND (
      change.gpus > 0 AND gpus_committed + gpus_other > gpus_allocatable
        OR change.cpu_millis > 0 AND cpu_millis_committed + cpu_millis_other > cpu_millis_allocatable
        OR change.memory_bytes > 0 AND memory_bytes_committed + memory_bytes_other > memory_bytes_allocatable
        OR pods_committed + pods_other > pods_allocatable
      ) AS is_too_much
  )
  SELECT change.node_name, committed.* INTO refused
  FROM change
  LEFT JOIN committed ON committed.name = change.node_name
  WHERE committed.is_too_much IS NOT FALSE
  ORDER BY change.node_name
  LIMIT 1;
  IF refused.is_too_much THEN
    RAISE EXCEPTION 'node % has no room for this commitment', refused.node_name
      USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_not_overcommitted', TABLE = 'nodes',
        DETAIL = format(
          'GPUs %s of %s, millicores %s of %s, bytes %s of %s, pods %s of %s',
          refused.gpus_committed + refused.gpus_other, refused.gpus_allocatable,
          refused.cpu_millis_committed + refused.cpu_millis_other, refused.cpu_millis_allocatable,
          refused.memory_bytes_committed + refused.memory_bytes_other, refused.memory_bytes_allocatable,
          refused.pods_committed + refused.pods_other, refused.pods_allocatable
        );
  ELSIF FOUND THEN
    RAISE EXCEPTION 'node % does not exist', refused.node_name
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'allocations_node_exists', TABLE = 'allocations';
  END IF;

  -- The other resources, in the order in which every writer locks them. A node without a row has 0 of it, or 1 if it is exclusive.
  WITH change AS MATERIALIZED (
    SELECT new_rows.node_name, wanted.resource, sum(new_rows.pods * wanted.amount_per_pod) AS amount
    FROM new_rows
    JOIN job_resources AS wanted ON wanted.job_id = new_rows.job_id
    GROUP BY new_rows.node_name, wanted.resource
  ), committed AS (
    INSERT INTO node_resources (node_name, resource, allocatable, committed)
    SELECT node_name, resource, unrecorded_amount(resource), amount
    FROM change
    ORDER BY node_name, resource
    ON CONFLICT ON CONSTRAINT node_resources_pkey
      DO UPDATE SET committed = node_resources.committed + excluded.committed
    RETURNING node_resources.*
  )
  SELECT node_name, resource, committed + other AS used, allocatable INTO refused
  FROM committed
  WHERE NOT are_facts AND committed + other > allocatable
  ORDER BY node_name, resource
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'node % has no room for this commitment', refused.node_name
      USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_not_overcommitted', TABLE = 'node_resources',
        DETAIL = format('%s %s of %s', refused.resource, refused.used, refused.allocatable);
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION allocations_commit IS 'Adds new allocations to the committed capacity of their nodes; refuses an unknown node, and more than a node has';

CREATE FUNCTION allocations_release() RETURNS trigger
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
  WITH change AS MATERIALIZED (
    SELECT old_rows.node_name, wanted.resource, sum(old_rows.pods * wanted.amount_per_pod) AS amount
    FROM old_rows
    JOIN job_resources AS wanted ON wanted.job_id = old_rows.job_id
    GROUP BY old_rows.node_name, wanted.resource
  ), locked AS MATERIALIZED (
    SELECT resource.node_name, resource.resource, change.amount
    FROM node_resources AS resource
    JOIN change ON change.node_name = resource.node_name AND change.resource = resource.resource
    ORDER BY resource.node_name, resource.resource
    FOR NO KEY UPDATE OF resource
  )
  UPDATE node_resources AS resource
  SET committed = resource.committed - locked.amount
  FROM locked
  WHERE resource.node_name = locked.node_name AND resource.resource = locked.resource;
  IF has_left THEN
    DELETE FROM nodes
    WHERE name = ANY (ARRAY(SELECT node_name FROM old_rows)) AND NOT present AND pods_committed = 0
      AND NOT EXISTS (SELECT FROM reservations WHERE reservations.node_name = nodes.name);
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION allocations_release IS 'Subtracts deleted allocations from the committed capacity of their nodes; deletes a node that left the cluster with its last allocation';

CREATE TRIGGER allocations_commit AFTER INSERT ON allocations
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_commit();
CREATE TRIGGER allocations_release AFTER DELETE ON allocations
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION allocations_release();

-- Reservations: inserted and deleted together with the status change of their job, never updated.
CREATE FUNCTION reservations_check() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM jobs_check_reservations(ARRAY(SELECT DISTINCT job_id FROM changed_rows));
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION reservations_check IS 'Refuses reservations that disagree with the status of their job';
CREATE TRIGGER reservations_check_on_insert AFTER INSERT ON reservations
REFERENCING NEW TABLE AS changed_rows
FOR EACH STATEMENT EXECUTE FUNCTION reservations_check();
CREATE TRIGGER reservations_check_on_delete AFTER DELETE ON reservations
REFERENCING OLD TABLE AS changed_rows
FOR EACH STATEMENT EXECUTE FUNCTION reservations_check();
CREATE TRIGGER reservations_not_changed BEFORE UPDATE ON reservations FOR EACH ROW
WHEN ((OLD.job_id, OLD.pods) IS DISTINCT FROM (NEW.job_id, NEW.pods))
EXECUTE FUNCTION refuse_change('jobs_agree_with_reservations', 'reservations are released and made again, not changed');

-- History.
CREATE TRIGGER job_events_append_only BEFORE UPDATE OR TRUNCATE ON job_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('job_events_append_only', 'history is append-only');
CREATE TRIGGER job_events_not_deleted BEFORE DELETE ON job_events
FOR EACH STATEMENT WHEN (NOT history_is_pruned())
EXECUTE FUNCTION refuse_change('job_events_append_only', 'history is append-only');
