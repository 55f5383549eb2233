-- The room of an attempt that is being ended is on its way to be free, as that of a victim: whoever needs it waits for it
-- and evicts nobody else, and the attempt is no victim any more. Pods that do not end must not reservation others up for ever.
ALTER TABLE allocations ADD COLUMN leaves_by timestamptz;
COMMENT ON COLUMN allocations.leaves_by IS 'Until then it is waited for that the pods of an attempt that is being ended leave; null for others';
COMMENT ON COLUMN allocations.evictable IS 'Whether the job is starting or running; false while it is evicting or its attempt is being ended';

CREATE FUNCTION jobs_begin_to_end() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  -- As long as capacity is kept for a preemptor, unless a setting says otherwise.
  UPDATE allocations SET evictable = false, leaves_by = now() + interval '5 minutes'
  WHERE job_id = NEW.id AND attempt = NEW.attempt;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION jobs_begin_to_end IS 'Says of the allocations of an attempt that is being ended that they will be free';
CREATE TRIGGER jobs_begin_to_end AFTER UPDATE OF ending ON jobs FOR EACH ROW
WHEN (OLD.ending IS NULL AND NEW.ending IS NOT NULL AND job_is_live(NEW.status))
EXECUTE FUNCTION jobs_begin_to_end();

-- An attempt that is being ended is ended: whatever else changes of its job.
CREATE FUNCTION allocations_go_on_leaving() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.evictable := false;
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION allocations_go_on_leaving IS 'Keeps allocations of an attempt that is being ended from being evicted';
CREATE TRIGGER allocations_go_on_leaving BEFORE UPDATE OF evictable ON allocations FOR EACH ROW
WHEN (NEW.evictable AND NEW.leaves_by IS NOT NULL)
EXECUTE FUNCTION allocations_go_on_leaving();
