-- The tree of projects. parent_id is what callers write; path follows it by trigger, so the two cannot disagree.
CREATE TYPE project_role AS ENUM ('viewer', 'submitter', 'admin');
CREATE TYPE borrowing_policy AS ENUM ('Allow', 'Deny');
CREATE TYPE pod_security_level AS ENUM ('restricted', 'baseline', 'privileged');

-- A DNS label has no '_', so the replacement is a bijection; ltree takes '-' only from PostgreSQL 16 on.
CREATE FUNCTION project_label(name text) RETURNS ltree
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN text2ltree(replace(name, '-', '_'));
COMMENT ON FUNCTION project_label IS 'The ltree label of a project''s name';

CREATE TABLE projects (
  id uuid CONSTRAINT projects_pkey PRIMARY KEY,
  name text NOT NULL CONSTRAINT projects_name_key UNIQUE
    CONSTRAINT projects_name_is_dns_label CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
  namespace text NOT NULL CONSTRAINT projects_namespace_key UNIQUE
    CONSTRAINT projects_namespace_is_dns_label CHECK (namespace ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
  parent_id uuid CONSTRAINT projects_parent_fkey REFERENCES projects (id)
    CONSTRAINT projects_not_own_parent CHECK (parent_id <> id),
  path ltree NOT NULL,
  owner_id bigint CONSTRAINT projects_owner_fkey REFERENCES resource_owners (id),
  borrowing borrowing_policy,
  priority_classes text[],
  pod_security pod_security_level NOT NULL DEFAULT 'restricted',
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT projects_path_ends_in_name CHECK (subpath(path, -1) = project_label(name)),
  CONSTRAINT projects_path_follows_parent CHECK ((parent_id IS NULL) = (nlevel(path) = 1))
);
CREATE INDEX projects_path_idx ON projects USING gist (path);
CREATE INDEX projects_parent_idx ON projects (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX projects_owner_idx ON projects (owner_id) WHERE owner_id IS NOT NULL;

COMMENT ON TABLE projects IS 'Nodes of the tenant tree, one namespace each';
COMMENT ON COLUMN projects.id IS 'The custom resource''s uid';
COMMENT ON COLUMN projects.name IS 'The custom resource''s name, a DNS label';
COMMENT ON COLUMN projects.namespace IS 'The namespace its jobs run in';
COMMENT ON COLUMN projects.parent_id IS 'The project above; null for a root';
COMMENT ON COLUMN projects.path IS 'Labels from the root down to this project, kept by trigger from parent_id';
COMMENT ON COLUMN projects.owner_id IS 'Its owner; null: the nearest ancestor''s';
COMMENT ON COLUMN projects.borrowing IS 'Whether its jobs may run outside the plans; null: as the nearest ancestor says, Allow when none does';
COMMENT ON COLUMN projects.priority_classes IS 'Names of the allowed priority classes; null: as the nearest ancestor says, all when none does';
COMMENT ON COLUMN projects.pod_security IS 'Pod Security Standard the namespace enforces';
COMMENT ON COLUMN projects.created_at IS 'When the row was made';

-- An insert or a move reads its parent's path, so no other move may be under way between that read
-- and the commit: inserts share a lock, moves have it alone. Each query of a volatile function takes
-- a snapshot of its own, so the read after the lock sees every move that the lock waited for; FOR
-- SHARE makes an insert under REPEATABLE READ fail to serialise instead of reading an old path.
CREATE FUNCTION projects_set_path() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  tree_lock CONSTANT bigint := 7001;
  parent_path ltree;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM pg_advisory_xact_lock_shared(tree_lock);
  END IF;
  IF NEW.name !~ '^[-a-z0-9]+$' THEN
    NEW.path := ''; -- not a label: the CHECK on the name says so, where ltree would speak of syntax
    RETURN NEW;
  END IF;
  IF NEW.parent_id IS NULL THEN
    NEW.path := project_label(NEW.name);
    RETURN NEW;
  END IF;
  SELECT path INTO parent_path FROM projects WHERE id = NEW.parent_id FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the parent of project % does not exist', NEW.name
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'projects_parent_fkey', TABLE = 'projects';
  END IF;
  IF TG_OP = 'UPDATE' AND parent_path <@ OLD.path THEN
    RAISE EXCEPTION 'project % cannot move below itself, to %', NEW.name, parent_path
      USING ERRCODE = 'check_violation', CONSTRAINT = 'projects_no_cycle', TABLE = 'projects';
  END IF;
  NEW.path := parent_path || project_label(NEW.name);
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION projects_set_path IS 'Sets the path of an inserted or moved project from its parent; refuses a cycle';

-- Before any row is locked: a move that had its row and then waited for the tree could deadlock with
-- the move of an ancestor. An older snapshot would miss children inserted while the lock was awaited.
CREATE FUNCTION projects_lock_tree() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  tree_lock CONSTANT bigint := 7001;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'projects move under READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
  END IF;
  PERFORM pg_advisory_xact_lock(tree_lock);
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_lock_tree IS 'Keeps inserts and other moves out while a subtree moves';

CREATE FUNCTION projects_move_descendants() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE projects
  SET path = NEW.path || subpath(path, nlevel(OLD.path))
  WHERE path <@ OLD.path AND id <> NEW.id;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_move_descendants IS 'Takes the subtree along when a project moved';

CREATE FUNCTION projects_refuse_rename() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'id, name, namespace and path of project % are fixed', OLD.name
    USING ERRCODE = 'check_violation', CONSTRAINT = 'projects_identity_is_fixed', TABLE = 'projects';
END
$$;
COMMENT ON FUNCTION projects_refuse_rename IS 'Refuses a change of what identifies a project, and of a path by hand';

CREATE TRIGGER projects_a_lock_tree BEFORE UPDATE OF parent_id ON projects FOR EACH STATEMENT
EXECUTE FUNCTION projects_lock_tree();
CREATE TRIGGER projects_a_identity_is_fixed BEFORE UPDATE ON projects FOR EACH ROW
WHEN (
  OLD.id <> NEW.id OR OLD.name <> NEW.name OR OLD.namespace <> NEW.namespace
  OR (OLD.path <> NEW.path AND pg_trigger_depth() = 0)
)
EXECUTE FUNCTION projects_refuse_rename();
CREATE TRIGGER projects_b_insert_path BEFORE INSERT ON projects FOR EACH ROW
EXECUTE FUNCTION projects_set_path();
CREATE TRIGGER projects_b_move_path BEFORE UPDATE OF parent_id ON projects FOR EACH ROW
WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id)
EXECUTE FUNCTION projects_set_path();
CREATE TRIGGER projects_c_move_descendants AFTER UPDATE OF parent_id ON projects FOR EACH ROW
WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id)
EXECUTE FUNCTION projects_move_descendants();

CREATE TABLE project_members (
  project_id uuid NOT NULL CONSTRAINT project_members_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
  resource_owner_id bigint NOT NULL CONSTRAINT project_members_owner_fkey REFERENCES resource_owners (id),
  role project_role NOT NULL,
  CONSTRAINT project_members_pkey PRIMARY KEY (project_id, resource_owner_id)
);
CREATE INDEX project_members_owner_idx ON project_members (resource_owner_id);
COMMENT ON TABLE project_members IS 'Roles given in a project itself; ancestors'' roles are inherited on reading';
COMMENT ON COLUMN project_members.project_id IS 'The project the role was given in';
COMMENT ON COLUMN project_members.resource_owner_id IS 'The user or group that has the role';
COMMENT ON COLUMN project_members.role IS 'viewer < submitter < admin';

CREATE TABLE storages (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT storages_pkey PRIMARY KEY,
  project_id uuid CONSTRAINT storages_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
  resource_owner_id bigint CONSTRAINT storages_owner_fkey REFERENCES resource_owners (id),
  name text NOT NULL CONSTRAINT storages_name_is_dns_label CHECK (name ~ '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'),
  size_bytes bigint NOT NULL CONSTRAINT storages_size_positive CHECK (size_bytes > 0),
  storage_class text,
  access_mode text NOT NULL CONSTRAINT storages_access_mode_known
    CHECK (access_mode IN ('ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod')),
  affinity_config jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT storages_affinity_is_object CHECK (jsonb_typeof(affinity_config) = 'object'),
  CONSTRAINT storages_project_name_key UNIQUE (project_id, name)
);
CREATE INDEX storages_owner_idx ON storages (resource_owner_id);
COMMENT ON TABLE storages IS 'Volumes a project offers to its jobs, a PersistentVolumeClaim each';
COMMENT ON COLUMN storages.id IS 'Identity';
COMMENT ON COLUMN storages.project_id IS 'The project whose namespace has the claim';
COMMENT ON COLUMN storages.resource_owner_id IS 'Who owns it, user or group: one foreign key for both; null: no ancestor of the project has an owner';
COMMENT ON COLUMN storages.name IS 'Name in the project';
COMMENT ON COLUMN storages.size_bytes IS 'Requested size in bytes';
COMMENT ON COLUMN storages.storage_class IS 'StorageClass; null: the cluster''s default';
COMMENT ON COLUMN storages.access_mode IS 'Access mode of the claim';
COMMENT ON COLUMN storages.affinity_config IS 'Node affinity that jobs mounting it must respect';
