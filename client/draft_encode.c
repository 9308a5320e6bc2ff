/* SPDX-License-Identifier: MIT */
#include "client/draft_encode.h"

#include "client/family.h"
#include "model/fail.h"

#define MAX_ROWS                                                                                                       \
	4096 /* of one batch, where the server names no limit: what is measured is still in the cache when it is       \
		copied */
#define BATCH_OVERHEAD  64 /* tags and lengths of a batch, and the run's own fields */
#define COLUMN_OVERHEAD 40 /* the same of a column, with its bitmap's */

/* One batch under way. */
typedef struct encoded_chunk {
	const orm_shape *shape;
	orm_object *const *objects;
	const char **rows; /* their structs */
	size_t n;
	uint16_t *columns; /* the numbers in the shape's set */
	size_t n_columns;
	uint32_t **sizes; /* of each text or bytes column: of each row's value, a text's with its NUL; else NULL */
	size_t *n_nulls;  /* of each column */
} encoded_chunk;

bool orm_pointers_add(orm_pointers *pointers, void *item, orm_arena *arena)
{
	if (pointers->len == pointers->capacity) {
		const size_t capacity = pointers->capacity ? pointers->capacity * 2 : 8;
		void **items = orm_arena_alloc(arena, capacity * sizeof items[0]);

		if (!items)
			return false;
		if (pointers->len > 0)
			memcpy(items, pointers->items, pointers->len * sizeof items[0]);
		pointers->items = items;
		pointers->capacity = capacity;
	}
	pointers->items[pointers->len++] = item;
	return true;
}

static bool has_size(const orm_member *member)
{
	return orm_type_is_text(member->type) || member->type == ORM_BYTES;
}

static const char *text_at(const char *row, const orm_member *member)
{
	return *(const char *const *)(const void *)(row + member->offset);
}

static const orm_bytes *bytes_at(const char *row, const orm_member *member)
{
	return (const orm_bytes *)(const void *)(row + member->offset);
}

/* ---- cells -------------------------------------------------------------------------------------------------- */

#define PUT_CELLS(type, cells)                                                                                         \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < chunk->n; i_++)                                                               \
			(cells)[i_] = *(const type *)(const void *)(chunk->rows[i_] + member->value_offset);           \
	} while (0)

/* NULL optionals may hold anything; on the wire they are zero. */
#define CLEAR_NULLS(cells)                                                                                             \
	do {                                                                                                           \
		for (size_t i_ = 0; member->optional && i_ < chunk->n; i_++) {                                         \
			if (!chunk->rows[i_][member->offset])                                                          \
				(cells)[i_] = 0;                                                                       \
		}                                                                                                      \
	} while (0)

static bool put_text(const encoded_chunk *chunk, const orm_member *member, const uint32_t *sizes,
		     Ormd__V1__Column *column, orm_arena *arena)
{
	size_t size = 0;
	char *next;

	for (size_t i = 0; i < chunk->n; i++)
		size += sizes[i];
	next = orm_arena_alloc(arena, size);
	if (!next)
		return false;
	column->has_text = true;
	column->text = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)next};
	for (size_t i = 0; i < chunk->n; i++) {
		const char *text = text_at(chunk->rows[i], member);

		if (text)
			memcpy(next, text, sizes[i]);
		else
			*next = '\0';
		next += sizes[i];
	}
	return true;
}

static bool put_bytes(const encoded_chunk *chunk, const orm_member *member, const uint32_t *sizes,
		      Ormd__V1__Column *column, orm_arena *arena)
{
	size_t size = 0;
	uint8_t *blob;
	uint32_t end = 0;

	for (size_t i = 0; i < chunk->n; i++)
		size += sizes[i];
	blob = orm_arena_alloc(arena, size);
	column->blob_ends = orm_arena_alloc(arena, chunk->n * sizeof column->blob_ends[0]);
	if (!blob || !column->blob_ends)
		return false;
	column->has_blob = true;
	column->blob = (ProtobufCBinaryData){.len = size, .data = blob};
	column->n_blob_ends = chunk->n;
	for (size_t i = 0; i < chunk->n; i++) {
		if (sizes[i] > 0)
			memcpy(blob + end, bytes_at(chunk->rows[i], member)->data, sizes[i]);
		end += sizes[i];
		column->blob_ends[i] = end;
	}
	return true;
}

static bool put_uuids(const encoded_chunk *chunk, const orm_member *member, Ormd__V1__Column *column, orm_arena *arena)
{
	orm_uuid *cells = orm_arena_calloc(arena, chunk->n, sizeof cells[0]);

	if (!cells)
		return false;
	for (size_t i = 0; i < chunk->n; i++) {
		if (!member->optional || chunk->rows[i][member->offset])
			memcpy(&cells[i], chunk->rows[i] + member->value_offset, sizeof cells[i]);
	}
	column->has_blob = true;
	column->blob = (ProtobufCBinaryData){.len = chunk->n * sizeof cells[0], .data = cells[0].bytes};
	return true;
}

static bool put_cells(const encoded_chunk *chunk, const orm_member *member, const uint32_t *sizes,
		      Ormd__V1__Column *column, orm_arena *arena)
{
	const size_t n = chunk->n;

	switch (member->type) {
	case ORM_BOOL: {
		uint8_t *cells = orm_arena_alloc(arena, n);

		if (!cells)
			return false;
		for (size_t i = 0; i < n; i++)
			cells[i] = chunk->rows[i][member->value_offset] != 0;
		CLEAR_NULLS(cells);
		column->has_booleans = true;
		column->booleans = (ProtobufCBinaryData){.len = n, .data = cells};
		return true;
	}
	case ORM_INT32:
	case ORM_DATE:
		column->n_int32s = n;
		column->int32s = orm_arena_alloc(arena, n * sizeof column->int32s[0]);
		if (!column->int32s)
			return false;
		PUT_CELLS(int32_t, column->int32s);
		CLEAR_NULLS(column->int32s);
		return true;
	case ORM_DOUBLE:
		column->n_doubles = n;
		column->doubles = orm_arena_alloc(arena, n * sizeof column->doubles[0]);
		if (!column->doubles)
			return false;
		PUT_CELLS(double, column->doubles);
		CLEAR_NULLS(column->doubles);
		return true;
	case ORM_UUID:
		return put_uuids(chunk, member, column, arena);
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		return put_text(chunk, member, sizes, column, arena);
	case ORM_BYTES:
		return put_bytes(chunk, member, sizes, column, arena);
	default:
		column->n_int64s = n;
		column->int64s = orm_arena_alloc(arena, n * sizeof column->int64s[0]);
		if (!column->int64s)
			return false;
		PUT_CELLS(int64_t, column->int64s);
		CLEAR_NULLS(column->int64s);
		return true;
	}
}

static bool put_nulls(const encoded_chunk *chunk, const orm_member *member, Ormd__V1__Column *column, orm_arena *arena)
{
	const size_t size = (chunk->n + 7) / 8;
	uint8_t *nulls = orm_arena_calloc(arena, size, 1);

	if (!nulls)
		return false;
	for (size_t i = 0; i < chunk->n; i++) {
		if (orm_member_is_null(member, chunk->rows[i]))
			nulls[i / 8] = (uint8_t)(nulls[i / 8] | 1U << (i % 8));
	}
	column->has_nulls = true;
	column->nulls = (ProtobufCBinaryData){.len = size, .data = nulls};
	return true;
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

static Ormd__V1__Batch *make_batch(const encoded_chunk *chunk, orm_arena *arena)
{
	Ormd__V1__Batch *batch = orm_arena_alloc(arena, sizeof *batch);
	Ormd__V1__Column **list = orm_arena_calloc(arena, chunk->n_columns, sizeof list[0]);
	Ormd__V1__Column *columns = orm_arena_calloc(arena, chunk->n_columns, sizeof columns[0]);

	if (!batch || !list || !columns)
		return NULL;
	ormd__v1__batch__init(batch);
	batch->has_model = batch->has_rows = true;
	batch->model = chunk->shape->layout->number;
	batch->rows = (uint32_t)chunk->n;
	batch->n_columns = chunk->n_columns;
	batch->columns = list;
	for (size_t c = 0; c < chunk->n_columns; c++) {
		const orm_member *member = &chunk->shape->layout->members[chunk->columns[c]];

		list[c] = &columns[c];
		ormd__v1__column__init(list[c]);
		list[c]->has_column = true;
		list[c]->column = chunk->columns[c];
		if (!put_cells(chunk, member, chunk->sizes[c], list[c], arena) ||
		    (chunk->n_nulls[c] > 0 && !put_nulls(chunk, member, list[c], arena)))
			return NULL;
	}
	return batch;
}

static uint64_t *list_handles(const encoded_chunk *chunk, orm_arena *arena)
{
	uint64_t *handles = orm_arena_alloc(arena, chunk->n * sizeof handles[0]);

	for (size_t i = 0; handles && i < chunk->n; i++)
		handles[i] = chunk->objects[i]->handle;
	return handles;
}

static bool are_consecutive(const encoded_chunk *chunk)
{
	for (size_t i = 1; i < chunk->n; i++) {
		if (chunk->objects[i]->handle != chunk->objects[0]->handle + i)
			return false;
	}
	return true;
}

static Ormd__V1__Objects *make_objects(const encoded_chunk *chunk, orm_arena *arena)
{
	Ormd__V1__Objects *objects = orm_arena_alloc(arena, sizeof *objects);

	if (!objects)
		return NULL;
	ormd__v1__objects__init(objects);
	objects->values = make_batch(chunk, arena);
	if (are_consecutive(chunk)) {
		objects->has_first_handle = true;
		objects->first_handle = chunk->objects[0]->handle;
	} else {
		objects->n_handles = chunk->n;
		objects->handles = list_handles(chunk, arena);
		if (!objects->handles)
			return NULL;
	}
	return objects->values ? objects : NULL;
}

/* The shape's references, with a target for each row. NULL: out of memory. */
static Ormd__V1__References **make_references(const encoded_chunk *chunk, size_t *n, orm_arena *arena)
{
	const orm_layout *layout = chunk->shape->layout;
	Ormd__V1__References **list = orm_arena_calloc(arena, layout->n_out, sizeof list[0]);

	*n = 0;
	for (uint16_t a = 0; list && chunk->shape->references && a < layout->n_out; a++) {
		Ormd__V1__References *references;

		if (!chunk->shape->references[a])
			continue;
		references = orm_arena_alloc(arena, sizeof *references);
		if (!references)
			return NULL;
		ormd__v1__references__init(references);
		references->has_relationship = true;
		references->relationship = layout->out[a]->pointers[0]->number;
		references->n_targets = chunk->n;
		references->targets = orm_arena_alloc(arena, chunk->n * sizeof references->targets[0]);
		if (!references->targets)
			return NULL;
		for (size_t i = 0; i < chunk->n; i++)
			references->targets[i] = orm_families_out(chunk->objects[i])[a]->parent->handle;
		list[(*n)++] = references;
	}
	return list;
}

static const Ormd__V1__Batch *add_adds(orm_encoder *encoder, const encoded_chunk *chunk)
{
	Ormd__V1__Adds *adds = orm_arena_alloc(encoder->arena, sizeof *adds);

	if (!adds)
		return NULL;
	ormd__v1__adds__init(adds);
	adds->objects = make_objects(chunk, encoder->arena);
	adds->references = make_references(chunk, &adds->n_references, encoder->arena);
	if (!adds->objects || !adds->references || !orm_pointers_add(&encoder->adds, adds, encoder->arena))
		return NULL;
	return adds->objects->values;
}

static const Ormd__V1__Batch *add_updates(orm_encoder *encoder, const encoded_chunk *chunk)
{
	Ormd__V1__Updates *updates = orm_arena_alloc(encoder->arena, sizeof *updates);

	if (!updates)
		return NULL;
	ormd__v1__updates__init(updates);
	updates->has_base_rev = true;
	updates->base_rev = chunk->shape->base;
	updates->objects = make_objects(chunk, encoder->arena);
	updates->references = make_references(chunk, &updates->n_references, encoder->arena);
	if (!updates->objects || !updates->references || !orm_pointers_add(&encoder->updates, updates, encoder->arena))
		return NULL;
	return updates->objects->values;
}

static bool add_deletes(orm_encoder *encoder, const encoded_chunk *chunk)
{
	Ormd__V1__Deletes *deletes = orm_arena_alloc(encoder->arena, sizeof *deletes);

	if (!deletes)
		return false;
	ormd__v1__deletes__init(deletes);
	deletes->has_model = deletes->has_base_rev = true;
	deletes->model = chunk->shape->layout->number;
	deletes->base_rev = chunk->shape->base;
	deletes->n_handles = chunk->n;
	deletes->handles = list_handles(chunk, encoder->arena);
	return deletes->handles && orm_pointers_add(&encoder->deletes, deletes, encoder->arena);
}

/* ---- cutting ------------------------------------------------------------------------------------------------ */

static orm_status close_part(orm_encoder *encoder)
{
	Ormd__V1__Draft *part;

	if (!encoder->started)
		return ORM_OK;
	part = orm_arena_alloc(encoder->arena, sizeof *part);
	if (!part || !orm_pointers_add(&encoder->parts, part, encoder->arena))
		return orm_mirror_no_memory(encoder->error);
	ormd__v1__draft__init(part);
	part->n_adds = encoder->adds.len;
	part->adds = (Ormd__V1__Adds **)encoder->adds.items;
	part->n_updates = encoder->updates.len;
	part->updates = (Ormd__V1__Updates **)encoder->updates.items;
	part->n_deletes = encoder->deletes.len;
	part->deletes = (Ormd__V1__Deletes **)encoder->deletes.items;
	encoder->adds = encoder->updates = encoder->deletes = (orm_pointers){0};
	encoder->room = encoder->limits->max_bytes;
	encoder->started = false;
	return ORM_OK;
}

static size_t most_rows(const orm_encoder *encoder)
{
	const size_t most = encoder->limits->max_rows;

	return most > 0 && most < MAX_ROWS ? most : MAX_ROWS;
}

/* Room for n rows of the shape's columns of varying size; kept for the next batch. */
static bool reserve_scratch(orm_encoder *encoder, size_t n_columns)
{
	const size_t wanted = most_rows(encoder) * n_columns;

	if (!encoder->rows)
		encoder->rows = orm_arena_alloc(encoder->arena, most_rows(encoder) * sizeof encoder->rows[0]);
	if (encoder->sizes_capacity < wanted) {
		encoder->sizes = orm_arena_alloc(encoder->arena, wanted * sizeof encoder->sizes[0]);
		encoder->sizes_capacity = encoder->sizes ? wanted : 0;
	}
	return encoder->rows && (wanted == 0 || encoder->sizes);
}

/* The columns of the shape, once for all its batches. */
static bool start_shape(orm_encoder *encoder, encoded_chunk *chunk)
{
	const orm_layout *layout = chunk->shape->layout;
	size_t n_sized = 0;

	chunk->columns = orm_arena_calloc(encoder->arena, layout->n_members, sizeof chunk->columns[0]);
	chunk->sizes = orm_arena_calloc(encoder->arena, layout->n_members, sizeof chunk->sizes[0]);
	chunk->n_nulls = orm_arena_calloc(encoder->arena, layout->n_members, sizeof chunk->n_nulls[0]);
	if (!chunk->columns || !chunk->sizes || !chunk->n_nulls)
		return false;
	for (uint16_t c = 0; chunk->shape->columns && c < layout->n_members; c++) {
		if (orm_column_set_has(chunk->shape->columns, c))
			chunk->columns[chunk->n_columns++] = c;
	}
	for (size_t c = 0; c < chunk->n_columns; c++)
		n_sized += has_size(&layout->members[chunk->columns[c]]);
	if (!reserve_scratch(encoder, n_sized))
		return false;
	n_sized = 0;
	for (size_t c = 0; c < chunk->n_columns; c++) {
		if (has_size(&layout->members[chunk->columns[c]]))
			chunk->sizes[c] = encoder->sizes + n_sized++ * most_rows(encoder);
	}
	chunk->rows = encoder->rows;
	return true;
}

static void start_chunk(encoded_chunk *chunk, const char **rows)
{
	for (size_t i = 0; i < chunk->n; i++)
		rows[i] = orm_struct_of(chunk->objects[i]);
	memset(chunk->n_nulls, 0, chunk->n_columns * sizeof chunk->n_nulls[0]);
}

/* Bytes of each row that are the same for all. */
static size_t fixed_size(const encoded_chunk *chunk)
{
	const orm_layout *layout = chunk->shape->layout;
	size_t size = sizeof(uint64_t); /* its handle */

	for (size_t c = 0; c < chunk->n_columns; c++) {
		const uint8_t type = layout->members[chunk->columns[c]].type;

		size += orm_type_size((orm_type)type) + (type == ORM_BYTES ? sizeof(uint32_t) : 0);
	}
	for (uint16_t a = 0; chunk->shape->references && a < layout->n_out; a++)
		size += chunk->shape->references[a] ? sizeof(uint64_t) : 0;
	return size;
}

/* Also counts the NULLs, while the row is at hand. */
static size_t measure_row(const encoded_chunk *chunk, size_t row)
{
	size_t size = 0;

	for (size_t c = 0; c < chunk->n_columns; c++) {
		const orm_member *member = &chunk->shape->layout->members[chunk->columns[c]];
		size_t cell = 0;

		if (orm_type_is_text(member->type)) {
			const char *text = text_at(chunk->rows[row], member);

			cell = 1;
			if (text)
				cell += strlen(text);
			else
				chunk->n_nulls[c]++;
		} else if (member->type == ORM_BYTES) {
			const orm_bytes *bytes = bytes_at(chunk->rows[row], member);

			if (bytes->data)
				cell = bytes->size;
			else
				chunk->n_nulls[c]++;
		} else {
			chunk->n_nulls[c] += member->optional && !chunk->rows[row][member->offset];
			continue;
		}
		chunk->sizes[c][row] = cell < UINT32_MAX ? (uint32_t)cell : UINT32_MAX; /* more fits into no message */
		size += cell;
	}
	return size;
}

/* How many of the chunk's rows fit into the part, and how many bytes they take. */
static size_t measure(const orm_encoder *encoder, const encoded_chunk *chunk, size_t *bytes)
{
	const size_t fixed = fixed_size(chunk);
	size_t size = BATCH_OVERHEAD + chunk->n_columns * COLUMN_OVERHEAD;
	size_t n = 0;

	for (; n < chunk->n; n++) {
		const size_t row =
			fixed + measure_row(chunk, n) + (n % 8 == 0 ? chunk->n_columns : 0); /* a byte of each bitmap */

		if (size + row > encoder->room)
			break;
		size += row;
	}
	*bytes = size;
	return n;
}

static orm_status refuse_row(const orm_encoder *encoder, const encoded_chunk *chunk)
{
	const orm_layout *layout = chunk->shape->layout;
	const char *column = NULL;
	uint32_t largest = 0;

	for (size_t c = 0; c < chunk->n_columns; c++) {
		if (chunk->sizes[c] && chunk->sizes[c][0] > largest) {
			largest = chunk->sizes[c][0];
			column = layout->mapper->columns[chunk->columns[c]].name;
		}
	}
	return orm_fail_at(encoder->error, ORM_ELIMIT, layout->model->name, column,
			   "the object is larger than a message to the server (%zu bytes): make its values smaller, or "
			   "raise the server's limit",
			   encoder->limits->max_bytes);
}

static orm_status encode(orm_encoder *encoder, const encoded_chunk *chunk, size_t bytes)
{
	struct orm_draft_run *run = orm_arena_calloc(encoder->arena, 1, sizeof *run);
	bool good = run != NULL;

	if (good) {
		*run = (struct orm_draft_run){.kind = chunk->shape->kind,
					      .layout = chunk->shape->layout,
					      .objects = chunk->objects,
					      .n_objects = chunk->n};
		if (run->kind == DRAFT_DELETES) {
			good = add_deletes(encoder, chunk);
		} else {
			run->values = run->kind == DRAFT_ADDS ? add_adds(encoder, chunk) : add_updates(encoder, chunk);
			good = run->values != NULL;
		}
	}
	if (!good || !orm_pointers_add(&encoder->runs, run, encoder->arena))
		return orm_mirror_no_memory(encoder->error);
	encoder->room -= bytes;
	encoder->started = true;
	return ORM_OK;
}

void orm_encoder_start(orm_encoder *encoder)
{
	encoder->room = encoder->limits->max_bytes;
}

orm_status orm_encoder_put(orm_encoder *encoder, const orm_shape *shape, orm_object *const *objects, size_t n)
{
	encoded_chunk chunk = {.shape = shape};

	if (!start_shape(encoder, &chunk))
		return orm_mirror_no_memory(encoder->error);
	while (n > 0) {
		orm_status status;
		size_t bytes;

		chunk.objects = objects;
		chunk.n = n < most_rows(encoder) ? n : most_rows(encoder);
		start_chunk(&chunk, encoder->rows);
		chunk.n = measure(encoder, &chunk, &bytes);
		if (chunk.n == 0) {
			if (!encoder->started)
				return refuse_row(encoder, &chunk);
			status = close_part(encoder);
			if (status != ORM_OK)
				return status;
			continue;
		}
		status = encode(encoder, &chunk, bytes);
		if (status != ORM_OK)
			return status;
		objects += chunk.n;
		n -= chunk.n;
	}
	return ORM_OK;
}

orm_status orm_encoder_end(orm_encoder *encoder)
{
	return close_part(encoder);
}
