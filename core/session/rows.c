/* SPDX-License-Identifier: MIT */
/* Objects as rows of column vectors, for replies. */
#include "base/error.h"
#include "session/unit.h"

typedef struct column_build {
	const ormd_layout *layout;
	ormd_object *const *objects;
	size_t n;
	uint16_t column;
	orm_arena *arena;
} column_build;

/* The bitmap comes into being with the first NULL. */
static bool set_null(const column_build *build, orm_vector *vector, size_t row)
{
	if (!vector->nulls)
		vector->nulls = orm_arena_calloc(build->arena, 1, (build->n + 7) / 8);
	if (!vector->nulls)
		return false;
	((uint8_t *)vector->nulls)[row >> 3] |= (uint8_t)(1U << (row & 7));
	return true;
}

static bool build_fixed(const column_build *build, orm_vector *vector)
{
	const uint32_t offset = build->layout->cells[build->column].offset;
	const size_t width = orm_type_size((orm_type)vector->type);
	char *cells = orm_arena_calloc(build->arena, build->n, width);

	if (!cells)
		return false;
	vector->cells = cells;
	for (size_t i = 0; i < build->n; i++) {
		const ormd_record *record = build->objects[i]->record;

		if (ormd_record_is_null(build->layout, record, build->column)) {
			if (!set_null(build, vector, i))
				return false;
		} else if (width == sizeof(int64_t)) {
			memcpy(cells + i * sizeof(int64_t), ormd_record_at(record, offset), sizeof(int64_t));
		} else if (width == sizeof(int32_t)) {
			memcpy(cells + i * sizeof(int32_t), ormd_record_at(record, offset), sizeof(int32_t));
		} else if (width == sizeof(orm_uuid)) {
			memcpy(cells + i * sizeof(orm_uuid), ormd_record_at(record, offset), sizeof(orm_uuid));
		} else {
			cells[i] = *(const char *)ormd_record_at(record, offset);
		}
	}
	return true;
}

static bool build_variable(const column_build *build, orm_vector *vector)
{
	const bool text = orm_type_is_text(vector->type);
	size_t total = 0, end = 0;

	for (size_t i = 0; i < build->n; i++) {
		uint32_t size;

		ormd_record_bytes(build->layout, build->objects[i]->record, build->column, &size);
		total += (size_t)size + text;
	}
	if (!text && total > UINT32_MAX)
		return false;

	char *cells = orm_arena_alloc(build->arena, total);
	uint32_t *ends = text ? NULL : orm_arena_alloc(build->arena, build->n * sizeof *ends);

	if (!cells || (!text && !ends))
		return false;
	vector->cells = cells;
	vector->size = total;
	vector->ends = ends;
	for (size_t i = 0; i < build->n; i++) {
		const ormd_record *record = build->objects[i]->record;
		uint32_t size;
		const char *bytes = ormd_record_bytes(build->layout, record, build->column, &size);

		if (size > 0)
			memcpy(cells + end, bytes, size);
		end += size;
		if (text)
			cells[end++] = '\0';
		else
			ends[i] = (uint32_t)end;
		if (ormd_record_is_null(build->layout, record, build->column) && !set_null(build, vector, i))
			return false;
	}
	return true;
}

orm_status ormd_rows_build(const ormd_session *session, const orm_mapper *mapper, const uint16_t *columns,
			   size_t n_columns, ormd_object *const *objects, size_t n_objects, orm_arena *arena,
			   ormd_rows *rows, orm_error *error)
{
	const ormd_layout *layout = &session->mappers[mapper->number].layout;
	const size_t n = columns ? n_columns : mapper->n_columns;
	orm_vector *vectors = orm_arena_calloc(arena, n, sizeof *vectors);
	uint64_t *handles = orm_arena_alloc(arena, n_objects * sizeof *handles);
	bool built = vectors && handles;

	for (size_t i = 0; i < n_objects && built; i++)
		handles[i] = objects[i]->handle;
	for (size_t i = 0; i < n && built; i++) {
		const column_build build = {layout, objects, n_objects, columns ? columns[i] : (uint16_t)i, arena};

		vectors[i].column = build.column;
		vectors[i].type = layout->cells[build.column].type;
		built = layout->cells[build.column].variable ? build_variable(&build, &vectors[i])
							     : build_fixed(&build, &vectors[i]);
	}
	if (!built) {
		if (arena->exhausted)
			return orm_fail(error, ORM_ELIMIT, "%zu rows of %s are more than a reply may hold", n_objects,
					mapper->name);
		return orm_fail(error, ORM_ENOMEM, "out of memory for %zu rows of %s", n_objects, mapper->name);
	}
	*rows = (ormd_rows){
		.mapper = mapper,
		.n_rows = n_objects,
		.handles = handles,
		.values = {.mapper = mapper, .n_rows = n_objects, .n_vectors = n, .vectors = vectors},
	};
	return ORM_OK;
}
