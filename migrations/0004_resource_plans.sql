-- Who may use how much of what, when. One row per window; PostgreSQL refuses overlaps, nothing else checks them.
CREATE TYPE resource_type AS ENUM ('GPU', 'CPU');
CREATE TYPE window_close_action AS ENUM ('Finish', 'Evict');
CREATE TYPE preemption_policy AS ENUM ('PreemptLowerPriority', 'Never');

CREATE TABLE resource_plans (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT resource_plans_pkey PRIMARY KEY,
  plan_uid uuid NOT NULL,
  plan_name text NOT NULL,
  resource_owner_id bigint NOT NULL CONSTRAINT resource_plans_owner_fkey REFERENCES resource_owners (id),
  resource_type resource_type NOT NULL,
  pool text NOT NULL,
  quantity integer NOT NULL CONSTRAINT resource_plans_quantity_not_negative CHECK (quantity >= 0),
  time_window int4range NOT NULL,
  on_window_close window_close_action NOT NULL DEFAULT 'Finish',
  generation bigint NOT NULL,
  -- Containment refuses infinite bounds too; an empty range is contained in anything and conflicts with nothing.
  CONSTRAINT resource_plans_window_in_week CHECK (time_window <@ int4range(0, 604800) AND NOT isempty(time_window)),
  CONSTRAINT resource_plans_no_overlap EXCLUDE USING gist (
    resource_owner_id WITH =, resource_type WITH =, pool WITH =, time_window WITH &&
  )
);
CREATE INDEX resource_plans_uid_idx ON resource_plans (plan_uid);
CREATE INDEX resource_plans_name_idx ON resource_plans (plan_name);
COMMENT ON TABLE resource_plans IS 'Windows of resource plans: what an owner may use, and when in the week';
COMMENT ON COLUMN resource_plans.id IS 'Identity of the window';
COMMENT ON COLUMN resource_plans.plan_uid IS 'The custom resource''s uid';
COMMENT ON COLUMN resource_plans.plan_name IS 'The custom resource''s name';
COMMENT ON COLUMN resource_plans.resource_owner_id IS 'Who may use it';
COMMENT ON COLUMN resource_plans.resource_type IS 'What it grants';
COMMENT ON COLUMN resource_plans.pool IS 'The pool of nodes it grants it in';
COMMENT ON COLUMN resource_plans.quantity IS 'GPUs or CPU cores';
COMMENT ON COLUMN resource_plans.time_window IS 'Half-open range of seconds of the week, 0 = Monday 00:00 of the installation''s wall clock';
COMMENT ON COLUMN resource_plans.on_window_close IS 'Whether jobs past the quantity may finish when the window closes, or are evicted';
COMMENT ON COLUMN resource_plans.generation IS 'The custom resource''s generation this window was accepted from';

CREATE TABLE priority_classes (
  name text CONSTRAINT priority_classes_pkey PRIMARY KEY,
  value integer NOT NULL,
  preemption_policy preemption_policy NOT NULL DEFAULT 'PreemptLowerPriority'
);
COMMENT ON TABLE priority_classes IS 'Mirror of the cluster''s scheduling.k8s.io PriorityClasses';
COMMENT ON COLUMN priority_classes.name IS 'Name of the class';
COMMENT ON COLUMN priority_classes.value IS 'Priority: higher is more important';
COMMENT ON COLUMN priority_classes.preemption_policy IS 'Whether jobs of the class may evict others';
