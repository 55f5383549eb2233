-- Resource plans: one row per weekly window; PostgreSQL refuses overlaps. Also priority classes.
CREATE TYPE window_close_action AS ENUM ('Finish', 'Evict');
CREATE TYPE preemption_policy AS ENUM ('PreemptLowerPriority', 'Never');

CREATE TABLE resource_plans (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT resource_plans_pkey PRIMARY KEY,
  plan_uid uuid NOT NULL,
  plan_name text NOT NULL,
  resource_owner_id bigint NOT NULL CONSTRAINT resource_plans_owner_fkey REFERENCES resource_owners (id),
  resource_type text COLLATE "C" NOT NULL,
  pool text NOT NULL,
  quantity integer NOT NULL CONSTRAINT resource_plans_quantity_not_negative CHECK (quantity >= 0),
  time_window int4range NOT NULL,
  on_window_close window_close_action NOT NULL DEFAULT 'Finish',
  generation bigint NOT NULL,
  CONSTRAINT resource_plans_type_known CHECK (resource_type IN ('GPU', 'CPU', 'memory') OR resource_type ~ '^[^/\s]+/[^/\s]+$'),
  -- 2^53 bytes: sums and differences of smaller amounts are exact in double precision.
  CONSTRAINT resource_plans_memory_bounded CHECK (resource_type <> 'memory' OR quantity < 8388608),
  -- Containment also refuses infinite bounds. An empty range is contained in any range and overlaps none.
  CONSTRAINT resource_plans_window_in_week CHECK (time_window <@ int4range(0, 604800) AND NOT isempty(time_window)),
  CONSTRAINT resource_plans_no_overlap EXCLUDE USING gist (
    resource_owner_id WITH =, resource_type WITH =, pool WITH =, time_window WITH &&
  )
);
CREATE INDEX resource_plans_uid_idx ON resource_plans (plan_uid);
CREATE INDEX resource_plans_name_idx ON resource_plans (plan_name);
COMMENT ON TABLE resource_plans IS 'Windows of resource plans: the quantity that an owner may use in a range of the week';
COMMENT ON COLUMN resource_plans.id IS 'Identity of the window';
COMMENT ON COLUMN resource_plans.plan_uid IS 'uid of the custom resource';
COMMENT ON COLUMN resource_plans.plan_name IS 'Name of the custom resource';
COMMENT ON COLUMN resource_plans.resource_owner_id IS 'Owner that the plan grants the quantity to';
COMMENT ON COLUMN resource_plans.resource_type IS 'Resource type granted: GPU, CPU, memory, or the Kubernetes name of an extended resource';
COMMENT ON COLUMN resource_plans.pool IS 'Pool of nodes';
COMMENT ON COLUMN resource_plans.quantity IS 'GPUs, CPU cores, GiB of memory, or units of the extended resource';
COMMENT ON COLUMN resource_plans.time_window IS 'Half-open range of seconds of the week; 0 is Monday 00:00 in the time zone of the installation';
COMMENT ON COLUMN resource_plans.on_window_close IS 'What happens to jobs over the quantity when the window closes: Finish lets them run, Evict evicts them';
COMMENT ON COLUMN resource_plans.generation IS 'Generation of the custom resource that this window was accepted from';

CREATE FUNCTION plan_unit(resource_type text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE resource_type WHEN 'CPU' THEN 1000 WHEN 'memory' THEN 1073741824 ELSE 1 END;
COMMENT ON FUNCTION plan_unit IS 'How many units of demand (GPUs, millicores, bytes, devices) one unit of a plan''s quantity (GPU, core, GiB, device) is';

CREATE TABLE priority_classes (
  name text CONSTRAINT priority_classes_pkey PRIMARY KEY,
  value integer NOT NULL,
  preemption_policy preemption_policy NOT NULL DEFAULT 'PreemptLowerPriority'
);
COMMENT ON TABLE priority_classes IS 'Mirror of the cluster''s PriorityClasses (scheduling.k8s.io)';
COMMENT ON COLUMN priority_classes.name IS 'Name of the class';
COMMENT ON COLUMN priority_classes.value IS 'Priority; higher is more important';
COMMENT ON COLUMN priority_classes.preemption_policy IS 'Whether jobs of the class may preempt others';
