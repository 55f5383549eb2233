-- Where each project stood in the tree, and whose it was, at any time: what accounting needs, because a
-- move must not change last month's figures. The periods of a project tile all of time: its first begins
-- at -infinity, its last goes on after its deletion, so that no use falls between two.
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
COMMENT ON TABLE project_periods IS 'Path and owner of each project over time, kept by trigger on projects: what accounting sums by';
COMMENT ON COLUMN project_periods.project_id IS 'The project; no foreign key, since accounting outlives it';
COMMENT ON COLUMN project_periods.since IS 'From when; -infinity for the first period';
COMMENT ON COLUMN project_periods.until IS 'Until when; infinity for the last period';
COMMENT ON COLUMN project_periods.path IS 'Its path in this period';
COMMENT ON COLUMN project_periods.owner_id IS 'Owner of the nearest project on the path that had one; null: none had';
COMMENT ON COLUMN project_periods.recorded_at IS 'Transaction that wrote the period: its further changes do not make another one';

CREATE FUNCTION project_owner_in_effect(project_path ltree) RETURNS bigint
LANGUAGE sql STABLE
RETURN (
  SELECT above.owner_id
  FROM projects AS above
  WHERE above.path @> project_path AND above.owner_id IS NOT NULL
  ORDER BY nlevel(above.path) DESC
  LIMIT 1
);
COMMENT ON FUNCTION project_owner_in_effect IS 'Owner of the nearest project on the path that has one';

CREATE FUNCTION projects_record_arrival() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO project_periods (project_id, since, path, owner_id)
  SELECT id, '-infinity', path, coalesce(owner_id, project_owner_in_effect(path)) FROM new_rows;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_record_arrival IS 'Begins the first period of new projects';

-- A moved subtree comes row by row in new_rows; a change of owner concerns all below that inherit it.
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
  WITH concerned AS MATERIALIZED (
    SELECT id, path, owner_id FROM new_rows
    UNION
    SELECT project.id, project.path, project.owner_id
    FROM old_rows AS before
    FULL JOIN new_rows AS after ON after.id = before.id
    JOIN projects AS project ON project.path <@ after.path
    WHERE before.owner_id IS DISTINCT FROM after.owner_id
  ),
  changed AS MATERIALIZED (
    SELECT period.project_id, period.since, concerned.path, concerned.owner_id,
      -- A period that this transaction began, or one that began after it, is corrected and not cut.
      period.recorded_at = now() OR period.since >= now() AS is_corrected
    FROM (
      SELECT id, path, coalesce(owner_id, project_owner_in_effect(path)) AS owner_id FROM concerned
    ) AS concerned
    JOIN project_periods AS period ON period.project_id = concerned.id AND period.until = 'infinity'
    WHERE (period.path, period.owner_id) IS DISTINCT FROM (concerned.path, concerned.owner_id)
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
COMMENT ON FUNCTION projects_record_change IS 'Ends the periods of projects that moved or changed hands, and begins the next ones';

INSERT INTO project_periods (project_id, since, path, owner_id)
SELECT id, '-infinity', path, coalesce(owner_id, project_owner_in_effect(path)) FROM projects;

CREATE TRIGGER projects_d_record_arrival AFTER INSERT ON projects
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION projects_record_arrival();
CREATE TRIGGER projects_d_record_change AFTER UPDATE ON projects
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION projects_record_change();
