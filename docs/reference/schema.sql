-- Generated from migrations/ by `npm run generate`; do not edit. For reading: the migrations create the schema.

-- Extensions and types
-- --------------------
CREATE EXTENSION btree_gist;
CREATE EXTENSION ltree;
CREATE TYPE borrowing_policy AS ENUM ('Allow', 'Deny');
CREATE TYPE job_status AS ENUM ('pending', 'reserved', 'starting', 'running', 'evicting', 'evicted', 'succeeded', 'failed', 'cancelled');
CREATE TYPE owner_kind AS ENUM ('User', 'Group');
CREATE TYPE pod_security_level AS ENUM ('restricted', 'baseline', 'privileged');
CREATE TYPE preemption_outcome AS ENUM ('Started', 'Released', 'Ended');
CREATE TYPE preemption_policy AS ENUM ('PreemptLowerPriority', 'Never');
CREATE TYPE preemption_rule AS ENUM ('BorrowerReclaimed', 'LowerPriority', 'OwnQuota', 'WindowClosed');
CREATE TYPE project_role AS ENUM ('viewer', 'submitter', 'admin');
CREATE TYPE victim_outcome AS ENUM ('Evicted', 'Finished', 'Cancelled', 'EvictionCancelled');
CREATE TYPE window_close_action AS ENUM ('Finish', 'Evict');

-- Tables and views
-- ----------------

-- Capacity of nodes that the pods of live jobs occupy. Triggers replace foreign keys and write all rows.
CREATE TABLE allocations (
  job_id uuid NOT NULL,                -- The job: starting, running or evicting
  attempt integer NOT NULL,            -- Current attempt of the job
  node_name text NOT NULL,             -- The node
  pods integer NOT NULL,               -- Number of pods of the gang on this node
  gpus integer NOT NULL,               -- GPUs of these pods
  cpu_millis bigint NOT NULL,          -- Millicores of these pods
  memory_bytes bigint NOT NULL,        -- Bytes of memory of these pods
  pool text NOT NULL,                  -- Pool of the job; like the columns that follow, a copy kept by trigger for the victim finder
  gang_size integer NOT NULL,          -- Number of pods of the whole gang
  priority integer NOT NULL,           -- Priority of the job
  borrowing boolean NOT NULL,          -- Whether the job borrows
  started_at timestamp with time zone, -- Time at which the attempt was admitted
  evictable boolean NOT NULL,          -- Whether the job may become a victim
  leaves_by timestamp with time zone,  -- Until then the scheduler waits for the pods of an attempt that is being stopped; null otherwise
  -- GPUs freed on this node per evicted pod of the whole gang
  gpus_per_pod double precision NOT NULL GENERATED ALWAYS AS (gpus::double precision / gang_size::double precision) STORED,
  CONSTRAINT allocations_pkey PRIMARY KEY (job_id, attempt, node_name),
  CONSTRAINT allocations_cpu_not_negative CHECK (cpu_millis >= 0),
  CONSTRAINT allocations_gpus_not_negative CHECK (gpus >= 0),
  CONSTRAINT allocations_memory_not_negative CHECK (memory_bytes >= 0),
  CONSTRAINT allocations_pods_positive CHECK (pods > 0)
)
WITH (autovacuum_vacuum_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_cost_delay=0);
CREATE INDEX allocations_classes_idx ON allocations USING btree (pool, borrowing, priority, gpus_per_pod DESC, node_name)
  WHERE evictable AND gpus > 0;
CREATE INDEX allocations_gpu_idx ON allocations USING btree (pool, node_name)
  INCLUDE (pods, gpus, gpus_per_pod, cpu_millis, memory_bytes, gang_size, priority, borrowing)
  WHERE evictable AND gpus > 0;
CREATE INDEX allocations_leaving_idx ON allocations USING btree (pool, node_name)
  WHERE NOT evictable;
CREATE TRIGGER allocations_commit AFTER INSERT ON allocations
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION allocations_commit();
CREATE TRIGGER allocations_not_changed BEFORE UPDATE OR TRUNCATE ON allocations
  FOR EACH STATEMENT
  WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('allocations_not_changed', 'allocations follow from their jobs');
CREATE TRIGGER allocations_of_live_jobs BEFORE INSERT OR DELETE ON allocations
  FOR EACH STATEMENT
  WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('allocations_of_live_jobs', 'allocations follow from their jobs');
CREATE TRIGGER allocations_release AFTER DELETE ON allocations
  REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION allocations_release();

-- Nodes that a job avoids for a while, because it did not start there in time or its victims did not leave.
CREATE TABLE avoided_nodes (
  job_id uuid NOT NULL,                    -- The job
  node_name text NOT NULL,                 -- The node; no foreign key, because a node that left the cluster may return
  until timestamp with time zone NOT NULL, -- End of the avoidance
  CONSTRAINT avoided_nodes_pkey PRIMARY KEY (job_id, node_name),
  CONSTRAINT avoided_nodes_job_fkey FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE
);

-- Contents of configurations, one row per distinct content.
CREATE TABLE config_blobs (
  hash text NOT NULL,                   -- SHA-256 of the canonical text in UTF-8, 64 hexadecimal digits
  canonical text,                       -- Canonical JSON text (RFC 8785); null: expunged
  -- The same content as jsonb, for queries
  content jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
  -- Time of the first commit with this content
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  expunged_at timestamp with time zone, -- When expunge_content() removed the content; null: it is there
  expunged_by text,                     -- Who did it, and the role of the database
  expunge_reason text,                  -- Why
  CONSTRAINT config_blobs_pkey PRIMARY KEY (hash),
  CONSTRAINT config_blobs_content_or_expunged CHECK (
CASE
    WHEN expunged_at IS NULL THEN num_nonnulls(expunged_by, expunge_reason) = 0 AND canonical IS NOT NULL
    ELSE canonical IS NULL AND expunged_by <> ''::text AND expunge_reason <> ''::text
END IS TRUE),
  CONSTRAINT config_blobs_hash_is_of_content CHECK (hash = encode(sha256(convert_to(canonical, 'UTF8'::name)), 'hex'::text))
);
CREATE TRIGGER config_blobs_immutable BEFORE UPDATE ON config_blobs
  FOR EACH ROW
  WHEN (old.hash <> new.hash OR old.expunged_at IS NOT NULL OR new.expunged_at IS NULL)
  EXECUTE FUNCTION refuse_change('config_blobs_immutable', 'stored content is immutable, except that it can be expunged');

-- Versions of the configurations of a project.
CREATE TABLE config_commits (
  id uuid NOT NULL,                    -- uid of the custom resource
  project_id uuid NOT NULL,            -- Project of the commit
  name text NOT NULL,                  -- Name of the custom resource
  blob_hash text NOT NULL,             -- Content of the commit
  bytes integer NOT NULL,              -- Size of the content
  parent_id uuid,                      -- Previous commit in the same project; null for the first, and where the previous one was pruned
  author_id bigint NOT NULL,           -- Author
  message text NOT NULL,               -- The author's description of the change
  version_tag text,                    -- Name of the version, unique within the project
  deduplicated boolean NOT NULL,       -- Whether the project had stored the content before
  -- Time of the commit
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  removed_at timestamp with time zone, -- Time of the deletion of the custom resource; null: it exists
  CONSTRAINT config_commits_pkey PRIMARY KEY (id),
  CONSTRAINT config_commits_project_id_key UNIQUE (project_id, id),
  CONSTRAINT config_commits_author_fkey FOREIGN KEY (author_id) REFERENCES resource_owners(id),
  CONSTRAINT config_commits_blob_fkey FOREIGN KEY (blob_hash) REFERENCES config_blobs(hash),
  CONSTRAINT config_commits_parent_in_project_fkey FOREIGN KEY (project_id, parent_id) REFERENCES config_commits(project_id, id),
  CONSTRAINT config_commits_project_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
  CONSTRAINT config_commits_bytes_positive CHECK (bytes > 0),
  CONSTRAINT config_commits_not_own_parent CHECK (parent_id <> id),
  CONSTRAINT config_commits_tag_length CHECK (length(version_tag) >= 1 AND length(version_tag) <= 128)
);
CREATE INDEX config_commits_blob_idx ON config_commits USING btree (blob_hash);
CREATE INDEX config_commits_log_idx ON config_commits USING btree (project_id, created_at DESC, id);
CREATE INDEX config_commits_parent_idx ON config_commits USING btree (project_id, parent_id)
  WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX config_commits_project_name_key ON config_commits USING btree (project_id, name)
  WHERE removed_at IS NULL;
CREATE UNIQUE INDEX config_commits_project_tag_key ON config_commits USING btree (project_id, version_tag)
  WHERE removed_at IS NULL;
CREATE INDEX config_commits_removed_idx ON config_commits USING btree (removed_at)
  WHERE removed_at IS NOT NULL;
CREATE INDEX config_commits_usage_idx ON config_commits USING btree (project_id, blob_hash)
  INCLUDE (bytes);
CREATE TRIGGER config_commits_immutable BEFORE UPDATE ON config_commits
  FOR EACH ROW
  WHEN ((old.removed_at IS NOT NULL OR (to_jsonb(old.*) - 'removed_at'::text) IS DISTINCT FROM (to_jsonb(new.*) - 'removed_at'::text)) AND NOT (history_is_pruned() AND new.parent_id IS NULL AND (to_jsonb(old.*) - 'parent_id'::text) = (to_jsonb(new.*) - 'parent_id'::text)))
  EXECUTE FUNCTION refuse_change('config_commits_immutable', 'commits are immutable, except for their removal');

-- Owners of kind Group, as Kubernetes authentication names them.
CREATE TABLE groups (
  id bigint NOT NULL,                                   -- The row in resource_owners
  kind owner_kind NOT NULL DEFAULT 'Group'::owner_kind, -- Always Group: half of the foreign key that keeps the two kinds apart
  name text NOT NULL,                                   -- Group name, as in a TokenReview or the organisation of a certificate
  CONSTRAINT groups_pkey PRIMARY KEY (id),
  CONSTRAINT groups_name_key UNIQUE (name),
  CONSTRAINT groups_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners(id, kind) ON DELETE CASCADE,
  CONSTRAINT groups_kind_is_group CHECK (kind = 'Group'::owner_kind),
  CONSTRAINT groups_name_length CHECK (length(name) >= 1 AND length(name) <= 253)
);

-- Which database this is, and which cluster it belongs to; one row.
CREATE TABLE installation (
  is_only boolean NOT NULL DEFAULT true,               -- Always true: there is one row
  database_id uuid NOT NULL DEFAULT gen_random_uuid(), -- Identity of the database; the marker in its cluster names it. A new one when an administrator gives it to a cluster
  former_id uuid,                                      -- Identity before that; null: none
  cluster_uid uuid,                                    -- uid of the namespace kube-system of its cluster; null: none yet, the database is empty
  place text,                                          -- Server, database and table when it was given to the cluster; null: none yet
  gpu_resource text,                                   -- Extended resource that columns of nodes and jobs count as GPUs; null: none yet
  CONSTRAINT installation_pkey PRIMARY KEY (is_only),
  CONSTRAINT installation_is_one CHECK (is_only),
  CONSTRAINT installation_place_of_cluster CHECK ((cluster_uid IS NULL) = (place IS NULL))
);

-- Every change of status or borrowing of every job, append-only; the source of accounting.
CREATE TABLE job_events (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,    -- Order of the events
  job_id uuid NOT NULL,                               -- The job; no foreign key, because history outlives jobs
  at timestamp with time zone NOT NULL DEFAULT now(), -- Time of the change: start of the transaction, by the clock of the database
  from_status job_status,                             -- Status before; null when the job arrived
  to_status job_status NOT NULL,                      -- Status after
  attempt integer NOT NULL,                           -- Attempt after the change
  reason text,                                        -- Reason of the change
  borrowing boolean NOT NULL,                         -- Whether the job borrowed after the change
  pool text NOT NULL,                                 -- Pool of the job
  gpus integer NOT NULL,                              -- GPUs of the whole gang, of all vendors
  cpu_millis bigint NOT NULL,                         -- Millicores of the whole gang
  memory_bytes bigint NOT NULL,                       -- Bytes of memory of the whole gang
  project_id uuid NOT NULL,                           -- Project of the job
  namespace text NOT NULL,                            -- Namespace of the job
  name text NOT NULL,                                 -- Name of the job
  CONSTRAINT job_events_pkey PRIMARY KEY (job_id, id)
)
WITH (autovacuum_vacuum_insert_scale_factor=0.05);
CREATE INDEX job_events_at_idx ON job_events USING brin (at);
CREATE TRIGGER job_events_append_only BEFORE UPDATE OR TRUNCATE ON job_events
  FOR EACH STATEMENT
  EXECUTE FUNCTION refuse_change('job_events_append_only', 'history is append-only');
CREATE TRIGGER job_events_not_deleted BEFORE DELETE ON job_events
  FOR EACH STATEMENT
  WHEN (NOT history_is_pruned())
  EXECUTE FUNCTION refuse_change('job_events_append_only', 'history is append-only');

-- Requests of jobs besides GPUs, CPU and memory: ephemeral-storage, hugepages-*, other devices, exclusive resources. Fixed when the job arrives.
CREATE TABLE job_resources (
  job_id uuid NOT NULL,           -- The job
  resource text NOT NULL,         -- Kubernetes name of the resource, or the name of an exclusive one, which has a colon
  amount_per_pod bigint NOT NULL, -- Requested by each pod: bytes of ephemeral-storage and hugepages-*, otherwise units
  resource_type text,             -- Type of the plans that grant it: GPU for GPUs of other vendors, else its own name; null: no plan can
  CONSTRAINT job_resources_pkey PRIMARY KEY (job_id, resource),
  CONSTRAINT job_resources_job_fkey FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE,
  CONSTRAINT job_resources_amount_positive CHECK (amount_per_pod > 0),
  CONSTRAINT job_resources_type_agrees CHECK (resource_type = 'GPU'::text OR resource_type = resource)
);
CREATE INDEX job_resources_granted_idx ON job_resources USING btree (job_id)
  WHERE resource_type IS NOT NULL;
CREATE TRIGGER job_resources_are_fixed BEFORE DELETE OR UPDATE ON job_resources
  FOR EACH STATEMENT
  WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('jobs_identity_is_fixed', 'identity and demand of a job are fixed');

-- Placement constraints of jobs and what their pods count for, apart from jobs to keep its updates small.
CREATE TABLE job_specs (
  job_id uuid NOT NULL,                             -- The job
  node_selector jsonb NOT NULL DEFAULT '{}'::jsonb, -- nodeSelector of the pod template
  node_affinity jsonb,                              -- nodeSelectorTerms of the required node affinity, of which one must match; null: no requirement
  preferred_affinity jsonb,                         -- Preferred node affinity, which decides among nodes that are equally good otherwise; null: none
  tolerations jsonb NOT NULL DEFAULT '[]'::jsonb,   -- Tolerations of the pod template
  storages jsonb NOT NULL DEFAULT '[]'::jsonb,      -- Storages to mount, as in the custom resource
  pod_usage jsonb NOT NULL DEFAULT '{}'::jsonb,     -- What each pod counts for under ResourceQuotas: {"requests": {resource: thousandths as text}, "limits", "scopes", "priorityClassName"}
  max_pods_per_node integer,                        -- Pods of the gang on one node, by its topology spread constraints; null: no limit
  CONSTRAINT job_specs_pkey PRIMARY KEY (job_id),
  CONSTRAINT job_specs_job_fkey FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE,
  CONSTRAINT job_specs_constraints_bounded CHECK ((octet_length(node_selector::text) + COALESCE(octet_length(node_affinity::text), 0) + COALESCE(octet_length(preferred_affinity::text), 0) + octet_length(tolerations::text) + octet_length(storages::text)) <= 16384),
  CONSTRAINT job_specs_max_pods_per_node_positive CHECK (max_pods_per_node > 0),
  CONSTRAINT job_specs_node_affinity_is_array CHECK (jsonb_typeof(node_affinity) = 'array'::text),
  CONSTRAINT job_specs_node_selector_is_object CHECK (jsonb_typeof(node_selector) = 'object'::text),
  CONSTRAINT job_specs_pod_usage_bounded CHECK (octet_length(pod_usage::text) <= 16384),
  CONSTRAINT job_specs_pod_usage_is_object CHECK (jsonb_typeof(pod_usage) = 'object'::text),
  CONSTRAINT job_specs_preferred_affinity_is_array CHECK (jsonb_typeof(preferred_affinity) = 'array'::text),
  CONSTRAINT job_specs_storages_is_array CHECK (jsonb_typeof(storages) = 'array'::text),
  CONSTRAINT job_specs_tolerations_is_array CHECK (jsonb_typeof(tolerations) = 'array'::text)
);

-- Allowed changes of status; a trigger refuses all others.
CREATE TABLE job_transitions (
  from_status job_status NOT NULL, -- Status before
  to_status job_status NOT NULL,   -- Status after
  CONSTRAINT job_transitions_pkey PRIMARY KEY (from_status, to_status)
);

-- Jobs: one narrow row each, updated at every step of the job's life.
CREATE TABLE jobs (
  id uuid NOT NULL,                                         -- uid of the custom resource
  project_id uuid NOT NULL,                                 -- Project; an ended job may outlive it
  namespace text NOT NULL,                                  -- Namespace of the custom resource
  name text NOT NULL,                                       -- Name of the custom resource
  pool text NOT NULL,                                       -- Pool of nodes that the job runs in
  priority integer NOT NULL,                                -- Value of the priority class
  priority_class text NOT NULL,                             -- Name of the priority class
  status job_status NOT NULL DEFAULT 'pending'::job_status, -- State of the job; pending and evicted jobs wait in the queue
  attempt integer NOT NULL DEFAULT 0,                       -- Number of the latest start; 0 before the first. Fences every transition
  parallelism integer NOT NULL,                             -- Number of pods of the gang
  pod_gpus integer NOT NULL,                                -- GPUs requested by each pod, of the resource that nodes count in a column
  pod_other_gpus integer NOT NULL DEFAULT 0,                -- GPUs of other vendors requested by each pod; they are in job_resources, too
  pod_cpu_millis bigint NOT NULL,                           -- Millicores requested by each pod, as the kubelet counts them
  pod_memory_bytes bigint NOT NULL,                         -- Bytes of memory requested by each pod, as the kubelet counts them
  -- GPUs of the whole gang, of all vendors
  required_gpu integer NOT NULL GENERATED ALWAYS AS (parallelism * (pod_gpus + pod_other_gpus)) STORED,
  -- Millicores of the whole gang
  cpu_millis bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_cpu_millis) STORED,
  -- Bytes of memory of the whole gang
  memory_bytes bigint NOT NULL GENERATED ALWAYS AS (parallelism * pod_memory_bytes) STORED,
  created_at timestamp with time zone NOT NULL,             -- Queue time, kept through evictions and retries
  arrival bigint NOT NULL GENERATED ALWAYS AS IDENTITY,     -- Order in which the database first recorded the jobs: that of the queue among jobs of one queue time, which has whole seconds
  not_before timestamp with time zone,                      -- End of the back-off after a failure; null: none
  borrowing boolean NOT NULL DEFAULT false,                 -- Whether the job uses capacity over the quotas in effect
  allows_borrowing boolean NOT NULL,                        -- Whether the job may borrow
  preempts boolean NOT NULL,                                -- Whether the priority class may preempt other jobs
  max_runtime_seconds integer,                              -- Longest runtime of an attempt in seconds; null: no limit
  backoff_limit integer NOT NULL,                           -- Number of failures after which the job fails for good
  failures integer NOT NULL DEFAULT 0,                      -- Number of failed attempts
  failed_starts integer NOT NULL DEFAULT 0,                 -- Starts in a row that failed because of the job itself (its image, its configuration) or of what refuses its pods (a quota, a webhook)
  node_failures integer NOT NULL DEFAULT 0,                 -- Starts in a row that failed because of a node; three count as one failed start
  suspended boolean NOT NULL DEFAULT false,                 -- Whether the job is kept out of the queue: by its user, or because its project does not allow its priority class
  config_hash text,                                         -- Hash of the job's configuration; null: none
  -- MD5 of the placement constraints: node selector, affinity, tolerations, storages, pods per node, resources without a column, and of what the pods count for under ResourceQuotas
  constraints_hash uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid,
  -- MD5 of all that the job requests: waiting jobs of one project and signature are alike for scheduling
  scheduling_signature uuid NOT NULL GENERATED ALWAYS AS (md5((((((((((((((parallelism::text || ' '::text) || pod_gpus::text) || ' '::text) || pod_cpu_millis::text) || ' '::text) || pod_memory_bytes::text) || ' '::text) || allows_borrowing::text) || ' '::text) || job_may_preempt(preempts, failed_starts)::text) || ' '::text) || COALESCE(max_runtime_seconds, 0)::text) || ' '::text) || constraints_hash::text)::uuid) STORED,
  placement jsonb,                                          -- Placement of the latest attempt, [{"node": name, "pods": number}]; null before the first. While the job is live, its allocations say the same: nodes that a leaving gang no longer uses are in neither
  admitted_at timestamp with time zone,                     -- Time of the latest admission or reservation: the rank among jobs of one priority; null before the first
  started_at timestamp with time zone,                      -- Time at which all pods of the latest attempt ran, or of its admission until then; null before the first
  finished_at timestamp with time zone,                     -- Time at which the job ended for good
  ending jsonb,                                             -- Why the current attempt is being stopped, while its pods terminate; null otherwise
  leaves_by timestamp with time zone,                       -- Until then the scheduler waits for the pods of an attempt that is being stopped or evicted, instead of preempting other jobs; null otherwise, and of a victim whose pods have not all been asked to leave
  asked_grace_seconds integer,                              -- Longest grace period of the pods of an attempt that leaves, once all have been asked to; null before. leaves_by is that long after the database first heard of it, and a margin
  -- Whether the job may become a victim: it is starting or running, and its attempt is not being stopped
  evictable boolean NOT NULL GENERATED ALWAYS AS (job_may_be_evicted(status) AND ending IS NULL) STORED,
  reason text,                                              -- CamelCase reason of the latest change
  message text,                                             -- Details of the reason, as a sentence
  -- Project while the job has not ended, else null
  active_project_id uuid GENERATED ALWAYS AS ( CASE WHEN NOT job_has_ended(status) THEN project_id ELSE NULL::uuid END) STORED,
  CONSTRAINT jobs_pkey PRIMARY KEY (id),
  CONSTRAINT jobs_active_project_fkey FOREIGN KEY (active_project_id) REFERENCES projects(id),
  CONSTRAINT jobs_asked_grace_not_negative CHECK (asked_grace_seconds >= 0),
  CONSTRAINT jobs_attempt_not_negative CHECK (attempt >= 0),
  CONSTRAINT jobs_backoff_limit_not_negative CHECK (backoff_limit >= 0),
  CONSTRAINT jobs_demand_not_negative CHECK (pod_gpus >= 0 AND pod_other_gpus >= 0 AND pod_cpu_millis >= 0 AND pod_memory_bytes >= 0),
  CONSTRAINT jobs_ending_has_deadline CHECK (ending IS NULL AND asked_grace_seconds IS NULL OR leaves_by IS NOT NULL),
  CONSTRAINT jobs_ending_is_object CHECK (jsonb_typeof(ending) = 'object'::text),
  CONSTRAINT jobs_failed_starts_not_negative CHECK (failed_starts >= 0),
  CONSTRAINT jobs_failures_not_negative CHECK (failures >= 0),
  CONSTRAINT jobs_finished_has_time CHECK ((finished_at IS NOT NULL) = job_has_ended(status)),
  CONSTRAINT jobs_live_has_attempt CHECK (attempt > 0 OR NOT job_is_live(status)),
  CONSTRAINT jobs_max_runtime_positive CHECK (max_runtime_seconds > 0),
  CONSTRAINT jobs_node_failures_not_negative CHECK (node_failures >= 0),
  CONSTRAINT jobs_parallelism_positive CHECK (parallelism > 0),
  CONSTRAINT jobs_placement_is_array CHECK (jsonb_typeof(placement) = 'array'::text)
)
WITH (fillfactor=80, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_scale_factor=0.02, autovacuum_analyze_scale_factor=0.05, autovacuum_vacuum_cost_delay=0);
CREATE INDEX jobs_active_project_idx ON jobs USING btree (active_project_id, name)
  WHERE active_project_id IS NOT NULL;
CREATE INDEX jobs_back_off_idx ON jobs USING btree (pool, not_before)
  WHERE not_before IS NOT NULL;
CREATE INDEX jobs_config_idx ON jobs USING btree (config_hash)
  WHERE config_hash IS NOT NULL;
CREATE INDEX jobs_finished_idx ON jobs USING btree (finished_at)
  WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_leaving_idx ON jobs USING btree (pool, leaves_by)
  WHERE job_is_live(status) AND leaves_by IS NOT NULL;
CREATE INDEX jobs_occupying_idx ON jobs USING btree (pool, status)
  WHERE status = ANY (ARRAY['reserved'::job_status, 'starting'::job_status, 'running'::job_status, 'evicting'::job_status]);
CREATE INDEX jobs_queue_by_signature_idx ON jobs USING btree (pool, project_id, scheduling_signature, priority DESC, created_at, arrival)
  WHERE job_is_waiting(status) AND NOT suspended;
CREATE INDEX jobs_queue_idx ON jobs USING btree (pool, priority DESC, created_at, arrival)
  WHERE job_is_waiting(status) AND NOT suspended;
CREATE TRIGGER jobs_follow_insert AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION jobs_follow_change();
CREATE TRIGGER jobs_follow_update AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION jobs_follow_change();
CREATE TRIGGER jobs_only_ended_are_deleted BEFORE DELETE ON jobs
  FOR EACH ROW
  WHEN (NOT job_has_ended(old.status))
  EXECUTE FUNCTION refuse_change('jobs_only_ended_are_deleted', 'the job has not ended');

-- Resources of nodes that have no columns there: ephemeral-storage, hugepages-*, devices other than GPUs, exclusive resources in use.
CREATE TABLE node_resources (
  node_name text NOT NULL,             -- The node
  resource text NOT NULL,              -- Kubernetes name of the resource, or the name of an exclusive one, which has a colon
  allocatable bigint NOT NULL,         -- Allocatable amount: bytes of ephemeral-storage and hugepages-*, otherwise units; 0: the node no longer has it; 1 of an exclusive resource
  other bigint NOT NULL DEFAULT 0,     -- Requested by pods that Rota did not create
  committed bigint NOT NULL DEFAULT 0, -- Requested by the allocations on the node, kept by trigger
  unhealthy bigint NOT NULL DEFAULT 0, -- Devices of the node that its device plugin reports as unhealthy; not in allocatable
  CONSTRAINT node_resources_pkey PRIMARY KEY (node_name, resource),
  CONSTRAINT node_resources_node_fkey FOREIGN KEY (node_name) REFERENCES nodes(name) ON DELETE CASCADE,
  CONSTRAINT node_resources_not_negative CHECK (allocatable >= 0 AND other >= 0 AND committed >= 0 AND unhealthy >= 0)
)
WITH (fillfactor=50, autovacuum_vacuum_threshold=100, autovacuum_vacuum_scale_factor=0.05);
CREATE TRIGGER node_resources_committed_is_derived BEFORE UPDATE OF committed ON node_resources
  FOR EACH STATEMENT
  WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER node_resources_committed_is_derived_on_insert BEFORE INSERT ON node_resources
  FOR EACH ROW
  WHEN (new.committed <> 0 AND pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER node_resources_forget_exclusive AFTER UPDATE ON node_resources
  FOR EACH ROW
  WHEN (new.committed = 0 AND new.other = 0 AND unrecorded_amount(new.resource) > 0)
  EXECUTE FUNCTION node_resources_forget_exclusive();

-- Nodes of the cluster, and the capacity committed on them.
CREATE TABLE nodes (
  name text NOT NULL,                               -- Name of the Node
  uid uuid NOT NULL,                                -- uid of the Node
  pool text NOT NULL,                               -- Pool: value of the node's pool label, or default
  schedulable boolean NOT NULL,                     -- Ready and not cordoned
  present boolean NOT NULL DEFAULT true,            -- False: the Node left the cluster, and jobs on it have not ended yet
  labels jsonb NOT NULL DEFAULT '{}'::jsonb,        -- Labels of the Node
  taints jsonb NOT NULL DEFAULT '[]'::jsonb,        -- Taints, as in the spec of the Node
  gpus_allocatable bigint NOT NULL,                 -- Allocatable GPUs
  cpu_millis_allocatable bigint NOT NULL,           -- Allocatable CPU in millicores
  memory_bytes_allocatable bigint NOT NULL,         -- Allocatable memory in bytes
  pods_allocatable bigint NOT NULL,                 -- Allocatable pods
  gpus_unhealthy bigint NOT NULL DEFAULT 0,         -- GPUs of the node that its device plugin calls unhealthy; not allocatable
  gpus_committed bigint NOT NULL DEFAULT 0,         -- GPUs of the allocations on the node, kept by trigger
  cpu_millis_committed bigint NOT NULL DEFAULT 0,   -- Millicores of the allocations on the node, kept by trigger
  memory_bytes_committed bigint NOT NULL DEFAULT 0, -- Bytes of memory of the allocations on the node, kept by trigger
  pods_committed bigint NOT NULL DEFAULT 0,         -- Pods of the allocations on the node, kept by trigger
  gpus_other bigint NOT NULL DEFAULT 0,             -- GPUs requested by pods that Rota did not create
  cpu_millis_other bigint NOT NULL DEFAULT 0,       -- Millicores requested by pods that Rota did not create
  memory_bytes_other bigint NOT NULL DEFAULT 0,     -- Bytes of memory requested by pods that Rota did not create
  pods_other bigint NOT NULL DEFAULT 0,             -- Number of pods that Rota did not create
  CONSTRAINT nodes_pkey PRIMARY KEY (name),
  CONSTRAINT nodes_allocatable_not_negative CHECK (gpus_allocatable >= 0 AND cpu_millis_allocatable >= 0 AND memory_bytes_allocatable >= 0 AND pods_allocatable >= 0 AND gpus_unhealthy >= 0),
  CONSTRAINT nodes_committed_not_negative CHECK (gpus_committed >= 0 AND cpu_millis_committed >= 0 AND memory_bytes_committed >= 0 AND pods_committed >= 0),
  CONSTRAINT nodes_labels_is_object CHECK (jsonb_typeof(labels) = 'object'::text),
  CONSTRAINT nodes_other_not_negative CHECK (gpus_other >= 0 AND cpu_millis_other >= 0 AND memory_bytes_other >= 0 AND pods_other >= 0),
  CONSTRAINT nodes_taints_is_array CHECK (jsonb_typeof(taints) = 'array'::text)
)
WITH (fillfactor=50, autovacuum_vacuum_threshold=100, autovacuum_vacuum_scale_factor=0.05);
CREATE INDEX nodes_pool_idx ON nodes USING btree (pool);
CREATE TRIGGER nodes_committed_is_derived BEFORE UPDATE OF gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed ON nodes
  FOR EACH STATEMENT
  WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER nodes_committed_is_derived_on_insert BEFORE INSERT ON nodes
  FOR EACH ROW
  WHEN (new.gpus_committed <> 0 OR new.cpu_millis_committed <> 0 OR new.memory_bytes_committed <> 0 OR new.pods_committed <> 0)
  EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER nodes_without_allocations BEFORE DELETE ON nodes
  FOR EACH ROW
  WHEN (old.pods_committed > 0)
  EXECUTE FUNCTION refuse_change('allocations_node_exists', 'the node still has allocations');

-- All owners with their names.
--   id bigint: The row in resource_owners
--   kind owner_kind: User or Group
--   name text: Name, unique within the kind
CREATE VIEW owners AS
 SELECT users.id,
    users.kind,
    users.name
   FROM users
UNION ALL
 SELECT groups.id,
    groups.kind,
    groups.name
   FROM groups;

-- Pods that succeeded while other pods of their gang ran.
CREATE TABLE pod_completions (
  job_id uuid NOT NULL,       -- The job
  attempt integer NOT NULL,   -- The attempt
  pod_index integer NOT NULL, -- Index of the pod in the gang
  CONSTRAINT pod_completions_pkey PRIMARY KEY (job_id, attempt, pod_index),
  CONSTRAINT pod_completions_job_fkey FOREIGN KEY (job_id) REFERENCES jobs(id) ON DELETE CASCADE,
  CONSTRAINT pod_completions_index_not_negative CHECK (pod_index >= 0)
);

-- Jobs that a preemption evicts.
CREATE TABLE preemption_victims (
  preemption_id uuid NOT NULL,         -- The decision
  victim_job_id uuid NOT NULL,         -- The job; no foreign key, because history outlives jobs
  victim_attempt integer NOT NULL,     -- Attempt that is evicted
  victim text NOT NULL,                -- namespace/name of the victim
  -- Namespace of the victim
  namespace text NOT NULL GENERATED ALWAYS AS (split_part(victim, '/'::text, 1)) STORED,
  -- Time of the decision
  decided_at timestamp with time zone NOT NULL DEFAULT now(),
  pods integer NOT NULL,               -- Number of pods of the gang
  nodes text[] NOT NULL,               -- Nodes of these pods
  gpus integer NOT NULL,               -- GPUs of these pods
  rule preemption_rule NOT NULL,       -- Rule that allowed this victim
  past_budget text,                    -- PodDisruptionBudget (namespace/name) that has delayed the eviction of a borrowing job for as long as it may, so that the pods are deleted; null: none
  evicted_at timestamp with time zone, -- Time at which the last pod was gone, or the eviction was cancelled
  outcome victim_outcome,              -- How the victim left, or that its eviction was cancelled before it lost a pod; null until then
  CONSTRAINT preemption_victims_pkey PRIMARY KEY (preemption_id, victim_job_id),
  CONSTRAINT preemption_victims_preemption_fkey FOREIGN KEY (preemption_id) REFERENCES preemptions(id),
  CONSTRAINT preemption_victims_evicted_with_outcome CHECK ((evicted_at IS NULL) = (outcome IS NULL)),
  CONSTRAINT preemption_victims_pods_positive CHECK (pods > 0)
);
CREATE UNIQUE INDEX preemption_victims_attempt_key ON preemption_victims USING btree (victim_job_id, victim_attempt)
  WHERE outcome IS NULL OR outcome <> 'EvictionCancelled'::victim_outcome;
CREATE INDEX preemption_victims_namespace_idx ON preemption_victims USING btree (namespace, decided_at, preemption_id);
CREATE TRIGGER preemption_victims_not_deleted BEFORE DELETE ON preemption_victims
  FOR EACH STATEMENT
  WHEN (NOT history_is_pruned())
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemption_victims_not_truncated BEFORE TRUNCATE ON preemption_victims
  FOR EACH STATEMENT
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemption_victims_written_once BEFORE UPDATE ON preemption_victims
  FOR EACH ROW
  WHEN (old.outcome IS NOT NULL OR old.preemption_id IS DISTINCT FROM new.preemption_id OR old.victim_job_id IS DISTINCT FROM new.victim_job_id OR old.victim_attempt IS DISTINCT FROM new.victim_attempt OR old.victim IS DISTINCT FROM new.victim OR old.decided_at IS DISTINCT FROM new.decided_at OR old.pods IS DISTINCT FROM new.pods OR old.nodes IS DISTINCT FROM new.nodes OR old.gpus IS DISTINCT FROM new.gpus OR old.rule IS DISTINCT FROM new.rule)
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');

-- Decisions to evict, one row each.
CREATE TABLE preemptions (
  id uuid NOT NULL,                                -- Identity, chosen by the decision
  preemptor_job_id uuid,                           -- Job that the capacity is for; null when a window closed. No foreign key, because history outlives jobs
  preemptor_attempt integer,                       -- Attempt of the preemptor at the decision; it starts as the next one
  preemptor text,                                  -- namespace/name of the preemptor
  -- Namespace of the preemptor
  preemptor_namespace text GENERATED ALWAYS AS (split_part(preemptor, '/'::text, 1)) STORED,
  pool text NOT NULL,                              -- The pool
  rule preemption_rule NOT NULL,                   -- Rule that allowed the preemption
  reason text NOT NULL,                            -- Preemptor, rule and numbers, as a sentence
  alternatives jsonb NOT NULL DEFAULT '[]'::jsonb, -- Other sets of victims that were considered
  -- Time of the decision
  decided_at timestamp with time zone NOT NULL DEFAULT now(),
  settled_at timestamp with time zone,             -- Time of the outcome
  outcome preemption_outcome,                      -- What happened to the preemptor: it started, its reservation was released, or it ended; null until then
  CONSTRAINT preemptions_pkey PRIMARY KEY (id),
  CONSTRAINT preemptions_for_a_job_or_a_window CHECK ((preemptor_job_id IS NULL) = (rule = 'WindowClosed'::preemption_rule)),
  CONSTRAINT preemptions_reason_given CHECK (reason <> ''::text),
  CONSTRAINT preemptions_settled_with_outcome CHECK ((settled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX preemptions_decided_idx ON preemptions USING btree (decided_at, id);
CREATE INDEX preemptions_namespace_idx ON preemptions USING btree (preemptor_namespace, decided_at, id);
CREATE INDEX preemptions_preemptor_idx ON preemptions USING btree (preemptor_job_id, decided_at);
CREATE TRIGGER preemptions_not_deleted BEFORE DELETE ON preemptions
  FOR EACH STATEMENT
  WHEN (NOT history_is_pruned())
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemptions_not_truncated BEFORE TRUNCATE ON preemptions
  FOR EACH STATEMENT
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemptions_written_once BEFORE UPDATE ON preemptions
  FOR EACH ROW
  WHEN (old.outcome IS NOT NULL OR old.id IS DISTINCT FROM new.id OR old.preemptor_job_id IS DISTINCT FROM new.preemptor_job_id OR old.preemptor_attempt IS DISTINCT FROM new.preemptor_attempt OR old.preemptor IS DISTINCT FROM new.preemptor OR old.pool IS DISTINCT FROM new.pool OR old.rule IS DISTINCT FROM new.rule OR old.reason IS DISTINCT FROM new.reason OR old.alternatives IS DISTINCT FROM new.alternatives OR old.decided_at IS DISTINCT FROM new.decided_at)
  EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');

-- Mirror of the cluster's PriorityClasses (scheduling.k8s.io).
CREATE TABLE priority_classes (
  name text NOT NULL,     -- Name of the class
  value integer NOT NULL, -- Priority; higher is more important
  -- Whether jobs of the class may preempt others
  preemption_policy preemption_policy NOT NULL DEFAULT 'PreemptLowerPriority'::preemption_policy,
  CONSTRAINT priority_classes_pkey PRIMARY KEY (name)
);

-- Roles granted in a project itself; project_roles adds the inherited ones.
CREATE TABLE project_members (
  project_id uuid NOT NULL,          -- Project that grants the role
  resource_owner_id bigint NOT NULL, -- User or group that has the role
  role project_role NOT NULL,        -- viewer < submitter < admin
  CONSTRAINT project_members_pkey PRIMARY KEY (project_id, resource_owner_id),
  CONSTRAINT project_members_owner_fkey FOREIGN KEY (resource_owner_id) REFERENCES resource_owners(id),
  CONSTRAINT project_members_project_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE
);
CREATE INDEX project_members_owner_idx ON project_members USING btree (resource_owner_id);

-- Owners of each project and of all projects above it: their plans limit the project's jobs. An owner that several projects name has a row for each.
--   project_id uuid: The project
--   owner_id bigint: Owner of the project or of an ancestor
--   distance integer: Levels up to the project that names the owner; 0: the project itself
CREATE VIEW project_owners AS
 SELECT project.id AS project_id,
    above.owner_id,
    nlevel(project.path) - nlevel(above.path) AS distance
   FROM projects project
     JOIN projects above ON above.path @> project.path
  WHERE above.owner_id IS NOT NULL;

-- Path and owner of each project over time, written by triggers on projects; accounting groups by them.
CREATE TABLE project_periods (
  project_id uuid NOT NULL,                -- The project; no foreign key, because accounting outlives projects
  since timestamp with time zone NOT NULL, -- Start; -infinity for the first period
  -- End; infinity for the last period
  until timestamp with time zone NOT NULL DEFAULT 'infinity'::timestamp with time zone,
  path ltree NOT NULL,                     -- Path of the project in this period
  owner_id bigint,                         -- Owner in effect; null: no project on the path had one
  -- Transaction that wrote the period; further changes in that transaction correct it
  recorded_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT project_periods_pkey PRIMARY KEY (project_id, since),
  CONSTRAINT project_periods_owner_fkey FOREIGN KEY (owner_id) REFERENCES resource_owners(id),
  CONSTRAINT project_periods_not_empty CHECK (since < until)
);
CREATE INDEX project_periods_owner_idx ON project_periods USING btree (owner_id)
  WHERE owner_id IS NOT NULL;
CREATE INDEX project_periods_path_idx ON project_periods USING gist (path);

-- Roles in effect in each project: its own and those of all ancestors. The greatest role of an owner counts.
--   project_id uuid: The project
--   resource_owner_id bigint: User or group that has the role
--   role project_role: viewer < submitter < admin
CREATE VIEW project_roles AS
 SELECT project.id AS project_id,
    member.resource_owner_id,
    member.role
   FROM projects project
     JOIN projects above ON above.path @> project.path
     JOIN project_members member ON member.project_id = above.id;

-- Settings in effect for each project: its own, or those of the nearest ancestor that sets them.
--   project_id uuid: The project
--   owner_id bigint: Owner in effect; null: no project on the path has one
--   borrowing borrowing_policy: Whether jobs may borrow
--   priority_classes text[]: Names of the allowed priority classes; null: all
CREATE VIEW project_settings AS
 SELECT id AS project_id,
    project_owner_in_effect(path) AS owner_id,
    COALESCE(( SELECT above.borrowing
           FROM projects above
          WHERE above.path @> project.path AND above.borrowing IS NOT NULL
          ORDER BY (nlevel(above.path)) DESC
         LIMIT 1), 'Allow'::borrowing_policy) AS borrowing,
    ( SELECT above.priority_classes
           FROM projects above
          WHERE above.path @> project.path AND above.priority_classes IS NOT NULL
          ORDER BY (nlevel(above.path)) DESC
         LIMIT 1) AS priority_classes
   FROM projects project;

-- Nodes of the tenant tree, one namespace each.
CREATE TABLE projects (
  id uuid NOT NULL,                     -- uid of the custom resource
  name text NOT NULL,                   -- Name of the custom resource, a DNS label
  namespace text NOT NULL,              -- Namespace of the project's jobs
  parent_id uuid,                       -- Parent project; null for a root
  path ltree NOT NULL,                  -- Labels from the root to this project; derived from parent_id by trigger
  owner_id bigint,                      -- Owner; null: inherited from the nearest ancestor that has one
  borrowing borrowing_policy,           -- Whether jobs may borrow; null: inherited from the nearest ancestor that sets it, else Allow
  priority_classes text[],              -- Names of the allowed priority classes; null: inherited from the nearest ancestor that sets them, else all
  -- Pod Security Standard that the namespace enforces
  pod_security pod_security_level NOT NULL DEFAULT 'restricted'::pod_security_level,
  generation bigint NOT NULL DEFAULT 0, -- Generation of the custom resource that this row was written from; 0: unknown
  -- Time of the insert
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT projects_pkey PRIMARY KEY (id),
  CONSTRAINT projects_name_key UNIQUE (name),
  CONSTRAINT projects_namespace_key UNIQUE (namespace),
  CONSTRAINT projects_owner_fkey FOREIGN KEY (owner_id) REFERENCES resource_owners(id),
  CONSTRAINT projects_parent_fkey FOREIGN KEY (parent_id) REFERENCES projects(id),
  CONSTRAINT projects_name_is_dns_label CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'::text),
  CONSTRAINT projects_namespace_is_dns_label CHECK (namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'::text),
  CONSTRAINT projects_not_own_parent CHECK (parent_id <> id),
  CONSTRAINT projects_path_ends_in_name CHECK (subpath(path, '-1'::integer) = project_label(name)),
  CONSTRAINT projects_path_follows_parent CHECK ((parent_id IS NULL) = (nlevel(path) = 1))
);
CREATE INDEX projects_owner_idx ON projects USING btree (owner_id)
  WHERE owner_id IS NOT NULL;
CREATE INDEX projects_parent_idx ON projects USING btree (parent_id)
  WHERE parent_id IS NOT NULL;
CREATE INDEX projects_path_idx ON projects USING gist (path);
CREATE TRIGGER projects_a_identity_is_fixed BEFORE UPDATE ON projects
  FOR EACH ROW
  WHEN (old.id <> new.id OR old.name <> new.name OR old.namespace <> new.namespace OR old.path <> new.path AND pg_trigger_depth() = 0)
  EXECUTE FUNCTION refuse_change('projects_identity_is_fixed', 'id, name, namespace and path of a project are fixed');
CREATE TRIGGER projects_a_lock_tree BEFORE UPDATE OF parent_id ON projects
  FOR EACH STATEMENT
  EXECUTE FUNCTION projects_lock_tree();
CREATE TRIGGER projects_b_insert_path BEFORE INSERT ON projects
  FOR EACH ROW
  EXECUTE FUNCTION projects_set_path();
CREATE TRIGGER projects_b_move_path BEFORE UPDATE OF parent_id ON projects
  FOR EACH ROW
  WHEN (old.parent_id IS DISTINCT FROM new.parent_id)
  EXECUTE FUNCTION projects_set_path();
CREATE TRIGGER projects_c_move_descendants AFTER UPDATE OF parent_id ON projects
  FOR EACH ROW
  WHEN (old.parent_id IS DISTINCT FROM new.parent_id)
  EXECUTE FUNCTION projects_move_descendants();
CREATE TRIGGER projects_d_record_arrival AFTER INSERT ON projects
  REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION projects_record_arrival();
CREATE TRIGGER projects_d_record_change AFTER UPDATE ON projects
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION projects_record_change();

-- Capacity reserved for jobs while their victims leave; not committed before the jobs start.
CREATE TABLE reservations (
  job_id uuid NOT NULL,                         -- The job, which is reserved
  node_name text NOT NULL,                      -- The node
  pods integer NOT NULL,                        -- Number of pods of the gang that will run on this node
  gpus integer NOT NULL,                        -- GPUs of these pods
  cpu_millis bigint NOT NULL,                   -- Millicores of these pods
  memory_bytes bigint NOT NULL,                 -- Bytes of memory of these pods
  expires_at timestamp with time zone NOT NULL, -- Time at which the reservation is released if the job has not started
  CONSTRAINT reservations_pkey PRIMARY KEY (job_id, node_name),
  CONSTRAINT reservations_job_fkey FOREIGN KEY (job_id) REFERENCES jobs(id),
  CONSTRAINT reservations_node_fkey FOREIGN KEY (node_name) REFERENCES nodes(name),
  CONSTRAINT reservations_cpu_not_negative CHECK (cpu_millis >= 0),
  CONSTRAINT reservations_gpus_not_negative CHECK (gpus >= 0),
  CONSTRAINT reservations_memory_not_negative CHECK (memory_bytes >= 0),
  CONSTRAINT reservations_pods_positive CHECK (pods > 0)
);
CREATE INDEX reservations_node_idx ON reservations USING btree (node_name);
CREATE TRIGGER reservations_check_on_delete AFTER DELETE ON reservations
  REFERENCING OLD TABLE AS changed_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION reservations_check();
CREATE TRIGGER reservations_check_on_insert AFTER INSERT ON reservations
  REFERENCING NEW TABLE AS changed_rows
  FOR EACH STATEMENT
  EXECUTE FUNCTION reservations_check();
CREATE TRIGGER reservations_not_changed BEFORE UPDATE ON reservations
  FOR EACH ROW
  WHEN (old.job_id IS DISTINCT FROM new.job_id OR old.pods IS DISTINCT FROM new.pods)
  EXECUTE FUNCTION refuse_change('jobs_agree_with_reservations', 'reservations are released and made again, not changed');

-- Supertype of users and groups: everything that can own projects, plans and storages.
CREATE TABLE resource_owners (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY, -- Identity, shared with the row in users or groups
  kind owner_kind NOT NULL,                        -- The subtype table that holds the name
  CONSTRAINT resource_owners_pkey PRIMARY KEY (id),
  CONSTRAINT resource_owners_id_kind_key UNIQUE (id, kind)
);

-- Windows of resource plans: the quantity that an owner may use in a range of the week.
CREATE TABLE resource_plans (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY, -- Identity of the window
  plan_uid uuid NOT NULL,                          -- uid of the custom resource
  plan_name text NOT NULL,                         -- Name of the custom resource
  resource_owner_id bigint NOT NULL,               -- Owner that the plan grants the quantity to
  resource_type text NOT NULL,                     -- Resource type granted: GPU, CPU, memory, or the Kubernetes name of an extended resource
  pool text NOT NULL,                              -- Pool of nodes
  quantity integer NOT NULL,                       -- GPUs, CPU cores, GiB of memory, or units of the extended resource
  time_window int4range NOT NULL,                  -- Half-open range of seconds of the week; 0 is Monday 00:00 in the time zone of the installation
  -- What happens to jobs over the quantity when the window closes: Finish lets them run, Evict evicts them
  on_window_close window_close_action NOT NULL DEFAULT 'Finish'::window_close_action,
  generation bigint NOT NULL,                      -- Generation of the custom resource that this window was accepted from
  CONSTRAINT resource_plans_pkey PRIMARY KEY (id),
  CONSTRAINT resource_plans_no_overlap EXCLUDE USING gist (resource_owner_id WITH =, resource_type WITH =, pool WITH =, time_window WITH &&),
  CONSTRAINT resource_plans_owner_fkey FOREIGN KEY (resource_owner_id) REFERENCES resource_owners(id),
  CONSTRAINT resource_plans_memory_bounded CHECK (resource_type <> 'memory'::text OR quantity < 8388608),
  CONSTRAINT resource_plans_quantity_not_negative CHECK (quantity >= 0),
  CONSTRAINT resource_plans_type_known CHECK ((resource_type = ANY (ARRAY['GPU'::text, 'CPU'::text, 'memory'::text])) OR resource_type ~ '^[^/\s]+/[^/\s]+$'::text),
  CONSTRAINT resource_plans_window_in_week CHECK (time_window <@ int4range(0, 604800) AND NOT isempty(time_window))
);
CREATE INDEX resource_plans_name_idx ON resource_plans USING btree (plan_name);
CREATE INDEX resource_plans_uid_idx ON resource_plans USING btree (plan_uid);

-- Volumes that a project offers to its jobs, one PersistentVolumeClaim each.
CREATE TABLE storages (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,    -- Identity
  project_id uuid,                                    -- Project whose namespace contains the claim
  resource_owner_id bigint,                           -- Owner, user or group; null: no project on the path has an owner
  name text NOT NULL,                                 -- Name, unique within the project
  size_bytes bigint NOT NULL,                         -- Requested size in bytes
  storage_class text,                                 -- StorageClass; null: the default class of the cluster
  access_mode text NOT NULL,                          -- Access mode of the claim
  affinity_config jsonb NOT NULL DEFAULT '{}'::jsonb, -- Node affinity that jobs mounting the volume must respect
  CONSTRAINT storages_pkey PRIMARY KEY (id),
  CONSTRAINT storages_project_name_key UNIQUE (project_id, name),
  CONSTRAINT storages_owner_fkey FOREIGN KEY (resource_owner_id) REFERENCES resource_owners(id),
  CONSTRAINT storages_project_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
  CONSTRAINT storages_access_mode_known CHECK (access_mode = ANY (ARRAY['ReadWriteOnce'::text, 'ReadOnlyMany'::text, 'ReadWriteMany'::text, 'ReadWriteOncePod'::text])),
  CONSTRAINT storages_affinity_is_object CHECK (jsonb_typeof(affinity_config) = 'object'::text),
  CONSTRAINT storages_name_is_dns_label CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'::text),
  CONSTRAINT storages_size_positive CHECK (size_bytes > 0)
);
CREATE INDEX storages_owner_idx ON storages USING btree (resource_owner_id);

-- Owners of kind User, as Kubernetes authentication names them.
CREATE TABLE users (
  id bigint NOT NULL,                                  -- The row in resource_owners
  kind owner_kind NOT NULL DEFAULT 'User'::owner_kind, -- Always User: half of the foreign key that keeps the two kinds apart
  name text NOT NULL,                                  -- User name, as in a TokenReview or the common name of a certificate
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_name_key UNIQUE (name),
  CONSTRAINT users_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners(id, kind) ON DELETE CASCADE,
  CONSTRAINT users_kind_is_user CHECK (kind = 'User'::owner_kind),
  CONSTRAINT users_name_length CHECK (length(name) >= 1 AND length(name) <= 253)
);

-- Allowed changes of status
-- -------------------------

INSERT INTO job_transitions (from_status, to_status) VALUES
  ('pending', 'reserved'),
  ('pending', 'starting'),
  ('pending', 'failed'),
  ('pending', 'cancelled'),
  ('reserved', 'pending'),
  ('reserved', 'starting'),
  ('reserved', 'evicted'),
  ('reserved', 'failed'),
  ('reserved', 'cancelled'),
  ('starting', 'pending'),
  ('starting', 'running'),
  ('starting', 'evicting'),
  ('starting', 'succeeded'),
  ('starting', 'failed'),
  ('starting', 'cancelled'),
  ('running', 'pending'),
  ('running', 'evicting'),
  ('running', 'succeeded'),
  ('running', 'failed'),
  ('running', 'cancelled'),
  ('evicting', 'running'),
  ('evicting', 'evicted'),
  ('evicting', 'succeeded'),
  ('evicting', 'failed'),
  ('evicting', 'cancelled'),
  ('evicted', 'reserved'),
  ('evicted', 'starting'),
  ('evicted', 'failed'),
  ('evicted', 'cancelled');

-- Functions
-- ---------

-- Returns the id of an owner; inserts the owner if it is new.
CREATE FUNCTION ensure_owner(wanted_kind owner_kind, wanted_name text)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
  owner_id bigint;
BEGIN
  FOR turn IN 1..3 LOOP
    SELECT id INTO owner_id FROM owners WHERE kind = wanted_kind AND name = wanted_name;
    IF FOUND THEN
      RETURN owner_id;
    END IF;
    BEGIN
      INSERT INTO resource_owners (kind) VALUES (wanted_kind) RETURNING id INTO owner_id;
      IF wanted_kind = 'User' THEN
        INSERT INTO users (id, name) VALUES (owner_id, wanted_name);
      ELSE
        INSERT INTO groups (id, name) VALUES (owner_id, wanted_name);
      END IF;
      RETURN owner_id;
    EXCEPTION WHEN unique_violation THEN
      NULL; -- another transaction inserted the owner first: read its row
    END;
  END LOOP;
  RAISE EXCEPTION 'owner % % appears and disappears', wanted_kind, wanted_name USING ERRCODE = 'serialization_failure';
END
$function$;

-- Removes a content for good, such as a secret committed by mistake. Its commits stay, the same content is refused from now on, and who, when and why are kept.
CREATE FUNCTION expunge_content(content_hash text, who text, why text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
  UPDATE config_blobs
  SET canonical = NULL, expunged_at = now(), expunged_by = who || ' (database role ' || session_user || ')',
    expunge_reason = why
  WHERE hash = content_hash AND expunged_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no content with the hash % is stored, or it was expunged before', content_hash
      USING ERRCODE = 'no_data_found', HINT = 'The hash has 64 digits and is in status.hash of the ConfigCommit.';
  END IF;
END
$function$;

-- Whether prune_history or prune_commits runs.
CREATE FUNCTION history_is_pruned()
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN COALESCE((current_setting('rota.pruning'::text, true) = 'on'::text), false);

-- Whether the job has ended for good: succeeded, failed or cancelled.
CREATE FUNCTION job_has_ended(status job_status)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (status = ANY (ARRAY['succeeded'::job_status, 'failed'::job_status, 'cancelled'::job_status]));

-- Whether pods of the job exist or must exist: starting, running or evicting.
CREATE FUNCTION job_is_live(status job_status)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (status = ANY (ARRAY['starting'::job_status, 'running'::job_status, 'evicting'::job_status]));

-- Whether the job is in the queue: pending or evicted.
CREATE FUNCTION job_is_waiting(status job_status)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (status = ANY (ARRAY['pending'::job_status, 'evicted'::job_status]));

-- Whether an eviction of the job may begin: starting or running.
CREATE FUNCTION job_may_be_evicted(status job_status)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (status = ANY (ARRAY['starting'::job_status, 'running'::job_status]));

-- Whether the job may preempt others: its class allows it, and fewer than three starts in a row have failed.
CREATE FUNCTION job_may_preempt(preempts boolean, failed_starts integer)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (preempts AND (failed_starts < 3));

-- Within restore_job: since when the job has been in its state. Null otherwise.
CREATE FUNCTION job_restored_at()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
RETURN (NULLIF(current_setting('rota.restored_at'::text, true), ''::text))::timestamp with time zone;

-- Whether the job counts against quotas: reserved, starting or running.
CREATE FUNCTION job_uses_quota(status job_status)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (status = ANY (ARRAY['reserved'::job_status, 'starting'::job_status, 'running'::job_status]));

-- Refuses jobs that disagree with their reservations: a reserved job has reservations for its whole gang, any other job has none.
CREATE FUNCTION jobs_check_reservations(job_ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
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
$function$;

-- How many units of demand (GPUs, millicores, bytes, devices) one unit of a plan's quantity (GPU, core, GiB, device) is.
CREATE FUNCTION plan_unit(resource_type text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE resource_type WHEN 'CPU'::text THEN 1000 WHEN 'memory'::text THEN 1073741824 ELSE 1 END;

-- The ltree label of a project name.
CREATE FUNCTION project_label(name text)
 RETURNS ltree
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN text2ltree(replace(name, '-'::text, '_'::text));

-- Owner of the nearest project on the path that has one.
CREATE FUNCTION project_owner_in_effect(project_path ltree)
 RETURNS bigint
 LANGUAGE sql
 STABLE
RETURN (SELECT above.owner_id FROM projects above WHERE ((above.path @> project_owner_in_effect.project_path) AND (above.owner_id IS NOT NULL)) ORDER BY (nlevel(above.path)) DESC LIMIT 1);

-- Deletes commits whose objects were deleted before an instant at least 12 hours ago, at most max_rows. Commits that follow them lose their parent. Returns their number.
CREATE FUNCTION prune_commits(before timestamp with time zone, max_rows integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET "rota.pruning" TO 'on'
AS $function$
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
$function$;

-- Deletes contents older than an instant at least 12 hours ago that no commit and no job needs, at most max_rows. Returns how many it considered.
CREATE FUNCTION prune_contents(before timestamp with time zone, max_rows integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
$function$;

-- Deletes all events of ended jobs whose rows are gone, and settled preemptions, before an instant at least a week ago; at most max_rows jobs and preemptions. Returns their number.
CREATE FUNCTION prune_history(before timestamp with time zone, max_rows integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET "rota.pruning" TO 'on'
AS $function$
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
$function$;

-- Sets a job to its state in the cluster after the database was restored from a backup; false if it is no longer in the known state. Its history dates the change with the given time.
CREATE FUNCTION restore_job(restored uuid, known_status job_status, known_attempt integer, new_status job_status, new_attempt integer, new_placement jsonb, new_started_at timestamp with time zone, new_finished_at timestamp with time zone, new_reason text, new_message text, since timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SET "rota.restored_at" TO ''
AS $function$
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
$function$;

-- What a node has of a resource that has no row for it: 1 of an exclusive resource, otherwise nothing.
CREATE FUNCTION unrecorded_amount(resource text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (strpos(resource, ':'::text) > 0) THEN 1 ELSE 0 END;

-- Trigger functions
-- -----------------

-- Adds new allocations to the committed capacity of their nodes; refuses an unknown node, and more than a node has.
CREATE FUNCTION allocations_commit()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
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
$function$;

-- Subtracts deleted allocations from the committed capacity of their nodes; deletes a node that left the cluster with its last allocation.
CREATE FUNCTION allocations_release()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
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
$function$;

-- Refuses changes of jobs that are not allowed, and applies what follows from the others: history, allocations of jobs that start, stop or change, and the check of reservations.
CREATE FUNCTION jobs_follow_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
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
$function$;

-- Deletes the row of an exclusive resource that is not in use any more.
CREATE FUNCTION node_resources_forget_exclusive()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  DELETE FROM node_resources WHERE node_name = NEW.node_name AND resource = NEW.resource;
  RETURN NULL;
END
$function$;

-- Blocks inserts and other moves while a subtree moves.
CREATE FUNCTION projects_lock_tree()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
  tree_lock CONSTANT bigint := 7001;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'projects move under READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
  END IF;
  PERFORM pg_advisory_xact_lock(tree_lock);
  RETURN NULL;
END
$function$;

-- Rewrites the paths of the subtree below a moved project.
CREATE FUNCTION projects_move_descendants()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  UPDATE projects
  SET path = NEW.path || subpath(path, nlevel(OLD.path))
  WHERE path <@ OLD.path AND id <> NEW.id;
  RETURN NULL;
END
$function$;

-- Starts the first period of new projects.
CREATE FUNCTION projects_record_arrival()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  INSERT INTO project_periods (project_id, since, path, owner_id)
  SELECT id, '-infinity', path, coalesce(owner_id, project_owner_in_effect(path)) FROM new_rows;
  RETURN NULL;
END
$function$;

-- Ends the current period of projects whose path or owner in effect changed, and starts the next one.
CREATE FUNCTION projects_record_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF NOT EXISTS (
    SELECT FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    WHERE (before.path, before.owner_id) IS DISTINCT FROM (after.path, after.owner_id)
  ) THEN
    RETURN NULL;
  END IF;
  WITH affected AS MATERIALIZED (
    SELECT id, path, owner_id FROM new_rows
    UNION
    SELECT project.id, project.path, project.owner_id
    FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    JOIN projects AS project ON project.path <@ after.path
    WHERE before.owner_id IS DISTINCT FROM after.owner_id
  ),
  changed AS MATERIALIZED (
    SELECT period.project_id, period.since, affected.path, affected.owner_id,
      -- A period that started in this transaction, or later, is corrected instead of ended.
      period.recorded_at = now() OR period.since >= now() AS is_corrected
    FROM (
      SELECT id, path, coalesce(owner_id, project_owner_in_effect(path)) AS owner_id FROM affected
    ) AS affected
    JOIN project_periods AS period ON period.project_id = affected.id AND period.until = 'infinity'
    WHERE (period.path, period.owner_id) IS DISTINCT FROM (affected.path, affected.owner_id)
  ),
  updated AS (
    UPDATE project_periods AS period
    SET path = CASE WHEN is_corrected THEN changed.path ELSE period.path END,
      owner_id = CASE WHEN is_corrected THEN changed.owner_id ELSE period.owner_id END,
      until = CASE WHEN is_corrected THEN 'infinity' ELSE now() END
    FROM changed
    WHERE period.project_id = changed.project_id AND period.since = changed.since
  )
  INSERT INTO project_periods (project_id, since, path, owner_id)
  SELECT project_id, now(), path, owner_id FROM changed WHERE NOT is_corrected;
  RETURN NULL;
END
$function$;

-- Derives the path of a new or moved project from its parent; refuses a cycle.
CREATE FUNCTION projects_set_path()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
  tree_lock CONSTANT bigint := 7001;
  parent_path ltree;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM pg_advisory_xact_lock_shared(tree_lock);
  END IF;
  IF NEW.name !~ '^[-a-z0-9]+$' THEN
    NEW.path := ''; -- not a label: the CHECK on the name reports it better than ltree's syntax error
    RETURN NEW;
  END IF;
  IF NEW.parent_id IS NULL THEN
    NEW.path := project_label(NEW.name);
    RETURN NEW;
  END IF;
  SELECT path INTO parent_path FROM projects WHERE id = NEW.parent_id FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the parent of project % does not exist', NEW.name
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'projects_parent_fkey', TABLE = 'projects';
  END IF;
  IF TG_OP = 'UPDATE' AND parent_path <@ OLD.path THEN
    RAISE EXCEPTION 'project % cannot move below itself, to %', NEW.name, parent_path
      USING ERRCODE = 'check_violation', CONSTRAINT = 'projects_no_cycle', TABLE = 'projects';
  END IF;
  NEW.path := parent_path || project_label(NEW.name);
  RETURN NEW;
END
$function$;

-- Refuses the change that fired the trigger. Arguments: the name of the rule, as a constraint's name, and the reason.
CREATE FUNCTION refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[1]
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = TG_TABLE_NAME;
END
$function$;

-- Refuses reservations that disagree with the status of their job.
CREATE FUNCTION reservations_check()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  PERFORM jobs_check_reservations(ARRAY(SELECT DISTINCT job_id FROM changed_rows));
  RETURN NULL;
END
$function$;
