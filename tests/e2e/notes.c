/* SPDX-License-Identifier: MIT */
#include "e2e/notes.h"

static const orm_field Person_fields[] = {
	{ ORM_COLUMN(Person, id), .primary_key = true },
	{ ORM_COLUMN(Person, name), .max_length = 40, .unique = true },
	{ ORM_RELATIONSHIP(Person, notes, Note, owner) },
};
ORM_MODEL(Person, "persons", Person_fields);

static const orm_field Note_fields[] = {
	{ ORM_COLUMN(Note, id), .primary_key = true },
	{ ORM_COLUMN(Note, title), .max_length = 40 },
	{ ORM_COLUMN(Note, body), .nullable = true },
	{ ORM_COLUMN(Note, score), .check = "score < 1000" },
	{ ORM_COLUMN(Note, rank), .server_default = "3" },
	{ ORM_COLUMN(Note, version), .version = true },
	{ ORM_COLUMN(Note, owner_id), .references = ORM_KEY(Person, id), .on_delete = ORM_SET_NULL },
	{ ORM_RELATIONSHIP(Note, owner, Person, notes) },
};
ORM_MODEL(Note, "notes", Note_fields);

const orm_model *const notes_models[] = { &Person_model, &Note_model, NULL };
