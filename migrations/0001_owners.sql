-- Extensions, and owners as class table inheritance: one supertype row, one row in the table of its kind.
CREATE EXTENSION IF NOT EXISTS ltree;
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TYPE owner_kind AS ENUM ('User', 'Group');

CREATE TABLE resource_owners (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT resource_owners_pkey PRIMARY KEY,
  kind owner_kind NOT NULL,
  CONSTRAINT resource_owners_id_kind_key UNIQUE (id, kind)
);
COMMENT ON TABLE resource_owners IS 'Supertype of users and groups: whatever can own projects, plans and storages';
COMMENT ON COLUMN resource_owners.id IS 'Identity shared with the row in users or groups';
COMMENT ON COLUMN resource_owners.kind IS 'Which subtype table reservations the name';

CREATE TABLE users (
  id bigint CONSTRAINT users_pkey PRIMARY KEY,
  kind owner_kind NOT NULL DEFAULT 'User' CONSTRAINT users_kind_is_user CHECK (kind = 'User'),
  name text NOT NULL CONSTRAINT users_name_key UNIQUE
    CONSTRAINT users_name_length CHECK (length(name) BETWEEN 1 AND 253),
  CONSTRAINT users_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners (id, kind) ON DELETE CASCADE
);
COMMENT ON TABLE users IS 'Owners of kind User, as Kubernetes authentication names them';
COMMENT ON COLUMN users.id IS 'The supertype row';
COMMENT ON COLUMN users.kind IS 'Always User: half of the foreign key that keeps the kinds apart';
COMMENT ON COLUMN users.name IS 'User name as in a TokenReview or a certificate''s common name';

CREATE TABLE groups (
  id bigint CONSTRAINT groups_pkey PRIMARY KEY,
  kind owner_kind NOT NULL DEFAULT 'Group' CONSTRAINT groups_kind_is_group CHECK (kind = 'Group'),
  name text NOT NULL CONSTRAINT groups_name_key UNIQUE
    CONSTRAINT groups_name_length CHECK (length(name) BETWEEN 1 AND 253),
  CONSTRAINT groups_id_kind_fkey FOREIGN KEY (id, kind) REFERENCES resource_owners (id, kind) ON DELETE CASCADE
);
COMMENT ON TABLE groups IS 'Owners of kind Group, as Kubernetes authentication names them';
COMMENT ON COLUMN groups.id IS 'The supertype row';
COMMENT ON COLUMN groups.kind IS 'Always Group: half of the foreign key that keeps the kinds apart';
COMMENT ON COLUMN groups.name IS 'Group name as in a TokenReview or a certificate''s organisation';

CREATE VIEW owners AS
SELECT id, kind, name FROM users
UNION ALL
SELECT id, kind, name FROM groups;
COMMENT ON VIEW owners IS 'Every owner with its name, whatever its kind';
COMMENT ON COLUMN owners.id IS 'The supertype row';
COMMENT ON COLUMN owners.kind IS 'User or Group';
COMMENT ON COLUMN owners.name IS 'Name in its kind';

-- Two callers may meet a new name at once. The block's savepoint takes the loser's supertype row
-- back, so that no owner is left without a subtype; the second turn then reads the winner's row.
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
      NULL; -- someone else was first: read theirs in the next turn
    END;
  END LOOP;
  RAISE EXCEPTION 'owner % % appears and disappears', wanted_kind, wanted_name USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION ensure_owner IS 'The id of the owner of this kind and name, made when it is new';
