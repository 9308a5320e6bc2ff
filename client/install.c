/* SPDX-License-Identifier: MIT */
/*
 * Rows that arrive, into structs. Column by column: a chunk of rows at a time gets its structs, then each column is
 * written down the chunk. A new object's row goes straight into its struct; a mirrored one's into a scratch struct
 * first, from which it takes what is not edited.
 */
#include <stdlib.h>

#include "client/family.h"
#include "client/relationship.h"
#include "model/batch.h"
#include "model/fail.h"

#define CHUNK 128

typedef struct orm_incoming {
	orm_mirror *mirror;
	orm_model_state *model;
	const orm_layout *layout;
	orm_install_kind kind;
	orm_batch batch;
	const char **next_text;  /* one per vector: where the next row's text starts */
	const uint64_t *handles; /* NULL: first_handle + row */
	uint64_t first_handle;
	orm_error *error;
	char *rows[CHUNK];          /* the struct to write each row into */
	orm_object *objects[CHUNK]; /* NULL: unknown, and passed over */
	bool fresh[CHUNK];
} orm_incoming;

/* ---- the message as a batch --------------------------------------------------------------------------------- */

static void read_column(const Ormd__V1__Column *message, uint8_t type, orm_vector *vector, size_t *n_cells,
			size_t *nulls_size)
{
	*vector = (orm_vector){.column = (uint16_t)message->column, .type = type};
	*nulls_size = message->nulls.len;
	*n_cells = 0;
	vector->nulls = message->nulls.len > 0 ? message->nulls.data : NULL;
	switch (type) {
	case ORM_BOOL:
		vector->cells = message->booleans.data;
		*n_cells = message->booleans.len;
		break;
	case ORM_INT32:
	case ORM_DATE:
		vector->cells = message->int32s;
		*n_cells = message->n_int32s;
		break;
	case ORM_DOUBLE:
		vector->cells = message->doubles;
		*n_cells = message->n_doubles;
		break;
	case ORM_UUID:
		vector->cells = message->blob.data;
		*n_cells = message->blob.len / sizeof(orm_uuid);
		if (message->blob.len % sizeof(orm_uuid) != 0)
			*n_cells = SIZE_MAX; /* is never how many rows there are */
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		vector->cells = message->text.data;
		vector->size = message->text.len;
		break;
	case ORM_BYTES:
		vector->cells = message->blob.data;
		vector->size = message->blob.len;
		vector->ends = message->blob_ends;
		*n_cells = message->n_blob_ends;
		break;
	default:
		vector->cells = message->int64s;
		*n_cells = message->n_int64s;
		break;
	}
}

static orm_status read_batch(orm_incoming *in, const Ormd__V1__Batch *message, orm_arena *arena)
{
	const orm_mapper *mapper = in->layout->mapper;
	const size_t n = message->n_columns;
	orm_vector *vectors = orm_arena_calloc(arena, n, sizeof vectors[0]);
	size_t *n_cells = orm_arena_calloc(arena, n, sizeof n_cells[0]);
	size_t *nulls_size = orm_arena_calloc(arena, n, sizeof nulls_size[0]);

	in->next_text = orm_arena_calloc(arena, n, sizeof in->next_text[0]);
	if (!vectors || !n_cells || !nulls_size || !in->next_text)
		return orm_mirror_no_memory(in->error);
	for (size_t i = 0; i < n; i++) {
		const uint32_t column = message->columns[i]->column;

		if (column >= mapper->n_columns)
			return orm_fail_at(in->error, ORM_EPROTOCOL, mapper->name, NULL,
					   "the server sent a column %u, but the model has %u", (unsigned)column,
					   (unsigned)mapper->n_columns);
		read_column(message->columns[i], (uint8_t)mapper->columns[column].type, &vectors[i], &n_cells[i],
			    &nulls_size[i]);
		in->next_text[i] = vectors[i].cells;
	}
	in->batch = (orm_batch){
		.mapper = mapper,
		.n_rows = message->rows,
		.n_vectors = n,
		.vectors = vectors,
		.uncommitted = true,
	};
	return orm_batch_check(&in->batch, n_cells, nulls_size, in->error);
}

/* ---- cells down a chunk ------------------------------------------------------------------------------------- */

#define WRITE_PLAIN(type, cells, at)                                                                                   \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < n; i_++)                                                                      \
			*(type *)(void *)(in->rows[i_] + (at)) = ((const type *)(cells))[first + i_];                  \
	} while (0)

#define WRITE_OPTIONAL(opt, field, type, cells, at)                                                                    \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < n; i_++) {                                                                    \
			opt *to_ = (opt *)(void *)(in->rows[i_] + (at));                                               \
			to_->has = !orm_vector_is_null(vector, first + i_);                                            \
			to_->field = ((const type *)(cells))[first + i_];                                              \
		}                                                                                                      \
	} while (0)

static void write_optional(orm_incoming *in, const orm_vector *vector, const orm_member *member, size_t first, size_t n)
{
	switch (member->type) {
	case ORM_BOOL:
		WRITE_OPTIONAL(orm_opt_bool, value, bool, vector->cells, member->offset);
		break;
	case ORM_INT32:
		WRITE_OPTIONAL(orm_opt_int32, value, int32_t, vector->cells, member->offset);
		break;
	case ORM_INT64:
		WRITE_OPTIONAL(orm_opt_int64, value, int64_t, vector->cells, member->offset);
		break;
	case ORM_DOUBLE:
		WRITE_OPTIONAL(orm_opt_double, value, double, vector->cells, member->offset);
		break;
	case ORM_DATE:
		WRITE_OPTIONAL(orm_opt_date, value.days, int32_t, vector->cells, member->offset);
		break;
	case ORM_UUID:
		WRITE_OPTIONAL(orm_opt_uuid, value, orm_uuid, vector->cells, member->offset);
		break;
	case ORM_TIME:
		WRITE_OPTIONAL(orm_opt_time, value.us, int64_t, vector->cells, member->offset);
		break;
	default:
		WRITE_OPTIONAL(orm_opt_datetime, value.us, int64_t, vector->cells, member->offset);
		break;
	}
}

static void write_text(orm_incoming *in, size_t number, const orm_member *member, size_t first, size_t n)
{
	const orm_vector *vector = &in->batch.vectors[number];
	const char *next = in->next_text[number];

	for (size_t i = 0; i < n; i++) {
		*(const char **)(void *)(in->rows[i] + member->offset) =
			orm_vector_is_null(vector, first + i) ? NULL : next;
		next += strlen(next) + 1;
	}
	in->next_text[number] = next;
}

static void write_column(orm_incoming *in, size_t number, size_t first, size_t n)
{
	const orm_vector *vector = &in->batch.vectors[number];
	const orm_member *member = &in->layout->members[vector->column];

	if (member->optional) {
		write_optional(in, vector, member, first, n);
		return;
	}
	switch (member->type) {
	case ORM_BOOL:
		WRITE_PLAIN(bool, vector->cells, member->offset);
		break;
	case ORM_INT32:
	case ORM_DATE:
		WRITE_PLAIN(int32_t, vector->cells, member->offset);
		break;
	case ORM_DOUBLE:
		WRITE_PLAIN(double, vector->cells, member->offset);
		break;
	case ORM_UUID:
		WRITE_PLAIN(orm_uuid, vector->cells, member->offset);
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		write_text(in, number, member, first, n);
		break;
	case ORM_BYTES:
		for (size_t i = 0; i < n; i++) {
			orm_bytes *bytes = (orm_bytes *)(void *)(in->rows[i] + member->offset);
			uint32_t size;

			bytes->data = orm_vector_bytes_at(vector, first + i, &size);
			bytes->size = size;
		}
		break;
	default:
		WRITE_PLAIN(int64_t, vector->cells, member->offset);
		break;
	}
}

/* ---- mirrored objects --------------------------------------------------------------------------------------- */

/* Does the row change what this object is found by? */
static bool changes_key(const orm_incoming *in, const void *snapshot, const void *row)
{
	for (size_t i = 0; i < in->batch.n_vectors; i++) {
		const orm_member *member = &in->layout->members[in->batch.vectors[i].column];

		if ((member->key || member->referenced) && !orm_member_identical(member, snapshot, row) &&
		    !orm_member_equal(member, snapshot, row))
			return true;
	}
	return false;
}

/* One member: the snapshot always takes it; the struct, unless it has an edit. */
static void merge_member(orm_incoming *in, orm_object *object, const orm_member *member, const void *row)
{
	void *snapshot = orm_snapshot_of(object);
	const bool same = orm_member_identical(member, snapshot, row) || orm_member_equal(member, snapshot, row);
	bool edited;

	if (same && in->kind != INSTALL_CHANGED)
		return;
	edited = orm_is_edited(object, member);
	if (edited && in->kind == INSTALL_CHANGED && !orm_dispute_put_seen(in->mirror, object, member, in->mirror->seen))
		in->mirror->out_of_memory = true;
	if (same)
		return;
	orm_member_copy(member, snapshot, row);
	if (!edited)
		orm_member_copy(member, orm_struct_of(object), row);
}

static void merge_row(orm_incoming *in, orm_object *object, const void *row)
{
	orm_mirror *mirror = in->mirror;
	const bool rekey = changes_key(in, orm_snapshot_of(object), row);

	if (rekey) {
		orm_key_remove(mirror, object);
		orm_parent_leaves(mirror, object);
	}
	for (size_t i = 0; i < in->batch.n_vectors; i++)
		merge_member(in, object, &in->layout->members[in->batch.vectors[i].column], row);
	if (rekey) {
		if (!orm_key_put(mirror, object))
			mirror->out_of_memory = true;
		orm_parent_keyed(mirror, object);
		for (uint16_t i = 0; i < in->layout->n_in; i++)
			orm_family_show_lists(object, in->layout->in[i]);
	}
	if (in->kind == INSTALL_CHANGED && (object->flags & OBJECT_DELETING) &&
	    !orm_dispute_put(mirror, object, ORM_NO_NUMBER, mirror->seen))
		mirror->out_of_memory = true;
	if (in->kind != INSTALL_CHANGED && (object->flags & (OBJECT_EXPIRED | OBJECT_UNLINKED))) {
		orm_object_unflag(object, OBJECT_EXPIRED | OBJECT_UNLINKED);
		for (uint16_t i = 0; i < in->layout->n_out; i++)
			orm_family_show_pointers(object, in->layout->out[i], false);
	}
	if (!(object->flags & (OBJECT_DELETING | OBJECT_DELETED))) {
		for (uint16_t i = 0; i < in->layout->n_out; i++)
			orm_settle_columns(mirror, object, in->layout->out[i]);
	}
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

static void finish_new(orm_incoming *in, orm_object *object)
{
	orm_mirror *mirror = in->mirror;
	const orm_layout *layout = in->layout;

	memcpy(orm_snapshot_of(object), orm_struct_of(object), layout->size);
	if (!orm_key_put(mirror, object))
		mirror->out_of_memory = true;
	if (in->kind == INSTALL_ADDED)
		orm_object_flag(object, OBJECT_PENDING);
	if (layout->n_out > 0)
		orm_child_arrives(mirror, object, false);
	if (layout->n_in > 0)
		orm_parent_keyed(mirror, object);
}

/* The object of row i of the chunk, and where its row is written. */
static orm_status place_row(orm_incoming *in, size_t i, uint64_t handle)
{
	orm_object *object = orm_mirror_by_handle(in->mirror, handle);

	if (handle == 0)
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->layout->model->name, NULL,
				   "the server sent a row without a handle");
	if (object && orm_layout_of(object) != in->layout)
		return orm_fail_at(in->error, ORM_EPROTOCOL, in->layout->model->name, NULL,
				   "the server sent a row for an object of model %s",
				   orm_layout_of(object)->model->name);
	in->fresh[i] = !object && in->kind != INSTALL_CHANGED;
	if (in->fresh[i]) {
		object = orm_slab_take(in->mirror, in->model);
		if (!object || !orm_handle_put(in->mirror, handle, object))
			return orm_mirror_no_memory(in->error);
		object->handle = handle;
		in->rows[i] = orm_struct_of(object);
	} else {
		in->rows[i] = (char *)in->model->scratch + i * in->layout->size;
	}
	memcpy(in->rows[i], in->layout->blank, in->layout->size);
	in->objects[i] = object;
	return ORM_OK;
}

/* The new ones of the chunk's first n rows have no values, and never were. */
static void give_up(orm_incoming *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!in->fresh[i])
			continue;
		orm_handle_remove(in->mirror, in->objects[i]->handle);
		in->objects[i]->flags = OBJECT_GONE;
	}
}

static bool room_for(orm_mirror_result *result, size_t more, orm_arena *arena)
{
	size_t capacity = result->capacity ? result->capacity : 16;
	void **items;

	if (result->capacity - result->len >= more)
		return true;
	while (capacity - result->len < more)
		capacity *= 2;
	items = orm_arena_alloc(arena, capacity * sizeof items[0]);
	if (!items)
		return false;
	if (result->len > 0)
		memcpy(items, result->items, result->len * sizeof items[0]);
	result->items = items;
	result->capacity = capacity;
	return true;
}

static orm_status take_chunk(orm_incoming *in, size_t first, size_t n, orm_mirror_result *result)
{
	for (size_t i = 0; i < n; i++) {
		const orm_status status =
			place_row(in, i, in->handles ? in->handles[first + i] : in->first_handle + first + i);

		if (status != ORM_OK) {
			give_up(in, i);
			return status;
		}
	}
	for (size_t v = 0; v < in->batch.n_vectors; v++)
		write_column(in, v, first, n);
	for (size_t i = 0; i < n; i++) {
		if (in->fresh[i])
			finish_new(in, in->objects[i]);
		else if (in->objects[i])
			merge_row(in, in->objects[i], in->rows[i]);
	}
	if (!result)
		return ORM_OK;
	if (!room_for(result, n, &in->mirror->arena))
		return orm_mirror_no_memory(in->error);
	for (size_t i = 0; i < n; i++)
		result->items[result->len++] = orm_struct_of(in->objects[i]);
	return ORM_OK;
}

static orm_status take_rows(orm_incoming *in, orm_mirror_result *result)
{
	for (size_t first = 0; first < in->batch.n_rows; first += CHUNK) {
		const size_t left = in->batch.n_rows - first;
		const orm_status status = take_chunk(in, first, left < CHUNK ? left : CHUNK, result);

		if (status != ORM_OK)
			return status;
	}
	if (in->mirror->out_of_memory) {
		in->mirror->out_of_memory = false;
		return orm_mirror_no_memory(in->error);
	}
	return ORM_OK;
}

orm_status orm_install(orm_mirror *mirror, const Ormd__V1__Objects *objects, orm_install_kind kind,
		       orm_mirror_result *result, orm_error *error)
{
	orm_incoming in = {.mirror = mirror, .kind = kind, .error = error};
	const Ormd__V1__Batch *values = objects->values;
	orm_status status;
	orm_arena arena;

	if (!values || values->rows == 0)
		return ORM_OK;
	if (values->model >= mirror->binding->n_layouts)
		return orm_fail(error, ORM_EPROTOCOL,
				"the server sent rows of model number %u, but there are %u models",
				(unsigned)values->model, (unsigned)mirror->binding->n_layouts);
	in.model = &mirror->models[values->model];
	in.layout = in.model->layout;
	in.handles = objects->n_handles > 0 ? objects->handles : NULL;
	in.first_handle = objects->first_handle;
	if (in.handles && objects->n_handles != values->rows)
		return orm_fail_at(error, ORM_EPROTOCOL, in.layout->model->name, NULL,
				   "the server sent %zu handles for %u rows", objects->n_handles,
				   (unsigned)values->rows);
	if (!in.model->scratch)
		in.model->scratch = malloc(CHUNK * in.layout->size);
	if (!in.model->scratch)
		return orm_mirror_no_memory(error);
	orm_arena_init(&arena, 0);
	status = read_batch(&in, values, &arena);
	if (status == ORM_OK)
		status = take_rows(&in, result);
	orm_arena_fini(&arena);
	return status;
}

orm_status orm_mirror_install(orm_mirror *mirror, const Ormd__V1__Objects *objects, orm_mirror_result *result,
			      orm_error *error)
{
	return orm_install(mirror, objects, INSTALL_ROWS, result, error);
}

/* ---- relationships that are complete ------------------------------------------------------------------------ */

static bool load_one(orm_mirror *mirror, orm_object *object, const orm_relation *relation)
{
	const orm_association *association = relation->association;
	orm_family *family;

	if (relation->to_many)
		return orm_family_load(mirror, object, relation);
	if (object->flags & OBJECT_UNLINKED) {
		orm_object_unflag(object, OBJECT_UNLINKED);
		for (uint16_t i = 0; i < relation->owner->n_out; i++)
			orm_family_show_pointers(object, relation->owner->out[i], false);
	}
	family = orm_families_out(object)[association->child_slot];
	if (family && family->keyed && !family->parent && !family->missing) {
		family->missing = true;
		for (size_t i = 0; i < family->len; i++)
			orm_family_show_pointers(orm_object_of(family->items[i]), association, false);
	}
	return true;
}

orm_status orm_mirror_loaded(orm_mirror *mirror, const Ormd__V1__Loaded *loaded, orm_error *error)
{
	const orm_layout *layout;

	if (loaded->model >= mirror->binding->n_layouts ||
	    loaded->relationship >= mirror->binding->layouts[loaded->model].n_relations)
		return orm_fail(error, ORM_EPROTOCOL,
				"the server loaded a relationship %u of model number %u, which does not exist",
				(unsigned)loaded->relationship, (unsigned)loaded->model);
	layout = &mirror->binding->layouts[loaded->model];
	for (size_t i = 0; i < loaded->n_parents; i++) {
		orm_object *object = orm_mirror_by_handle(mirror, loaded->parents[i]);

		if (!object || orm_layout_of(object) != layout)
			continue; /* left meanwhile */
		if (!load_one(mirror, object, &layout->relations[loaded->relationship]))
			return orm_mirror_no_memory(error);
	}
	return ORM_OK;
}
