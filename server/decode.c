/* SPDX-License-Identifier: MIT */
#include "server/codec.h"

#include "base/error.h"
#include "model/fail.h"

#include <inttypes.h>
#include <string.h>

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

/* More than a byte holds is more than any engine has; the registry says so. */
static uint8_t decode_digits(uint32_t n)
{
	return n < UINT8_MAX ? (uint8_t)n : UINT8_MAX;
}

static void decode_column_spec(const Ormd__V1__ColumnSpec *message, orm_column_spec *spec)
{
	*spec = (orm_column_spec){
		.name = or_empty(message->name),
		.type = (orm_type)message->type,
		.primary_key = message->primary_key,
		.nullable = message->nullable,
		.unique = message->unique,
		.index = message->index,
		.version = message->version,
		.max_length = message->max_length,
		.precision = decode_digits(message->precision),
		.scale = decode_digits(message->scale),
		.server_default = message->server_default,
		.check = message->check,
		.references_model = message->references_model,
		.references_column = message->references_column,
		.on_delete = (orm_on_delete)message->on_delete,
	};
}

static orm_status decode_model(const Ormd__V1__ModelSpec *message, orm_arena *arena, orm_model_spec *spec, orm_error *error)
{
	orm_column_spec       *columns = orm_arena_calloc(arena, message->n_columns, sizeof *columns);
	orm_relationship_spec *relationships = orm_arena_calloc(arena, message->n_relationships, sizeof *relationships);
	if (!columns || !relationships)
		return orm_fail(error, ORM_ENOMEM, "out of memory for model %s", or_empty(message->name));
	for (size_t i = 0; i < message->n_columns; i++) {
		const Ormd__V1__ColumnSpec *column = message->columns[i];
		if (column->on_delete > ORM_SET_DEFAULT) {
			orm_fail(error, ORM_EINVAL, "%s.%s: on_delete %" PRIu32 " is not known", or_empty(message->name),
			         or_empty(column->name), column->on_delete);
			return orm_error_at(error, or_empty(message->name), or_empty(column->name), NULL);
		}
		decode_column_spec(column, &columns[i]);
	}
	for (size_t i = 0; i < message->n_relationships; i++) {
		const Ormd__V1__RelationshipSpec *relationship = message->relationships[i];
		relationships[i] = (orm_relationship_spec){
			.name = or_empty(relationship->name),
			.to_many = relationship->to_many,
			.target = or_empty(relationship->target),
			.reverse = relationship->reverse,
			.via = relationship->via,
		};
	}
	*spec = (orm_model_spec){
		.name = or_empty(message->name),
		.table = or_empty(message->table),
		.columns = columns,
		.n_columns = message->n_columns,
		.relationships = relationships,
		.n_relationships = message->n_relationships,
	};
	return ORM_OK;
}

orm_status ormd_decode_models(Ormd__V1__ModelSpec *const *models, size_t n, orm_arena *arena, orm_model_spec **specs, orm_error *error)
{
	orm_model_spec *decoded = orm_arena_calloc(arena, n, sizeof *decoded);
	if (!decoded)
		return orm_fail(error, ORM_ENOMEM, "out of memory for %zu models", n);
	for (size_t i = 0; i < n; i++) {
		orm_status status = decode_model(models[i], arena, &decoded[i], error);
		if (status < 0)
			return status;
	}
	*specs = decoded;
	return ORM_OK;
}

const orm_mapper *ormd_decode_mapper(const orm_registry *registry, uint32_t number, orm_error *error)
{
	if (number < registry->n_mappers)
		return &registry->mappers[number];
	orm_fail(error, ORM_EINVAL, "there is no model number %" PRIu32 ": %u models were declared", number, registry->n_mappers);
	return NULL;
}

const orm_relationship *ormd_decode_relationship(const orm_mapper *mapper, uint32_t number, orm_error *error)
{
	if (number < mapper->n_relationships)
		return &mapper->relationships[number];
	orm_fail(error, ORM_EINVAL, "model %s has no relationship number %" PRIu32, mapper->name, number);
	orm_error_at(error, mapper->name, NULL, NULL);
	return NULL;
}

/* The array that belongs to the column's type, and how many cells it has. */
static void decode_cells(const Ormd__V1__Column *message, orm_type type, orm_vector *vector, size_t *n_cells)
{
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
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		vector->cells = message->int64s;
		*n_cells = message->n_int64s;
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
		*n_cells = 0;
		break;
	case ORM_BYTES:
		vector->cells = message->blob.data;
		vector->size = message->blob.len;
		vector->ends = message->blob_ends;
		*n_cells = message->n_blob_ends;
		break;
	case ORM_TYPE_NONE:
		*n_cells = 0;
		break;
	}
}

orm_status ormd_decode_batch(const orm_registry *registry, const Ormd__V1__Batch *message, orm_arena *arena, orm_batch *batch,
                             orm_error *error)
{
	if (!message)
		return orm_fail(error, ORM_EPROTOCOL, "a batch of rows is missing from the message");
	const orm_mapper *mapper = ormd_decode_mapper(registry, message->model, error);
	if (!mapper)
		return ORM_EINVAL;
	orm_vector *vectors = orm_arena_calloc(arena, message->n_columns, sizeof *vectors);
	size_t     *n_cells = orm_arena_calloc(arena, message->n_columns, sizeof *n_cells);
	size_t     *nulls_size = orm_arena_calloc(arena, message->n_columns, sizeof *nulls_size);
	if (!vectors || !n_cells || !nulls_size)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a batch of %s", mapper->name);
	for (size_t i = 0; i < message->n_columns; i++) {
		const Ormd__V1__Column *column = message->columns[i];
		if (column->column >= mapper->n_columns) {
			orm_fail(error, ORM_EINVAL, "model %s has no column number %" PRIu32, mapper->name, column->column);
			return orm_error_at(error, mapper->name, NULL, NULL);
		}
		vectors[i].column = (uint16_t)column->column;
		vectors[i].type = (uint8_t)mapper->columns[column->column].type;
		if (column->has_nulls) {
			vectors[i].nulls = column->nulls.data;
			nulls_size[i] = column->nulls.len;
		}
		decode_cells(column, mapper->columns[column->column].type, &vectors[i], &n_cells[i]);
	}
	orm_batch decoded = {.mapper = mapper, .n_rows = message->rows, .n_vectors = message->n_columns, .vectors = vectors};
	orm_status status = orm_batch_check(&decoded, n_cells, nulls_size, error);
	if (status == ORM_OK)
		*batch = decoded;
	return status;
}

/* Rows and whose they are: one handle per row, or consecutive ones. */
static orm_status decode_objects(const orm_registry *registry, const Ormd__V1__Objects *message, orm_arena *arena, orm_batch *batch,
                                 const uint64_t **handles, uint64_t *first_handle, orm_error *error)
{
	if (!message)
		return orm_fail(error, ORM_EPROTOCOL, "the objects of a change are missing from the message");
	orm_status status = ormd_decode_batch(registry, message->values, arena, batch, error);
	if (status < 0)
		return status;
	if (message->n_handles && message->n_handles != batch->n_rows)
		return orm_fail(error, ORM_EPROTOCOL, "%zu handles came for %zu rows of %s", message->n_handles, batch->n_rows, batch->mapper->name);
	if (!message->n_handles && !message->first_handle && batch->n_rows)
		return orm_fail(error, ORM_EPROTOCOL, "rows of %s came without handles", batch->mapper->name);
	*handles = message->n_handles ? message->handles : NULL;
	*first_handle = message->first_handle;
	return ORM_OK;
}

static orm_status decode_references(const orm_batch *batch, Ormd__V1__References *const *messages, size_t n, orm_arena *arena,
                                    const ormd_references **references, orm_error *error)
{
	ormd_references *decoded = orm_arena_calloc(arena, n, sizeof *decoded);
	if (!decoded)
		return orm_fail(error, ORM_ENOMEM, "out of memory for references of %s", batch->mapper->name);
	for (size_t i = 0; i < n; i++) {
		const orm_relationship *relationship = ormd_decode_relationship(batch->mapper, messages[i]->relationship, error);
		if (!relationship)
			return ORM_EINVAL;
		if (relationship->to_many || messages[i]->n_targets != batch->n_rows) {
			orm_fail(error, ORM_EPROTOCOL, "%s.%s: %zu references came for %zu rows%s", batch->mapper->name, relationship->name,
			         messages[i]->n_targets, batch->n_rows, relationship->to_many ? ", and it is a to-many side" : "");
			return orm_error_at(error, batch->mapper->name, relationship->name, NULL);
		}
		decoded[i] = (ormd_references){.relationship = relationship, .targets = messages[i]->targets};
	}
	*references = decoded;
	return ORM_OK;
}

static orm_status decode_adds(const orm_registry *registry, const Ormd__V1__Adds *message, orm_arena *arena, ormd_adds *adds, orm_error *error)
{
	orm_status status = decode_objects(registry, message->objects, arena, &adds->values, &adds->handles, &adds->first_handle, error);
	if (status < 0)
		return status;
	adds->n_references = message->n_references;
	return decode_references(&adds->values, message->references, message->n_references, arena, &adds->references, error);
}

static orm_status decode_updates(const orm_registry *registry, const Ormd__V1__Updates *message, orm_arena *arena, ormd_updates *updates,
                                 orm_error *error)
{
	orm_status status = decode_objects(registry, message->objects, arena, &updates->values, &updates->handles, &updates->first_handle, error);
	if (status < 0)
		return status;
	updates->base = message->base_rev;
	updates->n_references = message->n_references;
	return decode_references(&updates->values, message->references, message->n_references, arena, &updates->references, error);
}

orm_status ormd_decode_draft(const orm_registry *registry, const Ormd__V1__Draft *message, orm_arena *arena, ormd_draft *draft, orm_error *error)
{
	ormd_draft decoded = {0};
	if (!message) {
		*draft = decoded;
		return ORM_OK;
	}
	ormd_adds    *adds = orm_arena_calloc(arena, message->n_adds, sizeof *adds);
	ormd_updates *updates = orm_arena_calloc(arena, message->n_updates, sizeof *updates);
	ormd_deletes *deletes = orm_arena_calloc(arena, message->n_deletes, sizeof *deletes);
	if (!adds || !updates || !deletes)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a draft");
	orm_status status = ORM_OK;
	for (size_t i = 0; i < message->n_adds && status == ORM_OK; i++)
		status = decode_adds(registry, message->adds[i], arena, &adds[i], error);
	for (size_t i = 0; i < message->n_updates && status == ORM_OK; i++)
		status = decode_updates(registry, message->updates[i], arena, &updates[i], error);
	for (size_t i = 0; i < message->n_deletes && status == ORM_OK; i++) {
		const Ormd__V1__Deletes *source = message->deletes[i];
		const orm_mapper        *mapper = ormd_decode_mapper(registry, source->model, error);
		if (!mapper)
			return ORM_EINVAL;
		deletes[i] = (ormd_deletes){.mapper = mapper, .handles = source->handles, .n_handles = source->n_handles, .base = source->base_rev};
	}
	if (status < 0)
		return status;
	decoded = (ormd_draft){.adds = adds, .n_adds = message->n_adds, .updates = updates, .n_updates = message->n_updates, .deletes = deletes,
	                       .n_deletes = message->n_deletes};
	*draft = decoded;
	return ORM_OK;
}

static orm_status fail_type(const orm_mapper *mapper, uint16_t column, orm_error *error)
{
	orm_fail(error, ORM_EINVAL, "%s.%s is %s, and is compared with a value of another type", mapper->name, mapper->columns[column].name,
	         orm_type_name(mapper->columns[column].type));
	return orm_error_at(error, mapper->name, mapper->columns[column].name, NULL);
}

/* "12.5" is compared with as the column has it: "12.50". */
static orm_status decode_decimal(const Ormd__V1__Value *message, const orm_mapper *mapper, uint16_t column, orm_arena *arena, orm_value *value,
                                 orm_error *error)
{
	const char *text = message->text.data ? (const char *)message->text.data : "";
	char        canonical[ORM_DECIMAL_SIZE];
	size_t      size = 0;
	if (!message->has_text)
		return fail_type(mapper, column, error);
	const char *fault = orm_column_canonical_decimal(&mapper->columns[column], text, message->text.len, canonical, &size);
	if (fault)
		return orm_fail_at(error, ORM_EINVAL, mapper->name, mapper->columns[column].name, "in the filter, %s", fault);
	value->text = orm_arena_strndup(arena, canonical, size);
	value->size = (uint32_t)size;
	return value->text ? ORM_OK : orm_fail(error, ORM_ENOMEM, "out of memory for a filter");
}

/* A value takes its type from the column it is compared with; ormd_select_check then judges it. */
static orm_status decode_value(const Ormd__V1__Value *message, const orm_mapper *mapper, uint16_t column, orm_arena *arena, orm_value *value,
                               orm_error *error)
{
	*value = (orm_value){.type = (uint8_t)mapper->columns[column].type, .null = message->null};
	if (message->null)
		return ORM_OK;
	bool fits = false;
	switch (mapper->columns[column].type) {
	case ORM_BOOL:
		fits = message->has_boolean;
		value->boolean = message->boolean;
		break;
	case ORM_INT32:
	case ORM_INT64:
	case ORM_DATE:
	case ORM_TIME:
	case ORM_DATETIME:
		fits = message->has_integer;
		value->integer = message->integer;
		break;
	case ORM_DOUBLE:
		fits = message->has_number;
		value->number = message->number;
		break;
	case ORM_DECIMAL:
		return decode_decimal(message, mapper, column, arena, value, error);
	case ORM_TEXT:
	case ORM_JSON:
		fits = message->has_text && message->text.len < UINT32_MAX;
		if (fits && !(value->text = orm_arena_strndup(arena, message->text.data ? (const char *)message->text.data : "", message->text.len)))
			return orm_fail(error, ORM_ENOMEM, "out of memory for a filter");
		value->size = (uint32_t)message->text.len;
		break;
	case ORM_BYTES:
	case ORM_UUID:
		fits = message->has_blob && message->blob.len < UINT32_MAX;
		value->bytes = message->blob.data ? message->blob.data : (const void *)"";
		value->size = (uint32_t)message->blob.len;
		break;
	case ORM_TYPE_NONE:
		break;
	}
	return fits ? ORM_OK : fail_type(mapper, column, error);
}

static bool operator_has_column(Ormd__V1__Operator op)
{
	return op != ORMD__V1__OPERATOR__OP_AND && op != ORMD__V1__OPERATOR__OP_OR && op != ORMD__V1__OPERATOR__OP_NOT;
}

static orm_status decode_term(const Ormd__V1__Term *message, const orm_mapper *mapper, orm_arena *arena, ormd_term *term, orm_error *error)
{
	*term = (ormd_term){.op = (ormd_operator)message->op};
	if (!operator_has_column(message->op))
		return ORM_OK;
	if (message->column >= mapper->n_columns) {
		orm_fail(error, ORM_EINVAL, "a filter names column number %" PRIu32 ", which model %s does not have", message->column, mapper->name);
		return orm_error_at(error, mapper->name, NULL, NULL);
	}
	term->column = (uint16_t)message->column;
	orm_value *values = orm_arena_calloc(arena, message->n_values, sizeof *values);
	if (!values)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a filter");
	term->values = values;
	term->n_values = message->n_values;
	for (size_t i = 0; i < message->n_values; i++) {
		orm_status status = decode_value(message->values[i], mapper, term->column, arena, &values[i], error);
		if (status < 0)
			return status;
	}
	return ORM_OK;
}

orm_status ormd_decode_statement(const orm_registry *registry, const Ormd__V1__Statement *message, orm_arena *arena, ormd_select *select,
                                 const orm_relationship *const **load, size_t *n_load, orm_error *error)
{
	if (!message)
		return orm_fail(error, ORM_EPROTOCOL, "the statement is missing from the query");
	const orm_mapper *mapper = ormd_decode_mapper(registry, message->model, error);
	if (!mapper)
		return ORM_EINVAL;
	ormd_term               *terms = orm_arena_calloc(arena, message->n_where, sizeof *terms);
	ormd_order              *order = orm_arena_calloc(arena, message->n_order, sizeof *order);
	const orm_relationship **relationships = orm_arena_calloc(arena, mapper->n_relationships, sizeof(orm_relationship *));
	size_t                   n_relationships = 0;
	if (!terms || !order || !relationships)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a query on %s", mapper->name);
	for (size_t i = 0; i < message->n_where; i++) {
		orm_status status = decode_term(message->where[i], mapper, arena, &terms[i], error);
		if (status < 0)
			return status;
	}
	for (size_t i = 0; i < message->n_order; i++) {
		if (message->order[i]->column >= mapper->n_columns) {
			orm_fail(error, ORM_EINVAL, "a query orders by column number %" PRIu32 ", which model %s does not have",
			         message->order[i]->column, mapper->name);
			return orm_error_at(error, mapper->name, NULL, NULL);
		}
		order[i] = (ormd_order){.column = (uint16_t)message->order[i]->column, .descending = message->order[i]->descending};
	}
	for (size_t i = 0; i < message->n_load; i++) {
		const orm_relationship *relationship = ormd_decode_relationship(mapper, message->load[i], error);
		size_t                  known = 0;
		if (!relationship)
			return ORM_EINVAL;
		while (known < n_relationships && relationships[known] != relationship)
			known++;
		if (known == n_relationships) /* to ask for it twice gives it once */
			relationships[n_relationships++] = relationship;
	}
	ormd_select decoded = {
		.mapper = mapper,
		.result = (ormd_result)message->kind,
		.where = terms,
		.n_where = message->n_where,
		.order = order,
		.n_order = message->n_order,
		.limit = message->has_limit ? message->limit : ORMD_NO_LIMIT,
		.offset = message->offset,
		.lock = (ormd_lock)message->lock,
	};
	orm_status status = ormd_select_check(&decoded, error);
	if (status < 0)
		return status;
	*select = decoded;
	*load = relationships;
	*n_load = n_relationships;
	return ORM_OK;
}
