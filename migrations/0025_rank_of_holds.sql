-- A job is admitted when its victims are told to go, not when they have gone: a borrower of its priority that starts in
-- the meantime does not come before it.
COMMENT ON COLUMN jobs.admitted_at IS 'When the latest attempt was admitted, or capacity was kept for the next one: its rank among jobs of its priority; null before the first';
UPDATE jobs SET admitted_at = now() WHERE status = 'reserved';
