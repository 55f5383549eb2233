-- Versioned configuration: each content is stored once under its SHA-256, and commits refer to contents.
CREATE TABLE config_blobs (
  hash text CONSTRAINT config_blobs_pkey PRIMARY KEY,
  canonical text,
  content jsonb GENERATED ALWAYS AS (canonical::jsonb) STORED,
  created_at timestamptz NOT NULL DEFAULT now(),
  expunged_at timestamptz,
  expunged_by text,
  expunge_reason text,
  CONSTRAINT config_blobs_content_or_expunged CHECK (
    CASE WHEN expunged_at IS NULL THEN num_nonnulls(expunged_by, expunge_reason) = 0 AND canonical IS NOT NULL
    ELSE canonical IS NULL AND expunged_by <> '' AND expunge_reason <> '' END IS TRUE
  ),
  CONSTRAINT config_blobs_hash_is_of_content CHECK (hash = encode(sha256(convert_to(canonical, 'UTF8')), 'hex'))
);
COMMENT ON TABLE config_blobs IS 'Contents of configurations, one row per distinct content';
COMMENT ON COLUMN config_blobs.hash IS 'SHA-256 of the canonical text in UTF-8, 64 hexadecimal digits';
COMMENT ON COLUMN config_blobs.canonical IS 'Canonical JSON text (RFC 8785); null: expunged';
COMMENT ON COLUMN config_blobs.content IS 'The same content as jsonb, for queries';
COMMENT ON COLUMN config_blobs.created_at IS 'Time of the first commit with this content';
COMMENT ON COLUMN config_blobs.expunged_at IS 'When expunge_content() removed the content; null: it is there';
COMMENT ON COLUMN config_blobs.expunged_by IS 'Who did it, and the role of the database';
COMMENT ON COLUMN config_blobs.expunge_reason IS 'Why';

CREATE TABLE config_commits (
  id uuid CONSTRAINT config_commits_pkey PRIMARY KEY,
  project_id uuid NOT NULL CONSTRAINT config_commits_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
  name text NOT NULL,
  blob_hash text NOT NULL CONSTRAINT config_commits_blob_fkey REFERENCES config_blobs (hash),
  bytes integer NOT NULL CONSTRAINT config_commits_bytes_positive CHECK (bytes > 0),
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
-- Each save sums what its project has stored, from this index alone.
CREATE INDEX config_commits_usage_idx ON config_commits (project_id, blob_hash) INCLUDE (bytes);
CREATE INDEX config_commits_removed_idx ON config_commits (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX config_commits_log_idx ON config_commits (project_id, created_at DESC, id);
COMMENT ON TABLE config_commits IS 'Versions of the configurations of a project';
COMMENT ON COLUMN config_commits.id IS 'uid of the custom resource';
COMMENT ON COLUMN config_commits.project_id IS 'Project of the commit';
COMMENT ON COLUMN config_commits.name IS 'Name of the custom resource';
COMMENT ON COLUMN config_commits.blob_hash IS 'Content of the commit';
COMMENT ON COLUMN config_commits.bytes IS 'Size of the content';
COMMENT ON COLUMN config_commits.parent_id IS 'Previous commit in the same project; null for the first, and where the previous one was pruned';
COMMENT ON COLUMN config_commits.author_id IS 'Author';
COMMENT ON COLUMN config_commits.message IS 'The author''s description of the change';
COMMENT ON COLUMN config_commits.version_tag IS 'Name of the version, unique within the project';
COMMENT ON COLUMN config_commits.deduplicated IS 'Whether the project had stored the content before';
COMMENT ON COLUMN config_commits.created_at IS 'Time of the commit';
COMMENT ON COLUMN config_commits.removed_at IS 'Time of the deletion of the custom resource; null: it exists';

CREATE FUNCTION history_is_pruned() RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(current_setting('rota.pruning', true) = 'on', false);
COMMENT ON FUNCTION history_is_pruned IS 'Whether prune_history or prune_commits runs';

-- For each row: a save locks the row of its content by an update that changes nothing.
CREATE TRIGGER config_blobs_immutable BEFORE UPDATE ON config_blobs FOR EACH ROW
WHEN (OLD.hash <> NEW.hash OR OLD.expunged_at IS NOT NULL OR NEW.expunged_at IS NULL)
EXECUTE FUNCTION refuse_change('config_blobs_immutable', 'stored content is immutable, except that it can be expunged');
CREATE TRIGGER config_commits_immutable BEFORE UPDATE ON config_commits FOR EACH ROW
WHEN (
  (OLD.removed_at IS NOT NULL
    OR (to_jsonb(OLD) - 'removed_at') IS DISTINCT FROM (to_jsonb(NEW) - 'removed_at'))
  -- Commits that follow a pruned one keep everything but their parent.
  AND NOT (
    history_is_pruned() AND NEW.parent_id IS NULL
    AND (to_jsonb(OLD) - 'parent_id') = (to_jsonb(NEW) - 'parent_id')
  )
)
EXECUTE FUNCTION refuse_change('config_commits_immutable', 'commits are immutable, except for their removal');

CREATE FUNCTION expunge_content(content_hash text, who text, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE config_blobs
  SET canonical = NULL, expunged_at = now(), expunged_by = who || ' (database role ' || session_user || ')',
    expunge_reason = why
  WHERE hash = content_hash AND expunged_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no content with the hash % is stored, or it was expunged before', content_hash
      USING ERRCODE = 'no_data_found', HINT = 'The hash has 64 digits and is in status.hash of the ConfigCommit.';
  END IF;
END
$$;
COMMENT ON FUNCTION expunge_content IS 'Removes a content for good, such as a secret committed by mistake. Its commits stay, the same content is refused from now on, and who, when and why are kept';
