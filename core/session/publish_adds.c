/* SPDX-License-Identifier: MIT */
/* New objects of a draft, and their generated keys. */
#include "base/error.h"
#include "model/fail.h"
#include "session/publish.h"

/* So that a draft with handles far apart, which cost a page each, is stopped in time. */
#define MEMORY_CHECK_ROWS 1024

static const orm_vector *key_vector(const ormd_adds *adds)
{
	for (size_t i = 0; i < adds->values.n_vectors; i++) {
		if (adds->values.vectors[i].column == adds->values.mapper->key[0])
			return &adds->values.vectors[i];
	}
	return NULL;
}

static int64_t key_at(const orm_vector *vector, size_t row)
{
	if (!vector || orm_vector_is_null(vector, row))
		return 0;
	return vector->type == ORM_INT32 ? orm_vector_int32_at(vector, row) : orm_vector_int64_at(vector, row);
}

static size_t count_generated(const ormd_adds *adds)
{
	const orm_vector *vector = key_vector(adds);
	size_t n = 0;

	if (!adds->values.mapper->generated_key)
		return 0;
	if (!vector)
		return adds->values.n_rows;
	for (size_t row = 0; row < adds->values.n_rows; row++)
		n += key_at(vector, row) == 0;
	return n;
}

/* NULL: out of memory. */
static ormd_key_supply *supply_of(ormd_publish *publish, const orm_mapper *mapper)
{
	const ormd_draft *draft = publish->draft;

	if (!publish->supplies) {
		publish->supplies = orm_arena_calloc(&publish->scratch, publish->session->registry->n_mappers,
						     sizeof *publish->supplies);
		for (size_t i = 0; i < draft->n_adds && publish->supplies; i++)
			publish->supplies[draft->adds[i].values.mapper->number].wanted +=
				count_generated(&draft->adds[i]);
	}
	return publish->supplies ? &publish->supplies[mapper->number] : NULL;
}

/* An explicit key is among those still to be given: they go on after it. */
static void pass_over(ormd_key_supply *keys, int64_t key)
{
	if (keys->left == 0 || key < keys->next)
		return;

	const uint64_t reached = (uint64_t)key - (uint64_t)keys->next + 1;
	const size_t n = reached < keys->left ? (size_t)reached : keys->left;

	keys->next += (int64_t)n;
	keys->left -= n;
	keys->wanted += n;
}

static orm_status refill(ormd_session *session, const orm_mapper *mapper, ormd_key_supply *keys, orm_error *error)
{
	ormd_mapper_unit *unit = &session->mappers[mapper->number];
	const int64_t limit = mapper->columns[mapper->key[0]].type == ORM_INT32 ? INT32_MAX : INT64_MAX;
	uint32_t n = 0;

	if (keys->wanted > UINT32_MAX)
		return orm_fail_at(error, ORM_ELIMIT, mapper->name, NULL,
				   "too many rows to add in one draft: publish in between");
	if (session->database) {
		orm_status status = session->pin
					    ? ormd_database_learn_keys(session->database, session->pin, mapper, error)
					    : ORM_OK;

		if (status == ORM_OK)
			status = ormd_database_reserve_keys(session->database, mapper, (uint32_t)keys->wanted,
							    &keys->next, &n, error);

		if (status != ORM_OK)
			return status;
	} else {
		n = (uint32_t)keys->wanted;
		keys->next = unit->next_key;
		unit->next_key += n;
	}
	keys->left = n;
	keys->wanted -= n;
	if (keys->next > limit - ((int64_t)n - 1))
		return orm_fail_at(error, ORM_ELIMIT, mapper->name, mapper->columns[mapper->key[0]].name,
				   "no generated keys are left in this column: make it an int64_t");
	return ORM_OK;
}

void ormd_keys_note(ormd_session *session, const orm_mapper *mapper, int64_t key)
{
	ormd_mapper_unit *unit = &session->mappers[mapper->number];

	if (session->database)
		ormd_database_note_key(session->database, mapper, key);
	else if (key >= unit->next_key && key < INT64_MAX)
		unit->next_key = key + 1;
}

/* Columns that are neither given, nor NULL, nor made by the server. */
static orm_status check_required(ormd_publish *publish, const ormd_adds *adds)
{
	const orm_mapper *mapper = adds->values.mapper;
	uint8_t given[(ORM_MAX_COLUMNS + 7) / 8] = {0};

	for (size_t i = 0; i < adds->values.n_vectors; i++)
		given[adds->values.vectors[i].column >> 3] |= (uint8_t)(1U << (adds->values.vectors[i].column & 7));
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		const orm_column *column = &mapper->columns[i];

		if (given[i >> 3] >> (i & 7) & 1 || column->nullable || column->server_default ||
		    i == mapper->version || (column->primary_key && mapper->generated_key) ||
		    ormd_references_set(adds->references, adds->n_references, i))
			continue;
		return ormd_publish_fault(
			publish, NULL, adds->handles && adds->values.n_rows ? adds->handles[0] : adds->first_handle,
			orm_fail_at(publish->error, ORM_EINVAL, mapper->name, column->name,
				    "a value is required: the column may not be NULL and has no default"));
	}
	return ORM_OK;
}

/* Says in the reply that this object got this key; runs of both become one range. */
static bool put_key(ormd_publish *publish, uint64_t handle, int64_t key)
{
	ormd_published *published = publish->published;
	ormd_key_range *keys = (ormd_key_range *)published->keys; /* ours until we return it */
	ormd_key_range *last = published->n_keys ? &keys[published->n_keys - 1] : NULL;

	if (last && handle == last->first_handle + last->count && key == last->first_key + last->count &&
	    last->count < UINT32_MAX) {
		last->count++;
		return true;
	}
	if (published->n_keys == publish->max_keys) {
		const size_t max = publish->max_keys ? publish->max_keys * 2 : 4;

		keys = orm_arena_alloc(publish->arena, max * sizeof *keys);
		if (!keys)
			return false;
		if (published->n_keys > 0)
			memcpy(keys, published->keys, published->n_keys * sizeof *keys);
		published->keys = keys;
		publish->max_keys = max;
	}
	keys[published->n_keys++] = (ormd_key_range){handle, key, 1};
	return true;
}

static ormd_object *create(ormd_publish *publish, const orm_mapper *mapper, uint64_t handle, ormd_record *record)
{
	ormd_session *session = publish->session;
	ormd_object *object = record ? ormd_object_new(session, mapper, handle, record) : NULL;

	if (!object) {
		ormd_record_free(record, &session->pool);
		return NULL;
	}
	object->change = ormd_change_new(session, object);
	if (!object->change) {
		ormd_object_free(session, object);
		return NULL;
	}
	object->state = ORMD_STATE_NEW;
	object->flags = ORMD_FLAG_OWN_RECORD;
	object->change->revision = publish->mark.revision;
	object->change->added = publish->mark;
	object->change->order = session->next_order++;
	object->change->pending = true;
	object->change->draft = session->draft;
	ormd_change_append(session, object->change);
	publish->created[publish->n_created++] = object;
	return object;
}

static orm_status check_new_handle(ormd_publish *publish, const orm_mapper *mapper, uint64_t handle)
{
	const char *wrong = NULL;

	if (handle >> ORMD_HANDLE_SHIFT != publish->participant ||
	    (handle & ((UINT64_C(1) << ORMD_HANDLE_SHIFT) - 1)) == 0)
		wrong = "a new object's handle must be the participant's own";
	else if (ormd_handles_get(&publish->session->handles, handle))
		wrong = "a new object's handle was used before";
	if (!wrong)
		return ORM_OK;
	return ormd_publish_fault(publish, NULL, handle,
				  orm_fail_at(publish->error, ORM_EINVAL, mapper->name, NULL, "%s", wrong));
}

orm_status ormd_publish_adds(ormd_publish *publish, const ormd_adds *adds)
{
	ormd_session *session = publish->session;
	const orm_mapper *mapper = adds->values.mapper;
	ormd_mapper_unit *unit = &session->mappers[mapper->number];
	const orm_vector *keys = key_vector(adds);
	ormd_key_supply *supply = supply_of(publish, mapper);
	ormd_record_reader reader;
	int64_t highest = 0;
	orm_status status = check_required(publish, adds);

	if (status != ORM_OK)
		return status;
	if (!supply || !ormd_record_reader_init(&reader, &unit->layout, &adds->values, &publish->scratch))
		return ormd_publish_no_memory(publish);
	for (size_t row = 0; row < adds->values.n_rows; row++) {
		const uint64_t handle = adds->handles ? adds->handles[row] : adds->first_handle + row;

		status = check_new_handle(publish, mapper, handle);
		if (status == ORM_OK && row % MEMORY_CHECK_ROWS == MEMORY_CHECK_ROWS - 1)
			status = ormd_publish_check_memory(publish);
		if (status != ORM_OK)
			return status;

		ormd_object *object = create(publish, mapper, handle, ormd_record_reader_next(&reader, &session->pool));

		if (!object)
			return ormd_publish_no_memory(publish);
		if (!mapper->generated_key)
			continue;

		const int64_t key = key_at(keys, row);

		if (key > highest)
			highest = key;
		if (key != 0)
			continue;
		if (supply->left == 0 && (status = refill(session, mapper, supply, publish->error)) != ORM_OK)
			return status;
		supply->left--;
		ormd_record_set_integer(&unit->layout, object->record, mapper->key[0], supply->next);
		if (!put_key(publish, handle, supply->next++))
			return ormd_publish_no_memory(publish);
	}
	if (highest > 0) {
		ormd_keys_note(session, mapper, highest);
		pass_over(supply, highest);
	}
	return ORM_OK;
}
