/* SPDX-License-Identifier: MIT */
/* Models, a mirror of them, and messages made by hand: what the tests of the mirror share. */
#ifndef TESTS_CLIENT_MIRROR_FIXTURE_H
#define TESTS_CLIENT_MIRROR_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/conflict.h"
#include "client/draft.h"
#include "client/mirror.h"
#include "client/relationship.h"
#include "client/sync.h"
#include "model/batch.h"

ORM_DECLARE(User);
ORM_DECLARE(Post);
ORM_DECLARE(Node);
ORM_DECLARE(Line);
ORM_DECLARE(City);
ORM_DECLARE(Country);

struct User {
	int64_t id;
	const char *name;
	const char *email;
	orm_opt_datetime joined; /* has a server default */
	int32_t version;
	Post_list posts;
};

struct Post {
	int64_t id;
	const char *title;
	orm_opt_datetime published;
	int64_t user_id;
	User *author;
};

struct Node {
	int32_t id;
	const char *label;
	orm_opt_int32 parent_id;
	Node *parent;
	Node_list children;
};

struct Line {
	int64_t order_no;
	int32_t pos;
	double amount;
	bool done;
	orm_bytes note;
	orm_date day;
	orm_time at;
	orm_opt_bool maybe;
	orm_opt_double rate;
	orm_opt_date due;
	orm_opt_time until;
};

struct Country {
	const char *code;
	const char *name;
	City_list cities;
};

struct City {
	int64_t id;
	const char *name;
	const char *country_code;
	Country *country;
};

static const orm_field User_fields[] = {
	{ORM_COLUMN(User, id), .primary_key = true},
	{ORM_COLUMN(User, name), .max_length = 50},
	{ORM_COLUMN(User, email), .nullable = true, .unique = true},
	{ORM_COLUMN(User, joined), .server_default = ORM_NOW},
	{ORM_COLUMN(User, version), .version = true},
	{ORM_RELATIONSHIP(User, posts, Post, author)},
};

static const orm_field Post_fields[] = {
	{ORM_COLUMN(Post, id), .primary_key = true},
	{ORM_COLUMN(Post, title), .max_length = 200},
	{ORM_COLUMN(Post, published)},
	{ORM_COLUMN(Post, user_id), .references = ORM_KEY(User, id), .on_delete = ORM_CASCADE},
	{ORM_RELATIONSHIP(Post, author, User, posts)},
};

static const orm_field Node_fields[] = {
	{ORM_COLUMN(Node, id), .primary_key = true},
	{ORM_COLUMN(Node, label), .nullable = true},
	{ORM_COLUMN(Node, parent_id), .references = ORM_KEY(Node, id), .column = "parent_no"},
	{ORM_RELATIONSHIP(Node, parent, Node, children), .via = ORM_NAME(Node, parent_id)},
	{ORM_RELATIONSHIP(Node, children, Node, parent), .via = ORM_NAME(Node, parent_id)},
};

static const orm_field Line_fields[] = {
	{ORM_COLUMN(Line, order_no), .primary_key = true},
	{ORM_COLUMN(Line, pos), .primary_key = true},
	{ORM_COLUMN(Line, amount)},
	{ORM_COLUMN(Line, done)},
	{ORM_COLUMN(Line, note), .nullable = true},
	{ORM_COLUMN(Line, day)},
	{ORM_COLUMN(Line, at)},
	{ORM_COLUMN(Line, maybe)},
	{ORM_COLUMN(Line, rate)},
	{ORM_COLUMN(Line, due)},
	{ORM_COLUMN(Line, until)},
};

static const orm_field Country_fields[] = {
	{ORM_COLUMN(Country, code), .primary_key = true},
	{ORM_COLUMN(Country, name)},
	{ORM_RELATIONSHIP_ONE_WAY(Country, cities, City)},
};

static const orm_field City_fields[] = {
	{ORM_COLUMN(City, id), .primary_key = true},
	{ORM_COLUMN(City, name)},
	{ORM_COLUMN(City, country_code), .nullable = true, .references = ORM_KEY(Country, code)},
	{ORM_RELATIONSHIP_ONE_WAY(City, country, Country)},
};

ORM_MODEL(User, "users", User_fields);
ORM_MODEL(Post, "posts", Post_fields);
ORM_MODEL(Node, "nodes", Node_fields);
ORM_MODEL(Line, "lines", Line_fields);
ORM_MODEL(Country, "countries", Country_fields);
ORM_MODEL(City, "cities", City_fields);

static const orm_model *const fixture_models[] = {&Post_model,    &User_model, &Node_model, &Line_model,
						  &Country_model, &City_model, NULL};

typedef struct fixture {
	orm_binding *binding;
	orm_mirror *mirror;
	orm_arena arena; /* messages */
	orm_draft draft;
	orm_error error;
} fixture;

#define PARTICIPANT  7
#define OWN(counter) ((uint64_t)PARTICIPANT << 40 | (counter))

static inline int fixture_setup(void **state)
{
	fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	orm_arena_init(&f->arena, 0);
	f->binding = orm_binding_new(fixture_models, &f->error);
	if (!f->binding)
		fail_msg("%s", f->error.message);
	f->mirror = orm_mirror_new(f->binding, PARTICIPANT);
	assert_non_null(f->mirror);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	fixture *f = *state;

	orm_mirror_free(f->mirror);
	orm_binding_free(f->binding);
	orm_arena_fini(&f->arena);
	free(f);
	return 0;
}

#define assert_ok(f, call)                                                                                             \
	do {                                                                                                           \
		const orm_status status_ = (call);                                                                     \
		if (status_ != ORM_OK)                                                                                 \
			fail_msg("%s: %s", orm_status_name(status_), (f)->error.message);                              \
	} while (0)

/* ---- messages ------------------------------------------------------------------------------------------------ */

static inline Ormd__V1__Column *make_column(const orm_vector *vector, size_t n_rows, orm_arena *arena)
{
	Ormd__V1__Column *column = orm_arena_alloc(arena, sizeof *column);

	ormd__v1__column__init(column);
	column->has_column = 1;
	column->column = vector->column;
	if (vector->nulls) {
		column->has_nulls = 1;
		column->nulls.len = (n_rows + 7) / 8;
		column->nulls.data = orm_arena_memdup(arena, vector->nulls, column->nulls.len);
	}
	switch (vector->type) {
	case ORM_BOOL:
		column->has_booleans = 1;
		column->booleans.len = n_rows;
		column->booleans.data = orm_arena_memdup(arena, vector->cells, n_rows);
		break;
	case ORM_INT32:
	case ORM_DATE:
		column->n_int32s = n_rows;
		column->int32s = orm_arena_memdup(arena, vector->cells, n_rows * 4);
		break;
	case ORM_DOUBLE:
		column->n_doubles = n_rows;
		column->doubles = orm_arena_memdup(arena, vector->cells, n_rows * 8);
		break;
	case ORM_TEXT:
		column->has_text = 1;
		column->text.len = vector->size;
		column->text.data = orm_arena_memdup(arena, vector->cells, vector->size);
		break;
	case ORM_BYTES:
		column->has_blob = 1;
		column->blob.len = vector->size;
		column->blob.data = vector->size ? orm_arena_memdup(arena, vector->cells, vector->size) : NULL;
		column->n_blob_ends = n_rows;
		column->blob_ends = orm_arena_memdup(arena, vector->ends, n_rows * 4);
		break;
	default:
		column->n_int64s = n_rows;
		column->int64s = orm_arena_memdup(arena, vector->cells, n_rows * 8);
		break;
	}
	return column;
}

/*
 * n rows, whose values are those of n structs one after the other; `columns` NULL: all. Handles first, first + 1, ...
 * The message lives as long as the mirror, since members point into it.
 */
static inline Ormd__V1__Objects *make_rows(fixture *f, const orm_model *model, uint64_t first, const void *structs,
					   size_t n, const uint16_t *columns, size_t n_columns)
{
	const orm_layout *layout = orm_binding_layout(f->binding, model);
	orm_arena *arena = orm_mirror_arena(f->mirror);
	Ormd__V1__Objects *objects = orm_arena_alloc(arena, sizeof *objects);
	Ormd__V1__Batch *batch = orm_arena_alloc(arena, sizeof *batch);
	orm_batch_builder builder;
	orm_vector *vectors;
	orm_batch view;

	if (!columns)
		n_columns = layout->n_members;
	assert_true(orm_batch_builder_init(&builder, layout->mapper, columns, n_columns));
	vectors = orm_arena_calloc(arena, n_columns, sizeof vectors[0]);
	for (size_t i = 0; i < n; i++) {
		for (size_t c = 0; c < n_columns; c++) {
			orm_value value;

			orm_member_get(&layout->members[columns ? columns[c] : c],
				       (const char *)structs + i * layout->size, &value);
			orm_vector_builder_put(&builder.vectors[c], &value);
		}
		orm_batch_builder_end_row(&builder);
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &view));
	ormd__v1__objects__init(objects);
	ormd__v1__batch__init(batch);
	objects->values = batch;
	objects->has_first_handle = 1;
	objects->first_handle = first;
	batch->model = layout->number;
	batch->rows = (uint32_t)n;
	batch->n_columns = n_columns;
	batch->columns = orm_arena_calloc(arena, n_columns, sizeof batch->columns[0]);
	for (size_t c = 0; c < n_columns; c++)
		batch->columns[c] = make_column(&vectors[c], n, arena);
	orm_batch_builder_fini(&builder);
	return objects;
}

#define ROWS(f, T, first, ...)                                                                                         \
	make_rows((f), &T##_model, (first), (const T[]){__VA_ARGS__}, sizeof((const T[]){__VA_ARGS__}) / sizeof(T),    \
		  NULL, 0)

/* Rows come as the answer to a query; the first one's struct. */
static inline void *install(fixture *f, const Ormd__V1__Objects *objects)
{
	orm_mirror_result result = {0};

	assert_ok(f, orm_mirror_install(f->mirror, objects, &result, &f->error));
	return result.len ? result.items[0] : NULL;
}

#define INSTALL(f, T, first, ...) ((T *)install((f), ROWS(f, T, first, __VA_ARGS__)))

static inline uint16_t number_of(const fixture *f, const orm_model *model, size_t offset)
{
	return orm_layout_relation_at(orm_binding_layout(f->binding, model), offset)->number;
}

/* The relationship of these parents is complete. */
static inline void load(fixture *f, const orm_model *model, size_t offset, uint64_t first, size_t n)
{
	Ormd__V1__Loaded loaded = ORMD__V1__LOADED__INIT;

	loaded.model = orm_binding_layout(f->binding, model)->number;
	loaded.relationship = number_of(f, model, offset);
	loaded.n_parents = n;
	loaded.parents = orm_arena_alloc(&f->arena, n * sizeof loaded.parents[0]);
	for (size_t i = 0; i < n; i++)
		loaded.parents[i] = first + i;
	assert_ok(f, orm_mirror_loaded(f->mirror, &loaded, &f->error));
}

#define LOAD(f, T, member, handle) load((f), &T##_model, offsetof(T, member), (handle), 1)

/* orm_add with a set of columns by name; NULL at the end. */
static inline void *add(fixture *f, const orm_model *model, const void *example, const char *const given[])
{
	const orm_layout *layout = orm_binding_layout(f->binding, model);
	uint64_t set[ORM_MAX_COLUMNS / 64] = {0};

	for (; given && *given; given++)
		orm_column_set_put(set, orm_mapper_column(layout->mapper, *given)->number);
	return orm_mirror_add(f->mirror, layout, example, set, &f->error);
}

#define ADD(f, T, ...) ((T *)add((f), &T##_model, &(T){__VA_ARGS__}, NULL))

static inline void build_limited(fixture *f, size_t max_bytes, uint32_t max_rows)
{
	const orm_draft_limits limits = {.max_bytes = max_bytes, .max_rows = max_rows};

	assert_ok(f, orm_draft_build(f->mirror, &limits, &f->arena, &f->draft, &f->error));
}

static inline void build(fixture *f)
{
	build_limited(f, 1 << 20, 0);
}

static inline void accept(fixture *f, uint64_t first_handle, int64_t first_key, uint32_t count)
{
	Ormd__V1__KeyRange range = ORMD__V1__KEY_RANGE__INIT;
	Ormd__V1__KeyRange *ranges[] = {&range};

	range.first_handle = first_handle;
	range.first_key = first_key;
	range.count = count;
	assert_ok(f, orm_draft_accept(f->mirror, &f->draft, ranges, count > 0, &f->error));
}

/* Build and accept; new objects get keys from `first_key` in the order of their handles. */
static inline void publish(fixture *f, uint64_t first_handle, int64_t first_key, uint32_t count)
{
	build(f);
	accept(f, first_handle, first_key, count);
}

static inline Ormd__V1__Sync *make_sync(fixture *f, uint64_t rev)
{
	Ormd__V1__Sync *sync = orm_arena_alloc(&f->arena, sizeof *sync);

	ormd__v1__sync__init(sync);
	sync->rev = rev;
	return sync;
}

static inline uint64_t *one_handle(fixture *f, uint64_t handle)
{
	return orm_arena_memdup(&f->arena, &handle, sizeof handle);
}

static inline void sync_changed(fixture *f, uint64_t rev, Ormd__V1__Objects *objects)
{
	Ormd__V1__Sync *sync = make_sync(f, rev);

	sync->n_changed = 1;
	sync->changed = &objects;
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
}

static inline void sync_added(fixture *f, uint64_t rev, Ormd__V1__Objects *objects)
{
	Ormd__V1__Sync *sync = make_sync(f, rev);

	sync->n_added = 1;
	sync->added = &objects;
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
}

typedef enum leaving { GONE, DELETED, RESTORED } leaving;

static inline void sync_leaving(fixture *f, uint64_t rev, leaving how, uint64_t handle)
{
	Ormd__V1__Sync *sync = make_sync(f, rev);
	uint64_t *handles = one_handle(f, handle);

	if (how == GONE) {
		sync->n_gone = 1;
		sync->gone = handles;
	} else if (how == DELETED) {
		sync->n_deleted = 1;
		sync->deleted = handles;
	} else {
		sync->n_restored = 1;
		sync->restored = handles;
	}
	assert_ok(f, orm_sync_apply(f->mirror, sync, &f->error));
}

#define COLUMNS(...) (const uint16_t[]){__VA_ARGS__}, sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t)

/* Columns' numbers. */
enum { USER_ID, USER_NAME, USER_EMAIL, USER_JOINED, USER_VERSION };
enum { POST_ID, POST_TITLE, POST_PUBLISHED, POST_USER_ID };
enum { NODE_ID, NODE_LABEL, NODE_PARENT };

static inline const Ormd__V1__Column *find_column(const Ormd__V1__Batch *batch, uint32_t number)
{
	for (size_t i = 0; i < batch->n_columns; i++) {
		if (batch->columns[i]->column == number)
			return batch->columns[i];
	}
	return NULL;
}

#endif
