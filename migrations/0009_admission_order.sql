-- The order in which running jobs keep their entitlement. started_at moves when the pods run, and two jobs whose
-- pods need different times to start would change places with it: entitlement would change though no job, plan or
-- window did.
ALTER TABLE jobs ADD COLUMN admitted_at timestamptz;
COMMENT ON COLUMN jobs.admitted_at IS 'When the latest attempt was admitted: its rank among jobs of its priority; null before the first';
UPDATE jobs SET admitted_at = started_at WHERE started_at IS NOT NULL;
