-- The preemption log: why which jobs were evicted for which. Written once; only outcomes are filled in later, once.
CREATE TYPE preemption_rule AS ENUM ('BorrowerReclaimed', 'LowerPriority', 'OwnQuota', 'WindowClosed');
CREATE TYPE preemption_outcome AS ENUM ('Started', 'Released', 'Ended');
CREATE TYPE victim_outcome AS ENUM ('Evicted', 'Finished', 'Cancelled');

CREATE TABLE preemptions (
  id uuid CONSTRAINT preemptions_pkey PRIMARY KEY,
  preemptor_job_id uuid,
  preemptor_attempt integer,
  preemptor text,
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
CREATE INDEX preemptions_decided_idx ON preemptions (decided_at);
COMMENT ON TABLE preemptions IS 'Decisions to evict: one row each, with the reason';
COMMENT ON COLUMN preemptions.id IS 'Identity, given by the decision';
COMMENT ON COLUMN preemptions.preemptor_job_id IS 'The job capacity was made for; null when a window closed. No foreign key: history outlives jobs';
COMMENT ON COLUMN preemptions.preemptor_attempt IS 'Its attempt when it was decided; it starts as the next one';
COMMENT ON COLUMN preemptions.preemptor IS 'Its namespace/name';
COMMENT ON COLUMN preemptions.pool IS 'The pool';
COMMENT ON COLUMN preemptions.rule IS 'The rule that allowed it';
COMMENT ON COLUMN preemptions.reason IS 'A sentence that names preemptor, rule and numbers';
COMMENT ON COLUMN preemptions.alternatives IS 'The sets that were considered and not taken';
COMMENT ON COLUMN preemptions.decided_at IS 'When it was decided';
COMMENT ON COLUMN preemptions.settled_at IS 'When the preemptor started or gave up';
COMMENT ON COLUMN preemptions.outcome IS 'What became of the preemptor: started, reservation released, or ended; null until then';

CREATE TABLE preemption_victims (
  preemption_id uuid NOT NULL CONSTRAINT preemption_victims_preemption_fkey REFERENCES preemptions (id),
  victim_job_id uuid NOT NULL,
  victim_attempt integer NOT NULL,
  victim text NOT NULL,
  pods integer NOT NULL CONSTRAINT preemption_victims_pods_positive CHECK (pods > 0),
  nodes text[] NOT NULL,
  gpus integer NOT NULL,
  rule preemption_rule NOT NULL,
  evicted_at timestamptz,
  outcome victim_outcome,
  CONSTRAINT preemption_victims_pkey PRIMARY KEY (preemption_id, victim_job_id),
  -- One attempt is evicted once: a second decision about it was made on an old view.
  CONSTRAINT preemption_victims_attempt_key UNIQUE (victim_job_id, victim_attempt),
  CONSTRAINT preemption_victims_evicted_with_outcome CHECK ((evicted_at IS NULL) = (outcome IS NULL))
);
COMMENT ON TABLE preemption_victims IS 'The jobs a preemption evicts';
COMMENT ON COLUMN preemption_victims.preemption_id IS 'The decision';
COMMENT ON COLUMN preemption_victims.victim_job_id IS 'The job; no foreign key, since history outlives it';
COMMENT ON COLUMN preemption_victims.victim_attempt IS 'The attempt that is evicted';
COMMENT ON COLUMN preemption_victims.victim IS 'Its namespace/name';
COMMENT ON COLUMN preemption_victims.pods IS 'Pods of the gang';
COMMENT ON COLUMN preemption_victims.nodes IS 'Nodes they were on';
COMMENT ON COLUMN preemption_victims.gpus IS 'Their GPUs';
COMMENT ON COLUMN preemption_victims.rule IS 'The rule that allowed this victim';
COMMENT ON COLUMN preemption_victims.evicted_at IS 'When its last pod was gone';
COMMENT ON COLUMN preemption_victims.outcome IS 'How it left; null until then';

CREATE FUNCTION ledger_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the preemption log is written once' USING ERRCODE = 'check_violation',
    CONSTRAINT = 'preemptions_written_once', TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION ledger_refuse_change IS 'Keeps the preemption log as it was written';
CREATE TRIGGER preemptions_written_once BEFORE UPDATE ON preemptions FOR EACH ROW
WHEN (
  OLD.outcome IS NOT NULL
  OR (OLD.id, OLD.preemptor_job_id, OLD.preemptor_attempt, OLD.preemptor, OLD.pool, OLD.rule,
    OLD.reason, OLD.alternatives, OLD.decided_at)
  IS DISTINCT FROM (NEW.id, NEW.preemptor_job_id, NEW.preemptor_attempt, NEW.preemptor, NEW.pool, NEW.rule,
    NEW.reason, NEW.alternatives, NEW.decided_at)
)
EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER preemption_victims_written_once BEFORE UPDATE ON preemption_victims FOR EACH ROW
WHEN (
  OLD.outcome IS NOT NULL
  OR (OLD.preemption_id, OLD.victim_job_id, OLD.victim_attempt, OLD.victim, OLD.pods, OLD.nodes, OLD.gpus, OLD.rule)
  IS DISTINCT FROM
  (NEW.preemption_id, NEW.victim_job_id, NEW.victim_attempt, NEW.victim, NEW.pods, NEW.nodes, NEW.gpus, NEW.rule)
)
EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER preemptions_not_deleted BEFORE DELETE OR TRUNCATE ON preemptions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('preemptions_written_once');
CREATE TRIGGER preemption_victims_not_deleted BEFORE DELETE OR TRUNCATE ON preemption_victims
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('preemptions_written_once');
