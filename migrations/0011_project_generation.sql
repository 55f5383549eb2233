-- Which version of the custom resource a project's row was written from: one read tells for any number of projects which
-- of them have to be written again, after a change of theirs or a loss of the database's content.
ALTER TABLE projects ADD COLUMN generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN projects.generation IS 'The custom resource''s generation the row was written from; 0: before it was noted';
