-- The attempt runs on, and may be chosen again: one decision at a time.
INSERT INTO job_transitions (from_status, to_status) VALUES ('evicting', 'running');
ALTER TABLE preemption_victims DROP CONSTRAINT preemption_victims_attempt_key;
CREATE UNIQUE INDEX preemption_victims_attempt_key ON preemption_victims (victim_job_id, victim_attempt)
  WHERE outcome IS NULL OR outcome <> 'EvictionCancelled';
COMMENT ON COLUMN preemption_victims.evicted_at IS 'When its last pod was gone, or it was spared';
COMMENT ON COLUMN preemption_victims.outcome IS 'How it left, or that it was spared: nobody needed its room any more before a pod of it had left; null until then';

-- Beside jobs_follow_update, which says it of those that begin to leave.
CREATE FUNCTION jobs_spare() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE allocations SET evictable = true WHERE job_id = NEW.id AND attempt = NEW.attempt;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_spare IS 'Says of the allocations of a spared victim that they can be evicted again';
CREATE TRIGGER jobs_spare AFTER UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status = 'evicting' AND NEW.status = 'running')
EXECUTE FUNCTION jobs_spare();
