-- More than one account: what belonged to the console's only one gets that one's number.
-- SQLite cannot change a key, so tables whose key grows are made anew under another name and
-- renamed; a rename takes the references to a table along. Accounts are never deleted, and columns
-- that are added cannot refer to one in SQLite, so that nothing does.

CREATE TABLE account (
  id VARCHAR PRIMARY KEY,
  name VARCHAR NOT NULL UNIQUE,
  management BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL
)
;
INSERT INTO account
SELECT value, 'default', TRUE, (SELECT coalesce(min(created_at), 0) FROM administrator)
FROM setting WHERE name = 'account_id'
;
DROP TABLE setting
;
ALTER TABLE web_session ADD COLUMN account VARCHAR NOT NULL DEFAULT ''
;
UPDATE web_session SET account = (SELECT id FROM account)
;
ALTER TABLE instance ADD COLUMN account VARCHAR NOT NULL DEFAULT ''
;
UPDATE instance SET account = (SELECT id FROM account)
;
ALTER TABLE cluster ADD COLUMN account VARCHAR NOT NULL DEFAULT ''
;
UPDATE cluster SET account = (SELECT id FROM account)
;
CREATE TABLE new_user (
  account VARCHAR NOT NULL,
  name VARCHAR NOT NULL,
  id VARCHAR NOT NULL UNIQUE,
  comment VARCHAR NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account, name)
)
;
INSERT INTO new_user
SELECT account.id, ram_user.name, ram_user.id, comment, ram_user.created_at FROM ram_user, account
;
CREATE TABLE new_key (
  id VARCHAR PRIMARY KEY,
  account VARCHAR NOT NULL,
  user_name VARCHAR NOT NULL,
  sealed_secret VARCHAR NOT NULL,
  active BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  FOREIGN KEY (account, user_name) REFERENCES new_user (account, name) ON DELETE CASCADE
)
;
INSERT INTO new_key
SELECT access_key.id, account.id, user_name, sealed_secret, active, access_key.created_at
FROM access_key, account
;
DROP TABLE access_key
;
DROP TABLE ram_user
;
ALTER TABLE new_user RENAME TO ram_user
;
ALTER TABLE new_key RENAME TO access_key
;
CREATE TABLE new_role (
  account VARCHAR NOT NULL,
  name VARCHAR NOT NULL,
  id VARCHAR NOT NULL UNIQUE,
  comment VARCHAR NOT NULL,
  trust VARCHAR NOT NULL,
  max_session_s BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account, name)
)
;
INSERT INTO new_role
SELECT
  account.id, ram_role.name, ram_role.id, comment, trust, max_session_s, ram_role.created_at
FROM ram_role, account
;
DROP TABLE ram_role
;
ALTER TABLE new_role RENAME TO ram_role
;
CREATE TABLE new_policy (
  account VARCHAR NOT NULL,
  name VARCHAR NOT NULL,
  comment VARCHAR NOT NULL,
  document VARCHAR NOT NULL,
  system BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account, name)
)
;
INSERT INTO new_policy
SELECT account.id, policy.name, comment, document, system, policy.created_at FROM policy, account
;
INSERT INTO new_policy
SELECT
  id, 'AdministratorAccess', 'May do everything.',
  '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
  TRUE, created_at
FROM account WHERE NOT EXISTS (SELECT 1 FROM new_policy WHERE name = 'AdministratorAccess')
;
CREATE TABLE new_attachment (
  account VARCHAR NOT NULL,
  policy_name VARCHAR NOT NULL,
  principal_kind VARCHAR NOT NULL,
  principal_name VARCHAR NOT NULL,
  PRIMARY KEY (account, principal_kind, principal_name, policy_name),
  FOREIGN KEY (account, policy_name) REFERENCES new_policy (account, name)
)
;
INSERT INTO new_attachment
SELECT account.id, policy_name, principal_kind, principal_name FROM attachment, account
;
DROP TABLE attachment
;
DROP TABLE policy
;
ALTER TABLE new_policy RENAME TO policy
;
ALTER TABLE new_attachment RENAME TO attachment
;
CREATE TABLE new_provider (
  account VARCHAR NOT NULL,
  name VARCHAR NOT NULL,
  issuer VARCHAR NOT NULL,
  audiences VARCHAR NOT NULL,
  keys VARCHAR NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account, name),
  UNIQUE (account, issuer)
)
;
INSERT INTO new_provider
SELECT account.id, oidc_provider.name, issuer, audiences, keys, oidc_provider.created_at
FROM oidc_provider, account
;
DROP TABLE oidc_provider
;
ALTER TABLE new_provider RENAME TO oidc_provider
;
