-- A commit that was deleted stays as history, for the runs pinned to its content and the commits that follow it, but
-- gives up its name and its tag.
ALTER TABLE config_commits ADD COLUMN removed_at timestamptz;
COMMENT ON COLUMN config_commits.removed_at IS 'When its custom resource was deleted; null: it is there';

ALTER TABLE config_commits DROP CONSTRAINT config_commits_project_name_key;
ALTER TABLE config_commits DROP CONSTRAINT config_commits_project_tag_key;
CREATE UNIQUE INDEX config_commits_project_name_key ON config_commits (project_id, name)
WHERE removed_at IS NULL;
CREATE UNIQUE INDEX config_commits_project_tag_key ON config_commits (project_id, version_tag)
WHERE removed_at IS NULL;

-- The one change that is allowed is the removal.
DROP TRIGGER config_commits_immutable ON config_commits;
CREATE TRIGGER config_commits_immutable BEFORE UPDATE ON config_commits FOR EACH ROW
WHEN (
  OLD.removed_at IS NOT NULL
  OR (to_jsonb(OLD) - 'removed_at') IS DISTINCT FROM (to_jsonb(NEW) - 'removed_at')
)
EXECUTE FUNCTION refuse_change('config_commits_immutable');
