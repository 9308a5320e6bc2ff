/* SPDX-License-Identifier: MIT */
#include "client/binding.h"

#include <ctype.h>
#include <stdlib.h>

#include "client/binding_internal.h"
#include "model/fail.h"

/* What the binding is being made from. */
typedef struct binding_work {
	orm_binding *binding;
	const orm_model *const *models;
	size_t n_models;
	orm_layout *layouts;
	orm_association *associations;
	orm_error *error;
} binding_work;

static orm_status out_of_memory(orm_error *error)
{
	return orm_fail(error, ORM_ENOMEM, "out of memory for the models");
}

/* ---- layouts ------------------------------------------------------------------------------------------------ */

static const size_t value_offsets[ORM_TYPE_MAX + 1] = {
	[ORM_BOOL] = offsetof(orm_opt_bool, value),         [ORM_INT32] = offsetof(orm_opt_int32, value),
	[ORM_INT64] = offsetof(orm_opt_int64, value),       [ORM_DOUBLE] = offsetof(orm_opt_double, value),
	[ORM_DATE] = offsetof(orm_opt_date, value),         [ORM_TIME] = offsetof(orm_opt_time, value),
	[ORM_DATETIME] = offsetof(orm_opt_datetime, value), [ORM_UUID] = offsetof(orm_opt_uuid, value),
};

static const uint16_t plain_sizes[ORM_TYPE_MAX + 1] = {
	[ORM_BOOL] = sizeof(bool),           [ORM_INT32] = sizeof(int32_t),     [ORM_INT64] = sizeof(int64_t),
	[ORM_DOUBLE] = sizeof(double),       [ORM_TEXT] = sizeof(const char *), [ORM_BYTES] = sizeof(orm_bytes),
	[ORM_DATE] = sizeof(orm_date),       [ORM_TIME] = sizeof(orm_time),     [ORM_DATETIME] = sizeof(orm_datetime),
	[ORM_DECIMAL] = sizeof(orm_decimal), [ORM_UUID] = sizeof(orm_uuid),     [ORM_JSON] = sizeof(orm_json),
};

static const uint16_t optional_sizes[ORM_TYPE_MAX + 1] = {
	[ORM_BOOL] = sizeof(orm_opt_bool),         [ORM_INT32] = sizeof(orm_opt_int32),
	[ORM_INT64] = sizeof(orm_opt_int64),       [ORM_DOUBLE] = sizeof(orm_opt_double),
	[ORM_DATE] = sizeof(orm_opt_date),         [ORM_TIME] = sizeof(orm_opt_time),
	[ORM_DATETIME] = sizeof(orm_opt_datetime), [ORM_UUID] = sizeof(orm_opt_uuid),
};

static bool is_integer(orm_type type)
{
	return type == ORM_INT32 || type == ORM_INT64;
}

static void fill_member(orm_member *member, const orm_field *field, const orm_column *column)
{
	*member = (orm_member){
		.offset = (uint32_t)field->offset,
		.value_offset = (uint32_t)(field->offset + (field->optional ? value_offsets[field->type] : 0)),
		.size = field->optional ? optional_sizes[field->type] : plain_sizes[field->type],
		.column = column->number,
		.type = field->type,
		.optional = field->optional,
		.has_default = column->server_default != NULL,
		.key = column->primary_key,
		.association = ORM_NO_NUMBER,
	};
}

static orm_status make_layout(binding_work *work, uint16_t number)
{
	const orm_model *model = work->models[number];
	const orm_mapper *mapper = &work->binding->registry->mappers[number];
	orm_arena *arena = &work->binding->arena;
	orm_layout *layout = &work->layouts[number];
	orm_member *members = orm_arena_calloc(arena, mapper->n_columns, sizeof members[0]);
	orm_relation *relations = orm_arena_calloc(arena, mapper->n_relationships, sizeof relations[0]);
	orm_layout_field *fields = orm_arena_calloc(arena, model->n_fields, sizeof fields[0]);
	uint16_t n_members = 0, n_relations = 0;
	bool has_decimals = false;

	if (!members || !relations || !fields)
		return out_of_memory(work->error);
	for (size_t i = 0; i < model->n_fields; i++) {
		const orm_field *field = &model->fields[i];

		if (field->type != ORM_TYPE_NONE) {
			fields[i] = (orm_layout_field){.number = n_members, .is_column = true};
			fill_member(&members[n_members], field, &mapper->columns[n_members]);
			has_decimals = has_decimals || field->type == ORM_DECIMAL;
			n_members++;
		} else {
			fields[i] = (orm_layout_field){.number = n_relations};
			relations[n_relations] = (orm_relation){
				.relationship = &mapper->relationships[n_relations],
				.owner = layout,
				.target = &work->layouts[mapper->relationships[n_relations].target->number],
				.offset = (uint32_t)field->offset,
				.number = n_relations,
				.to_many = field->to_many,
			};
			n_relations++;
		}
	}
	*layout = (orm_layout){
		.model = model,
		.mapper = mapper,
		.number = number,
		.size = model->size,
		.fields = fields,
		.members = members,
		.n_members = n_members,
		.n_words = (uint16_t)((n_members + 63) / 64),
		.relations = relations,
		.n_relations = n_relations,
		.has_decimals = has_decimals,
		.integer_key = mapper->n_key == 1 && is_integer(mapper->columns[mapper->key[0]].type),
	};
	if (mapper->n_key > work->binding->max_key)
		work->binding->max_key = mapper->n_key;
	return ORM_OK;
}

/* ---- associations ------------------------------------------------------------------------------------------- */

static bool follows(const orm_relation *relation, const orm_association *association)
{
	return relation->relationship->foreign_key == association->foreign_key;
}

/* Relationships of `layout` over the association's foreign key, which get to know it. NULL when out of memory. */
static const orm_relation *const *claim_relations(binding_work *work, const orm_layout *layout, bool to_many,
						  const orm_association *association, uint16_t *n)
{
	orm_relation *relations = (orm_relation *)layout->relations;
	const orm_relation **claimed =
		orm_arena_calloc(&work->binding->arena, layout->n_relations, sizeof(orm_relation *));

	*n = 0;
	for (uint16_t i = 0; claimed && i < layout->n_relations; i++) {
		if (relations[i].to_many == to_many && follows(&relations[i], association)) {
			relations[i].association = association;
			claimed[(*n)++] = &relations[i];
		}
	}
	return claimed;
}

/* The pairs of columns, in the order of the parent's key where that is what they refer to. */
static bool pair_columns(orm_association *association, orm_arena *arena)
{
	const orm_foreign_key *foreign_key = association->foreign_key;
	const uint16_t n = foreign_key->n_columns;
	uint16_t *child = orm_arena_calloc(arena, n, sizeof child[0]);
	uint16_t *parent = orm_arena_calloc(arena, n, sizeof parent[0]);

	if (!child || !parent)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		uint16_t at = i;

		if (foreign_key->to_key) {
			const uint16_t *key = association->parent->mapper->key;

			at = 0;
			while (key[at] != foreign_key->target_columns[i])
				at++;
		}
		child[at] = foreign_key->columns[i];
		parent[at] = foreign_key->target_columns[i];
	}
	association->n_columns = n;
	association->child_columns = child;
	association->parent_columns = parent;
	return true;
}

static orm_status make_association(binding_work *work, const orm_relation *relation)
{
	orm_binding *binding = work->binding;
	orm_association *association = &work->associations[binding->n_associations];
	const orm_layout *child = relation->to_many ? relation->target : relation->owner;
	const orm_layout *parent = relation->to_many ? relation->owner : relation->target;
	orm_member *members = (orm_member *)child->members;
	orm_member *referenced = (orm_member *)parent->members;

	*association = (orm_association){
		.foreign_key = relation->relationship->foreign_key,
		.child = child,
		.parent = parent,
		.number = binding->n_associations,
		.child_slot = child->n_out,
		.parent_slot = parent->n_in,
	};
	if (!pair_columns(association, &binding->arena))
		return out_of_memory(work->error);
	association->pointers = claim_relations(work, child, false, association, &association->n_pointers);
	association->lists = claim_relations(work, parent, true, association, &association->n_lists);
	if (!association->pointers || !association->lists)
		return out_of_memory(work->error);
	association->integer =
		association->n_columns == 1 && is_integer((orm_type)members[association->child_columns[0]].type);
	for (uint16_t i = 0; i < association->n_columns; i++) {
		orm_member *member = &members[association->child_columns[i]];

		if (member->association == ORM_NO_NUMBER)
			member->association = association->child_slot;
		referenced[association->parent_columns[i]].referenced = true;
	}
	if (association->n_columns > binding->max_key)
		binding->max_key = association->n_columns;
	work->layouts[child->number].n_out++;
	work->layouts[parent->number].n_in++;
	binding->n_associations++;
	return ORM_OK;
}

/* Each layout's lists of the associations it is child and parent of; they have been counted. */
static orm_status list_associations(binding_work *work)
{
	orm_binding *binding = work->binding;

	for (uint16_t i = 0; i < binding->n_layouts; i++) {
		orm_layout *layout = &work->layouts[i];
		const orm_association **out = orm_arena_calloc(&binding->arena, layout->n_out, sizeof out[0]);
		const orm_association **in = orm_arena_calloc(&binding->arena, layout->n_in, sizeof in[0]);

		if (!out || !in)
			return out_of_memory(work->error);
		for (uint16_t j = 0; j < binding->n_associations; j++) {
			const orm_association *association = &binding->associations[j];

			if (association->child == layout)
				out[association->child_slot] = association;
			if (association->parent == layout)
				in[association->parent_slot] = association;
		}
		layout->out = out;
		layout->in = in;
	}
	return ORM_OK;
}

static orm_status make_associations(binding_work *work)
{
	orm_binding *binding = work->binding;
	size_t n_relations = 0;

	for (uint16_t i = 0; i < binding->n_layouts; i++)
		n_relations += work->layouts[i].n_relations;
	work->associations = orm_arena_calloc(&binding->arena, n_relations, sizeof work->associations[0]);
	if (!work->associations)
		return out_of_memory(work->error);
	binding->associations = work->associations;
	for (uint16_t i = 0; i < binding->n_layouts; i++) {
		const orm_layout *layout = &work->layouts[i];

		for (uint16_t j = 0; j < layout->n_relations; j++) {
			const orm_status status = layout->relations[j].association
							  ? ORM_OK
							  : make_association(work, &layout->relations[j]);

			if (status != ORM_OK)
				return status;
		}
	}
	return list_associations(work);
}

/* ---- what is not loaded ------------------------------------------------------------------------------------- */

static const char *explain(const orm_relation *relation, orm_arena *arena)
{
	char variable[ORM_MAX_NAME + 1] = "";
	const char *model = relation->owner->model->name;
	const char *name = relation->relationship->name;

	for (size_t i = 0; model[i] && i < ORM_MAX_NAME; i++)
		variable[i] = (char)tolower((unsigned char)model[i]);
	return orm_arena_printf(arena, "%s.%s is not loaded: call orm_load(s, %s, &%s->%s) first\n", model, name,
				variable, variable, name);
}

static orm_status make_poison(binding_work *work)
{
	orm_binding *binding = work->binding;
	size_t n = 0, i = 0;

	for (uint16_t l = 0; l < binding->n_layouts; l++)
		n += work->layouts[l].n_relations;

	size_t *reach = calloc(n + 1, sizeof reach[0]);

	if (!reach)
		return out_of_memory(work->error);
	for (uint16_t l = 0; l < binding->n_layouts; l++) {
		for (uint16_t r = 0; r < work->layouts[l].n_relations; r++)
			reach[i++] = work->layouts[l].relations[r].target->size;
	}
	binding->guard = orm_guard_region_new(n, reach);
	free(reach);
	if (!binding->guard)
		return out_of_memory(work->error);
	i = 0;
	for (uint16_t l = 0; l < binding->n_layouts; l++) {
		orm_layout *layout = &work->layouts[l];
		orm_relation *relations = (orm_relation *)layout->relations;
		char *blank = orm_arena_calloc(&binding->arena, 1, layout->size);

		if (!blank)
			return out_of_memory(work->error);
		for (uint16_t r = 0; r < layout->n_relations; r++, i++) {
			orm_relation *relation = &relations[r];
			const char *text = explain(relation, &binding->arena);

			if (!text)
				return out_of_memory(work->error);
			orm_guard_region_explain(binding->guard, i, text);
			relation->poison = orm_guard_region_address(binding->guard, i);
			if (relation->relationship->reverse)
				relation->reverse =
					&relation->target->relations[relation->relationship->reverse->number];
			if (relation->to_many) {
				const orm_list unloaded = {.items = (void *const *)relation->poison, .len = SIZE_MAX};

				memcpy(blank + relation->offset, &unloaded, sizeof unloaded);
			} else {
				memcpy(blank + relation->offset, &relation->poison, sizeof relation->poison);
			}
		}
		layout->blank = blank;
	}
	return ORM_OK;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static uint64_t hash_model(const orm_model *model)
{
	return orm_hash_u64((uint64_t)(uintptr_t)model);
}

static bool same_model(const void *layout, const void *model)
{
	return ((const orm_layout *)layout)->model == model;
}

static orm_status make_layouts(binding_work *work)
{
	orm_binding *binding = work->binding;

	work->layouts = orm_arena_calloc(&binding->arena, work->n_models, sizeof work->layouts[0]);
	if (!work->layouts || !orm_map_reserve(&binding->by_model, work->n_models))
		return out_of_memory(work->error);
	binding->layouts = work->layouts;
	binding->n_layouts = (uint16_t)work->n_models;
	for (uint16_t i = 0; i < binding->n_layouts; i++) {
		const orm_status status = make_layout(work, i);

		if (status != ORM_OK)
			return status;
		orm_map_put(&binding->by_model, hash_model(work->models[i]), &work->layouts[i]);
	}
	return ORM_OK;
}

orm_binding *orm_binding_new(const orm_model *const models[], orm_error *error)
{
	orm_binding *binding = calloc(1, sizeof *binding);
	binding_work work = {.binding = binding, .models = models, .error = error};
	orm_status status;

	if (!binding) {
		out_of_memory(error);
		return NULL;
	}
	orm_arena_init(&binding->arena, 0);
	orm_map_init(&binding->by_model);
	while (models && models[work.n_models])
		work.n_models++;
	binding->registry = orm_binding_registry(models, work.n_models, error);
	status = binding->registry ? make_layouts(&work) : ORM_EINVAL;
	if (status == ORM_OK)
		status = make_associations(&work);
	if (status == ORM_OK)
		status = make_poison(&work);
	if (status == ORM_OK)
		return binding;
	orm_binding_free(binding);
	return NULL;
}

void orm_binding_free(orm_binding *binding)
{
	if (!binding)
		return;
	orm_guard_region_free(binding->guard);
	orm_map_fini(&binding->by_model);
	orm_registry_free(binding->registry);
	orm_arena_fini(&binding->arena);
	free(binding);
}

const orm_layout *orm_binding_layout(const orm_binding *binding, const orm_model *model)
{
	return orm_map_get(&binding->by_model, hash_model(model), same_model, model);
}

const orm_member *orm_layout_member_at(const orm_layout *layout, size_t offset)
{
	for (uint16_t i = 0; i < layout->n_members; i++) {
		if (layout->members[i].offset == offset)
			return &layout->members[i];
	}
	return NULL;
}

const orm_relation *orm_layout_relation_at(const orm_layout *layout, size_t offset)
{
	for (uint16_t i = 0; i < layout->n_relations; i++) {
		if (layout->relations[i].offset == offset)
			return &layout->relations[i];
	}
	return NULL;
}
