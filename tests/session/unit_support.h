/* SPDX-License-Identifier: MIT */
/*
 * A library as models, and drafts written row by row, for the tests of the unit of work. No database: keys count
 * from 1. Failures of the helpers fail the test.
 */
#ifndef ORMD_TESTS_SESSION_UNIT_SUPPORT_H
#define ORMD_TESTS_SESSION_UNIT_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/unit.h"

/* Author: deleting one leaves its books without. */
enum {
	AUTHOR_ID,
	AUTHOR_NAME,
	AUTHOR_EMAIL,
	AUTHOR_PHOTO,
	AUTHOR_SCORE,
	AUTHOR_BORN,
	AUTHOR_ACTIVE,
	AUTHOR_VERSION,
	N_AUTHOR
};
/* Book: `rating` and `created` have defaults. */
enum { BOOK_ID, BOOK_TITLE, BOOK_AUTHOR, BOOK_RATING, BOOK_CREATED, N_BOOK };
/* Chapter and Paragraph: composite keys that contain the parent's; deleting cascades. */
enum { CHAPTER_BOOK, CHAPTER_NUMBER, CHAPTER_TITLE, N_CHAPTER };
enum { PARAGRAPH_BOOK, PARAGRAPH_CHAPTER, PARAGRAPH_NUMBER, PARAGRAPH_TEXT, N_PARAGRAPH };
/* Tag: a text key. */
enum { TAG_CODE, TAG_LABEL, N_TAG };

typedef struct shelf {
	orm_registry *registry;
	const orm_mapper *author, *book, *chapter, *paragraph, *tag;
	const orm_relationship *book_author, *chapter_book, *paragraph_chapter;
	ormd_session *session;
	orm_arena arena;        /* of the test */
	uint32_t ann, bob, cid; /* participants; ann only in a private session */
	uint64_t counter[8];    /* handles given, by participant */
	orm_error error;
	ormd_published published; /* of the latest publish */
} shelf;

void library_init(shelf *library, const char *name, ormd_on_death on_death, size_t max_memory);
void library_fini(shelf *library);

uint64_t library_handle(shelf *library, uint32_t participant);

typedef struct cell_value {
	uint16_t column;
	orm_value value;
} cell_value;

orm_value int_value(orm_type type, int64_t value);
orm_value text_value(const char *value);
orm_value bytes_value(const void *value, size_t size);
orm_value number_value(double value);
orm_value null_value(orm_type type);
#define INT(column_, value_)   ((cell_value){column_, int_value(ORM_INT64, value_)})
#define INT32(column_, value_) ((cell_value){column_, int_value(ORM_INT32, value_)})
#define TEXT(column_, value_)  ((cell_value){column_, text_value(value_)})

/* A draft under construction; each row is a batch of its own. */
typedef struct rows_draft {
	shelf *library;
	ormd_adds adds[32];
	ormd_updates updates[32];
	ormd_deletes deletes[32];
	size_t n_adds, n_updates, n_deletes;
} rows_draft;

void draft_init(rows_draft *draft, shelf *library);
void draft_add(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, size_t n, const cell_value *cells);
void draft_add_to(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, size_t n, const cell_value *cells,
		  const orm_relationship *relationship, uint64_t target);
void draft_update(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base, size_t n,
		  const cell_value *cells);
void draft_update_to(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base,
		     const orm_relationship *relationship, uint64_t target);
void draft_delete(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base);
#define CELLS(...)                                                                                                     \
	(sizeof((const cell_value[]){__VA_ARGS__}) / sizeof(cell_value)), (const cell_value[])                         \
	{                                                                                                              \
		__VA_ARGS__                                                                                            \
	}
ormd_draft draft_view(const rows_draft *draft);

/* Publish as one who has seen everything; the status. */
orm_status draft_publish(rows_draft *draft, uint32_t participant);
/* One add, expected to succeed; its handle. */
uint64_t add_row(shelf *library, uint32_t participant, const orm_mapper *mapper, size_t n, const cell_value *cells);
/* One update based on all that there is now. */
orm_status update_row(shelf *library, uint32_t participant, const orm_mapper *mapper, uint64_t handle, size_t n,
		      const cell_value *cells);
orm_status delete_row(shelf *library, uint32_t participant, const orm_mapper *mapper, uint64_t handle);

/* As the commit would, without a database. */
void settle_all(shelf *library, uint32_t participant);

/* Rows as they come from the database, all columns: cells in column order, missing ones NULL. */
ormd_object *install_row(shelf *library, const orm_mapper *mapper, bool populate_existing, size_t n,
			 const cell_value *cells);

/* A cell of an object, printed: "7", "'a'", "NULL", "unset"; in the library's arena. */
const char *cell_of(shelf *library, uint64_t handle, uint16_t column);
const char *print_value(shelf *library, const orm_value *value);
ormd_state object_state(shelf *library, uint64_t handle);

/* All cells of one row of `rows`, "3=7 4='x'", by column number; NULL if the handle is not among them. */
const char *row_of(shelf *library, const ormd_rows *rows, size_t n_rows, uint64_t handle);
bool has_handle(const uint64_t *handles, size_t n, uint64_t handle);
ormd_sync sync_of(shelf *library, uint32_t participant, uint64_t seen);

/* What must always hold: counts, lists, maps. */
void check_consistency(shelf *library);

#endif
