/* SPDX-License-Identifier: MIT */
/* CREATE and DROP for a whole registry, in foreign key order, existing tables left alone. */
#ifndef ORMD_SQL_DDL_H
#define ORMD_SQL_DDL_H

#include "sql/dialect.h"

/* Each statement is handed to `emit`; a status other than ORM_OK stops and is returned. */
typedef orm_status ormd_ddl_emit(const char *sql, void *context, orm_error *error);

/* CREATE TABLE IF NOT EXISTS with keys, foreign keys, unique, check, defaults; CREATE INDEX IF NOT EXISTS. Index and constraint names
   follow one convention: ix_<table>_<column>, uq_<table>_<column>, ck_<table>_<column>, fk_<table>_<column>_<target>, pk_<table>. */
orm_status ormd_ddl_create_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit, void *context, orm_error *error);
/* DROP TABLE IF EXISTS, children first. */
orm_status ormd_ddl_drop_all(const ormd_dialect *dialect, const orm_registry *registry, ormd_ddl_emit *emit, void *context, orm_error *error);
/* ormd's own tables: ormd_commit (client_id, commit_no, fingerprint, result, at). */
orm_status ormd_ddl_create_system(const ormd_dialect *dialect, ormd_ddl_emit *emit, void *context, orm_error *error);

#endif
