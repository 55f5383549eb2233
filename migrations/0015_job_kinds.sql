-- Jobs of one project that ask for the same are of one kind: when the first of them cannot start, neither can those
-- behind it. A claim reads the first few of each kind, so that no number of blocked jobs hides another kind's.
ALTER TABLE jobs ADD COLUMN constraints_hash uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE jobs ADD COLUMN kind uuid NOT NULL GENERATED ALWAYS AS (
  md5(
    parallelism::text || ' ' || pod_gpus::text || ' ' || pod_cpu_millis::text || ' ' || pod_memory_bytes::text
    || ' ' || allows_borrowing::text || ' ' || preempts::text || ' ' || coalesce(max_runtime_seconds, 0)::text
    || ' ' || constraints_hash::text
  )::uuid
) STORED;
COMMENT ON COLUMN jobs.constraints_hash IS 'MD5 of where its pods may run: node selector, affinity, tolerations, storages';
COMMENT ON COLUMN jobs.kind IS 'MD5 of all it asks for: waiting jobs of one project and kind are alike';
UPDATE jobs SET constraints_hash = md5(
  concat_ws(' ', spec.node_selector, spec.node_affinity, spec.tolerations, spec.storages)
)::uuid
FROM job_specs AS spec
WHERE spec.job_id = jobs.id AND jobs.active_project_id IS NOT NULL;
DROP INDEX jobs_queue_by_project_idx;
CREATE INDEX jobs_queue_by_kind_idx ON jobs (pool, project_id, kind, priority DESC, created_at, id)
  WHERE status IN ('pending', 'evicted') AND NOT suspended;
