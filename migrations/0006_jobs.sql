-- The queue: jobs, where their pods are (allocations) or will be (reservations), and the history of both.
CREATE TYPE job_status AS ENUM (
  'pending', 'reserved', 'starting', 'running', 'evicting', 'evicted', 'succeeded', 'failed', 'cancelled'
);

CREATE TABLE job_transitions (
  from_status job_status NOT NULL,
  to_status job_status NOT NULL,
  CONSTRAINT job_transitions_pkey PRIMARY KEY (from_status, to_status)
);
COMMENT ON TABLE job_transitions IS 'The changes of status that are allowed; a trigger refuses all others';
COMMENT ON COLUMN job_transitions.from_status IS 'Status before';
COMMENT ON COLUMN job_transitions.to_status IS 'Status after';
INSERT INTO job_transitions (from_status, to_status) VALUES
  ('pending', 'reserved'), ('pending', 'starting'), ('pending', 'cancelled'), ('pending', 'failed'),
  ('reserved', 'starting'), ('reserved', 'pending'), ('reserved', 'evicted'), ('reserved', 'cancelled'), ('reserved', 'failed'),
  ('starting', 'running'), ('starting', 'evicting'), ('starting', 'pending'), ('starting', 'succeeded'),
  ('starting', 'failed'), ('starting', 'cancelled'),
  ('running', 'succeeded'), ('running', 'failed'), ('running', 'evicting'), ('running', 'pending'),
  ('running', 'cancelled'),
  -- A victim may finish before its eviction does.
  ('evicting', 'evicted'), ('evicting', 'cancelled'), ('evicting', 'succeeded'), ('evicting', 'failed'),
  ('evicted', 'reserved'), ('evicted', 'starting'), ('evicted', 'cancelled'), ('evicted', 'failed');

-- Not STRICT: PostgreSQL inlines it only so, and a call for each row costs more than the rest of a check.
CREATE FUNCTION job_is_live(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('starting', 'running', 'evicting');
COMMENT ON FUNCTION job_is_live IS 'Whether pods of the job exist or must exist';

CREATE TABLE jobs (
  id uuid CONSTRAINT jobs_pkey PRIMARY KEY,
  project_id uuid NOT NULL,
  namespace text NOT NULL,
  name text NOT NULL,
  pool text NOT NULL,
  priority integer NOT NULL,
  priority_class text NOT NULL,
  status job_status NOT NULL DEFAULT 'pending',
  attempt integer NOT NULL DEFAULT 0 CONSTRAINT jobs_attempt_not_negative CHECK (attempt >= 0),
  parallelism integer NOT NULL CONSTRAINT jobs_parallelism_positive CHECK (parallelism > 0),
  pod_gpus integer NOT NULL,
  pod_cpu_millis bigint NOT NULL,
  pod_memory_bytes bigint NOT NULL,
  gpus integer NOT NULL GENERATED ALWAYS AS (parallelism * pod_gpus) STORED,
  cpu_millis bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_cpu_millis) STORED,
  memory_bytes bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_memory_bytes) STORED,
  created_at timestamptz NOT NULL,
  not_before timestamptz,
  borrowing boolean NOT NULL DEFAULT false,
  allows_borrowing boolean NOT NULL,
  preempts boolean NOT NULL,
  max_runtime_seconds integer CONSTRAINT jobs_max_runtime_positive CHECK (max_runtime_seconds > 0),
  backoff_limit integer NOT NULL CONSTRAINT jobs_backoff_limit_not_negative CHECK (backoff_limit >= 0),
  failures integer NOT NULL DEFAULT 0 CONSTRAINT jobs_failures_not_negative CHECK (failures >= 0),
  suspended boolean NOT NULL DEFAULT false,
  config_hash text,
  started_at timestamptz,
  finished_at timestamptz,
  reason text,
  message text,
  -- Null once the job has ended: a project with active jobs cannot be deleted, ended ones outlive it.
  active_project_id uuid GENERATED ALWAYS AS (
    CASE WHEN status NOT IN ('succeeded', 'failed', 'cancelled') THEN project_id END
  ) STORED CONSTRAINT jobs_active_project_fkey REFERENCES projects (id),
  CONSTRAINT jobs_demand_not_negative CHECK (pod_gpus >= 0 AND pod_cpu_millis >= 0 AND pod_memory_bytes >= 0),
  CONSTRAINT jobs_live_has_attempt CHECK (attempt > 0 OR NOT job_is_live(status)),
  CONSTRAINT jobs_finished_has_time CHECK (
    (finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled'))
  )
)
-- A job's row changes three or four times in its life, and status stands in every partial index, so
-- these updates are never HOT: room on the page saves a second page write each, and vacuum comes
-- after 5,000 dead rows plus one in fifty, long before the dead ones slow a claim down.
WITH (fillfactor = 80, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_queue_idx ON jobs (pool, priority DESC, created_at, id)
  WHERE status IN ('pending', 'evicted') AND NOT suspended;
CREATE INDEX jobs_queue_by_project_idx ON jobs (pool, project_id, priority DESC, created_at, id)
  WHERE status IN ('pending', 'evicted') AND NOT suspended;
CREATE INDEX jobs_occupying_idx ON jobs (pool, status)
  WHERE status IN ('reserved', 'starting', 'running', 'evicting');
CREATE INDEX jobs_active_project_idx ON jobs (active_project_id) WHERE active_project_id IS NOT NULL;
COMMENT ON TABLE jobs IS 'Jobs: one narrow row each, changed at every step of its life';
COMMENT ON COLUMN jobs.id IS 'The custom resource''s uid';
COMMENT ON COLUMN jobs.project_id IS 'Its project, which an ended job may outlive';
COMMENT ON COLUMN jobs.namespace IS 'Namespace of the custom resource';
COMMENT ON COLUMN jobs.name IS 'Name of the custom resource';
COMMENT ON COLUMN jobs.pool IS 'The pool of nodes it runs in';
COMMENT ON COLUMN jobs.priority IS 'Value of its priority class';
COMMENT ON COLUMN jobs.priority_class IS 'Name of its priority class';
COMMENT ON COLUMN jobs.status IS 'Where it stands; pending and evicted wait in the queue';
COMMENT ON COLUMN jobs.attempt IS 'Number of the latest start; 0 before the first. Fences every transition';
COMMENT ON COLUMN jobs.parallelism IS 'Pods of the gang';
COMMENT ON COLUMN jobs.pod_gpus IS 'GPUs each pod requests';
COMMENT ON COLUMN jobs.pod_cpu_millis IS 'Millicores each pod requests, as the kubelet counts them';
COMMENT ON COLUMN jobs.pod_memory_bytes IS 'Bytes of memory each pod requests, as the kubelet counts them';
COMMENT ON COLUMN jobs.gpus IS 'GPUs of the whole gang';
COMMENT ON COLUMN jobs.cpu_millis IS 'Millicores of the whole gang';
COMMENT ON COLUMN jobs.memory_bytes IS 'Bytes of memory of the whole gang';
COMMENT ON COLUMN jobs.created_at IS 'Queue time, kept through evictions and retries';
COMMENT ON COLUMN jobs.not_before IS 'Back-off after a failure: not claimed earlier; null: at once';
COMMENT ON COLUMN jobs.borrowing IS 'Whether it occupies capacity outside the plans in effect';
COMMENT ON COLUMN jobs.allows_borrowing IS 'Whether it may run outside the plans';
COMMENT ON COLUMN jobs.preempts IS 'Whether its class may evict others';
COMMENT ON COLUMN jobs.max_runtime_seconds IS 'Seconds an attempt may run; null: no limit';
COMMENT ON COLUMN jobs.backoff_limit IS 'Failures after which it is not tried again';
COMMENT ON COLUMN jobs.failures IS 'Attempts that failed';
COMMENT ON COLUMN jobs.suspended IS 'Whether its user keeps it out of the queue';
COMMENT ON COLUMN jobs.config_hash IS 'Hash of the configuration it runs with; null: none';
COMMENT ON COLUMN jobs.started_at IS 'When all pods of the latest attempt ran, or that attempt was admitted; null before the first';
COMMENT ON COLUMN jobs.finished_at IS 'When it ended for good';
COMMENT ON COLUMN jobs.reason IS 'CamelCase reason of the latest change';
COMMENT ON COLUMN jobs.message IS 'The same in a sentence';
COMMENT ON COLUMN jobs.active_project_id IS 'Its project until it has ended';

CREATE TABLE job_specs (
  job_id uuid CONSTRAINT job_specs_pkey PRIMARY KEY
    CONSTRAINT job_specs_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  node_selector jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT job_specs_node_selector_is_object CHECK (jsonb_typeof(node_selector) = 'object'),
  node_affinity jsonb
    CONSTRAINT job_specs_node_affinity_is_array CHECK (jsonb_typeof(node_affinity) = 'array'),
  tolerations jsonb NOT NULL DEFAULT '[]'
    CONSTRAINT job_specs_tolerations_is_array CHECK (jsonb_typeof(tolerations) = 'array'),
  avoid_nodes text[] NOT NULL DEFAULT '{}',
  storages jsonb NOT NULL DEFAULT '[]'
    CONSTRAINT job_specs_storages_is_array CHECK (jsonb_typeof(storages) = 'array')
);
COMMENT ON TABLE job_specs IS 'What placement needs of a job and its row need not carry at every update';
COMMENT ON COLUMN job_specs.job_id IS 'The job';
COMMENT ON COLUMN job_specs.node_selector IS 'nodeSelector of the pod template';
COMMENT ON COLUMN job_specs.node_affinity IS 'nodeSelectorTerms of the required node affinity, alternatives; null: no requirement';
COMMENT ON COLUMN job_specs.tolerations IS 'Tolerations of the pod template';
COMMENT ON COLUMN job_specs.avoid_nodes IS 'Nodes not to try again, where it failed to start';
COMMENT ON COLUMN job_specs.storages IS 'Storages to mount, as in the custom resource';

CREATE TABLE allocations (
  job_id uuid NOT NULL,
  attempt integer NOT NULL,
  node_name text NOT NULL,
  pods integer NOT NULL CONSTRAINT allocations_pods_positive CHECK (pods > 0),
  gpus integer NOT NULL CONSTRAINT allocations_gpus_not_negative CHECK (gpus >= 0),
  cpu_millis bigint NOT NULL CONSTRAINT allocations_cpu_not_negative CHECK (cpu_millis >= 0),
  memory_bytes bigint NOT NULL CONSTRAINT allocations_memory_not_negative CHECK (memory_bytes >= 0),
  CONSTRAINT allocations_pkey PRIMARY KEY (job_id, attempt, node_name)
)
-- Rows come and go with every attempt and are never updated.
WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX allocations_node_idx ON allocations (node_name);
COMMENT ON TABLE allocations IS 'Where the pods of live jobs are or must be; triggers stand for foreign keys, see the migration';
COMMENT ON COLUMN allocations.job_id IS 'The job, which is starting, running or evicting';
COMMENT ON COLUMN allocations.attempt IS 'Its current attempt';
COMMENT ON COLUMN allocations.node_name IS 'The node';
COMMENT ON COLUMN allocations.pods IS 'Pods of the gang on this node';
COMMENT ON COLUMN allocations.gpus IS 'Their GPUs';
COMMENT ON COLUMN allocations.cpu_millis IS 'Their millicores';
COMMENT ON COLUMN allocations.memory_bytes IS 'Their bytes of memory';

CREATE TABLE reservations (
  job_id uuid NOT NULL CONSTRAINT reservations_job_fkey REFERENCES jobs (id),
  node_name text NOT NULL CONSTRAINT reservations_node_fkey REFERENCES nodes (name),
  pods integer NOT NULL CONSTRAINT reservations_pods_positive CHECK (pods > 0),
  gpus integer NOT NULL CONSTRAINT reservations_gpus_not_negative CHECK (gpus >= 0),
  cpu_millis bigint NOT NULL CONSTRAINT reservations_cpu_not_negative CHECK (cpu_millis >= 0),
  memory_bytes bigint NOT NULL CONSTRAINT reservations_memory_not_negative CHECK (memory_bytes >= 0),
  expires_at timestamptz NOT NULL,
  CONSTRAINT reservations_pkey PRIMARY KEY (job_id, node_name)
);
CREATE INDEX reservations_node_idx ON reservations (node_name);
COMMENT ON TABLE reservations IS 'Capacity kept for reserved jobs; not committed before the victims have left';
COMMENT ON COLUMN reservations.job_id IS 'The reserved job';
COMMENT ON COLUMN reservations.node_name IS 'The node';
COMMENT ON COLUMN reservations.pods IS 'Pods of the gang that will run there';
COMMENT ON COLUMN reservations.gpus IS 'Their GPUs';
COMMENT ON COLUMN reservations.cpu_millis IS 'Their millicores';
COMMENT ON COLUMN reservations.memory_bytes IS 'Their bytes of memory';
COMMENT ON COLUMN reservations.expires_at IS 'When the reservation is given back if the job has not started';

CREATE TABLE job_events (
  id bigint GENERATED ALWAYS AS IDENTITY,
  job_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  from_status job_status,
  to_status job_status NOT NULL,
  attempt integer NOT NULL,
  reason text,
  borrowing boolean NOT NULL,
  pool text NOT NULL,
  gpus integer NOT NULL,
  cpu_millis bigint NOT NULL,
  memory_bytes bigint NOT NULL,
  project_id uuid NOT NULL,
  project_path text,
  namespace text NOT NULL,
  name text NOT NULL,
  CONSTRAINT job_events_pkey PRIMARY KEY (job_id, id)
)
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
-- Rows arrive in the order of their time: a block range index finds a month and costs nothing to keep.
CREATE INDEX job_events_at_idx ON job_events USING brin (at);
COMMENT ON TABLE job_events IS 'Every change of every job, append-only: what accounting is made from';
COMMENT ON COLUMN job_events.id IS 'Order of the events';
COMMENT ON COLUMN job_events.job_id IS 'The job; no foreign key, since history outlives it';
COMMENT ON COLUMN job_events.at IS 'When, by the database''s clock (start of the transaction)';
COMMENT ON COLUMN job_events.from_status IS 'Status before; null when the job arrived';
COMMENT ON COLUMN job_events.to_status IS 'Status after';
COMMENT ON COLUMN job_events.attempt IS 'Attempt after';
COMMENT ON COLUMN job_events.reason IS 'Reason of the change';
COMMENT ON COLUMN job_events.borrowing IS 'Whether it was outside the plans after the change';
COMMENT ON COLUMN job_events.pool IS 'Its pool';
COMMENT ON COLUMN job_events.gpus IS 'GPUs of the whole gang';
COMMENT ON COLUMN job_events.cpu_millis IS 'Millicores of the whole gang';
COMMENT ON COLUMN job_events.memory_bytes IS 'Bytes of memory of the whole gang';
COMMENT ON COLUMN job_events.project_id IS 'Its project';
COMMENT ON COLUMN job_events.project_path IS 'Path of its project at that time, for accounting after the project is gone';
COMMENT ON COLUMN job_events.namespace IS 'Namespace of the job';
COMMENT ON COLUMN job_events.name IS 'Name of the job';
CREATE TRIGGER job_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON job_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('job_events_append_only');
