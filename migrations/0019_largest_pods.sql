-- The victim finder looks first at the nodes that lack least and at those with the largest pods: what these show
-- bounds what any other node can, and the other nodes of a pool need no look.
ALTER TABLE allocations
  ADD COLUMN gpus_per_pod float8 NOT NULL GENERATED ALWAYS AS (gpus::float8 / gang) STORED;
COMMENT ON COLUMN allocations.gpus_per_pod IS 'GPUs freed on this node for each pod evicted with the whole gang';
CREATE INDEX allocations_largest_idx ON allocations (pool, gpus_per_pod DESC, node_name)
  INCLUDE (priority, borrowing) WHERE evictable AND gpus > 0;
DROP INDEX allocations_gpu_idx;
CREATE INDEX allocations_gpu_idx ON allocations (pool, node_name)
  INCLUDE (pods, gpus, gpus_per_pod, cpu_millis, memory_bytes, gang, priority, borrowing) WHERE evictable AND gpus > 0;
