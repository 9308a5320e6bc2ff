/* SPDX-License-Identifier: MIT */
#include "server/codec.h"

#include "base/error.h"

#include <string.h>

#define NEW(arena, Type, INIT) new_message(arena, sizeof(Type), &(const Type)INIT)

static void *new_message(orm_arena *arena, size_t size, const void *initial)
{
	return orm_arena_memdup(arena, initial, size);
}

/* Protobuf-c takes pointers to what it only reads; the casts below drop a const that packing never writes through. */
static void *unconst(const void *pointer)
{
	return (void *)(uintptr_t)pointer;
}

static void encode_cells(const orm_vector *vector, size_t n_rows, Ormd__V1__Column *message)
{
	switch ((orm_type)vector->type) {
	case ORM_BOOL:
		message->has_booleans = true;
		message->booleans = (ProtobufCBinaryData){n_rows, unconst(vector->cells)};
		break;
	case ORM_INT32:
	case ORM_DATE:
		message->n_int32s = n_rows;
		message->int32s = unconst(vector->cells);
		break;
	case ORM_INT64:
	case ORM_TIME:
	case ORM_DATETIME:
		message->n_int64s = n_rows;
		message->int64s = unconst(vector->cells);
		break;
	case ORM_DOUBLE:
		message->n_doubles = n_rows;
		message->doubles = unconst(vector->cells);
		break;
	case ORM_UUID:
		message->has_blob = true;
		message->blob = (ProtobufCBinaryData){n_rows * sizeof(orm_uuid), unconst(vector->cells)};
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		message->has_text = true;
		message->text = (ProtobufCBinaryData){vector->size, unconst(vector->cells)};
		break;
	case ORM_BYTES:
		message->has_blob = true;
		message->blob = (ProtobufCBinaryData){vector->size, unconst(vector->cells)};
		message->n_blob_ends = n_rows;
		message->blob_ends = unconst(vector->ends);
		break;
	case ORM_TYPE_NONE:
		break;
	}
}

static Ormd__V1__Batch *encode_batch(const orm_batch *batch, orm_arena *arena)
{
	Ormd__V1__Batch   *message = NEW(arena, Ormd__V1__Batch, ORMD__V1__BATCH__INIT);
	Ormd__V1__Column **columns = orm_arena_calloc(arena, batch->n_vectors, sizeof *columns);
	if (!message || !columns)
		return NULL;
	for (size_t i = 0; i < batch->n_vectors; i++) {
		const orm_vector *vector = &batch->vectors[i];
		if (!(columns[i] = NEW(arena, Ormd__V1__Column, ORMD__V1__COLUMN__INIT)))
			return NULL;
		columns[i]->has_column = true;
		columns[i]->column = vector->column;
		if (vector->nulls) {
			columns[i]->has_nulls = true;
			columns[i]->nulls = (ProtobufCBinaryData){(batch->n_rows + 7) / 8, unconst(vector->nulls)};
		}
		encode_cells(vector, batch->n_rows, columns[i]);
	}
	message->has_model = true;
	message->model = batch->mapper->number;
	message->has_rows = true;
	message->rows = (uint32_t)batch->n_rows;
	message->n_columns = batch->n_vectors;
	message->columns = columns;
	return message;
}

static bool consecutive(const uint64_t *handles, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (handles[i] != handles[0] + i)
			return false;
	}
	return n > 0;
}

Ormd__V1__Objects **ormd_encode_rows(const ormd_rows *rows, size_t n, orm_arena *arena)
{
	Ormd__V1__Objects **messages = orm_arena_calloc(arena, n, sizeof *messages);
	if (!messages)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		messages[i] = NEW(arena, Ormd__V1__Objects, ORMD__V1__OBJECTS__INIT);
		if (!messages[i] || !(messages[i]->values = encode_batch(&rows[i].values, arena)))
			return NULL;
		if (consecutive(rows[i].handles, rows[i].n_rows)) {
			messages[i]->has_first_handle = true;
			messages[i]->first_handle = rows[i].handles[0];
		} else {
			messages[i]->n_handles = rows[i].n_rows;
			messages[i]->handles = unconst(rows[i].handles);
		}
	}
	return messages;
}

Ormd__V1__Loaded **ormd_encode_loaded(const ormd_loaded *loaded, size_t n, orm_arena *arena)
{
	Ormd__V1__Loaded **messages = orm_arena_calloc(arena, n, sizeof *messages);
	if (!messages)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!(messages[i] = NEW(arena, Ormd__V1__Loaded, ORMD__V1__LOADED__INIT)))
			return NULL;
		messages[i]->has_model = true;
		messages[i]->model = loaded[i].relationship->mapper->number;
		messages[i]->has_relationship = true;
		messages[i]->relationship = loaded[i].relationship->number;
		messages[i]->n_parents = loaded[i].n_parents;
		messages[i]->parents = unconst(loaded[i].parents);
	}
	return messages;
}

Ormd__V1__KeyRange **ormd_encode_keys(const ormd_key_range *keys, size_t n, orm_arena *arena)
{
	Ormd__V1__KeyRange **messages = orm_arena_calloc(arena, n, sizeof *messages);
	if (!messages)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!(messages[i] = NEW(arena, Ormd__V1__KeyRange, ORMD__V1__KEY_RANGE__INIT)))
			return NULL;
		messages[i]->has_first_handle = true;
		messages[i]->first_handle = keys[i].first_handle;
		messages[i]->has_first_key = true;
		messages[i]->first_key = keys[i].first_key;
		messages[i]->has_count = true;
		messages[i]->count = keys[i].count;
	}
	return messages;
}

static Ormd__V1__Notice **encode_notices(const ormd_notice *notices, size_t n, orm_arena *arena)
{
	Ormd__V1__Notice **messages = orm_arena_calloc(arena, n, sizeof *messages);
	if (!messages)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!(messages[i] = NEW(arena, Ormd__V1__Notice, ORMD__V1__NOTICE__INIT)))
			return NULL;
		messages[i]->has_rev = true;
		messages[i]->rev = notices[i].revision;
		messages[i]->has_kind = true;
		messages[i]->kind = (Ormd__V1__NoticeKind)notices[i].kind;
		messages[i]->has_participant = true;
		messages[i]->participant = notices[i].participant;
		messages[i]->name = unconst(notices[i].name);
		messages[i]->text = unconst(notices[i].text);
	}
	return messages;
}

Ormd__V1__Sync *ormd_encode_sync(const ormd_sync *sync, orm_arena *arena)
{
	Ormd__V1__Sync *message = NEW(arena, Ormd__V1__Sync, ORMD__V1__SYNC__INIT);
	if (!message)
		return NULL;
	message->has_rev = true;
	message->rev = sync->revision;
	message->added = ormd_encode_rows(sync->added, sync->n_added, arena);
	message->n_added = sync->n_added;
	message->changed = ormd_encode_rows(sync->changed, sync->n_changed, arena);
	message->n_changed = sync->n_changed;
	message->gone = unconst(sync->gone);
	message->n_gone = sync->n_gone;
	message->deleted = unconst(sync->deleted);
	message->n_deleted = sync->n_deleted;
	message->restored = unconst(sync->restored);
	message->n_restored = sync->n_restored;
	message->notices = encode_notices(sync->notices, sync->n_notices, arena);
	message->n_notices = sync->n_notices;
	message->has_missed_notices = message->missed_notices = sync->missed_notices;
	return message->added && message->changed && message->notices ? message : NULL;
}

static Ormd__V1__ColumnSpec *encode_column_spec(const orm_mapper *mapper, const orm_column *column, orm_arena *arena)
{
	Ormd__V1__ColumnSpec *message = NEW(arena, Ormd__V1__ColumnSpec, ORMD__V1__COLUMN_SPEC__INIT);
	if (!message)
		return NULL;
	message->name = unconst(column->name);
	message->has_type = true;
	message->type = (Ormd__V1__Type)column->type;
	message->has_primary_key = message->primary_key = column->primary_key;
	message->has_nullable = message->nullable = column->nullable;
	message->has_unique = message->unique = column->unique;
	message->has_index = message->index = column->index;
	message->has_version = message->version = column->version;
	message->max_length = column->max_length;
	message->has_max_length = column->max_length > 0;
	message->precision = column->precision;
	message->scale = column->scale;
	message->has_precision = message->has_scale = column->type == ORM_DECIMAL;
	message->server_default = unconst(column->server_default);
	message->check = unconst(column->check);
	if (column->foreign_key != ORM_NO_NUMBER) {
		const orm_foreign_key *key = &mapper->foreign_keys[column->foreign_key];
		message->references_model = unconst(key->target->name);
		for (uint16_t i = 0; i < key->n_columns; i++) {
			if (key->columns[i] == column->number)
				message->references_column = unconst(key->target->columns[key->target_columns[i]].name);
		}
		message->has_on_delete = true;
		message->on_delete = key->on_delete;
	}
	return message;
}

Ormd__V1__ModelSpec *ormd_encode_model(const orm_mapper *mapper, orm_arena *arena)
{
	Ormd__V1__ModelSpec         *message = NEW(arena, Ormd__V1__ModelSpec, ORMD__V1__MODEL_SPEC__INIT);
	Ormd__V1__ColumnSpec       **columns = orm_arena_calloc(arena, mapper->n_columns, sizeof *columns);
	Ormd__V1__RelationshipSpec **relationships = orm_arena_calloc(arena, mapper->n_relationships, sizeof *relationships);
	if (!message || !columns || !relationships)
		return NULL;
	for (uint16_t i = 0; i < mapper->n_columns; i++) {
		if (!(columns[i] = encode_column_spec(mapper, &mapper->columns[i], arena)))
			return NULL;
	}
	for (uint16_t i = 0; i < mapper->n_relationships; i++) {
		const orm_relationship *relationship = &mapper->relationships[i];
		if (!(relationships[i] = NEW(arena, Ormd__V1__RelationshipSpec, ORMD__V1__RELATIONSHIP_SPEC__INIT)))
			return NULL;
		relationships[i]->name = unconst(relationship->name);
		relationships[i]->has_to_many = relationships[i]->to_many = relationship->to_many;
		relationships[i]->target = unconst(relationship->target->name);
		if (relationship->reverse)
			relationships[i]->reverse = unconst(relationship->reverse->name);
		/* Told even where there is only one: a reader without our registry can draw it. */
		const orm_mapper *owner = relationship->to_many ? relationship->target : mapper;
		relationships[i]->via = unconst(owner->columns[relationship->foreign_key->columns[0]].name);
	}
	message->name = unconst(mapper->name);
	message->table = unconst(mapper->table);
	message->columns = columns;
	message->n_columns = mapper->n_columns;
	message->relationships = relationships;
	message->n_relationships = mapper->n_relationships;
	return message;
}

/* ---- failures ---- */

rpc_code ormd_rpc_code(orm_status status)
{
	switch (status) {
	case ORM_OK: return RPC_OK;
	case ORM_EINVAL: return RPC_INVALID_ARGUMENT;
	case ORM_ENOTFOUND: return RPC_NOT_FOUND;
	case ORM_EEXIST: return RPC_ALREADY_EXISTS;
	case ORM_ETIMEOUT: return RPC_DEADLINE_EXCEEDED;
	case ORM_ECANCELLED: return RPC_CANCELLED;
	case ORM_EPERM: return RPC_PERMISSION_DENIED;
	case ORM_EUNSUPPORTED: return RPC_UNIMPLEMENTED;
	case ORM_EUNAVAILABLE: return RPC_UNAVAILABLE;
	case ORM_EUNKNOWN: return RPC_UNKNOWN;
	case ORM_ENOMEM:
	case ORM_ELIMIT: return RPC_RESOURCE_EXHAUSTED;
	case ORM_EPROTOCOL: return RPC_INVALID_ARGUMENT;
	/* Redo the read-modify-write: */
	case ORM_ESTALE:
	case ORM_ECONFLICT:
	case ORM_ERETRY:
	case ORM_EABORTED: return RPC_ABORTED;
	/* Not before the state has been changed: */
	case ORM_ECONSTRAINT:
	case ORM_ELOST:
	case ORM_EFENCED:
	case ORM_EFORKED:
	case ORM_ENOTLOADED:
	case ORM_ESTATE:
	case ORM_EMODEL: return RPC_FAILED_PRECONDITION;
	case ORM_EDATABASE:
	case ORM_EINTERNAL: return RPC_INTERNAL;
	}
	return RPC_INTERNAL;
}

static Ormd__V1__Value *encode_value(const orm_value *value, orm_arena *arena)
{
	Ormd__V1__Value *message = NEW(arena, Ormd__V1__Value, ORMD__V1__VALUE__INIT);
	if (!message)
		return NULL;
	if (value->null) {
		message->has_null = message->null = true;
		return message;
	}
	switch ((orm_type)value->type) {
	case ORM_BOOL:
		message->has_boolean = true;
		message->boolean = value->boolean;
		break;
	case ORM_INT32:
	case ORM_INT64:
	case ORM_DATE:
	case ORM_TIME:
	case ORM_DATETIME:
		message->has_integer = true;
		message->integer = value->integer;
		break;
	case ORM_DOUBLE:
		message->has_number = true;
		message->number = value->number;
		break;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		message->has_text = true;
		message->text = (ProtobufCBinaryData){value->size, unconst(value->text)};
		break;
	case ORM_BYTES:
	case ORM_UUID:
		message->has_blob = true;
		message->blob = (ProtobufCBinaryData){value->size, unconst(value->bytes)};
		break;
	case ORM_TYPE_NONE:
		message->has_null = message->null = true;
		break;
	}
	return message;
}

static bool pack_conflicts(const ormd_published *published, orm_arena *arena, rpc_detail *detail)
{
	Ormd__V1__ConflictDetail  message = ORMD__V1__CONFLICT_DETAIL__INIT;
	Ormd__V1__FieldConflict **conflicts = orm_arena_calloc(arena, published->n_conflicts, sizeof *conflicts);
	if (!conflicts)
		return false;
	for (size_t i = 0; i < published->n_conflicts; i++) {
		const ormd_conflict *source = &published->conflicts[i];
		conflicts[i] = NEW(arena, Ormd__V1__FieldConflict, ORMD__V1__FIELD_CONFLICT__INIT);
		if (!conflicts[i])
			return false;
		conflicts[i]->has_handle = true;
		conflicts[i]->handle = source->handle;
		conflicts[i]->has_model = true;
		conflicts[i]->model = source->mapper->number;
		conflicts[i]->has_author = true;
		conflicts[i]->author = source->author;
		conflicts[i]->author_name = unconst(source->author_name);
		conflicts[i]->has_rev = true;
		conflicts[i]->rev = source->revision;
		conflicts[i]->has_deleted = conflicts[i]->deleted = source->deleted;
		if (source->column != ORM_NO_NUMBER) {
			conflicts[i]->has_column = true;
			conflicts[i]->column = source->column;
			conflicts[i]->base_value = encode_value(&source->base, arena);
			conflicts[i]->theirs = encode_value(&source->theirs, arena);
			conflicts[i]->mine = encode_value(&source->mine, arena);
			if (!conflicts[i]->base_value || !conflicts[i]->theirs || !conflicts[i]->mine)
				return false;
		}
	}
	message.conflicts = conflicts;
	message.n_conflicts = published->n_conflicts;
	return rpc_detail_pack(&message.base, arena, detail);
}

static bool pack_error(const orm_error *error, const ormd_failure *failure, orm_arena *arena, rpc_detail *detail)
{
	Ormd__V1__ErrorDetail message = ORMD__V1__ERROR_DETAIL__INIT;
	message.has_status = true;
	message.status = error->code;
	message.model = unconst(error->model);
	message.column = unconst(error->column);
	message.key = unconst(error->key);
	if (failure) {
		message.moved_to = unconst(failure->moved_to);
		message.moved_to_host = unconst(failure->moved_to_host);
		message.has_author = failure->author != 0;
		message.author = failure->author;
		message.has_published = message.published = failure->draft_published;
		if (failure->published) {
			message.has_handle = failure->published->fault_handle != 0;
			message.handle = failure->published->fault_handle;
			if (failure->draft_published) {
				message.keys = ormd_encode_keys(failure->published->keys, failure->published->n_keys, arena);
				message.n_keys = message.keys ? failure->published->n_keys : 0;
			}
		}
		if (failure->sync && !(message.sync = ormd_encode_sync(failure->sync, arena)))
			return false;
	}
	return rpc_detail_pack(&message.base, arena, detail);
}

static size_t pack_details(const orm_error *error, const ormd_failure *failure, orm_arena *arena, rpc_detail details[2])
{
	size_t n = 0;
	if (pack_error(error, failure, arena, &details[n]))
		n++;
	if (failure && failure->published && failure->published->n_conflicts && pack_conflicts(failure->published, arena, &details[n]))
		n++;
	return n;
}

void ormd_fail_call(rpc_call *call, const orm_error *error, const ormd_failure *failure)
{
	rpc_detail details[2];
	size_t     n = pack_details(error, failure, rpc_call_arena(call), details);
	rpc_call_fail_with(call, &(rpc_status){ormd_rpc_code(error->code), error->message, details, n});
}

void ormd_fail_pull(rpc_pull *pull, const orm_error *error)
{
	rpc_detail details[2];
	size_t     n = pack_details(error, NULL, rpc_pull_arena(pull), details);
	rpc_pull_fail_with(pull, &(rpc_status){ormd_rpc_code(error->code), error->message, details, n});
}
