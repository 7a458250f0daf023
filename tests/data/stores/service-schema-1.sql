PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE profile (
	tenant TEXT NOT NULL, 
	name TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	spec BLOB NOT NULL, 
	labels BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	created_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	deleted BOOLEAN NOT NULL, 
	PRIMARY KEY (tenant, name, number)
);
CREATE TABLE run (
	id TEXT NOT NULL, 
	tenant TEXT NOT NULL, 
	profile TEXT NOT NULL, 
	status TEXT NOT NULL, 
	submitted_at INTEGER NOT NULL, 
	record BLOB NOT NULL, 
	PRIMARY KEY (id)
);
COMMIT;
