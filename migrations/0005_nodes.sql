-- Nodes and the capacity committed on them. GPUs, CPU, memory and pods, which almost every decision needs, are columns;
-- every other resource of a node is a row. The triggers on allocations (0007) maintain the committed columns and
-- refuse to commit more than a node has. Amounts come from kubelets and from pods that are not Rota's. Each is at
-- most 2^49 (maxAmount in the domain), so that bigint holds every sum.
CREATE TABLE nodes (
  name text CONSTRAINT nodes_pkey PRIMARY KEY,
  uid uuid NOT NULL,
  pool text NOT NULL,
  schedulable boolean NOT NULL,
  present boolean NOT NULL DEFAULT true,
  labels jsonb NOT NULL DEFAULT '{}' CONSTRAINT nodes_labels_is_object CHECK (jsonb_typeof(labels) = 'object'),
  taints jsonb NOT NULL DEFAULT '[]' CONSTRAINT nodes_taints_is_array CHECK (jsonb_typeof(taints) = 'array'),
  gpus_allocatable bigint NOT NULL,
  cpu_millis_allocatable bigint NOT NULL,
  memory_bytes_allocatable bigint NOT NULL,
  pods_allocatable bigint NOT NULL,
  gpus_unhealthy bigint NOT NULL DEFAULT 0,
  gpus_committed bigint NOT NULL DEFAULT 0,
  cpu_millis_committed bigint NOT NULL DEFAULT 0,
  memory_bytes_committed bigint NOT NULL DEFAULT 0,
  pods_committed bigint NOT NULL DEFAULT 0,
  gpus_other bigint NOT NULL DEFAULT 0,
  cpu_millis_other bigint NOT NULL DEFAULT 0,
  memory_bytes_other bigint NOT NULL DEFAULT 0,
  pods_other bigint NOT NULL DEFAULT 0,
  CONSTRAINT nodes_allocatable_not_negative CHECK (
    gpus_allocatable >= 0 AND cpu_millis_allocatable >= 0
    AND memory_bytes_allocatable >= 0 AND pods_allocatable >= 0 AND gpus_unhealthy >= 0
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
-- Every start and end of a job updates the rows of its nodes, but no indexed column: half-empty pages keep these
-- updates on their page (HOT), and an early vacuum keeps the table small.
WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX nodes_pool_idx ON nodes (pool);
COMMENT ON TABLE nodes IS 'Nodes of the cluster, and the capacity committed on them';
COMMENT ON COLUMN nodes.name IS 'Name of the Node';
COMMENT ON COLUMN nodes.uid IS 'uid of the Node';
COMMENT ON COLUMN nodes.pool IS 'Pool: value of the node''s pool label, or default';
COMMENT ON COLUMN nodes.schedulable IS 'Ready and not cordoned';
COMMENT ON COLUMN nodes.present IS 'False: the Node left the cluster, and jobs on it have not ended yet';
COMMENT ON COLUMN nodes.labels IS 'Labels of the Node';
COMMENT ON COLUMN nodes.taints IS 'Taints, as in the spec of the Node';
COMMENT ON COLUMN nodes.gpus_allocatable IS 'Allocatable GPUs';
COMMENT ON COLUMN nodes.cpu_millis_allocatable IS 'Allocatable CPU in millicores';
COMMENT ON COLUMN nodes.memory_bytes_allocatable IS 'Allocatable memory in bytes';
COMMENT ON COLUMN nodes.pods_allocatable IS 'Allocatable pods';
COMMENT ON COLUMN nodes.gpus_unhealthy IS 'GPUs of the node that its device plugin calls unhealthy; not allocatable';
COMMENT ON COLUMN nodes.gpus_committed IS 'GPUs of the allocations on the node, kept by trigger';
COMMENT ON COLUMN nodes.cpu_millis_committed IS 'Millicores of the allocations on the node, kept by trigger';
COMMENT ON COLUMN nodes.memory_bytes_committed IS 'Bytes of memory of the allocations on the node, kept by trigger';
COMMENT ON COLUMN nodes.pods_committed IS 'Pods of the allocations on the node, kept by trigger';
COMMENT ON COLUMN nodes.gpus_other IS 'GPUs requested by pods that Rota did not create';
COMMENT ON COLUMN nodes.cpu_millis_other IS 'Millicores requested by pods that Rota did not create';
COMMENT ON COLUMN nodes.memory_bytes_other IS 'Bytes of memory requested by pods that Rota did not create';
COMMENT ON COLUMN nodes.pods_other IS 'Number of pods that Rota did not create';

CREATE TRIGGER nodes_committed_is_derived_on_insert BEFORE INSERT ON nodes FOR EACH ROW
WHEN (
  NEW.gpus_committed <> 0 OR NEW.cpu_millis_committed <> 0
  OR NEW.memory_bytes_committed <> 0 OR NEW.pods_committed <> 0
)
EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER nodes_committed_is_derived
BEFORE UPDATE OF gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed ON nodes
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER nodes_without_allocations BEFORE DELETE ON nodes FOR EACH ROW
WHEN (OLD.pods_committed > 0)
EXECUTE FUNCTION refuse_change('allocations_node_exists', 'the node still has allocations');

-- An exclusive resource is what one pod at a time can have on a node, such as a host port. Its name has a colon, which
-- no Kubernetes resource may have. Every node has one of each name, which has a row only while it is in use.
CREATE FUNCTION unrecorded_amount(resource text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN strpos(resource, ':') > 0 THEN 1 ELSE 0 END;
COMMENT ON FUNCTION unrecorded_amount IS 'What a node has of a resource that has no row for it: 1 of an exclusive resource, otherwise nothing';

CREATE TABLE node_resources (
  node_name text NOT NULL CONSTRAINT node_resources_node_fkey REFERENCES nodes (name) ON DELETE CASCADE,
  resource text COLLATE "C" NOT NULL,
  allocatable bigint NOT NULL,
  other bigint NOT NULL DEFAULT 0,
  committed bigint NOT NULL DEFAULT 0,
  unhealthy bigint NOT NULL DEFAULT 0,
  CONSTRAINT node_resources_pkey PRIMARY KEY (node_name, resource),
  CONSTRAINT node_resources_not_negative CHECK (allocatable >= 0 AND other >= 0 AND committed >= 0 AND unhealthy >= 0)
)
WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE node_resources IS 'Resources of nodes that have no columns there: ephemeral-storage, hugepages-*, devices other than GPUs, exclusive resources in use';
COMMENT ON COLUMN node_resources.node_name IS 'The node';
COMMENT ON COLUMN node_resources.resource IS 'Kubernetes name of the resource, or the name of an exclusive one, which has a colon';
COMMENT ON COLUMN node_resources.allocatable IS 'Allocatable amount: bytes of ephemeral-storage and hugepages-*, otherwise units; 0: the node no longer has it; 1 of an exclusive resource';
COMMENT ON COLUMN node_resources.other IS 'Requested by pods that Rota did not create';
COMMENT ON COLUMN node_resources.unhealthy IS 'Devices of the node that its device plugin reports as unhealthy; not in allocatable';
COMMENT ON COLUMN node_resources.committed IS 'Requested by the allocations on the node, kept by trigger';

CREATE TRIGGER node_resources_committed_is_derived_on_insert BEFORE INSERT ON node_resources FOR EACH ROW
WHEN (NEW.committed <> 0 AND pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');
CREATE TRIGGER node_resources_committed_is_derived BEFORE UPDATE OF committed ON node_resources
FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
EXECUTE FUNCTION refuse_change('nodes_committed_is_derived', 'committed capacity follows from the allocations');

-- Exclusive resources that nobody uses have no row: tenants choose their names, and rows of all would add up.
CREATE FUNCTION node_resources_forget_exclusive() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM node_resources WHERE node_name = NEW.node_name AND resource = NEW.resource;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION node_resources_forget_exclusive IS 'Deletes the row of an exclusive resource that is not in use any more';
CREATE TRIGGER node_resources_forget_exclusive AFTER UPDATE ON node_resources FOR EACH ROW
WHEN (NEW.committed = 0 AND NEW.other = 0 AND unrecorded_amount(NEW.resource) > 0)
EXECUTE FUNCTION node_resources_forget_exclusive();
