/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "model/registry_build.h"

/* A foreign key while its columns are being gathered. Those to a composite key are filed by their place in that key. */
typedef struct key_draft {
	const orm_mapper *target;
	bool composite;
	uint16_t n_columns;
	uint16_t *columns;
	uint16_t *target_columns;
} key_draft;

/* One model whose foreign keys are resolved. */
typedef struct gathering {
	registry_build *build;
	const orm_mapper *mapper;
	const orm_model_spec *spec;
	key_draft *drafts;
	uint16_t n_drafts;
} gathering;

static bool has_name(const void *value, const void *key)
{
	return strcmp(((const orm_mapper *)value)->name, key) == 0;
}

static const orm_mapper *find_mapper(const orm_map *by_name, const char *name)
{
	return orm_map_get(by_name, orm_hash_string(name), has_name, name);
}

static bool map_names(registry_build *build, orm_map *by_name)
{
	orm_map_init(by_name);
	for (size_t i = 0; i < build->registry->n_mappers; i++) {
		if (!orm_map_put(by_name, orm_hash_string(build->mappers[i].name), &build->mappers[i]))
			return false;
	}
	return true;
}

static orm_status refuse(const gathering *g, const orm_column_spec *column, const char *what)
{
	return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, column->name,
			   "the column references %s.%s, %s", column->references_model, column->references_column,
			   what);
}

static uint16_t place_in_key(const orm_mapper *mapper, uint16_t column)
{
	uint16_t place = 0;

	while (mapper->key[place] != column)
		place++;
	return place;
}

static key_draft *new_draft(gathering *g, const orm_mapper *target, bool composite)
{
	const uint16_t capacity = composite ? target->n_key : 1;
	orm_arena *arena = &g->build->registry->arena;
	key_draft *new = &g->drafts[g->n_drafts];

	*new = (key_draft){
		.target = target,
		.composite = composite,
		.columns = orm_arena_calloc(arena, capacity, sizeof(uint16_t)),
		.target_columns = orm_arena_calloc(arena, capacity, sizeof(uint16_t)),
	};
	if (!new->columns || !new->target_columns)
		return NULL;
	for (uint16_t i = 0; i < capacity; i++)
		new->columns[i] = new->target_columns[i] = ORM_NO_NUMBER;
	g->n_drafts++;
	return new;
}

/* The foreign key to this composite key that still lacks columns. There is at most one, since a second begins when it
 * is complete. */
static key_draft *incomplete_draft(const gathering *g, const orm_mapper *target)
{
	for (size_t i = 0; i < g->n_drafts; i++) {
		if (g->drafts[i].target == target && g->drafts[i].composite && g->drafts[i].n_columns < target->n_key)
			return &g->drafts[i];
	}
	return NULL;
}

static orm_status gather_column(gathering *g, uint16_t number, const orm_map *by_name)
{
	const orm_column_spec *spec = &g->spec->columns[number];
	const orm_mapper *target = find_mapper(by_name, spec->references_model);

	if (!target)
		return refuse(g, spec, "but there is no such model: list it among the models, or correct the name");

	const orm_column *column = orm_mapper_column(target, spec->references_column);

	if (!column)
		return refuse(g, spec, "but the model has no such column: correct the name");
	if (target == g->mapper && column->number == number)
		return refuse(g, spec, "which is itself: reference another column");
	if (column->type != spec->type)
		return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, spec->name,
				   "the column is %s, but %s.%s, which it references, is %s: make the types equal",
				   orm_type_name(spec->type), target->name, column->name, orm_type_name(column->type));
	if (!column->primary_key && !column->unique)
		return refuse(
			g, spec,
			"which is neither its primary key nor unique: reference the key, or make that column unique");

	const bool composite = column->primary_key && target->n_key > 1;
	key_draft *to = composite ? incomplete_draft(g, target) : NULL;
	const uint16_t place = composite ? place_in_key(target, column->number) : 0;

	if (!to)
		to = new_draft(g, target, composite);
	if (!to)
		return ORM_ENOMEM;
	if (to->columns[place] != ORM_NO_NUMBER)
		return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, spec->name,
				   "a second foreign key to %s starts before the first has all columns of its key: "
				   "declare the columns "
				   "of each one together",
				   target->name);
	to->columns[place] = number;
	to->target_columns[place] = column->number;
	to->n_columns++;
	return ORM_OK;
}

/* A draft that lacks columns of its composite key is a foreign key only if its one column's target is unique by itself.
 */
static orm_status settle(const gathering *g, key_draft *draft)
{
	uint16_t place = 0;

	if (!draft->composite || draft->n_columns == draft->target->n_key)
		return ORM_OK;
	while (draft->columns[place] == ORM_NO_NUMBER)
		place++;
	if (draft->n_columns == 1 && draft->target->columns[draft->target_columns[place]].unique) {
		draft->composite = false;
		draft->columns[0] = draft->columns[place];
		draft->target_columns[0] = draft->target_columns[place];
		return ORM_OK;
	}

	const char *column = g->spec->columns[draft->columns[place]].name;
	uint16_t missing = 0;

	while (draft->columns[missing] != ORM_NO_NUMBER)
		missing++;
	return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, column,
			   "the foreign key leads to a part of %s's composite key only: reference %s.%s too",
			   draft->target->name, draft->target->name,
			   draft->target->columns[draft->target->key[missing]].name);
}

static orm_status finish_foreign_key(const gathering *g, const key_draft *draft, uint16_t number,
				     orm_foreign_key *foreign_key)
{
	orm_column *columns = g->build->columns[g->mapper->number];
	const orm_mapper *target = draft->target;

	*foreign_key = (orm_foreign_key){
		.target = target,
		.n_columns = draft->n_columns,
		.columns = draft->columns,
		.target_columns = draft->target_columns,
		.to_key = draft->composite || (target->n_key == 1 && draft->target_columns[0] == target->key[0]),
	};
	for (size_t i = 0; i < draft->n_columns; i++) {
		const orm_column_spec *spec = &g->spec->columns[draft->columns[i]];

		columns[draft->columns[i]].foreign_key = number;
		foreign_key->nullable |= spec->nullable;
		if (spec->on_delete == ORM_NO_ACTION) /* not said: as its fellows say */
			continue;
		if (foreign_key->on_delete != ORM_NO_ACTION && foreign_key->on_delete != spec->on_delete)
			return orm_fail_at(
				g->build->error, ORM_EINVAL, g->mapper->name, spec->name,
				"the columns of the foreign key to %s differ in on_delete: give them the same",
				target->name);
		foreign_key->on_delete = spec->on_delete;
	}
	/* What one column says holds for all; the others have not been checked for it yet. */
	for (size_t i = 0; i < draft->n_columns; i++) {
		const orm_column *column = &columns[draft->columns[i]];

		if (foreign_key->on_delete == ORM_SET_NULL && !column->nullable)
			return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, column->name,
					   "the foreign key to %s is set to NULL on delete, but this column of it may "
					   "not be NULL: make "
					   "it nullable, or choose another on_delete",
					   target->name);
		if (foreign_key->on_delete == ORM_SET_DEFAULT && !column->server_default && !column->nullable)
			return orm_fail_at(g->build->error, ORM_EINVAL, g->mapper->name, column->name,
					   "the foreign key to %s is set to its default on delete, but this column of "
					   "it has none: give it "
					   "a server_default",
					   target->name);
	}
	return ORM_OK;
}

static orm_status resolve_model(registry_build *build, size_t number, const orm_map *by_name)
{
	orm_mapper *mapper = &build->mappers[number];
	gathering g = {.build = build, .mapper = mapper, .spec = &build->specs[number]};
	orm_foreign_key *foreign_keys = NULL;
	orm_status status = ORM_OK;
	size_t n_references = 0;

	for (size_t i = 0; i < g.spec->n_columns; i++)
		n_references += g.spec->columns[i].references_model != NULL;
	if (n_references == 0)
		return ORM_OK;
	g.drafts = calloc(n_references, sizeof *g.drafts);
	if (!g.drafts)
		return ORM_ENOMEM;
	for (uint16_t i = 0; i < g.spec->n_columns && status == ORM_OK; i++) {
		if (g.spec->columns[i].references_model)
			status = gather_column(&g, i, by_name);
	}
	if (status != ORM_OK)
		goto out;
	foreign_keys = orm_arena_calloc(&build->registry->arena, g.n_drafts, sizeof *foreign_keys);
	if (!foreign_keys) {
		status = ORM_ENOMEM;
		goto out;
	}
	for (uint16_t i = 0; i < g.n_drafts && status == ORM_OK; i++) {
		status = settle(&g, &g.drafts[i]);
		if (status == ORM_OK)
			status = finish_foreign_key(&g, &g.drafts[i], i, &foreign_keys[i]);
	}
	mapper->foreign_keys = foreign_keys;
	mapper->n_foreign_keys = g.n_drafts;
out:
	free(g.drafts);
	return status;
}

orm_status orm_registry_resolve_foreign_keys(registry_build *build)
{
	orm_status status = ORM_OK;
	orm_map by_name;

	if (!map_names(build, &by_name))
		status = ORM_ENOMEM;
	for (size_t i = 0; i < build->registry->n_mappers && status == ORM_OK; i++)
		status = resolve_model(build, i, &by_name);
	orm_map_fini(&by_name);
	return status;
}

/* ---- relationships ----------------------------------------------------------------------------------------- */

/* Names and targets of all relationships, so that one can look at another. */
static orm_status copy_relationships(registry_build *build, size_t number, const orm_map *by_name)
{
	const orm_model_spec *spec = &build->specs[number];
	orm_mapper *mapper = &build->mappers[number];
	orm_arena *arena = &build->registry->arena;
	orm_relationship *relationships = orm_arena_calloc(arena, spec->n_relationships, sizeof *relationships);

	if (!relationships)
		return ORM_ENOMEM;
	for (uint16_t i = 0; i < spec->n_relationships; i++) {
		const orm_relationship_spec *from = &spec->relationships[i];

		relationships[i] = (orm_relationship){
			.name = orm_arena_strdup(arena, from->name),
			.number = i,
			.to_many = from->to_many,
			.mapper = mapper,
			.target = find_mapper(by_name, from->target),
		};
		if (!relationships[i].name)
			return ORM_ENOMEM;
		if (!relationships[i].target)
			return orm_fail_at(build->error, ORM_EINVAL, mapper->name, from->name,
					   "the relationship leads to %s, but there is no such model: list it among "
					   "the models, or correct "
					   "the name",
					   from->target);
	}
	mapper->relationships = build->relationships[number] = relationships;
	mapper->n_relationships = (uint16_t)spec->n_relationships;
	return ORM_OK;
}

static const orm_relationship_spec *spec_of(const registry_build *build, const orm_relationship *relationship)
{
	return &build->specs[relationship->mapper->number].relationships[relationship->number];
}

/* The model that has the foreign key, and the one that it leads to. */
static const orm_mapper *key_owner(const orm_relationship *relationship)
{
	return relationship->to_many ? relationship->target : relationship->mapper;
}

static const orm_mapper *key_target(const orm_relationship *relationship)
{
	return relationship->to_many ? relationship->mapper : relationship->target;
}

static orm_status resolve_reverse(registry_build *build, orm_relationship *relationship)
{
	const orm_relationship_spec *spec = spec_of(build, relationship);
	const orm_relationship *reverse;
	const char *back;

	if (!spec->reverse)
		return ORM_OK;
	reverse = orm_mapper_relationship(relationship->target, spec->reverse);
	if (!reverse)
		return orm_fail_at(
			build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
			"the other side is %s.%s, but there is no such relationship: declare it, or correct the name",
			relationship->target->name, spec->reverse);
	back = spec_of(build, reverse)->reverse;
	if (reverse->target != relationship->mapper || !back || strcmp(back, relationship->name) != 0 ||
	    reverse == relationship)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "the other side, %s.%s, does not point back: make its other side %s.%s",
				   reverse->mapper->name, reverse->name, relationship->mapper->name,
				   relationship->name);
	if (reverse->to_many && relationship->to_many)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "this and the other side, %s.%s, are both lists: give the link between them a model "
				   "of its own, with a "
				   "foreign key to each",
				   reverse->mapper->name, reverse->name);
	if (!reverse->to_many && !relationship->to_many)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "neither this nor the other side, %s.%s, is a list: make the one without the "
				   "foreign key a list",
				   reverse->mapper->name, reverse->name);
	relationship->reverse = reverse;
	return ORM_OK;
}

static orm_status follow_via(registry_build *build, orm_relationship *relationship, const char *via)
{
	const orm_mapper *owner = key_owner(relationship);
	const orm_column *column = orm_mapper_column(owner, via);

	if (!column)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "the relationship goes via %s.%s, but there is no such column: correct the name",
				   owner->name, via);
	if (column->foreign_key == ORM_NO_NUMBER ||
	    owner->foreign_keys[column->foreign_key].target != key_target(relationship))
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "the relationship goes via %s.%s, which is no foreign key to %s: add its "
				   ".references, or name another",
				   owner->name, via, key_target(relationship)->name);
	relationship->foreign_key = &owner->foreign_keys[column->foreign_key];
	return ORM_OK;
}

static size_t count_keys(const orm_mapper *owner, const orm_mapper *target, const orm_foreign_key **last)
{
	size_t n = 0;

	for (size_t i = 0; i < owner->n_foreign_keys; i++) {
		if (owner->foreign_keys[i].target == target) {
			*last = &owner->foreign_keys[i];
			n++;
		}
	}
	return n;
}

static orm_status resolve_key(registry_build *build, orm_relationship *relationship)
{
	const orm_mapper *owner = key_owner(relationship);
	const orm_mapper *target = key_target(relationship);
	const char *via = spec_of(build, relationship)->via;
	const orm_foreign_key *foreign_key = NULL;
	size_t n;

	/* Either side may say it for both: `via` always is a column of the model that has the foreign key. */
	if (!via && relationship->reverse)
		via = spec_of(build, relationship->reverse)->via;
	if (via)
		return follow_via(build, relationship, via);
	n = count_keys(owner, target, &foreign_key);
	if (n > 1)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "%s has %zu foreign keys to %s: say which one with .via", owner->name, n,
				   target->name);
	if (n == 0 && !relationship->to_many && count_keys(target, owner, &foreign_key) > 0)
		return orm_fail_at(
			build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
			"the foreign key is on the other side, in %s: make this a list, even where it has one member",
			target->name);
	if (n == 0)
		return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
				   "%s has no foreign key to %s: add .references to the column that holds it",
				   owner->name, target->name);
	relationship->foreign_key = foreign_key;
	return ORM_OK;
}

static orm_status check_same_key(registry_build *build, orm_relationship *relationship)
{
	const orm_relationship *reverse = relationship->reverse;

	if (!reverse || reverse->foreign_key == relationship->foreign_key)
		return ORM_OK;
	return orm_fail_at(build->error, ORM_EINVAL, relationship->mapper->name, relationship->name,
			   "this and the other side, %s.%s, follow different foreign keys: give both the same .via",
			   reverse->mapper->name, reverse->name);
}

/* A step of resolving one relationship. */
typedef orm_status resolve_step(registry_build *build, orm_relationship *relationship);

static orm_status for_each_relationship(registry_build *build, resolve_step *step)
{
	orm_status status = ORM_OK;

	for (size_t i = 0; i < build->registry->n_mappers; i++) {
		for (size_t j = 0; j < build->mappers[i].n_relationships && status == ORM_OK; j++)
			status = step(build, &build->relationships[i][j]);
	}
	return status;
}

orm_status orm_registry_resolve_relationships(registry_build *build)
{
	orm_status status = ORM_OK;
	orm_map by_name;

	if (!map_names(build, &by_name))
		status = ORM_ENOMEM;
	for (size_t i = 0; i < build->registry->n_mappers && status == ORM_OK; i++)
		status = copy_relationships(build, i, &by_name);
	orm_map_fini(&by_name);
	if (status == ORM_OK)
		status = for_each_relationship(build, resolve_reverse);
	if (status == ORM_OK)
		status = for_each_relationship(build, resolve_key);
	if (status == ORM_OK)
		status = for_each_relationship(build, check_same_key);
	return status;
}
