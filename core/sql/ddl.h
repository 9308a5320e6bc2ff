/* SPDX-License-Identifier: MIT */
/* CREATE and DROP for a whole registry, in foreign key order, existing tables left alone. */
#ifndef ORMD_SQL_DDL_H
#define ORMD_SQL_DDL_H

#include "sql/dialect.h"

/* Each statement is handed to `emit`; a status other than ORM_OK stops and is returned. */
typedef orm_status ormd_ddl_emit(const char *sql, void *context, orm_error *error);

/* CREATE TABLE IF NOT EXISTS with keys, foreign keys, unique, check, defaults; CREATE INDEX IF NOT EXISTS. Index and constraint names
   follow one convention: ix_<table>_<column>, uq_<table>_<column>, ck_<table>_<column>, fk_<table>_<column>_<target>, pk_<table>; the columns of a
   composite key are joined by _. A name of more than ORM_MAX_NAME bytes, or one that another column of the registry would have as well, ends in a hash
   instead. A generated key is declared with its column and has no named constraint. */
orm_status ormd_ddl_create_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit, void *context, orm_error *error);
/* DROP TABLE IF EXISTS, children first. In a transaction, if models form cycles: foreign keys are checked at its end. */
orm_status ormd_ddl_drop_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit, void *context, orm_error *error);
/* ormd's own tables: ormd_commit (client_id, commit_no, fingerprint, result, at). */
orm_status ormd_ddl_create_system(const ormd_dialect *dialect, ormd_ddl_emit *emit, void *context, orm_error *error);

/* That table as a mapper, for the statements of compile.h. Static; of no registry. */
typedef enum ormd_commit_column {
	ORMD_COMMIT_CLIENT_ID,   /* bytes: 16; key */
	ORMD_COMMIT_NO,          /* int64; key */
	ORMD_COMMIT_FINGERPRINT, /* int64 */
	ORMD_COMMIT_RESULT,      /* bytes, or NULL */
	ORMD_COMMIT_AT           /* datetime; default: now */
} ormd_commit_column;
extern const orm_mapper ormd_commit_mapper;

/*
 * Where several servers may serve a database: which there are, and which of them has which shared session (session/directory.h). ormd_server (id,
 * address, host, started, seen_at, lease_ms), ormd_session (name, server_id, fence, since, commits).
 */
orm_status ormd_ddl_create_directory(const ormd_dialect *dialect, ormd_ddl_emit *emit, void *context, orm_error *error);

extern const orm_mapper ormd_server_mapper;
extern const orm_mapper ormd_session_mapper;

#endif
