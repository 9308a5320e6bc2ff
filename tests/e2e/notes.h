/* SPDX-License-Identifier: MIT */
/* The models of the end-to-end tests: persons and their notes. */
#ifndef E2E_NOTES_H
#define E2E_NOTES_H

#include <orm.h>

ORM_DECLARE(Person);
ORM_DECLARE(Note);

struct Person {
	int64_t     id;
	const char *name;    /* unique */
	Note_list   notes;
};

struct Note {
	int64_t       id;
	const char   *title;
	const char   *body;  /* may be NULL */
	orm_opt_int64 score;
	int32_t       rank;  /* default 3 */
	int64_t       version;
	orm_opt_int64 owner_id;
	Person       *owner;
};

extern const orm_model *const notes_models[];

#endif
