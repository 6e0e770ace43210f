-- What the service's tables have in common: tenants, keys that begin with the tenant, row-level security with FORCE,
-- functions of the owner, and a table whose key does not begin with the tenant.
DROP SCHEMA IF EXISTS gym CASCADE;
CREATE SCHEMA gym AUTHORIZATION gym_owner;
GRANT USAGE ON SCHEMA gym TO gym_app;
SET ROLE gym_owner;
CREATE TABLE gym.tenants (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE gym.members (
    tenant_id uuid NOT NULL REFERENCES gym.tenants, id uuid NOT NULL, name text NOT NULL, PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE TABLE gym.check_ins (
    tenant_id uuid NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, member_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), day date GENERATED ALWAYS AS ((at AT TIME ZONE 'UTC')::date) STORED,
    PRIMARY KEY (id), FOREIGN KEY (tenant_id, member_id) REFERENCES gym.members
);
CREATE INDEX check_ins_by_time ON gym.check_ins (tenant_id, at);
CREATE TABLE gym.prices (plan text PRIMARY KEY, amount numeric NOT NULL);
ALTER TABLE gym.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE gym.members ENABLE ROW LEVEL SECURITY;
ALTER TABLE gym.check_ins ENABLE ROW LEVEL SECURITY;
ALTER TABLE gym.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE gym.members FORCE ROW LEVEL SECURITY;
ALTER TABLE gym.check_ins FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON gym.tenants TO gym_app USING (id = (SELECT current_setting('gym.tenant_id')::uuid));
CREATE POLICY own ON gym.members TO gym_app USING (tenant_id = (SELECT current_setting('gym.tenant_id')::uuid));
CREATE POLICY own ON gym.check_ins TO gym_app USING (tenant_id = (SELECT current_setting('gym.tenant_id')::uuid));
GRANT SELECT, INSERT ON gym.tenants, gym.members, gym.check_ins TO gym_app;
COMMENT ON TABLE gym.members IS 'Who has a contract';
COMMENT ON COLUMN gym.members.name IS 'As on the card';
CREATE FUNCTION gym.members_of(tenant uuid) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT count(*) FROM gym.members m WHERE m.tenant_id = tenant;
END;
REVOKE ALL ON FUNCTION gym.members_of(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gym.members_of(uuid) TO gym_app;
CREATE VIEW gym.names AS SELECT name FROM gym.members;
RESET ROLE;
INSERT INTO gym.tenants
SELECT md5(slug)::uuid, slug FROM unnest(ARRAY['north-gym', 'south-gym']) AS slug;
INSERT INTO gym.members
SELECT t.id, md5(t.slug || number)::uuid, 'Member ' || number FROM gym.tenants t, generate_series(1, 500) AS number;
INSERT INTO gym.check_ins (tenant_id, member_id, at)
SELECT m.tenant_id, m.id, now() - number * interval '1 hour' FROM gym.members m, generate_series(1, 20) AS number;
INSERT INTO gym.prices VALUES ('basic', 20), ('plus', 35);
