-- Versioned configuration: contents stored once per SHA-256, commits that point at them.
CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: its rows are history', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION refuse_change IS 'Trigger that keeps a table as it was written; its argument names the rule';

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
COMMENT ON COLUMN config_blobs.content IS 'The same content, for queries into it';
COMMENT ON COLUMN config_blobs.created_at IS 'When the content was first stored';

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
  CONSTRAINT config_commits_project_id_key UNIQUE (project_id, id),
  CONSTRAINT config_commits_project_name_key UNIQUE (project_id, name),
  CONSTRAINT config_commits_project_tag_key UNIQUE (project_id, version_tag),
  -- Both columns: a parent of another project does not exist as far as this project is concerned.
  CONSTRAINT config_commits_parent_in_project_fkey
    FOREIGN KEY (project_id, parent_id) REFERENCES config_commits (project_id, id)
);
CREATE INDEX config_commits_parent_idx ON config_commits (project_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX config_commits_blob_idx ON config_commits (blob_hash);
CREATE INDEX config_commits_log_idx ON config_commits (project_id, created_at DESC, id);
COMMENT ON TABLE config_commits IS 'Versions of a project''s configuration';
COMMENT ON COLUMN config_commits.id IS 'The custom resource''s uid';
COMMENT ON COLUMN config_commits.project_id IS 'The project it belongs to';
COMMENT ON COLUMN config_commits.name IS 'The custom resource''s name';
COMMENT ON COLUMN config_commits.blob_hash IS 'Its content';
COMMENT ON COLUMN config_commits.parent_id IS 'The commit it follows, of the same project; null for a first one';
COMMENT ON COLUMN config_commits.author_id IS 'Who made it';
COMMENT ON COLUMN config_commits.message IS 'What changed and why, in the author''s words';
COMMENT ON COLUMN config_commits.version_tag IS 'A name for this version, unique in its project';
COMMENT ON COLUMN config_commits.deduplicated IS 'Whether the content had been stored before';
COMMENT ON COLUMN config_commits.created_at IS 'When the commit was stored';

CREATE TRIGGER config_blobs_immutable BEFORE UPDATE ON config_blobs
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('config_blobs_immutable');
CREATE TRIGGER config_commits_immutable BEFORE UPDATE ON config_commits
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('config_commits_immutable');
