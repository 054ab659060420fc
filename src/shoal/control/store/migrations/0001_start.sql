-- Plain statements that SQLite and PostgreSQL both take, separated by lines with only a semicolon.
-- Times are seconds of Unix time; documents and lists are JSON text.

CREATE TABLE setting (
  name VARCHAR PRIMARY KEY,
  value VARCHAR NOT NULL
)
;
CREATE TABLE administrator (
  name VARCHAR PRIMARY KEY,
  password_hash VARCHAR NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE web_session (
  token_hash VARCHAR PRIMARY KEY,
  administrator VARCHAR NOT NULL REFERENCES administrator (name) ON DELETE CASCADE,
  csrf_token VARCHAR NOT NULL,
  region VARCHAR NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL
)
;
CREATE TABLE instance (
  id VARCHAR PRIMARY KEY,
  name VARCHAR NOT NULL,
  region VARCHAR NOT NULL,
  edition VARCHAR NOT NULL,
  status VARCHAR NOT NULL,
  registry_url VARCHAR NOT NULL,
  p2p_enabled BOOLEAN NOT NULL,
  p2p_generation BIGINT NOT NULL,
  p2p_changed_at BIGINT,
  created_at BIGINT NOT NULL,
  modified_at BIGINT NOT NULL,
  UNIQUE (region, name)
)
;
CREATE TABLE endpoint (
  instance_id VARCHAR NOT NULL REFERENCES instance (id) ON DELETE CASCADE,
  kind VARCHAR NOT NULL,
  enabled BOOLEAN NOT NULL,
  acl_enabled BOOLEAN NOT NULL,
  domains VARCHAR NOT NULL,
  acl VARCHAR NOT NULL,
  PRIMARY KEY (instance_id, kind)
)
;
CREATE TABLE vpc_link (
  instance_id VARCHAR NOT NULL REFERENCES instance (id) ON DELETE CASCADE,
  vpc_id VARCHAR NOT NULL,
  vswitch_id VARCHAR NOT NULL,
  ip VARCHAR NOT NULL,
  status VARCHAR NOT NULL,
  default_access BOOLEAN NOT NULL,
  PRIMARY KEY (instance_id, vpc_id)
)
;
CREATE TABLE ram_user (
  name VARCHAR PRIMARY KEY,
  id VARCHAR NOT NULL UNIQUE,
  comment VARCHAR NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE access_key (
  id VARCHAR PRIMARY KEY,
  user_name VARCHAR NOT NULL REFERENCES ram_user (name) ON DELETE CASCADE,
  sealed_secret VARCHAR NOT NULL,
  active BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE ram_role (
  name VARCHAR PRIMARY KEY,
  id VARCHAR NOT NULL UNIQUE,
  comment VARCHAR NOT NULL,
  trust VARCHAR NOT NULL,
  max_session_s BIGINT NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE policy (
  name VARCHAR PRIMARY KEY,
  comment VARCHAR NOT NULL,
  document VARCHAR NOT NULL,
  system BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE attachment (
  policy_name VARCHAR NOT NULL REFERENCES policy (name),
  principal_kind VARCHAR NOT NULL,
  principal_name VARCHAR NOT NULL,
  PRIMARY KEY (principal_kind, principal_name, policy_name)
)
;
CREATE TABLE oidc_provider (
  name VARCHAR PRIMARY KEY,
  issuer VARCHAR NOT NULL UNIQUE,
  audiences VARCHAR NOT NULL,
  keys VARCHAR NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE cluster (
  id VARCHAR PRIMARY KEY,
  name VARCHAR NOT NULL,
  region VARCHAR NOT NULL,
  vpc_id VARCHAR NOT NULL,
  edge BOOLEAN NOT NULL,
  version VARCHAR NOT NULL,
  rrsa_enabled BOOLEAN NOT NULL,
  rrsa_issuer VARCHAR NOT NULL,
  created_at BIGINT NOT NULL
)
;
CREATE TABLE node_pool (
  id VARCHAR PRIMARY KEY,
  cluster_id VARCHAR NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
  name VARCHAR NOT NULL,
  kind VARCHAR NOT NULL,
  dedicated BOOLEAN NOT NULL,
  interconnected BOOLEAN NOT NULL,
  nodes BIGINT NOT NULL
)
;
CREATE TABLE component (
  cluster_id VARCHAR NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
  instance_id VARCHAR NOT NULL REFERENCES instance (id),
  version VARCHAR NOT NULL,
  method VARCHAR NOT NULL,
  p2p_generation BIGINT NOT NULL,
  installed_at BIGINT NOT NULL,
  reported_at BIGINT NOT NULL,
  PRIMARY KEY (cluster_id, instance_id)
)
;
CREATE TABLE audit (
  id BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor VARCHAR NOT NULL,
  source VARCHAR NOT NULL,
  action VARCHAR NOT NULL,
  resource VARCHAR NOT NULL,
  allowed BOOLEAN NOT NULL,
  detail VARCHAR NOT NULL,
  request_id VARCHAR NOT NULL
)
;
CREATE INDEX audit_by_resource ON audit (resource, id)
;
