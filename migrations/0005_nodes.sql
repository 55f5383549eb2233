-- Nodes and what is committed on them. The database refuses to commit more than a node has.
CREATE TABLE nodes (
  name text CONSTRAINT nodes_pkey PRIMARY KEY,
  uid uuid NOT NULL,
  pool text NOT NULL,
  schedulable boolean NOT NULL,
  present boolean NOT NULL DEFAULT true,
  labels jsonb NOT NULL DEFAULT '{}' CONSTRAINT nodes_labels_is_object CHECK (jsonb_typeof(labels) = 'object'),
  taints jsonb NOT NULL DEFAULT '[]' CONSTRAINT nodes_taints_is_array CHECK (jsonb_typeof(taints) = 'array'),
  gpus_allocatable integer NOT NULL,
  cpu_millis_allocatable bigint NOT NULL,
  memory_bytes_allocatable bigint NOT NULL,
  pods_allocatable integer NOT NULL,
  gpus_committed integer NOT NULL DEFAULT 0,
  cpu_millis_committed bigint NOT NULL DEFAULT 0,
  memory_bytes_committed bigint NOT NULL DEFAULT 0,
  pods_committed integer NOT NULL DEFAULT 0,
  gpus_other integer NOT NULL DEFAULT 0,
  cpu_millis_other bigint NOT NULL DEFAULT 0,
  memory_bytes_other bigint NOT NULL DEFAULT 0,
  pods_other integer NOT NULL DEFAULT 0,
  CONSTRAINT nodes_allocatable_not_negative CHECK (
    gpus_allocatable >= 0 AND cpu_millis_allocatable >= 0
    AND memory_bytes_allocatable >= 0 AND pods_allocatable >= 0
  ),
  CONSTRAINT nodes_committed_not_negative CHECK (
    gpus_committed >= 0 AND cpu_millis_committed >= 0
    AND memory_bytes_committed >= 0 AND pods_committed >= 0
  ),
  CONSTRAINT nodes_other_not_negative CHECK (
    gpus_other >= 0 AND cpu_millis_other >= 0
    AND memory_bytes_other >= 0 AND pods_other >= 0
  )
)
-- Every start and end of a job updates its nodes' rows, without touching an indexed column: half-empty
-- pages keep these updates on their page (HOT), and a vacuum after few of them keeps the table small.
WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX nodes_pool_idx ON nodes (pool);
COMMENT ON TABLE nodes IS 'The cluster''s nodes, and what is committed on them';
COMMENT ON COLUMN nodes.name IS 'Name of the Node';
COMMENT ON COLUMN nodes.uid IS 'uid of the Node';
COMMENT ON COLUMN nodes.pool IS 'Its pool: the label rota.dev/pool, default without it';
COMMENT ON COLUMN nodes.schedulable IS 'Ready and not cordoned';
COMMENT ON COLUMN nodes.present IS 'False when the Node is gone from the cluster but jobs on it have not been ended yet';
COMMENT ON COLUMN nodes.labels IS 'Its labels';
COMMENT ON COLUMN nodes.taints IS 'Its taints, as in the Node''s spec';
COMMENT ON COLUMN nodes.gpus_allocatable IS 'Allocatable GPUs';
COMMENT ON COLUMN nodes.cpu_millis_allocatable IS 'Allocatable CPU in millicores';
COMMENT ON COLUMN nodes.memory_bytes_allocatable IS 'Allocatable memory in bytes';
COMMENT ON COLUMN nodes.pods_allocatable IS 'Allocatable pods';
COMMENT ON COLUMN nodes.gpus_committed IS 'GPUs of the allocations on it, kept by trigger';
COMMENT ON COLUMN nodes.cpu_millis_committed IS 'Millicores of the allocations on it, kept by trigger';
COMMENT ON COLUMN nodes.memory_bytes_committed IS 'Bytes of memory of the allocations on it, kept by trigger';
COMMENT ON COLUMN nodes.pods_committed IS 'Pods of the allocations on it, kept by trigger';
COMMENT ON COLUMN nodes.gpus_other IS 'GPUs requested by pods that are not Rota''s';
COMMENT ON COLUMN nodes.cpu_millis_other IS 'Millicores requested by pods that are not Rota''s';
COMMENT ON COLUMN nodes.memory_bytes_other IS 'Bytes of memory requested by pods that are not Rota''s';
COMMENT ON COLUMN nodes.pods_other IS 'Number of pods that are not Rota''s';

CREATE FUNCTION nodes_refuse_overcommit() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'node % has no room for this commitment', NEW.name
    USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_not_overcommitted', TABLE = 'nodes',
      DETAIL = format(
        'GPUs %s of %s, millicores %s of %s, bytes %s of %s, pods %s of %s',
        NEW.gpus_committed + NEW.gpus_other, NEW.gpus_allocatable,
        NEW.cpu_millis_committed + NEW.cpu_millis_other, NEW.cpu_millis_allocatable,
        NEW.memory_bytes_committed + NEW.memory_bytes_other, NEW.memory_bytes_allocatable,
        NEW.pods_committed + NEW.pods_other, NEW.pods_allocatable
      );
END
$$;
COMMENT ON FUNCTION nodes_refuse_overcommit IS 'Refuses a commitment that a node has no room for';

-- A shrinking node, or a foreign pod, is a fact and passes; only a commitment that grows past the
-- allocatable amount is refused. A CHECK cannot tell the two apart: it does not see the old row.
CREATE TRIGGER nodes_not_overcommitted BEFORE UPDATE ON nodes FOR EACH ROW
WHEN (
  (NEW.gpus_committed > OLD.gpus_committed AND NEW.gpus_committed + NEW.gpus_other > NEW.gpus_allocatable)
  OR (
    NEW.cpu_millis_committed > OLD.cpu_millis_committed
    AND NEW.cpu_millis_committed + NEW.cpu_millis_other > NEW.cpu_millis_allocatable
  )
  OR (
    NEW.memory_bytes_committed > OLD.memory_bytes_committed
    AND NEW.memory_bytes_committed + NEW.memory_bytes_other > NEW.memory_bytes_allocatable
  )
  OR (NEW.pods_committed > OLD.pods_committed AND NEW.pods_committed + NEW.pods_other > NEW.pods_allocatable)
)
EXECUTE FUNCTION nodes_refuse_overcommit();

CREATE FUNCTION nodes_refuse_commitment_by_hand() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what is committed on node % follows its allocations', NEW.name
    USING ERRCODE = 'check_violation', CONSTRAINT = 'nodes_committed_is_derived', TABLE = 'nodes';
END
$$;
COMMENT ON FUNCTION nodes_refuse_commitment_by_hand IS 'Keeps the committed columns to the trigger on allocations';

CREATE TRIGGER nodes_committed_is_derived_on_insert BEFORE INSERT ON nodes FOR EACH ROW
WHEN (
  NEW.gpus_committed <> 0 OR NEW.cpu_millis_committed <> 0
  OR NEW.memory_bytes_committed <> 0 OR NEW.pods_committed <> 0
)
EXECUTE FUNCTION nodes_refuse_commitment_by_hand();
CREATE TRIGGER nodes_committed_is_derived BEFORE UPDATE ON nodes FOR EACH ROW
WHEN (
  pg_trigger_depth() = 0
  AND (
    NEW.gpus_committed <> OLD.gpus_committed OR NEW.cpu_millis_committed <> OLD.cpu_millis_committed
    OR NEW.memory_bytes_committed <> OLD.memory_bytes_committed OR NEW.pods_committed <> OLD.pods_committed
  )
)
EXECUTE FUNCTION nodes_refuse_commitment_by_hand();

CREATE FUNCTION nodes_refuse_delete() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'node % still has allocations', OLD.name
    USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'allocations_node_exists', TABLE = 'nodes';
END
$$;
COMMENT ON FUNCTION nodes_refuse_delete IS 'Refuses to forget a node that has allocations';
CREATE TRIGGER nodes_without_allocations BEFORE DELETE ON nodes FOR EACH ROW
WHEN (OLD.pods_committed > 0)
EXECUTE FUNCTION nodes_refuse_delete();
