-- Path and owner of each project over time. Accounting needs them, because a move must not change past figures.
-- The periods of a project cover all of time: the first starts at -infinity, and the last continues after the
-- deletion, so no usage falls between two periods.
CREATE TABLE project_periods (
  project_id uuid NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz NOT NULL DEFAULT 'infinity',
  path ltree NOT NULL,
  owner_id bigint CONSTRAINT project_periods_owner_fkey REFERENCES resource_owners (id),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT project_periods_pkey PRIMARY KEY (project_id, since),
  CONSTRAINT project_periods_not_empty CHECK (since < until)
);
CREATE INDEX project_periods_path_idx ON project_periods USING gist (path);
CREATE INDEX project_periods_owner_idx ON project_periods (owner_id) WHERE owner_id IS NOT NULL;
COMMENT ON TABLE project_periods IS 'Path and owner of each project over time, written by triggers on projects; accounting groups by them';
COMMENT ON COLUMN project_periods.project_id IS 'The project; no foreign key, because accounting outlives projects';
COMMENT ON COLUMN project_periods.since IS 'Start; -infinity for the first period';
COMMENT ON COLUMN project_periods.until IS 'End; infinity for the last period';
COMMENT ON COLUMN project_periods.path IS 'Path of the project in this period';
COMMENT ON COLUMN project_periods.owner_id IS 'Owner in effect; null: no project on the path had one';
COMMENT ON COLUMN project_periods.recorded_at IS 'Transaction that wrote the period; further changes in that transaction correct it';

CREATE FUNCTION projects_record_arrival() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO project_periods (project_id, since, path, owner_id)
  SELECT id, '-infinity', path, coalesce(owner_id, project_owner_in_effect(path)) FROM new_rows;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_record_arrival IS 'Starts the first period of new projects';

-- A moved subtree arrives row by row in new_rows; a change of owner affects all descendants that inherit it.
CREATE FUNCTION projects_record_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    WHERE (before.path, before.owner_id) IS DISTINCT FROM (after.path, after.owner_id)
  ) THEN
    RETURN NULL;
  END IF;
  WITH affected AS MATERIALIZED (
    SELECT id, path, owner_id FROM new_rows
    UNION
    SELECT project.id, project.path, project.owner_id
    FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    JOIN projects AS project ON project.path <@ after.path
    WHERE before.owner_id IS DISTINCT FROM after.owner_id
  ),
  changed AS MATERIALIZED (
    SELECT period.project_id, period.since, affected.path, affected.owner_id,
      -- A period that started in this transaction, or later, is corrected instead of ended.
      period.recorded_at = now() OR period.since >= now() AS is_corrected
    FROM (
      SELECT id, path, coalesce(owner_id, project_owner_in_effect(path)) AS owner_id FROM affected
    ) AS affected
    JOIN project_periods AS period ON period.project_id = affected.id AND period.until = 'infinity'
    WHERE (period.path, period.owner_id) IS DISTINCT FROM (affected.path, affected.owner_id)
  ),
  updated AS (
    UPDATE project_periods AS period
    SET path = CASE WHEN is_corrected THEN changed.path ELSE period.path END,
      owner_id = CASE WHEN is_corrected THEN changed.owner_id ELSE period.owner_id END,
      until = CASE WHEN is_corrected THEN 'infinity' ELSE now() END
    FROM changed
    WHERE period.project_id = changed.project_id AND period.since = changed.since
  )
  INSERT INTO project_periods (project_id, since, path, owner_id)
  SELECT project_id, now(), path, owner_id FROM changed WHERE NOT is_corrected;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_record_change IS 'Ends the current period of projects whose path or owner in effect changed, and starts the next one';

CREATE TRIGGER projects_d_record_arrival AFTER INSERT ON projects
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION projects_record_arrival();
CREATE TRIGGER projects_d_record_change AFTER UPDATE ON projects
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION projects_record_change();
