/* SPDX-License-Identifier: MIT */
#include "client/draft.h"

#include "client/draft_encode.h"
#include "client/family.h"
#include "client/relationship.h"
#include "model/fail.h"

/* Objects with the same change: of one model, the same columns and references, on the same base. */
typedef struct change_group {
	orm_shape shape;
	orm_pointers objects;
} change_group;

typedef struct draft_builder {
	orm_mirror *mirror;
	orm_arena *arena;
	orm_draft *draft;
	orm_error *error;
	orm_map groups;        /* change_group, by shape */
	orm_pointers in_order; /* the same, in the order they were made */
	orm_pointers adds;     /* new objects, by model */
	uint64_t *columns;     /* room for a set of columns of any model */
	bool *references;      /* room for a mark for each association of any model */
	change_group *last;
} draft_builder;

/* ---- what an object sends ------------------------------------------------------------------------------------ */

/* Foreign keys whose target has no key yet: they travel as references instead of columns. */
static orm_status take_references(draft_builder *builder, const orm_object *object, bool *any)
{
	const orm_layout *layout = orm_layout_of(object);

	*any = false;
	for (uint16_t a = 0; a < layout->n_out; a++) {
		const orm_association *association = layout->out[a];
		const orm_family *family = orm_families_out(object)[a];

		builder->references[a] = family && !family->keyed && family->parent;
		if (!builder->references[a])
			continue;
		if (association->n_pointers == 0)
			return orm_fail_at(builder->error, ORM_EINVAL, association->parent->model->name,
					   association->lists[0]->relationship->name,
					   "has a new %s in the list of a new %s, which has no key yet: flush the %s "
					   "first, or declare the other side",
					   layout->model->name, association->parent->model->name,
					   association->parent->model->name);
		*any = true;
		for (uint16_t c = 0; c < association->n_columns; c++)
			orm_column_set_take(builder->columns, association->child_columns[c]);
	}
	return ORM_OK;
}

static orm_status shape_of_add(draft_builder *builder, const orm_object *object, bool *any_references)
{
	const orm_layout *layout = orm_layout_of(object);
	const orm_mapper *mapper = layout->mapper;
	const void *structure = orm_struct_of(object);
	const void *snapshot = orm_snapshot_of(object);

	memset(builder->columns, 0, layout->n_words * sizeof builder->columns[0]);
	for (uint16_t c = 0; c < layout->n_members; c++)
		orm_column_set_put(builder->columns, c);
	if (mapper->generated_key && !orm_key_is_known(layout, structure))
		orm_column_set_take(builder->columns, mapper->key[0]);
	if (mapper->has_defaults) {
		const uint64_t *given = orm_given_of(builder->mirror, object);

		for (uint16_t c = 0; c < layout->n_members; c++) {
			if (layout->members[c].has_default && !orm_column_set_has(given, c) &&
			    orm_member_equal(&layout->members[c], structure, snapshot))
				orm_column_set_take(builder->columns, c);
		}
	}
	return take_references(builder, object, any_references);
}

/*
 * The columns with edits. Where a string was assigned that says the same, the struct goes back to the session's own,
 * since the program's is only lent.
 */
static orm_status shape_of_update(draft_builder *builder, orm_object *object, bool *any, bool *any_references)
{
	const orm_layout *layout = orm_layout_of(object);
	void *structure = orm_struct_of(object);
	const void *snapshot = orm_snapshot_of(object);
	orm_status status;

	memset(builder->columns, 0, layout->n_words * sizeof builder->columns[0]);
	for (uint16_t c = 0; c < layout->n_members; c++) {
		if (orm_member_identical(&layout->members[c], structure, snapshot))
			continue;
		if (orm_member_equal(&layout->members[c], structure, snapshot))
			orm_member_copy(&layout->members[c], structure, snapshot);
		else
			orm_column_set_put(builder->columns, c);
	}
	status = take_references(builder, object, any_references);
	*any = *any_references;
	for (uint16_t w = 0; w < layout->n_words; w++)
		*any = *any || builder->columns[w] != 0;
	return status;
}

/* ---- groups -------------------------------------------------------------------------------------------------- */

static bool same_shape(const orm_shape *a, const orm_shape *b)
{
	const orm_layout *layout = a->layout;

	if (a->kind != b->kind || layout != b->layout || a->base != b->base || !a->references != !b->references)
		return false;
	if (a->references && memcmp(a->references, b->references, layout->n_out * sizeof(bool)) != 0)
		return false;
	return a->kind == DRAFT_DELETES || memcmp(a->columns, b->columns, layout->n_words * sizeof a->columns[0]) == 0;
}

static bool group_has_shape(const void *group, const void *shape)
{
	return same_shape(&((const change_group *)group)->shape, shape);
}

static uint64_t hash_shape(const orm_shape *shape)
{
	uint64_t hash = orm_hash_u64(shape->base * 8 + (uint64_t)shape->kind) ^
			orm_hash_u64((UINT64_C(1) << 32) + shape->layout->number);

	if (shape->kind != DRAFT_DELETES)
		hash ^= orm_hash_bytes(shape->columns, shape->layout->n_words * sizeof shape->columns[0]);
	if (shape->references)
		hash ^= orm_hash_bytes(shape->references, shape->layout->n_out * sizeof(bool)) * 3;
	return hash;
}

/* A shape that lasts as long as the draft. */
static bool keep_shape(draft_builder *builder, const orm_shape *shape, orm_shape *kept)
{
	*kept = *shape;
	if (shape->columns) {
		kept->columns = orm_arena_memdup(builder->arena, shape->columns,
						 shape->layout->n_words * sizeof shape->columns[0]);
		if (!kept->columns)
			return false;
	}
	if (shape->references) {
		kept->references =
			orm_arena_memdup(builder->arena, shape->references, shape->layout->n_out * sizeof(bool));
		if (!kept->references)
			return false;
	}
	return true;
}

static orm_status put_in_group(draft_builder *builder, const orm_shape *shape, orm_object *object)
{
	change_group *group = builder->last;

	if (!group || !same_shape(&group->shape, shape)) {
		const uint64_t hash = hash_shape(shape);

		group = orm_map_get(&builder->groups, hash, group_has_shape, shape);
		if (!group) {
			group = orm_arena_calloc(builder->arena, 1, sizeof *group);
			if (!group || !keep_shape(builder, shape, &group->shape) ||
			    !orm_map_put(&builder->groups, hash, group) ||
			    !orm_pointers_add(&builder->in_order, group, builder->arena))
				return orm_mirror_no_memory(builder->error);
		}
		builder->last = group;
	}
	if (!orm_pointers_add(&group->objects, object, builder->arena))
		return orm_mirror_no_memory(builder->error);
	return ORM_OK;
}

/* The oldest base of what travels as references: a disputed foreign key keeps its base in that form, too. */
static uint64_t base_of_references(const draft_builder *builder, const orm_object *object, uint64_t base)
{
	const orm_layout *layout = orm_layout_of(object);

	for (uint16_t a = 0; a < layout->n_out; a++) {
		for (uint16_t c = 0; builder->references[a] && c < layout->out[a]->n_columns; c++) {
			const orm_dispute *dispute =
				orm_dispute_find(builder->mirror, object, layout->out[a]->child_columns[c]);

			if (dispute && dispute->base < base)
				base = dispute->base;
		}
	}
	return base;
}

/* Columns under dispute keep the base that their edits were made on, and so travel apart from the others. */
static orm_status put_disputed(draft_builder *builder, orm_object *object, orm_shape *shape)
{
	const orm_layout *layout = shape->layout;
	const orm_dispute *whole = orm_dispute_find(builder->mirror, object, ORM_NO_NUMBER);
	uint64_t *one = orm_arena_calloc(builder->arena, layout->n_words, sizeof one[0]);
	bool left = shape->references != NULL;

	if (!one)
		return orm_mirror_no_memory(builder->error);
	if (whole)
		shape->base = whole->base;
	if (shape->references)
		shape->base = base_of_references(builder, object, shape->base);
	for (uint16_t c = 0; c < layout->n_members; c++) {
		const orm_dispute *dispute =
			orm_column_set_has(builder->columns, c) ? orm_dispute_find(builder->mirror, object, c) : NULL;
		orm_shape apart = {.kind = DRAFT_UPDATES, .layout = layout, .columns = one};
		orm_status status;

		if (!dispute || dispute->base == shape->base)
			continue;
		apart.base = dispute->base;
		orm_column_set_take(builder->columns, c);
		orm_column_set_put(one, c);
		status = put_in_group(builder, &apart, object);
		orm_column_set_take(one, c);
		if (status != ORM_OK)
			return status;
	}
	for (uint16_t w = 0; w < layout->n_words; w++)
		left = left || builder->columns[w] != 0;
	return left ? put_in_group(builder, shape, object) : ORM_OK;
}

static orm_status put_update(draft_builder *builder, orm_object *object)
{
	orm_shape shape = {.kind = DRAFT_UPDATES,
			   .layout = orm_layout_of(object),
			   .columns = builder->columns,
			   .base = builder->mirror->seen};
	bool any, any_references;
	const orm_status status = shape_of_update(builder, object, &any, &any_references);

	if (status == ORM_OK && !any)
		orm_object_unflag(object, OBJECT_MOVED); /* back to where it was */
	if (status != ORM_OK || !any)
		return status;
	if (any_references)
		shape.references = builder->references;
	builder->draft->n_updates++;
	return object->flags & OBJECT_DISPUTED ? put_disputed(builder, object, &shape)
					       : put_in_group(builder, &shape, object);
}

static orm_status put_delete(draft_builder *builder, orm_object *object)
{
	orm_shape shape = {.kind = DRAFT_DELETES, .layout = orm_layout_of(object), .base = builder->mirror->seen};
	const orm_dispute *dispute =
		object->flags & OBJECT_DISPUTED ? orm_dispute_find(builder->mirror, object, ORM_NO_NUMBER) : NULL;

	if (dispute)
		shape.base = dispute->base;
	builder->draft->n_deletes++;
	return put_in_group(builder, &shape, object);
}

static orm_status put_add(draft_builder *builder, orm_object *object)
{
	orm_mirror *mirror = builder->mirror;

	if (object->handle == 0) {
		const uint64_t handle = (uint64_t)mirror->participant << 40 | (mirror->n_handles + 1);

		if (!orm_handle_put(mirror, handle, object))
			return orm_mirror_no_memory(builder->error);
		object->handle = handle;
		mirror->n_handles++;
	}
	builder->draft->n_adds++;
	return orm_pointers_add(&builder->adds, object, builder->arena) ? ORM_OK : orm_mirror_no_memory(builder->error);
}

/*
 * Decimals that were assigned become canonical, in the struct too: so that "12.5" is no edit of "12.50", and what is
 * sent is what the struct holds from then on. The new text is the mirror's, since the draft may not be accepted.
 */
static orm_status make_decimals_canonical(draft_builder *builder, orm_object *object)
{
	const orm_layout *layout = orm_layout_of(object);
	void *structure = orm_struct_of(object);
	const bool is_new = object->flags & OBJECT_NEW; /* whose snapshot is what it was added with */

	for (uint16_t c = 0; c < layout->n_members; c++) {
		const orm_member *member = &layout->members[c];
		const orm_column *column = &layout->mapper->columns[c];
		char text[ORM_DECIMAL_SIZE];
		orm_value value;
		size_t size = 0;

		if (member->type != ORM_DECIMAL ||
		    (!is_new && orm_member_identical(member, structure, orm_snapshot_of(object))))
			continue;
		orm_member_get(member, structure, &value);
		if (value.null)
			continue;

		const char *fault = orm_column_canonical_decimal(column, value.text, value.size, text, &size);

		if (fault)
			return orm_fail_at(builder->error, ORM_EINVAL, layout->model->name, column->name, "%s", fault);
		if (size == value.size && memcmp(text, value.text, size) == 0)
			continue;
		value.text = orm_arena_strndup(&builder->mirror->arena, text, size);
		if (!value.text)
			return orm_mirror_no_memory(builder->error);
		orm_member_set(member, structure, &value);
	}
	return ORM_OK;
}

/* ---- building ------------------------------------------------------------------------------------------------ */

static orm_status collect(draft_builder *builder)
{
	const orm_mirror *mirror = builder->mirror;

	for (size_t i = 0; i < mirror->n_walk; i++) {
		orm_object *object = mirror->walk[i];
		orm_status status = ORM_OK;

		if (orm_layout_of(object)->has_decimals && !(object->flags & OBJECT_DELETING))
			status = make_decimals_canonical(builder, object);
		if (status != ORM_OK)
			return status;
		if (object->flags & OBJECT_NEW)
			status = put_add(builder, object);
		else if (object->flags & OBJECT_DELETING)
			status = put_delete(builder, object);
		else if (!(object->flags & OBJECT_DELETED) || (object->flags & OBJECT_DISPUTED))
			status = put_update(builder, object);
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

/* New objects in runs of the same shape, so that the order of orm_add is kept. */
static orm_status encode_adds(draft_builder *builder, orm_encoder *encoder)
{
	orm_object **objects = (orm_object **)builder->adds.items;
	orm_shape run = {.layout = NULL};
	size_t first = 0;

	for (size_t i = 0; i < builder->adds.len; i++) {
		bool any_references;
		orm_status status = shape_of_add(builder, objects[i], &any_references);
		const orm_shape shape = {
			.kind = DRAFT_ADDS,
			.layout = orm_layout_of(objects[i]),
			.columns = builder->columns,
			.references = any_references ? builder->references : NULL,
		};

		if (status == ORM_OK && run.layout && same_shape(&run, &shape))
			continue;
		if (status == ORM_OK && run.layout)
			status = orm_encoder_put(encoder, &run, objects + first, i - first);
		if (status != ORM_OK)
			return status;
		if (!keep_shape(builder, &shape, &run))
			return orm_mirror_no_memory(builder->error);
		first = i;
	}
	return run.layout ? orm_encoder_put(encoder, &run, objects + first, builder->adds.len - first) : ORM_OK;
}

static orm_status encode_groups(const draft_builder *builder, orm_encoder *encoder, orm_draft_kind kind)
{
	for (size_t i = 0; i < builder->in_order.len; i++) {
		const change_group *group = builder->in_order.items[i];
		orm_status status;

		if (group->shape.kind != kind)
			continue;
		status = orm_encoder_put(encoder, &group->shape, (orm_object **)group->objects.items,
					 group->objects.len);
		if (status != ORM_OK)
			return status;
	}
	return ORM_OK;
}

static orm_status encode_all(draft_builder *builder, const orm_draft_limits *limits)
{
	orm_encoder encoder = {
		.mirror = builder->mirror, .arena = builder->arena, .limits = limits, .error = builder->error};
	orm_status status;

	orm_encoder_start(&encoder);
	status = encode_adds(builder, &encoder);
	if (status == ORM_OK)
		status = encode_groups(builder, &encoder, DRAFT_UPDATES);
	if (status == ORM_OK)
		status = encode_groups(builder, &encoder, DRAFT_DELETES);
	if (status == ORM_OK)
		status = orm_encoder_end(&encoder);
	builder->draft->parts = (Ormd__V1__Draft **)encoder.parts.items;
	builder->draft->n_parts = encoder.parts.len;
	builder->draft->runs = (orm_draft_run **)encoder.runs.items;
	builder->draft->n_runs = encoder.runs.len;
	return status;
}

orm_status orm_draft_build(orm_mirror *mirror, const orm_draft_limits *limits, orm_arena *arena, orm_draft *draft,
			   orm_error *error)
{
	draft_builder builder = {.mirror = mirror, .arena = arena, .draft = draft, .error = error};
	orm_status status;

	*draft = (orm_draft){.seen = mirror->seen};
	status = orm_mirror_settle(mirror, error); /* leaves in mirror->walk what the draft is made of */
	if (status == ORM_OK)
		status = orm_disputes_check_gone(mirror, error);
	if (status != ORM_OK || mirror->n_walk == 0)
		return status;
	builder.columns = orm_arena_calloc(arena, ORM_MAX_COLUMNS / 64, sizeof builder.columns[0]);
	builder.references =
		orm_arena_calloc(arena, (size_t)mirror->binding->n_associations + 1, sizeof builder.references[0]);
	if (!builder.columns || !builder.references)
		return orm_mirror_no_memory(error);
	orm_map_init(&builder.groups);
	status = collect(&builder);
	if (status == ORM_OK)
		status = encode_all(&builder, limits);
	orm_map_fini(&builder.groups);
	return status;
}

/* ---- accepting ----------------------------------------------------------------------------------------------- */

static orm_status take_key(orm_mirror *mirror, uint64_t handle, int64_t key, orm_error *error)
{
	orm_object *object = orm_mirror_by_handle(mirror, handle);
	const orm_layout *layout = object ? orm_layout_of(object) : NULL;

	if (!object || !(object->flags & OBJECT_NEW) || !layout->mapper->generated_key)
		return orm_fail(error, ORM_EPROTOCOL,
				"the server generated a key for an object that does not wait for one");

	const orm_member *member = &layout->members[layout->mapper->key[0]];
	const orm_value value = {.type = member->type, .integer = key};

	if (member->type == ORM_INT32 && (key > INT32_MAX || key < INT32_MIN))
		return orm_fail_at(error, ORM_ELIMIT, layout->model->name, layout->mapper->columns[member->column].name,
				   "the generated key does not fit into 32 bits: make the column an int64_t");
	if (orm_key_is_known(layout, orm_snapshot_of(object)))
		orm_key_remove(mirror, object);
	orm_member_set(member, orm_struct_of(object), &value);
	orm_member_set(member, orm_snapshot_of(object), &value);
	if (!orm_key_put(mirror, object))
		return orm_mirror_no_memory(error);
	if (layout->n_in > 0)
		orm_parent_keyed(mirror, object);
	return ORM_OK;
}

static orm_status take_keys(orm_mirror *mirror, const orm_draft *draft, Ormd__V1__KeyRange *const *keys, size_t n_keys,
			    orm_error *error)
{
	for (size_t i = 0; i < n_keys; i++) {
		if (keys[i]->count > draft->n_adds)
			return orm_fail(error, ORM_EPROTOCOL, "the server generated %u keys for %zu objects",
					(unsigned)keys[i]->count, draft->n_adds);
		for (uint32_t k = 0; k < keys[i]->count; k++) {
			const orm_status status =
				take_key(mirror, keys[i]->first_handle + k, keys[i]->first_key + k, error);

			if (status != ORM_OK)
				return status;
		}
	}
	return ORM_OK;
}

/* The strings that travelled become the session's: one copy of the column, and every member points into it. */
static bool keep_text(orm_mirror *mirror, const orm_draft_run *run, const Ormd__V1__Column *column,
		      const orm_member *member)
{
	const char *next = orm_arena_memdup(&mirror->arena, column->text.data, column->text.len);

	if (!next)
		return false;
	for (size_t i = 0; i < run->n_objects; i++) {
		const char **text = (const char **)orm_member_in(member, orm_struct_of(run->objects[i]));

		if (*text)
			*text = next;
		next += strlen(next) + 1;
	}
	return true;
}

static bool keep_bytes(orm_mirror *mirror, const orm_draft_run *run, const Ormd__V1__Column *column,
		       const orm_member *member)
{
	const char *blob = orm_arena_memdup(&mirror->arena, column->blob.data, column->blob.len);
	uint32_t start = 0;

	if (!blob)
		return false;
	for (size_t i = 0; i < run->n_objects; i++) {
		orm_bytes *bytes = orm_member_in(member, orm_struct_of(run->objects[i]));

		if (bytes->data)
			bytes->data = blob + start;
		start = column->blob_ends[i];
	}
	return true;
}

/* Do the columns of a run of updates change what its objects are found by? */
static bool changes_keys(const orm_draft_run *run)
{
	for (size_t c = 0; c < run->values->n_columns; c++) {
		const orm_member *member = &run->layout->members[run->values->columns[c]->column];

		if (member->key || member->referenced)
			return true;
	}
	return false;
}

static orm_status accept_values(orm_mirror *mirror, const orm_draft_run *run, orm_error *error)
{
	const bool rekey = run->kind == DRAFT_UPDATES && changes_keys(run);
	const bool adds = run->kind == DRAFT_ADDS;

	for (size_t c = 0; c < run->values->n_columns; c++) {
		const Ormd__V1__Column *column = run->values->columns[c];
		const orm_member *member = &run->layout->members[column->column];

		if ((orm_type_is_text(member->type) && !keep_text(mirror, run, column, member)) ||
		    (member->type == ORM_BYTES && !keep_bytes(mirror, run, column, member)))
			return orm_mirror_no_memory(error);
	}
	for (size_t i = 0; i < run->n_objects; i++) {
		orm_object *object = run->objects[i];

		if (rekey) {
			orm_key_remove(mirror, object);
			orm_parent_leaves(mirror, object);
		}
		memcpy(orm_snapshot_of(object), orm_struct_of(object), run->layout->size);
		orm_object_unflag(object, OBJECT_NEW | OBJECT_RELINKED | OBJECT_MOVED);
		if (adds)
			orm_object_flag(object, OBJECT_PENDING);
		if (rekey) {
			if (!orm_key_put(mirror, object))
				return orm_mirror_no_memory(error);
			orm_parent_keyed(mirror, object);
		}
	}
	return ORM_OK;
}

orm_status orm_draft_accept(orm_mirror *mirror, orm_draft *draft, Ormd__V1__KeyRange *const *keys, size_t n_keys,
			    orm_error *error)
{
	orm_status status = take_keys(mirror, draft, keys, n_keys, error);

	for (size_t r = 0; status == ORM_OK && r < draft->n_runs; r++) {
		const orm_draft_run *run = draft->runs[r];

		if (run->kind != DRAFT_DELETES) {
			status = accept_values(mirror, run, error);
			continue;
		}
		for (size_t i = 0; i < run->n_objects; i++) {
			orm_object_unflag(run->objects[i], OBJECT_DELETING);
			orm_object_flag(run->objects[i], OBJECT_DELETED);
		}
	}
	if (status == ORM_OK && mirror->out_of_memory) {
		mirror->out_of_memory = false;
		status = orm_mirror_no_memory(error);
	}
	if (status == ORM_OK)
		orm_disputes_clear(mirror);
	return status;
}
