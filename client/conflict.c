/* SPDX-License-Identifier: MIT */
#include "client/conflict.h"

#include <stdlib.h>

#include "client/family.h"
#include "model/fail.h"

#define MAX_SHOWN 200 /* bytes of a value in a conflict's text */

/* What a listed conflict is about; beside orm_conflict, which the program sees. */
typedef struct orm_conflict_place {
	orm_object *object;
	uint16_t column;
	uint64_t rev;
	bool gone;
	bool deleted;    /* theirs is the deletion, published and not committed */
	bool has_theirs; /* `theirs` is to go into the snapshot when it is taken */
	orm_value theirs;
} orm_conflict_place;

/* ---- disputes ------------------------------------------------------------------------------------------------ */

static uint64_t hash_place(const orm_object *object, uint16_t column)
{
	return orm_hash_u64((uint64_t)(uintptr_t)object * 31 + column);
}

static bool is_dispute_of(const void *value, const void *key)
{
	const orm_dispute *dispute = value;
	const orm_dispute *wanted = key;

	return dispute->object == wanted->object && dispute->column == wanted->column;
}

orm_dispute *orm_dispute_find(const orm_mirror *mirror, const orm_object *object, uint16_t column)
{
	const orm_dispute wanted = {.object = (orm_object *)object, .column = column};

	return orm_map_get(&mirror->disputes, hash_place(object, column), is_dispute_of, &wanted);
}

bool orm_dispute_put(orm_mirror *mirror, orm_object *object, uint16_t column, uint64_t base)
{
	orm_dispute *dispute = orm_dispute_find(mirror, object, column);

	if (dispute)
		return true;
	dispute = malloc(sizeof *dispute);
	if (!dispute)
		return false;
	*dispute = (orm_dispute){.object = object, .base = base, .column = column};
	if (!orm_map_put(&mirror->disputes, hash_place(object, column), dispute)) {
		free(dispute);
		return false;
	}
	orm_object_flag(object, OBJECT_DISPUTED);
	return true;
}

void orm_disputes_clear(orm_mirror *mirror)
{
	size_t cursor = 0;

	for (orm_dispute *dispute; (dispute = orm_map_next(&mirror->disputes, &cursor)) != NULL;) {
		orm_object_unflag(dispute->object, OBJECT_DISPUTED);
		free(dispute);
	}
	orm_map_clear(&mirror->disputes);
	orm_arena_reset(&mirror->conflict_arena);
	mirror->conflicts = NULL;
	mirror->places = NULL;
	mirror->n_conflicts = 0;
}

void orm_disputes_fini(orm_mirror *mirror)
{
	size_t cursor = 0;

	for (orm_dispute *dispute; (dispute = orm_map_next(&mirror->disputes, &cursor)) != NULL;)
		free(dispute);
	orm_map_fini(&mirror->disputes);
}

bool orm_dispute_put_seen(orm_mirror *mirror, orm_object *object, const orm_member *member, uint64_t base)
{
	const bool known = orm_dispute_find(mirror, object, member->column) != NULL;

	if (!orm_dispute_put(mirror, object, member->column, base))
		return false;
	if (!known) {
		orm_dispute *dispute = orm_dispute_find(mirror, object, member->column);

		orm_member_get(member, orm_snapshot_of(object), &dispute->seen);
		dispute->has_seen = true;
	}
	return true;
}

static void drop_dispute(orm_mirror *mirror, orm_dispute *dispute)
{
	if (!dispute)
		return;
	orm_map_remove(&mirror->disputes, hash_place(dispute->object, dispute->column), dispute);
	free(dispute);
}

/* ---- the list ------------------------------------------------------------------------------------------------ */

/* Room for n conflicts; what was listed is forgotten. */
static bool start_list(orm_mirror *mirror, size_t n)
{
	orm_arena_reset(&mirror->conflict_arena);
	mirror->n_conflicts = 0;
	mirror->conflicts = orm_arena_calloc(&mirror->conflict_arena, n, sizeof mirror->conflicts[0]);
	mirror->places = orm_arena_calloc(&mirror->conflict_arena, n, sizeof mirror->places[0]);
	return mirror->conflicts && mirror->places;
}

/* *text: NULL for NULL. False: out of memory. */
static bool value_text(orm_mirror *mirror, const orm_value *value, const char **text)
{
	orm_buffer buffer;

	*text = NULL;
	if (value->null)
		return true;
	orm_buffer_init(&buffer);
	if (value->type == ORM_TEXT)
		orm_buffer_append(&buffer, value->text, value->size < MAX_SHOWN ? value->size : MAX_SHOWN);
	else
		orm_value_print(value, MAX_SHOWN, &buffer);
	if (!buffer.failed)
		*text = orm_arena_strndup(&mirror->conflict_arena, buffer.data ? buffer.data : "", buffer.size);
	orm_buffer_fini(&buffer);
	return *text != NULL;
}

static const char *key_text(orm_mirror *mirror, const orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	const void *snapshot = orm_snapshot_of(object);
	char text[sizeof((orm_error *)NULL)->key];

	for (uint16_t i = 0; i < layout->mapper->n_key; i++)
		orm_member_get(&layout->members[layout->mapper->key[i]], snapshot, &mirror->values[i]);
	orm_key_print(mirror->values, layout->mapper->n_key, text, sizeof text);
	return orm_arena_strdup(&mirror->conflict_arena, text);
}

/* A value of the wire as the column has it. False: the peer sent one of another type. */
static bool read_value(const Ormd__V1__Value *message, uint8_t type, orm_arena *arena, orm_value *value)
{
	*value = (orm_value){.type = type, .null = !message || message->null};
	if (value->null)
		return true;
	switch (type) {
	case ORM_BOOL:
		value->boolean = message->boolean != 0;
		return message->has_boolean;
	case ORM_DOUBLE:
		value->number = message->number;
		return message->has_number;
	case ORM_TEXT:
	case ORM_DECIMAL:
	case ORM_JSON:
		value->text = orm_arena_strndup(arena, message->text.data ? (const char *)message->text.data : "",
						message->text.len);
		value->size = value->text ? (uint32_t)strlen(value->text) : 0;
		return message->has_text && value->text;
	case ORM_BYTES:
	case ORM_UUID:
		value->bytes = orm_arena_memdup(arena, message->blob.data, message->blob.len);
		value->size = (uint32_t)message->blob.len;
		return message->has_blob && value->bytes && (type != ORM_UUID || value->size == sizeof(orm_uuid));
	default:
		value->integer = message->integer;
		return message->has_integer;
	}
}

static orm_status take_field(orm_mirror *mirror, const Ormd__V1__FieldConflict *field, orm_object *object,
			     orm_conflict *conflict, orm_conflict_place *place, orm_error *error)
{
	const orm_layout *layout = orm_layout_of(object);
	const uint8_t type = layout->members[field->column].type;
	orm_value base, mine;

	const orm_dispute *dispute = orm_dispute_find(mirror, object, (uint16_t)field->column);

	if (!read_value(field->base_value, type, &mirror->conflict_arena, &base) ||
	    !read_value(field->theirs, type, &mirror->arena, &place->theirs))
		return orm_fail_at(error, ORM_EPROTOCOL, layout->model->name,
				   layout->mapper->columns[field->column].name,
				   "the server sent a conflict with a value of another type");
	if (dispute && dispute->has_seen)
		base = dispute->seen;
	orm_member_get(&layout->members[field->column], orm_struct_of(object), &mine);
	place->has_theirs = field->theirs != NULL;
	place->column = (uint16_t)field->column;
	conflict->column = layout->mapper->columns[field->column].name;
	if (!value_text(mirror, &base, &conflict->base) || !value_text(mirror, &place->theirs, &conflict->theirs) ||
	    !value_text(mirror, &mine, &conflict->mine))
		return orm_mirror_no_memory(error);
	return ORM_OK;
}

orm_status orm_conflict_take(orm_mirror *mirror, const Ormd__V1__ConflictDetail *detail, orm_error *error)
{
	if (!start_list(mirror, detail->n_conflicts))
		return orm_mirror_no_memory(error);
	for (size_t i = 0; i < detail->n_conflicts; i++) {
		const Ormd__V1__FieldConflict *field = detail->conflicts[i];
		orm_object *object = orm_mirror_by_handle(mirror, field->handle);
		orm_conflict *conflict = &mirror->conflicts[mirror->n_conflicts];
		orm_conflict_place *place = &mirror->places[mirror->n_conflicts];
		const bool of_object = !object || !field->has_column ||
				       field->column >= orm_layout_of(object)->n_members || field->deleted;

		if (!object)
			continue;
		*place = (orm_conflict_place){
			.object = object, .column = ORM_NO_NUMBER, .rev = field->rev, .deleted = field->deleted};
		*conflict = (orm_conflict){
			.model = orm_layout_of(object)->model, .object = orm_struct_of(object), .column = ""};
		conflict->key = key_text(mirror, object);
		conflict->author =
			orm_arena_strdup(&mirror->conflict_arena, field->author_name ? field->author_name : "");
		if (!conflict->key || !conflict->author)
			return orm_mirror_no_memory(error);
		if (!of_object) {
			const orm_status status = take_field(mirror, field, object, conflict, place, error);

			if (status != ORM_OK)
				return status;
		}
		if (field->deleted && !(object->flags & OBJECT_DELETED)) {
			orm_child_leaves(mirror, object);
			orm_object_flag(object, OBJECT_DELETED);
		}
		/* Until it is resolved the draft keeps its base, whatever a sync brings. */
		if (!orm_dispute_put(mirror, object, place->column,
				     mirror->seen < field->rev ? mirror->seen : field->rev - (field->rev > 0)))
			return orm_mirror_no_memory(error);
		mirror->n_conflicts++;
	}
	return ORM_OK;
}

orm_status orm_disputes_check_gone(orm_mirror *mirror, orm_error *error)
{
	size_t cursor = 0, n = 0;

	for (const orm_dispute *dispute; (dispute = orm_map_next(&mirror->disputes, &cursor)) != NULL;)
		n += dispute->gone;
	if (n == 0)
		return ORM_OK;
	if (!start_list(mirror, n))
		return orm_mirror_no_memory(error);
	cursor = 0;
	for (const orm_dispute *dispute; (dispute = orm_map_next(&mirror->disputes, &cursor)) != NULL;) {
		orm_conflict *conflict = &mirror->conflicts[mirror->n_conflicts];

		if (!dispute->gone)
			continue;
		mirror->places[mirror->n_conflicts] =
			(orm_conflict_place){.object = dispute->object, .column = ORM_NO_NUMBER, .gone = true};
		*conflict = (orm_conflict){.model = orm_layout_of(dispute->object)->model,
					   .object = orm_struct_of(dispute->object),
					   .column = "",
					   .author = ""};
		conflict->key = key_text(mirror, dispute->object);
		if (!conflict->key)
			return orm_mirror_no_memory(error);
		mirror->n_conflicts++;
	}
	orm_fail_at(error, ORM_ECONFLICT, mirror->conflicts[0].model->name, NULL,
		    "was changed here, and deleted and committed by another participant: resolve it, or roll back");
	return error ? orm_error_at(error, NULL, NULL, mirror->conflicts[0].key) : ORM_ECONFLICT;
}

const orm_conflict *orm_conflict_list(const orm_mirror *mirror, size_t *n)
{
	*n = mirror->n_conflicts;
	return mirror->conflicts;
}

/* ---- resolving ----------------------------------------------------------------------------------------------- */

static orm_status keep_mine(orm_mirror *mirror, const orm_conflict_place *place, orm_error *error)
{
	orm_object *object = place->object;
	orm_dispute *dispute;

	if (place->gone || place->deleted) {
		/* What another deleted can only be added anew: the rest of the unit has no such object any more. */
		drop_dispute(mirror, orm_dispute_find(mirror, object, ORM_NO_NUMBER));
		orm_object_leave(mirror, object);
		return orm_object_readd(mirror, object, error);
	}
	dispute = orm_dispute_find(mirror, object, place->column);
	if (!dispute)
		return ORM_OK;
	if (place->rev > dispute->base)
		dispute->base = place->rev;
	if (place->has_theirs) {
		dispute->seen = place->theirs;
		dispute->has_seen = true;
	}
	return ORM_OK;
}

static void take_theirs(orm_mirror *mirror, const orm_conflict_place *place)
{
	orm_object *object = place->object;
	const orm_layout *layout = orm_layout_of(object);

	drop_dispute(mirror, orm_dispute_find(mirror, object, place->column));
	if (place->gone)
		return;
	if (place->column == ORM_NO_NUMBER) {
		orm_families_batch(mirror);
		orm_object_revert(mirror, object);
		orm_families_tidy(mirror);
		return;
	}

	const orm_member *member = &layout->members[place->column];

	if (place->has_theirs && !member->key && !member->referenced) /* what it is found by changes by sync only */
		orm_member_set(member, orm_snapshot_of(object), &place->theirs);
	orm_member_copy(member, orm_struct_of(object), orm_snapshot_of(object));
	for (uint16_t i = 0; i < layout->n_out; i++) {
		if (!(object->flags & (OBJECT_DELETING | OBJECT_DELETED)))
			orm_settle_columns(mirror, object, layout->out[i]);
	}
}

static orm_status resolve_one(orm_mirror *mirror, size_t i, orm_choice choice, orm_error *error)
{
	orm_status status = ORM_OK;

	if (choice == ORM_MINE)
		status = keep_mine(mirror, &mirror->places[i], error);
	else
		take_theirs(mirror, &mirror->places[i]);
	if (status != ORM_OK)
		return status;
	mirror->n_conflicts--;
	memmove(&mirror->conflicts[i], &mirror->conflicts[i + 1],
		(mirror->n_conflicts - i) * sizeof mirror->conflicts[0]);
	memmove(&mirror->places[i], &mirror->places[i + 1], (mirror->n_conflicts - i) * sizeof mirror->places[0]);
	return ORM_OK;
}

orm_status orm_conflict_resolve(orm_mirror *mirror, const orm_conflict *conflict, orm_choice choice, size_t *left,
				orm_error *error)
{
	orm_status status = ORM_OK;

	if (choice != ORM_MINE && choice != ORM_THEIRS)
		return orm_fail(error, ORM_EINVAL, "orm_resolve takes ORM_MINE or ORM_THEIRS");
	if (conflict && (conflict < mirror->conflicts || conflict >= mirror->conflicts + mirror->n_conflicts))
		return orm_fail(error, ORM_EINVAL,
				"this conflict is not in the list any more: get it again with orm_conflicts");
	if (conflict) {
		status = resolve_one(mirror, (size_t)(conflict - mirror->conflicts), choice, error);
	} else {
		while (status == ORM_OK && mirror->n_conflicts > 0)
			status = resolve_one(mirror, mirror->n_conflicts - 1, choice, error);
	}
	*left = mirror->n_conflicts;
	return status;
}
