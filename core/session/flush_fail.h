/* SPDX-License-Identifier: MIT */
/* Saying what a failure of the database is about: which model, which object, and who published it. */
#ifndef ORMD_SESSION_FLUSH_FAIL_H
#define ORMD_SESSION_FLUSH_FAIL_H

#include "session/plan.h"

/* The driver named the table and columns: give the model's name, the object's key and the author instead. Returns
 * error->code. */
orm_status ormd_flush_fail_row(const ormd_session *session, const ormd_object *object, orm_error *error);

/* Drivers know tables only: where one is named, name the model. Harmless if it is done already; NULL allowed. Returns
 * error->code. */
orm_status ormd_fail_name_model(const orm_registry *registry, orm_error *error);

/* The row is gone or was changed by somebody else. */
orm_status ormd_flush_fail_stale(const ormd_session *session, const ormd_object *object, const ormd_plan_step *step,
				 orm_error *error);

#endif
