-- Owners (users and groups), the project tree, and what a project inherits from its ancestors.
CREATE EXTENSION IF NOT EXISTS ltree;
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[1]
    USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION refuse_change IS 'Refuses the change that fired the trigger. Arguments: the name of the rule, as a constraint''s name, and the reason';

-- Owners: class table inheritance. One row in the supertype, one in the table of the owner's kind.
CREATE TYPE owner_kind AS ENUM ('User', 'Group');

CREATE TABLE resource_owners (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT resource_owners_pkey PRIMARY KEY,
  kind owner_kind NOT NULL,
  CONSTRAINT resource_owners_id_kind_key UNIQUE (id, kind)
);
COMMENT ON TABLE resource_owners IS 'Supertype of users and groups: everything that can own projects, plans and storages';
COMMENT ON COLUMN resource_owners.id IS 'Identity, shared with the row in users or groups';
COMMENT ON COLUMN resource_owners.kind IS 'The subtype table that holds the name';

CREATE TABLE users (
  id bigint CONSTRAINT users_pkey PRIMARY KEY,
  kind owner_kind NOT NULL DEFAULT 'User' CONSTRAINT users_kind_is_user CHECK (kind = 'User'),
  name text NOT NULL CONSTRAINT users_name_key UNIQUE
    CONSTRAINT users_name_length CHECK (length(name) BETWEEN 1 AND 253),
  CONSTRAINT users_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners (id, kind) ON DELETE CASCADE
);
COMMENT ON TABLE users IS 'Owners of kind User, as Kubernetes authentication names them';
COMMENT ON COLUMN users.id IS 'The row in resource_owners';
COMMENT ON COLUMN users.kind IS 'Always User: half of the foreign key that keeps the two kinds apart';
COMMENT ON COLUMN users.name IS 'User name, as in a TokenReview or the common name of a certificate';

CREATE TABLE groups (
  id bigint CONSTRAINT groups_pkey PRIMARY KEY,
  kind owner_kind NOT NULL DEFAULT 'Group' CONSTRAINT groups_kind_is_group CHECK (kind = 'Group'),
  name text NOT NULL CONSTRAINT groups_name_key UNIQUE
    CONSTRAINT groups_name_length CHECK (length(name) BETWEEN 1 AND 253),
  CONSTRAINT groups_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners (id, kind) ON DELETE CASCADE
);
COMMENT ON TABLE groups IS 'Owners of kind Group, as Kubernetes authentication names them';
COMMENT ON COLUMN groups.id IS 'The row in resource_owners';
COMMENT ON COLUMN groups.kind IS 'Always Group: half of the foreign key that keeps the two kinds apart';
COMMENT ON COLUMN groups.name IS 'Group name, as in a TokenReview or the organisation of a certificate';

CREATE VIEW owners AS
SELECT id, kind, name FROM users
UNION ALL
SELECT id, kind, name FROM groups;
COMMENT ON VIEW owners IS 'All owners with their names';
COMMENT ON COLUMN owners.id IS 'The row in resource_owners';
COMMENT ON COLUMN owners.kind IS 'User or Group';
COMMENT ON COLUMN owners.name IS 'Name, unique within the kind';

-- Two transactions may insert the same new name. The block's savepoint removes the loser's supertype row, so no
-- owner is left without a subtype row; the next iteration reads the winner's row.
CREATE FUNCTION ensure_owner(wanted_kind owner_kind, wanted_name text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  owner_id bigint;
BEGIN
  FOR turn IN 1..3 LOOP
    SELECT id INTO owner_id FROM owners WHERE kind = wanted_kind AND name = wanted_name;
    IF FOUND THEN
      RETURN owner_id;
    END IF;
    BEGIN
      INSERT INTO resource_owners (kind) VALUES (wanted_kind) RETURNING id INTO owner_id;
      IF wanted_kind = 'User' THEN
        INSERT INTO users (id, name) VALUES (owner_id, wanted_name);
      ELSE
        INSERT INTO groups (id, name) VALUES (owner_id, wanted_name);
      END IF;
      RETURN owner_id;
    EXCEPTION WHEN unique_violation THEN
      NULL; -- another transaction inserted the owner first: read its row
    END;
  END LOOP;
  RAISE EXCEPTION 'owner % % appears and disappears', wanted_kind, wanted_name USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION ensure_owner IS 'Returns the id of an owner; inserts the owner if it is new';

-- Projects: callers write parent_id, and a trigger derives path from it, so that the two cannot disagree.
CREATE TYPE project_role AS ENUM ('viewer', 'submitter', 'admin');
CREATE TYPE borrowing_policy AS ENUM ('Allow', 'Deny');
CREATE TYPE pod_security_level AS ENUM ('restricted', 'baseline', 'privileged');

-- A DNS label has no '_', so the replacement is reversible; ltree accepts '-' only from PostgreSQL 16.
CREATE FUNCTION project_label(name text) RETURNS ltree
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN text2ltree(replace(name, '-', '_'));
COMMENT ON FUNCTION project_label IS 'The ltree label of a project name';

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
  generation bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT projects_path_ends_in_name CHECK (subpath(path, -1) = project_label(name)),
  CONSTRAINT projects_path_follows_parent CHECK ((parent_id IS NULL) = (nlevel(path) = 1))
);
CREATE INDEX projects_path_idx ON projects USING gist (path);
CREATE INDEX projects_parent_idx ON projects (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX projects_owner_idx ON projects (owner_id) WHERE owner_id IS NOT NULL;
COMMENT ON TABLE projects IS 'Nodes of the tenant tree, one namespace each';
COMMENT ON COLUMN projects.id IS 'uid of the custom resource';
COMMENT ON COLUMN projects.name IS 'Name of the custom resource, a DNS label';
COMMENT ON COLUMN projects.namespace IS 'Namespace of the project''s jobs';
COMMENT ON COLUMN projects.parent_id IS 'Parent project; null for a root';
COMMENT ON COLUMN projects.path IS 'Labels from the root to this project; derived from parent_id by trigger';
COMMENT ON COLUMN projects.owner_id IS 'Owner; null: inherited from the nearest ancestor that has one';
COMMENT ON COLUMN projects.borrowing IS 'Whether jobs may borrow; null: inherited from the nearest ancestor that sets it, else Allow';
COMMENT ON COLUMN projects.priority_classes IS 'Names of the allowed priority classes; null: inherited from the nearest ancestor that sets them, else all';
COMMENT ON COLUMN projects.pod_security IS 'Pod Security Standard that the namespace enforces';
COMMENT ON COLUMN projects.generation IS 'Generation of the custom resource that this row was written from; 0: unknown';
COMMENT ON COLUMN projects.created_at IS 'Time of the insert';

-- An insert or a move reads the path of the parent, so no other move may run between that read and the commit:
-- inserts share a lock, and a move takes it exclusively. Each query of a volatile function takes its own snapshot,
-- so the read after the lock sees every move that the lock waited for. Under REPEATABLE READ, FOR SHARE makes an
-- insert fail with a serialisation error instead of reading an old path.
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
    NEW.path := ''; -- not a label: the CHECK on the name reports it better than ltree's syntax error
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
COMMENT ON FUNCTION projects_set_path IS 'Derives the path of a new or moved project from its parent; refuses a cycle';

-- This lock precedes all row locks: a move that held its row and then waited for the tree could deadlock with the
-- move of an ancestor. An older snapshot would miss children inserted during the wait.
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
COMMENT ON FUNCTION projects_lock_tree IS 'Blocks inserts and other moves while a subtree moves';

CREATE FUNCTION projects_move_descendants() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE projects
  SET path = NEW.path || subpath(path, nlevel(OLD.path))
  WHERE path <@ OLD.path AND id <> NEW.id;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION projects_move_descendants IS 'Rewrites the paths of the subtree below a moved project';

-- Triggers of one kind run in order of name.
CREATE TRIGGER projects_a_lock_tree BEFORE UPDATE OF parent_id ON projects FOR EACH STATEMENT
EXECUTE FUNCTION projects_lock_tree();
CREATE TRIGGER projects_a_identity_is_fixed BEFORE UPDATE ON projects FOR EACH ROW
WHEN (
  OLD.id <> NEW.id OR OLD.name <> NEW.name OR OLD.namespace <> NEW.namespace
  OR (OLD.path <> NEW.path AND pg_trigger_depth() = 0)
)
EXECUTE FUNCTION refuse_change('projects_identity_is_fixed', 'id, name, namespace and path of a project are fixed');
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
COMMENT ON TABLE project_members IS 'Roles granted in a project itself; project_roles adds the inherited ones';
COMMENT ON COLUMN project_members.project_id IS 'Project that grants the role';
COMMENT ON COLUMN project_members.resource_owner_id IS 'User or group that has the role';
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
COMMENT ON TABLE storages IS 'Volumes that a project offers to its jobs, one PersistentVolumeClaim each';
COMMENT ON COLUMN storages.id IS 'Identity';
COMMENT ON COLUMN storages.project_id IS 'Project whose namespace contains the claim';
COMMENT ON COLUMN storages.resource_owner_id IS 'Owner, user or group; null: no project on the path has an owner';
COMMENT ON COLUMN storages.name IS 'Name, unique within the project';
COMMENT ON COLUMN storages.size_bytes IS 'Requested size in bytes';
COMMENT ON COLUMN storages.storage_class IS 'StorageClass; null: the default class of the cluster';
COMMENT ON COLUMN storages.access_mode IS 'Access mode of the claim';
COMMENT ON COLUMN storages.affinity_config IS 'Node affinity that jobs mounting the volume must respect';

-- What a project inherits. Plain joins and sub-selects, so that the planner merges a view into the query that reads
-- it and computes only the rows and columns that the query needs.

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

CREATE VIEW project_owners AS
SELECT project.id AS project_id, above.owner_id, nlevel(project.path) - nlevel(above.path) AS distance
FROM projects AS project
JOIN projects AS above ON above.path @> project.path
WHERE above.owner_id IS NOT NULL;
COMMENT ON VIEW project_owners IS 'Owners of each project and of all projects above it: their plans limit the project''s jobs. An owner that several projects name has a row for each';
COMMENT ON COLUMN project_owners.project_id IS 'The project';
COMMENT ON COLUMN project_owners.owner_id IS 'Owner of the project or of an ancestor';
COMMENT ON COLUMN project_owners.distance IS 'Levels up to the project that names the owner; 0: the project itself';

CREATE VIEW project_settings AS
SELECT project.id AS project_id,
  project_owner_in_effect(project.path) AS owner_id,
  coalesce((
    SELECT above.borrowing
    FROM projects AS above
    WHERE above.path @> project.path AND above.borrowing IS NOT NULL
    ORDER BY nlevel(above.path) DESC
    LIMIT 1
  ), 'Allow') AS borrowing,
  (
    SELECT above.priority_classes
    FROM projects AS above
    WHERE above.path @> project.path AND above.priority_classes IS NOT NULL
    ORDER BY nlevel(above.path) DESC
    LIMIT 1
  ) AS priority_classes
FROM projects AS project;
COMMENT ON VIEW project_settings IS 'Settings in effect for each project: its own, or those of the nearest ancestor that sets them';
COMMENT ON COLUMN project_settings.project_id IS 'The project';
COMMENT ON COLUMN project_settings.owner_id IS 'Owner in effect; null: no project on the path has one';
COMMENT ON COLUMN project_settings.borrowing IS 'Whether jobs may borrow';
COMMENT ON COLUMN project_settings.priority_classes IS 'Names of the allowed priority classes; null: all';

CREATE VIEW project_roles AS
SELECT project.id AS project_id, member.resource_owner_id, member.role
FROM projects AS project
JOIN projects AS above ON above.path @> project.path
JOIN project_members AS member ON member.project_id = above.id;
COMMENT ON VIEW project_roles IS 'Roles in effect in each project: its own and those of all ancestors. The greatest role of an owner counts';
COMMENT ON COLUMN project_roles.project_id IS 'The project';
COMMENT ON COLUMN project_roles.resource_owner_id IS 'User or group that has the role';
COMMENT ON COLUMN project_roles.role IS 'viewer < submitter < admin';
