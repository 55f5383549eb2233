-- Jobs, the nodes that their pods occupy (allocations) or will occupy (reservations), and their history.
CREATE TYPE job_status AS ENUM (
  'pending', 'reserved', 'starting', 'running', 'evicting', 'evicted', 'succeeded', 'failed', 'cancelled'
);

CREATE TABLE job_transitions (
  from_status job_status NOT NULL,
  to_status job_status NOT NULL,
  CONSTRAINT job_transitions_pkey PRIMARY KEY (from_status, to_status)
);
COMMENT ON TABLE job_transitions IS 'Allowed changes of status; a trigger refuses all others';
COMMENT ON COLUMN job_transitions.from_status IS 'Status before';
COMMENT ON COLUMN job_transitions.to_status IS 'Status after';
INSERT INTO job_transitions (from_status, to_status) VALUES
  ('pending', 'reserved'), ('pending', 'starting'), ('pending', 'cancelled'), ('pending', 'failed'),
  ('reserved', 'starting'), ('reserved', 'pending'), ('reserved', 'evicted'), ('reserved', 'cancelled'),
  ('reserved', 'failed'),
  ('starting', 'running'), ('starting', 'evicting'), ('starting', 'pending'), ('starting', 'succeeded'),
  ('starting', 'failed'), ('starting', 'cancelled'),
  ('running', 'succeeded'), ('running', 'failed'), ('running', 'evicting'), ('running', 'pending'),
  ('running', 'cancelled'),
  -- A victim may finish before its eviction completes, and a cancelled eviction lets it continue.
  ('evicting', 'evicted'), ('evicting', 'cancelled'), ('evicting', 'succeeded'), ('evicting', 'failed'),
  ('evicting', 'running'),
  ('evicted', 'reserved'), ('evicted', 'starting'), ('evicted', 'cancelled'), ('evicted', 'failed');

-- Groups of states. Not STRICT, because PostgreSQL inlines only non-strict functions, and must inline them to match
-- partial indexes.
CREATE FUNCTION job_is_waiting(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('pending', 'evicted');
COMMENT ON FUNCTION job_is_waiting IS 'Whether the job is in the queue: pending or evicted';

CREATE FUNCTION job_is_live(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('starting', 'running', 'evicting');
COMMENT ON FUNCTION job_is_live IS 'Whether pods of the job exist or must exist: starting, running or evicting';

CREATE FUNCTION job_may_be_evicted(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('starting', 'running');
COMMENT ON FUNCTION job_may_be_evicted IS 'Whether an eviction of the job may begin: starting or running';

CREATE FUNCTION job_uses_quota(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('reserved', 'starting', 'running');
COMMENT ON FUNCTION job_uses_quota IS 'Whether the job counts against quotas: reserved, starting or running';

CREATE FUNCTION job_has_ended(status job_status) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN status IN ('succeeded', 'failed', 'cancelled');
COMMENT ON FUNCTION job_has_ended IS 'Whether the job has ended for good: succeeded, failed or cancelled';

-- A job whose starts fail again and again may not go on to cost others theirs.
CREATE FUNCTION job_may_preempt(preempts boolean, failed_starts integer) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN preempts AND failed_starts < 3;
COMMENT ON FUNCTION job_may_preempt IS 'Whether the job may preempt others: its class allows it, and fewer than three starts in a row have failed';

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
  pod_other_gpus integer NOT NULL DEFAULT 0,
  pod_cpu_millis bigint NOT NULL,
  pod_memory_bytes bigint NOT NULL,
  required_gpu integer NOT NULL GENERATED ALWAYS AS (parallelism * (pod_gpus + pod_other_gpus)) STORED,
  cpu_millis bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_cpu_millis) STORED,
  memory_bytes bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_memory_bytes) STORED,
  created_at timestamptz NOT NULL,
  arrival bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  not_before timestamptz,
  borrowing boolean NOT NULL DEFAULT false,
  allows_borrowing boolean NOT NULL,
  preempts boolean NOT NULL,
  max_runtime_seconds integer CONSTRAINT jobs_max_runtime_positive CHECK (max_runtime_seconds > 0),
  backoff_limit integer NOT NULL CONSTRAINT jobs_backoff_limit_not_negative CHECK (backoff_limit >= 0),
  failures integer NOT NULL DEFAULT 0 CONSTRAINT jobs_failures_not_negative CHECK (failures >= 0),
  failed_starts integer NOT NULL DEFAULT 0 CONSTRAINT jobs_failed_starts_not_negative CHECK (failed_starts >= 0),
  node_failures integer NOT NULL DEFAULT 0 CONSTRAINT jobs_node_failures_not_negative CHECK (node_failures >= 0),
  suspended boolean NOT NULL DEFAULT false,
  config_hash text,
  constraints_hash uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  scheduling_signature uuid NOT NULL GENERATED ALWAYS AS (
    md5(
      parallelism::text || ' ' || pod_gpus::text || ' ' || pod_cpu_millis::text || ' ' || pod_memory_bytes::text
      || ' ' || allows_borrowing::text || ' ' || job_may_preempt(preempts, failed_starts)::text
      || ' ' || coalesce(max_runtime_seconds, 0)::text
      || ' ' || constraints_hash::text
    )::uuid
  ) STORED,
  placement jsonb CONSTRAINT jobs_placement_is_array CHECK (jsonb_typeof(placement) = 'array'),
  admitted_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  ending jsonb CONSTRAINT jobs_ending_is_object CHECK (jsonb_typeof(ending) = 'object'),
  leaves_by timestamptz,
  asked_grace_seconds integer CONSTRAINT jobs_asked_grace_not_negative CHECK (asked_grace_seconds >= 0),
  evictable boolean NOT NULL GENERATED ALWAYS AS (job_may_be_evicted(status) AND ending IS NULL) STORED,
  reason text,
  message text,
  -- A project with active jobs cannot be deleted; ended jobs outlive it.
  active_project_id uuid GENERATED ALWAYS AS (CASE WHEN NOT job_has_ended(status) THEN project_id END) STORED
    CONSTRAINT jobs_active_project_fkey REFERENCES projects (id),
  CONSTRAINT jobs_demand_not_negative CHECK (
    pod_gpus >= 0 AND pod_other_gpus >= 0 AND pod_cpu_millis >= 0 AND pod_memory_bytes >= 0
  ),
  CONSTRAINT jobs_live_has_attempt CHECK (attempt > 0 OR NOT job_is_live(status)),
  CONSTRAINT jobs_finished_has_time CHECK ((finished_at IS NOT NULL) = job_has_ended(status)),
  CONSTRAINT jobs_ending_has_deadline CHECK (ending IS NULL AND asked_grace_seconds IS NULL OR leaves_by IS NOT NULL)
)
-- A row changes three or four times in the life of its job, and every partial index depends on status, so these
-- updates are never HOT. Free space on the page saves writing a second page. Vacuum starts after 5,000 dead rows
-- plus 2 %, long before dead rows slow down a claim.
WITH (fillfactor = 80, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_queue_idx ON jobs (pool, priority DESC, created_at, arrival)
  WHERE job_is_waiting(status) AND NOT suspended;
CREATE INDEX jobs_queue_by_signature_idx
  ON jobs (pool, project_id, scheduling_signature, priority DESC, created_at, arrival)
  WHERE job_is_waiting(status) AND NOT suspended;
CREATE INDEX jobs_occupying_idx ON jobs (pool, status)
  WHERE status IN ('reserved', 'starting', 'running', 'evicting');
-- Finds the active jobs of a project, or one of them by name.
CREATE INDEX jobs_active_project_idx ON jobs (active_project_id, name) WHERE active_project_id IS NOT NULL;
-- Each cycle reads the end of the next back-off; few jobs are in back-off.
CREATE INDEX jobs_back_off_idx ON jobs (pool, not_before) WHERE not_before IS NOT NULL;
-- Each cycle reads when the next pods that leave are overdue; few jobs leave.
CREATE INDEX jobs_leaving_idx ON jobs (pool, leaves_by) WHERE job_is_live(status) AND leaves_by IS NOT NULL;
-- Finds the jobs that need a content.
CREATE INDEX jobs_config_idx ON jobs (config_hash) WHERE config_hash IS NOT NULL;
CREATE INDEX jobs_finished_idx ON jobs (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE jobs IS 'Jobs: one narrow row each, updated at every step of the job''s life';
COMMENT ON COLUMN jobs.id IS 'uid of the custom resource';
COMMENT ON COLUMN jobs.project_id IS 'Project; an ended job may outlive it';
COMMENT ON COLUMN jobs.namespace IS 'Namespace of the custom resource';
COMMENT ON COLUMN jobs.name IS 'Name of the custom resource';
COMMENT ON COLUMN jobs.pool IS 'Pool of nodes that the job runs in';
COMMENT ON COLUMN jobs.priority IS 'Value of the priority class';
COMMENT ON COLUMN jobs.priority_class IS 'Name of the priority class';
COMMENT ON COLUMN jobs.status IS 'State of the job; pending and evicted jobs wait in the queue';
COMMENT ON COLUMN jobs.attempt IS 'Number of the latest start; 0 before the first. Fences every transition';
COMMENT ON COLUMN jobs.parallelism IS 'Number of pods of the gang';
COMMENT ON COLUMN jobs.pod_gpus IS 'GPUs requested by each pod, of the resource that nodes count in a column';
COMMENT ON COLUMN jobs.pod_other_gpus IS 'GPUs of other vendors requested by each pod; they are in job_resources, too';
COMMENT ON COLUMN jobs.pod_cpu_millis IS 'Millicores requested by each pod, as the kubelet counts them';
COMMENT ON COLUMN jobs.pod_memory_bytes IS 'Bytes of memory requested by each pod, as the kubelet counts them';
COMMENT ON COLUMN jobs.required_gpu IS 'GPUs of the whole gang, of all vendors';
COMMENT ON COLUMN jobs.cpu_millis IS 'Millicores of the whole gang';
COMMENT ON COLUMN jobs.memory_bytes IS 'Bytes of memory of the whole gang';
COMMENT ON COLUMN jobs.created_at IS 'Queue time, kept through evictions and retries';
COMMENT ON COLUMN jobs.arrival IS 'Order in which the database first recorded the jobs: that of the queue among jobs of one queue time, which has whole seconds';
COMMENT ON COLUMN jobs.not_before IS 'End of the back-off after a failure; null: none';
COMMENT ON COLUMN jobs.borrowing IS 'Whether the job uses capacity over the quotas in effect';
COMMENT ON COLUMN jobs.allows_borrowing IS 'Whether the job may borrow';
COMMENT ON COLUMN jobs.preempts IS 'Whether the priority class may preempt other jobs';
COMMENT ON COLUMN jobs.max_runtime_seconds IS 'Longest runtime of an attempt in seconds; null: no limit';
COMMENT ON COLUMN jobs.backoff_limit IS 'Number of failures after which the job fails for good';
COMMENT ON COLUMN jobs.failures IS 'Number of failed attempts';
COMMENT ON COLUMN jobs.failed_starts IS 'Starts in a row that failed because of the job itself (its image, its configuration) or of what refuses its pods (a quota, a webhook)';
COMMENT ON COLUMN jobs.node_failures IS 'Starts in a row that failed because of a node; three count as one failed start';
COMMENT ON COLUMN jobs.suspended IS 'Whether the job is kept out of the queue: by its user, or because its project does not allow its priority class';
COMMENT ON COLUMN jobs.config_hash IS 'Hash of the job''s configuration; null: none';
COMMENT ON COLUMN jobs.constraints_hash IS 'MD5 of the placement constraints: node selector, affinity, tolerations, storages, pods per node, resources without a column, and of what the pods count for under ResourceQuotas';
COMMENT ON COLUMN jobs.scheduling_signature IS 'MD5 of all that the job requests: waiting jobs of one project and signature are alike for scheduling';
COMMENT ON COLUMN jobs.placement IS 'Placement of the latest attempt, [{"node": name, "pods": number}]; null before the first. While the job is live, its allocations say the same: nodes that a leaving gang no longer uses are in neither';
COMMENT ON COLUMN jobs.admitted_at IS 'Time of the latest admission or reservation: the rank among jobs of one priority; null before the first';
COMMENT ON COLUMN jobs.started_at IS 'Time at which all pods of the latest attempt ran, or of its admission until then; null before the first';
COMMENT ON COLUMN jobs.finished_at IS 'Time at which the job ended for good';
COMMENT ON COLUMN jobs.ending IS 'Why the current attempt is being stopped, while its pods terminate; null otherwise';
COMMENT ON COLUMN jobs.leaves_by IS 'Until then the scheduler waits for the pods of an attempt that is being stopped or evicted, instead of preempting other jobs; null otherwise, and of a victim whose pods have not all been asked to leave';
COMMENT ON COLUMN jobs.asked_grace_seconds IS 'Longest grace period of the pods of an attempt that leaves, once all have been asked to; null before. leaves_by is that long after the database first heard of it, and a margin';
COMMENT ON COLUMN jobs.evictable IS 'Whether the job may become a victim: it is starting or running, and its attempt is not being stopped';
COMMENT ON COLUMN jobs.reason IS 'CamelCase reason of the latest change';
COMMENT ON COLUMN jobs.message IS 'Details of the reason, as a sentence';
COMMENT ON COLUMN jobs.active_project_id IS 'Project while the job has not ended, else null';

CREATE TABLE job_specs (
  job_id uuid CONSTRAINT job_specs_pkey PRIMARY KEY
    CONSTRAINT job_specs_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  node_selector jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT job_specs_node_selector_is_object CHECK (jsonb_typeof(node_selector) = 'object'),
  node_affinity jsonb
    CONSTRAINT job_specs_node_affinity_is_array CHECK (jsonb_typeof(node_affinity) = 'array'),
  preferred_affinity jsonb
    CONSTRAINT job_specs_preferred_affinity_is_array CHECK (jsonb_typeof(preferred_affinity) = 'array'),
  tolerations jsonb NOT NULL DEFAULT '[]'
    CONSTRAINT job_specs_tolerations_is_array CHECK (jsonb_typeof(tolerations) = 'array'),
  storages jsonb NOT NULL DEFAULT '[]'
    CONSTRAINT job_specs_storages_is_array CHECK (jsonb_typeof(storages) = 'array'),
  pod_usage jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT job_specs_pod_usage_is_object CHECK (jsonb_typeof(pod_usage) = 'object')
    CONSTRAINT job_specs_pod_usage_bounded CHECK (octet_length(pod_usage::text) <= 16384),
  max_pods_per_node integer CONSTRAINT job_specs_max_pods_per_node_positive CHECK (max_pods_per_node > 0),
  -- Every cycle reads the constraints of all claimed jobs and compares them with all nodes.
  CONSTRAINT job_specs_constraints_bounded CHECK (
    octet_length(node_selector::text) + coalesce(octet_length(node_affinity::text), 0)
      + coalesce(octet_length(preferred_affinity::text), 0)
      + octet_length(tolerations::text) + octet_length(storages::text) <= 16384
  )
);
COMMENT ON TABLE job_specs IS 'Placement constraints of jobs and what their pods count for, apart from jobs to keep its updates small';
COMMENT ON COLUMN job_specs.job_id IS 'The job';
COMMENT ON COLUMN job_specs.node_selector IS 'nodeSelector of the pod template';
COMMENT ON COLUMN job_specs.node_affinity IS 'nodeSelectorTerms of the required node affinity, of which one must match; null: no requirement';
COMMENT ON COLUMN job_specs.preferred_affinity IS 'Preferred node affinity, which decides among nodes that are equally good otherwise; null: none';
COMMENT ON COLUMN job_specs.tolerations IS 'Tolerations of the pod template';
COMMENT ON COLUMN job_specs.storages IS 'Storages to mount, as in the custom resource';
COMMENT ON COLUMN job_specs.pod_usage IS 'What each pod counts for under ResourceQuotas: {"requests": {resource: thousandths as text}, "limits", "scopes", "priorityClassName"}';
COMMENT ON COLUMN job_specs.max_pods_per_node IS 'Pods of the gang on one node, by its topology spread constraints; null: no limit';

CREATE TABLE job_resources (
  job_id uuid NOT NULL CONSTRAINT job_resources_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  resource text COLLATE "C" NOT NULL,
  amount_per_pod bigint NOT NULL CONSTRAINT job_resources_amount_positive CHECK (amount_per_pod > 0),
  resource_type text COLLATE "C",
  CONSTRAINT job_resources_pkey PRIMARY KEY (job_id, resource),
  CONSTRAINT job_resources_type_agrees CHECK (resource_type IN ('GPU', resource))
);
-- Quotas count what plans can grant.
CREATE INDEX job_resources_granted_idx ON job_resources (job_id) WHERE resource_type IS NOT NULL;
COMMENT ON TABLE job_resources IS 'Requests of jobs besides GPUs, CPU and memory: ephemeral-storage, hugepages-*, other devices. Fixed when the job arrives';
COMMENT ON COLUMN job_resources.job_id IS 'The job';
COMMENT ON COLUMN job_resources.resource IS 'Kubernetes name of the resource';
COMMENT ON COLUMN job_resources.resource_type IS 'Type of the plans that grant it: GPU for GPUs of other vendors, else its own name; null: no plan can';
COMMENT ON TABLE job_resources IS 'Requests of jobs besides GPUs, CPU and memory: ephemeral-storage, hugepages-*, other devices, exclusive resources. Fixed when the job arrives';
COMMENT ON COLUMN job_resources.job_id IS 'The job';
COMMENT ON COLUMN job_resources.resource IS 'Kubernetes name of the resource, or the name of an exclusive one, which has a colon';
COMMENT ON COLUMN job_resources.amount_per_pod IS 'Requested by each pod: bytes of ephemeral-storage and hugepages-*, otherwise units';

CREATE TABLE avoided_nodes (
  job_id uuid NOT NULL CONSTRAINT avoided_nodes_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  node_name text NOT NULL,
  until timestamptz NOT NULL,
  CONSTRAINT avoided_nodes_pkey PRIMARY KEY (job_id, node_name)
);
COMMENT ON TABLE avoided_nodes IS 'Nodes that a job avoids for a while, because it did not start there in time or its victims did not leave';
COMMENT ON COLUMN avoided_nodes.job_id IS 'The job';
COMMENT ON COLUMN avoided_nodes.node_name IS 'The node; no foreign key, because a node that left the cluster may return';
COMMENT ON COLUMN avoided_nodes.until IS 'End of the avoidance';

-- A pod that succeeded counts even if it is deleted before the rest of its gang has ended.
CREATE TABLE pod_completions (
  job_id uuid NOT NULL CONSTRAINT pod_completions_job_fkey REFERENCES jobs (id) ON DELETE CASCADE,
  attempt integer NOT NULL,
  pod_index integer NOT NULL CONSTRAINT pod_completions_index_not_negative CHECK (pod_index >= 0),
  CONSTRAINT pod_completions_pkey PRIMARY KEY (job_id, attempt, pod_index)
);
COMMENT ON TABLE pod_completions IS 'Pods that succeeded while other pods of their gang ran';
COMMENT ON COLUMN pod_completions.job_id IS 'The job';
COMMENT ON COLUMN pod_completions.attempt IS 'The attempt';
COMMENT ON COLUMN pod_completions.pod_index IS 'Index of the pod in the gang';

CREATE TABLE allocations (
  job_id uuid NOT NULL,
  attempt integer NOT NULL,
  node_name text NOT NULL,
  pods integer NOT NULL CONSTRAINT allocations_pods_positive CHECK (pods > 0),
  gpus integer NOT NULL CONSTRAINT allocations_gpus_not_negative CHECK (gpus >= 0),
  cpu_millis bigint NOT NULL CONSTRAINT allocations_cpu_not_negative CHECK (cpu_millis >= 0),
  memory_bytes bigint NOT NULL CONSTRAINT allocations_memory_not_negative CHECK (memory_bytes >= 0),
  -- Copies from the job. The victim finder reads the allocations of a whole pool for every blocked job, and a join
  -- with jobs took three quarters of its time.
  pool text NOT NULL,
  gang_size integer NOT NULL,
  priority integer NOT NULL,
  borrowing boolean NOT NULL,
  started_at timestamptz,
  evictable boolean NOT NULL,
  leaves_by timestamptz,
  gpus_per_pod float8 NOT NULL GENERATED ALWAYS AS (gpus::float8 / gang_size) STORED,
  CONSTRAINT allocations_pkey PRIMARY KEY (job_id, attempt, node_name)
)
-- Rows are inserted and deleted with every attempt; few are updated.
WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- GPUs are the usual shortage, and few pods have any: the finder reads those pods from this index only.
CREATE INDEX allocations_gpu_idx ON allocations (pool, node_name)
  INCLUDE (pods, gpus, gpus_per_pod, cpu_millis, memory_bytes, gang_size, priority, borrowing)
  WHERE evictable AND gpus > 0;
-- The largest pods that a job may evict: borrowing and priority determine that, so each pair is one range.
CREATE INDEX allocations_classes_idx ON allocations (pool, borrowing, priority, gpus_per_pod DESC, node_name)
  WHERE evictable AND gpus > 0;
CREATE INDEX allocations_leaving_idx ON allocations (pool, node_name) WHERE NOT evictable;
COMMENT ON TABLE allocations IS 'Capacity of nodes that the pods of live jobs occupy. Triggers replace foreign keys and write all rows';
COMMENT ON COLUMN allocations.job_id IS 'The job: starting, running or evicting';
COMMENT ON COLUMN allocations.attempt IS 'Current attempt of the job';
COMMENT ON COLUMN allocations.node_name IS 'The node';
COMMENT ON COLUMN allocations.pods IS 'Number of pods of the gang on this node';
COMMENT ON COLUMN allocations.gpus IS 'GPUs of these pods';
COMMENT ON COLUMN allocations.cpu_millis IS 'Millicores of these pods';
COMMENT ON COLUMN allocations.memory_bytes IS 'Bytes of memory of these pods';
COMMENT ON COLUMN allocations.pool IS 'Pool of the job; like the columns that follow, a copy kept by trigger for the victim finder';
COMMENT ON COLUMN allocations.gang_size IS 'Number of pods of the whole gang';
COMMENT ON COLUMN allocations.priority IS 'Priority of the job';
COMMENT ON COLUMN allocations.borrowing IS 'Whether the job borrows';
COMMENT ON COLUMN allocations.started_at IS 'Time at which the attempt was admitted';
COMMENT ON COLUMN allocations.evictable IS 'Whether the job may become a victim';
COMMENT ON COLUMN allocations.leaves_by IS 'Until then the scheduler waits for the pods of an attempt that is being stopped; null otherwise';
COMMENT ON COLUMN allocations.gpus_per_pod IS 'GPUs freed on this node per evicted pod of the whole gang';

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
COMMENT ON TABLE reservations IS 'Capacity reserved for jobs while their victims leave; not committed before the jobs start';
COMMENT ON COLUMN reservations.job_id IS 'The job, which is reserved';
COMMENT ON COLUMN reservations.node_name IS 'The node';
COMMENT ON COLUMN reservations.pods IS 'Number of pods of the gang that will run on this node';
COMMENT ON COLUMN reservations.gpus IS 'GPUs of these pods';
COMMENT ON COLUMN reservations.cpu_millis IS 'Millicores of these pods';
COMMENT ON COLUMN reservations.memory_bytes IS 'Bytes of memory of these pods';
COMMENT ON COLUMN reservations.expires_at IS 'Time at which the reservation is released if the job has not started';

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
  namespace text NOT NULL,
  name text NOT NULL,
  CONSTRAINT job_events_pkey PRIMARY KEY (job_id, id)
)
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
-- Rows are inserted in order of time: a block range index finds a month and costs almost nothing to maintain.
CREATE INDEX job_events_at_idx ON job_events USING brin (at);
COMMENT ON TABLE job_events IS 'Every change of status or borrowing of every job, append-only; the source of accounting';
COMMENT ON COLUMN job_events.id IS 'Order of the events';
COMMENT ON COLUMN job_events.job_id IS 'The job; no foreign key, because history outlives jobs';
COMMENT ON COLUMN job_events.at IS 'Time of the change: start of the transaction, by the clock of the database';
COMMENT ON COLUMN job_events.from_status IS 'Status before; null when the job arrived';
COMMENT ON COLUMN job_events.to_status IS 'Status after';
COMMENT ON COLUMN job_events.attempt IS 'Attempt after the change';
COMMENT ON COLUMN job_events.reason IS 'Reason of the change';
COMMENT ON COLUMN job_events.borrowing IS 'Whether the job borrowed after the change';
COMMENT ON COLUMN job_events.pool IS 'Pool of the job';
COMMENT ON COLUMN job_events.gpus IS 'GPUs of the whole gang, of all vendors';
COMMENT ON COLUMN job_events.cpu_millis IS 'Millicores of the whole gang';
COMMENT ON COLUMN job_events.memory_bytes IS 'Bytes of memory of the whole gang';
COMMENT ON COLUMN job_events.project_id IS 'Project of the job';
COMMENT ON COLUMN job_events.namespace IS 'Namespace of the job';
COMMENT ON COLUMN job_events.name IS 'Name of the job';
