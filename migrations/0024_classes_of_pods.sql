-- The victim finder asks for the largest pods that a job may evict. Whom it may evict is a matter of borrowing and
-- priority: in this order each class is one range, and few ranges are read to the end.
DROP INDEX allocations_largest_idx;
CREATE INDEX allocations_classes_idx ON allocations (pool, borrowing, priority, gpus_per_pod DESC, node_name)
  WHERE evictable AND gpus > 0;
