-- Versioned configuration: each content is stored once under its SHA-256, and commits refer to contents.
CREATE TABLE config_blobs (
  hash text CONSTRAINT config_blobs_pkey PRIMARY KEY,
  canonical text NOT NULL,
  content jsonb NOT NULL GENERATED ALWAYS AS (canonical::jsonb) STORED,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT config_blobs_hash_is_of_content CHECK (hash = encode(sha256(convert_to(canonical, 'UTF8')), 'hex'))
);
COMMENT ON TABLE config_blobs IS 'Contents of configurations, one row per distinct content';
COMMENT ON COLUMN config_blobs.hash IS 'SHA-256 of the canonical text in UTF-8, 64 hexadecimal digits';
COMMENT ON COLUMN config_blobs.canonical IS 'Canonical JSON text (RFC 8785)';
COMMENT ON COLUMN config_blobs.content IS 'The same content as jsonb, for queries';
COMMENT ON COLUMN config_blobs.created_at IS 'Time of the first commit with this content';

CREATE TABLE config_commits (
  id uuid CONSTRAINT config_commits_pkey PRIMARY KEY,
  project_id uuid NOT NULL CONSTRAINT config_commits_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
  name text NOT NULL,
  blob_hash text NOT NULL CONSTRAINT config_commits_blob_fkey REFERENCES config_blobs (hash),
  parent_id uuid CONSTRAINT config_commits_not_own_parent CHECK (parent_id <> id),
  author_id bigint NOT NULL CONSTRAINT config_commits_author_fkey REFERENCES resource_owners (id),
  message text NOT NULL,
  version_tag text CONSTRAINT config_commits_tag_length CHECK (length(version_tag) BETWEEN 1 AND 128),
  deduplicated boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  removed_at timestamptz,
  CONSTRAINT config_commits_project_id_key UNIQUE (project_id, id),
  -- Both columns: a parent in another project counts as missing.
  CONSTRAINT config_commits_parent_in_project_fkey
    FOREIGN KEY (project_id, parent_id) REFERENCES config_commits (project_id, id)
);
-- A deleted commit stays as history, for the jobs pinned to its content and for its child commits, but its name
-- and tag are free again.
CREATE UNIQUE INDEX config_commits_project_name_key ON config_commits (project_id, name)
  WHERE removed_at IS NULL;
CREATE UNIQUE INDEX config_commits_project_tag_key ON config_commits (project_id, version_tag)
  WHERE removed_at IS NULL;
CREATE INDEX config_commits_parent_idx ON config_commits (project_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX config_commits_blob_idx ON config_commits (blob_hash);
CREATE INDEX config_commits_log_idx ON config_commits (project_id, created_at DESC, id);
COMMENT ON TABLE config_commits IS 'Versions of the configurations of a project';
COMMENT ON COLUMN config_commits.id IS 'uid of the custom resource';
COMMENT ON COLUMN config_commits.project_id IS 'Project of the commit';
COMMENT ON COLUMN config_commits.name IS 'Name of the custom resource';
COMMENT ON COLUMN config_commits.blob_hash IS 'Content of the commit';
COMMENT ON COLUMN config_commits.parent_id IS 'Previous commit in the same project; null for the first';
COMMENT ON COLUMN config_commits.author_id IS 'Author';
COMMENT ON COLUMN config_commits.message IS 'The author''s description of the change';
COMMENT ON COLUMN config_commits.version_tag IS 'Name of the version, unique within the project';
COMMENT ON COLUMN config_commits.deduplicated IS 'Whether the project had stored the content before';
COMMENT ON COLUMN config_commits.created_at IS 'Time of the commit';
COMMENT ON COLUMN config_commits.removed_at IS 'Time of the deletion of the custom resource; null: it exists';

CREATE TRIGGER config_blobs_immutable BEFORE UPDATE ON config_blobs
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('config_blobs_immutable', 'stored content is immutable');
CREATE TRIGGER config_commits_immutable BEFORE UPDATE ON config_commits FOR EACH ROW
WHEN (
  OLD.removed_at IS NOT NULL
  OR (to_jsonb(OLD) - 'removed_at') IS DISTINCT FROM (to_jsonb(NEW) - 'removed_at')
)
EXECUTE FUNCTION refuse_change('config_commits_immutable', 'commits are immutable, except for their removal');
