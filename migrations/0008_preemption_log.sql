-- The preemption log: which jobs were evicted for which job, and why. Rows are written once; only outcomes are filled
-- in later, once.
CREATE TYPE preemption_rule AS ENUM ('BorrowerReclaimed', 'LowerPriority', 'OwnQuota', 'WindowClosed');
CREATE TYPE preemption_outcome AS ENUM ('Started', 'Released', 'Ended');
CREATE TYPE victim_outcome AS ENUM ('Evicted', 'Finished', 'Cancelled', 'EvictionCancelled');

CREATE TABLE preemptions (
  id uuid CONSTRAINT preemptions_pkey PRIMARY KEY,
  preemptor_job_id uuid,
  preemptor_attempt integer,
  preemptor text,
  preemptor_namespace text GENERATED ALWAYS AS (split_part(preemptor, '/', 1)) STORED,
  pool text NOT NULL,
  rule preemption_rule NOT NULL,
  reason text NOT NULL CONSTRAINT preemptions_reason_given CHECK (reason <> ''),
  alternatives jsonb NOT NULL DEFAULT '[]',
  decided_at timestamptz NOT NULL DEFAULT now(),
  settled_at timestamptz,
  outcome preemption_outcome,
  CONSTRAINT preemptions_settled_with_outcome CHECK ((settled_at IS NULL) = (outcome IS NULL)),
  CONSTRAINT preemptions_for_a_job_or_a_window CHECK ((preemptor_job_id IS NULL) = (rule = 'WindowClosed'))
);
CREATE INDEX preemptions_preemptor_idx ON preemptions (preemptor_job_id, decided_at);
CREATE INDEX preemptions_decided_idx ON preemptions (decided_at, id);
CREATE INDEX preemptions_namespace_idx ON preemptions (preemptor_namespace, decided_at, id);
COMMENT ON TABLE preemptions IS 'Decisions to evict, one row each';
COMMENT ON COLUMN preemptions.id IS 'Identity, chosen by the decision';
COMMENT ON COLUMN preemptions.preemptor_job_id IS 'Job that the capacity is for; null when a window closed. No foreign key, because history outlives jobs';
COMMENT ON COLUMN preemptions.preemptor_attempt IS 'Attempt of the preemptor at the decision; it starts as the next one';
COMMENT ON COLUMN preemptions.preemptor IS 'namespace/name of the preemptor';
COMMENT ON COLUMN preemptions.preemptor_namespace IS 'Namespace of the preemptor';
COMMENT ON COLUMN preemptions.pool IS 'The pool';
COMMENT ON COLUMN preemptions.rule IS 'Rule that allowed the preemption';
COMMENT ON COLUMN preemptions.reason IS 'Preemptor, rule and numbers, as a sentence';
COMMENT ON COLUMN preemptions.alternatives IS 'Other sets of victims that were considered';
COMMENT ON COLUMN preemptions.decided_at IS 'Time of the decision';
COMMENT ON COLUMN preemptions.settled_at IS 'Time of the outcome';
COMMENT ON COLUMN preemptions.outcome IS 'What happened to the preemptor: it started, its reservation was released, or it ended; null until then';

CREATE TABLE preemption_victims (
  preemption_id uuid NOT NULL CONSTRAINT preemption_victims_preemption_fkey REFERENCES preemptions (id),
  victim_job_id uuid NOT NULL,
  victim_attempt integer NOT NULL,
  victim text NOT NULL,
  namespace text NOT NULL GENERATED ALWAYS AS (split_part(victim, '/', 1)) STORED,
  decided_at timestamptz NOT NULL DEFAULT now(),
  pods integer NOT NULL CONSTRAINT preemption_victims_pods_positive CHECK (pods > 0),
  nodes text[] NOT NULL,
  gpus integer NOT NULL,
  rule preemption_rule NOT NULL,
  past_budget text,
  evicted_at timestamptz,
  outcome victim_outcome,
  CONSTRAINT preemption_victims_pkey PRIMARY KEY (preemption_id, victim_job_id),
  CONSTRAINT preemption_victims_evicted_with_outcome CHECK ((evicted_at IS NULL) = (outcome IS NULL))
);
-- An attempt is evicted once; it may become a victim again after its eviction was cancelled. A concurrent second
-- decision comes from an old snapshot.
CREATE UNIQUE INDEX preemption_victims_attempt_key ON preemption_victims (victim_job_id, victim_attempt)
  WHERE outcome IS NULL OR outcome <> 'EvictionCancelled';
-- The log of one project is read newest first, whatever the others have.
CREATE INDEX preemption_victims_namespace_idx ON preemption_victims (namespace, decided_at, preemption_id);
COMMENT ON TABLE preemption_victims IS 'Jobs that a preemption evicts';
COMMENT ON COLUMN preemption_victims.preemption_id IS 'The decision';
COMMENT ON COLUMN preemption_victims.victim_job_id IS 'The job; no foreign key, because history outlives jobs';
COMMENT ON COLUMN preemption_victims.victim_attempt IS 'Attempt that is evicted';
COMMENT ON COLUMN preemption_victims.victim IS 'namespace/name of the victim';
COMMENT ON COLUMN preemption_victims.namespace IS 'Namespace of the victim';
COMMENT ON COLUMN preemption_victims.decided_at IS 'Time of the decision';
COMMENT ON COLUMN preemption_victims.pods IS 'Number of pods of the gang';
COMMENT ON COLUMN preemption_victims.past_budget IS 'PodDisruptionBudget (namespace/name) that has delayed the eviction of a borrowing job for as long as it may, so that the pods are deleted; null: none';
COMMENT ON COLUMN preemption_victims.nodes IS 'Nodes of these pods';
COMMENT ON COLUMN preemption_victims.gpus IS 'GPUs of these pods';
COMMENT ON COLUMN preemption_victims.rule IS 'Rule that allowed this victim';
COMMENT ON COLUMN preemption_victims.evicted_at IS 'Time at which the last pod was gone, or the eviction was cancelled';
COMMENT ON COLUMN preemption_victims.outcome IS 'How the victim left, or that its eviction was cancelled before it lost a pod; null until then';

CREATE TRIGGER preemptions_written_once BEFORE UPDATE ON preemptions FOR EACH ROW
WHEN (
  OLD.outcome IS NOT NULL
  OR (OLD.id, OLD.preemptor_job_id, OLD.preemptor_attempt, OLD.preemptor, OLD.pool, OLD.rule,
    OLD.reason, OLD.alternatives, OLD.decided_at)
  IS DISTINCT FROM (NEW.id, NEW.preemptor_job_id, NEW.preemptor_attempt, NEW.preemptor, NEW.pool, NEW.rule,
    NEW.reason, NEW.alternatives, NEW.decided_at)
)
EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemption_victims_written_once BEFORE UPDATE ON preemption_victims FOR EACH ROW
WHEN (
  OLD.outcome IS NOT NULL
  OR (OLD.preemption_id, OLD.victim_job_id, OLD.victim_attempt, OLD.victim, OLD.decided_at, OLD.pods, OLD.nodes,
    OLD.gpus, OLD.rule)
  IS DISTINCT FROM (NEW.preemption_id, NEW.victim_job_id, NEW.victim_attempt, NEW.victim, NEW.decided_at, NEW.pods,
    NEW.nodes, NEW.gpus, NEW.rule)
)
EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemptions_not_truncated BEFORE TRUNCATE ON preemptions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemption_victims_not_truncated BEFORE TRUNCATE ON preemption_victims
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemptions_not_deleted BEFORE DELETE ON preemptions
FOR EACH STATEMENT WHEN (NOT history_is_pruned())
EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
CREATE TRIGGER preemption_victims_not_deleted BEFORE DELETE ON preemption_victims
FOR EACH STATEMENT WHEN (NOT history_is_pruned())
EXECUTE FUNCTION refuse_change('preemptions_written_once', 'the preemption log is written once');
