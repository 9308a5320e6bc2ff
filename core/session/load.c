/* SPDX-License-Identifier: MIT */
/*
 * Relationships, by select-in: the values by which the objects at hand refer to others, each once; those that the
 * session cannot answer from memory are asked of the database, many in one statement.
 */
#include <stdlib.h>

#include "base/error.h"
#include "model/fail.h"
#include "session/query.h"

/* ---- sets of keys ------------------------------------------------------------------------------------------- */

static void reset_keys(ormd_key_set *keys)
{
	const uint16_t n_columns = keys->n_columns;

	orm_arena_reset(&keys->arena);

	const orm_arena arena = keys->arena;

	*keys = (ormd_key_set){.arena = arena, .n_columns = n_columns};
}

static bool same_key(const orm_value *a, const orm_value *b, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		if (!orm_value_equal(&a[i], &b[i]))
			return false;
	}
	return true;
}

static bool grow_keys(ormd_key_set *keys)
{
	const size_t max = keys->max_keys ? keys->max_keys * 2 : 64;
	orm_value *values = orm_arena_calloc(&keys->arena, max * keys->n_columns, sizeof *values);
	bool *known = orm_arena_calloc(&keys->arena, max, sizeof *known);
	uint32_t *nexts = orm_arena_calloc(&keys->arena, max, sizeof *nexts);
	uint32_t *hashes = orm_arena_calloc(&keys->arena, max, sizeof *hashes);
	uint32_t *heads = orm_arena_calloc(&keys->arena, max * 2, sizeof *heads);

	if (!values || !known || !nexts || !hashes || !heads)
		return false;
	if (keys->n_keys) {
		memcpy(values, keys->values, keys->n_keys * keys->n_columns * sizeof *values);
		memcpy(known, keys->known, keys->n_keys * sizeof *known);
		memcpy(hashes, keys->hashes, keys->n_keys * sizeof *hashes);
	}
	for (uint32_t i = 0; i < keys->n_keys; i++) {
		uint32_t *head = &heads[hashes[i] & (max * 2 - 1)];

		nexts[i] = *head;
		*head = i + 1;
	}
	keys->values = values;
	keys->known = known;
	keys->nexts = nexts;
	keys->hashes = hashes;
	keys->heads = heads;
	keys->n_heads = max * 2;
	keys->max_keys = max;
	return true;
}

/* Copies it. False if it is there already, or when out of memory (keys->failed). */
static bool put_key(ormd_key_set *keys, const orm_value *values)
{
	const uint32_t hash = ormd_values_hash(values, keys->n_columns);

	if (keys->n_keys == keys->max_keys && !grow_keys(keys)) {
		keys->failed = true;
		return false;
	}

	uint32_t *head = &keys->heads[hash & (keys->n_heads - 1)];

	for (uint32_t i = *head; i; i = keys->nexts[i - 1]) {
		if (keys->hashes[i - 1] == hash &&
		    same_key(keys->values + (size_t)(i - 1) * keys->n_columns, values, keys->n_columns))
			return false;
	}
	for (uint16_t i = 0; i < keys->n_columns; i++) {
		if (!orm_value_copy(&keys->values[keys->n_keys * keys->n_columns + i], &values[i], &keys->arena)) {
			keys->failed = true;
			return false;
		}
	}
	keys->hashes[keys->n_keys] = hash;
	keys->nexts[keys->n_keys] = *head;
	*head = (uint32_t)++keys->n_keys;
	return true;
}

/* ---- loads -------------------------------------------------------------------------------------------------- */

static uint16_t place_of(const uint16_t *columns, uint16_t n, uint16_t column)
{
	uint16_t i = 0;

	while (i < n && columns[i] != column)
		i++;
	return i;
}

orm_status ormd_query_add_load(ormd_query *query, size_t number, const orm_relationship *relationship, orm_error *error)
{
	const orm_foreign_key *key = relationship->foreign_key;
	ormd_load *load = &query->loads[number];
	uint16_t *own, *referred;

	if (relationship->mapper != query->mapper)
		return orm_fail_at(error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "this relationship cannot be loaded along with %s, which has others",
				   query->mapper->name);
	load->relationship = relationship;
	load->n_columns = key->n_columns;
	orm_arena_init(&load->keys.arena, 0);
	orm_buffer_init(&load->known);
	load->keys.n_columns = key->n_columns;
	own = orm_arena_calloc(&query->arena, key->n_columns, sizeof *own);
	referred = orm_arena_calloc(&query->arena, key->n_columns, sizeof *referred);
	if (!own || !referred)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	/* In the order of the primary key, so that the identity map understands them. */
	for (uint16_t i = 0; i < key->n_columns; i++) {
		const uint16_t place =
			key->to_key ? place_of(key->target_columns, key->n_columns, key->target->key[i]) : i;

		own[i] = key->columns[place];
		referred[i] = key->target_columns[place];
	}
	load->source = relationship->to_many ? referred : own;
	load->target = relationship->to_many ? own : referred;
	return ORM_OK;
}

void ormd_load_close(ormd_load *load)
{
	ormd_select_by_fini(&load->select);
	if (load->cursor)
		load->cursor->connection->driver->close_cursor(load->cursor);
	load->cursor = NULL;
}

void ormd_load_reset(ormd_load *load)
{
	ormd_load_close(load);
	reset_keys(&load->keys);
	orm_buffer_reset(&load->known);
	load->begun = false;
}

void ormd_load_fini(ormd_load *load)
{
	ormd_load_close(load);
	orm_arena_fini(&load->keys.arena);
	orm_buffer_fini(&load->known);
}

/* ---- collecting --------------------------------------------------------------------------------------------- */

/* May the object stand for its row without asking? It is of the unit, or was read since the unit began. */
static bool is_current(const ormd_query *query, const ormd_object *object)
{
	return !query->populate_existing && (ormd_object_pending(object) || object->epoch == query->session->epoch);
}

/* One object refers to these values. */
static void add_reference(ormd_query *query, ormd_load *load, const orm_value *values)
{
	const orm_relationship *relationship = load->relationship;
	const ormd_object *object = NULL;

	for (uint16_t i = 0; i < load->n_columns; i++) {
		if (values[i].null)
			return;
	}
	if (!put_key(&load->keys, values) || relationship->to_many || !relationship->foreign_key->to_key)
		return;
	object = ormd_unit_by_key(query->session, relationship->target, values);
	if (!object || !is_current(query, object))
		return;
	if (object->state == ORMD_STATE_NEW || object->state == ORMD_STATE_PERSISTENT)
		orm_buffer_append(&load->known, &object->handle, sizeof object->handle);
	load->keys.known[load->keys.n_keys - 1] = true; /* tell it, but do not ask for it */
}

/* What is left is to be asked for. The table of hashes is not used any more. */
static void drop_known(ormd_load *load)
{
	ormd_key_set *keys = &load->keys;
	size_t n = 0;

	for (size_t i = 0; i < keys->n_keys; i++) {
		const orm_value *values = keys->values + i * keys->n_columns;

		if (keys->known[i])
			continue;
		if (n < i)
			memcpy(keys->values + n * keys->n_columns, values, keys->n_columns * sizeof *values);
		n++;
	}
	keys->n_keys = n;
}

orm_status ormd_load_end_collecting(ormd_load *load, orm_error *error)
{
	if (load->keys.failed || load->known.failed)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	drop_known(load);
	load->select = (ormd_select_by){.mapper = load->relationship->target,
					.columns = load->target,
					.n_columns = load->n_columns,
					.values = load->keys.values,
					.n_keys = load->keys.n_keys,
					.ordered = load->relationship->to_many};
	return ORM_OK;
}

static orm_status end_collecting(ormd_query *query, orm_error *error)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < query->n_loads && status == ORM_OK; i++) {
		if (!query->loads[i].late)
			status = ormd_load_end_collecting(&query->loads[i], error);
	}
	query->next_load = ormd_query_next_load(query, 0, false);
	return status;
}

static void add_object(ormd_query *query, ormd_load *load, const ormd_object *object)
{
	orm_value values[ORM_MAX_COLUMNS];

	for (uint16_t i = 0; i < load->n_columns; i++)
		ormd_record_value(ormd_object_layout(query->session, object), object->record, load->source[i],
				  &values[i]);
	add_reference(query, load, values);
}

orm_status ormd_loads_collect_rows(ormd_query *query, const orm_batch *batch, orm_error *error)
{
	const orm_mapper *mapper = query->mapper;
	orm_vector_cursor cursors[ORM_MAX_COLUMNS];
	orm_value row[ORM_MAX_COLUMNS];
	orm_value values[ORM_MAX_COLUMNS];

	for (size_t i = 0; i < query->n_loads; i++) {
		if (!query->loads[i].late)
			ormd_load_reset(&query->loads[i]);
	}
	for (uint16_t i = 0; i < mapper->n_columns; i++)
		orm_vector_cursor_init(&cursors[i], &batch->vectors[i]);
	for (size_t number = 0; number < batch->n_rows; number++) {
		const ormd_object *object;

		for (uint16_t i = 0; i < mapper->n_columns; i++)
			orm_vector_cursor_next(&cursors[i], &row[i]);
		for (uint16_t i = 0; i < mapper->n_key; i++)
			values[i] = row[mapper->key[i]];
		object = ormd_unit_by_key(query->session, mapper, values);
		for (size_t i = 0; i < query->n_loads; i++) {
			ormd_load *load = &query->loads[i];

			if (load->scan) /* by no values */
				continue;
			if (object && is_current(query, object)) { /* its values win over the row's */
				add_object(query, load, object);
				continue;
			}
			for (uint16_t j = 0; j < load->n_columns; j++)
				values[j] = row[load->source[j]];
			add_reference(query, load, values);
		}
	}
	return end_collecting(query, error);
}

orm_status ormd_loads_collect_parents(ormd_query *query, orm_error *error)
{
	for (size_t i = 0; i < query->n_loads; i++) {
		ormd_load *load = &query->loads[i];

		ormd_load_reset(load);
		for (size_t j = 0; j < query->n_at_hand; j++) {
			const ormd_object *object =
				ormd_unit_by_handle(query->session, query->parents[query->first_parent + j]);

			if (object && (object->state == ORMD_STATE_NEW || object->state == ORMD_STATE_PERSISTENT))
				add_object(query, load, object);
		}
	}
	return end_collecting(query, error);
}

/* ---- loading for objects ------------------------------------------------------------------------------------ */

static orm_status take_parents(ormd_query *query, const uint64_t *handles, size_t n_handles, orm_error *error)
{
	query->parents = malloc((n_handles + 1) * sizeof *query->parents);
	if (!query->parents)
		return orm_fail(error, ORM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n_handles; i++) {
		const ormd_object *object = ormd_unit_by_handle(query->session, handles[i]);

		if (!object || object->mapper != query->mapper->number)
			return orm_fail_at(error, ORM_EINVAL, query->mapper->name, query->loads[0].relationship->name,
					   "an object whose relationship is to be loaded is not in the session");
		query->parents[i] = handles[i];
	}
	query->n_parents = query->max_parents = n_handles;
	return ORM_OK;
}

/* Is there any target that only the database knows? */
static orm_status must_ask(ormd_query *query, bool *must, orm_error *error)
{
	orm_status status;

	query->n_at_hand = query->n_parents;
	status = ormd_loads_collect_parents(query, error);
	*must = query->loads[0].keys.n_keys > 0;
	ormd_load_reset(&query->loads[0]);
	query->n_at_hand = 0;
	query->next_load = query->n_loads;
	return status;
}

orm_status ormd_load_open(ormd_session *session, uint32_t participant, const orm_relationship *relationship,
			  const uint64_t *handles, size_t n_handles, const ormd_query_options *options,
			  ormd_finished *finished, void *context, ormd_query **query, orm_error *error)
{
	ormd_query *load = ormd_query_new(session, options, error);
	bool rehearsal = ormd_query_depends_on_unit(session, relationship->target);
	orm_status status;

	(void)participant; /* everybody sees the same objects */
	if (!load)
		return ORM_ENOMEM;
	load->mapper = relationship->mapper;
	load->statement_done = true;
	load->loads = orm_arena_calloc(&load->arena, 1, sizeof *load->loads);
	load->n_loads = load->loads ? 1 : 0;
	load->next_load = load->next_late = load->n_loads;
	status = load->loads ? ormd_query_add_load(load, 0, relationship, error)
			     : orm_fail(error, ORM_ENOMEM, "out of memory");
	if (status == ORM_OK)
		status = take_parents(load, handles, n_handles, error);
	if (status == ORM_OK && rehearsal)
		status = must_ask(load, &rehearsal, error);
	return ormd_query_begin(load, status, rehearsal, finished, context, query, error);
}
