/* SPDX-License-Identifier: MIT */
/* Objects by primary key: from the identity map; what is not there, by one SELECT for all. */
#include <stdlib.h>

#include "base/error.h"
#include "model/fail.h"
#include "session/flush_fail.h"
#include "session/plan.h"
#include "session/select_by.h"
#include "session/transaction.h"

typedef struct get {
	ormd_session *session;
	const orm_mapper *mapper;
	size_t n_keys;
	orm_value *keys;       /* n_keys x mapper->n_key, in the mapper's order */
	ormd_object **objects; /* NULL: not there */
	orm_value *missing;    /* keys that the session does not know, each once */
	size_t n_missing;
	orm_arena *arena;
	orm_error *error;
} get;

static orm_status take_keys(get *g, const orm_batch *batch)
{
	const orm_mapper *mapper = g->mapper;

	for (uint16_t i = 0; i < mapper->n_key; i++) {
		const orm_vector *vector = NULL;
		orm_vector_cursor cursor;

		for (size_t j = 0; j < batch->n_vectors && !vector; j++) {
			if (batch->vectors[j].column == mapper->key[i])
				vector = &batch->vectors[j];
		}
		if (!vector)
			return orm_fail_at(g->error, ORM_EINVAL, mapper->name, mapper->columns[mapper->key[i]].name,
					   "this column of the primary key is not given");
		orm_vector_cursor_init(&cursor, vector);
		for (size_t row = 0; row < g->n_keys; row++)
			orm_vector_cursor_next(&cursor, &g->keys[row * mapper->n_key + i]);
	}
	return ORM_OK;
}

static const orm_value *key_of(const get *g, size_t number)
{
	return g->keys + number * g->mapper->n_key;
}

static bool is_live(const ormd_object *object)
{
	return object->state == ORMD_STATE_NEW || object->state == ORMD_STATE_PERSISTENT;
}

/* One whose deletion is pending is known not to be there. */
static void look_in_memory(get *g)
{
	const uint16_t n_key = g->mapper->n_key;

	g->n_missing = 0;
	for (size_t i = 0; i < g->n_keys; i++) {
		ormd_object *object = ormd_unit_by_key(g->session, g->mapper, key_of(g, i));

		g->objects[i] = object && is_live(object) ? object : NULL;
		if (!object && g->missing)
			memcpy(g->missing + g->n_missing * n_key, key_of(g, i), n_key * sizeof *g->missing);
		g->n_missing += !object;
	}
}

/* Does a row with this key get another one in the unit? Then there is none with this key, although the database has it.
 */
static bool is_given_up(const get *g, const orm_value *key)
{
	const ormd_layout *layout = &g->session->mappers[g->mapper->number].layout;
	const ormd_change *cursor = NULL;
	const ormd_object *object;

	while ((object = ormd_unit_next_pending(g->session, ORMD_STATE_PERSISTENT, g->mapper, &cursor))) {
		if (ormd_record_equals(layout, ormd_object_committed(object), g->mapper->key, key, g->mapper->n_key))
			return true;
	}
	return false;
}

static bool any_rekeyed(const get *g)
{
	const ormd_layout *layout = &g->session->mappers[g->mapper->number].layout;
	const ormd_change *cursor = NULL;
	const ormd_object *object;

	while ((object = ormd_unit_next_pending(g->session, ORMD_STATE_PERSISTENT, g->mapper, &cursor))) {
		if (!ormd_record_same_key(layout, ormd_object_committed(object), object->record))
			return true;
	}
	return false;
}

/* What the database must not be asked for leaves the missing keys. */
static void drop_given_up(get *g)
{
	const uint16_t n_key = g->mapper->n_key;
	size_t n = 0;

	if (g->session->mappers[g->mapper->number].n_changed == 0 || !any_rekeyed(g))
		return;
	for (size_t i = 0; i < g->n_missing; i++) {
		if (!is_given_up(g, g->missing + i * n_key))
			memmove(g->missing + n++ * n_key, g->missing + i * n_key, n_key * sizeof *g->missing);
	}
	g->n_missing = n;
}

/* *again: the connection was lost, and another may do better. */
static orm_status try_to_read(get *g, int64_t deadline_us, bool *again)
{
	ormd_install install = {.session = g->session};
	ormd_select_by select = {.mapper = g->mapper,
				 .columns = g->mapper->key,
				 .n_columns = g->mapper->n_key,
				 .values = g->missing,
				 .n_keys = g->n_missing};
	orm_batch_builder builder = {0};
	orm_vector *vectors = orm_arena_calloc(g->arena, g->mapper->n_columns, sizeof *vectors);
	ormd_connection *reader = ormd_session_take_connection(g->session, deadline_us, g->error);
	orm_status status = ORM_OK;
	bool done = false;

	*again = false;
	if (!reader)
		return g->error->code;
	if (!vectors || !orm_batch_builder_init(&builder, g->mapper, NULL, 0))
		status = orm_fail(g->error, ORM_ENOMEM, "out of memory");
	while (status == ORM_OK && !done) {
		ormd_object **objects;
		orm_batch batch;
		size_t n_rows = 0;

		orm_batch_builder_reset(&builder);
		status = ormd_select_by_fetch(&select, reader, &builder, SIZE_MAX, &n_rows, &done, g->error);
		if (status != ORM_OK || n_rows == 0)
			continue;
		objects = orm_arena_calloc(g->arena, n_rows, sizeof *objects);
		if (!objects || !orm_batch_builder_view(&builder, vectors, &batch))
			status = orm_fail(g->error, ORM_ENOMEM, "out of memory");
		else
			status = ormd_unit_install(&install, &batch, objects, g->error);
	}
	ormd_select_by_fini(&select);
	orm_batch_builder_fini(&builder);
	*again = ormd_session_lost_reader(g->session, reader, status);
	return ormd_session_give_connection(g->session, reader, status, g->error);
}

static orm_status read_missing(get *g, int64_t deadline_us)
{
	bool again = false;
	const orm_status status = try_to_read(g, deadline_us, &again);

	return again ? try_to_read(g, deadline_us, &again) : status;
}

static orm_status build(get *g, const ormd_rows **rows, size_t *n_rows)
{
	ormd_rows *built = orm_arena_calloc(g->arena, 1, sizeof *built);
	size_t n = 0;
	orm_status status = ORM_OK;

	for (size_t i = 0; i < g->n_keys; i++) {
		if (g->objects[i])
			g->objects[n++] = g->objects[i];
	}
	if (!built)
		return orm_fail(g->error, ORM_ENOMEM, "out of memory");
	if (n > 0)
		status = ormd_rows_build(g->session, g->mapper, NULL, 0, g->objects, n, g->arena, built, g->error);
	if (status == ORM_OK) {
		*rows = built;
		*n_rows = n > 0;
	}
	return status;
}

orm_status ormd_session_get(ormd_session *session, uint32_t participant, const orm_batch *keys, bool in_memory,
			    bool *complete, int64_t deadline_us, orm_arena *arena, const ormd_rows **rows,
			    size_t *n_rows, orm_error *error)
{
	orm_error ignored;
	get g = {.session = session,
		 .mapper = keys->mapper,
		 .n_keys = keys->n_rows,
		 .arena = arena,
		 .error = error ? error : &ignored};
	const size_t n_values = keys->n_rows * keys->mapper->n_key;
	orm_status status;

	(void)participant; /* everybody sees the same objects */
	g.keys = orm_arena_calloc(arena, n_values, sizeof *g.keys);
	g.objects = orm_arena_calloc(arena, keys->n_rows, sizeof *g.objects);
	if (!in_memory)
		g.missing = orm_arena_calloc(arena, n_values, sizeof *g.missing);
	if (!g.keys || !g.objects || (!in_memory && !g.missing))
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	status = ormd_transaction_check(session, g.error);
	if (status == ORM_OK)
		status = take_keys(&g, keys);
	if (status != ORM_OK)
		return status;
	look_in_memory(&g);
	if (complete)
		*complete = g.n_missing == 0;
	if (g.n_missing > 0 && in_memory) {
		*rows = NULL;
		*n_rows = 0;
		return ORM_OK;
	}
	if (!in_memory)
		drop_given_up(&g);
	if (g.n_missing > 0) {
		status = read_missing(&g, deadline_us);
		if (status != ORM_OK)
			return ormd_fail_name_model(session->registry, g.error);
		g.missing = NULL;
		look_in_memory(&g);
	}
	if (complete)
		*complete = true;
	return build(&g, rows, n_rows);
}
