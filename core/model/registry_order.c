/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "model/registry_build.h"

/*
 * Tarjan's strongly connected components, without recursion because the models may be a peer's. A component is complete
 * only after all those its foreign keys lead to, so depths can be given as components complete.
 */
typedef struct visit {
	uint32_t index;    /* order of discovery, from 1; 0: not seen */
	uint32_t low;      /* the earliest one reachable that is still open */
	uint16_t next_key; /* the foreign key to follow next */
	bool open;         /* on the stack of components */
} visit;

typedef struct component_search {
	registry_build *build;
	visit *visits;
	uint16_t *path;
	uint16_t *open;
	size_t path_len;
	size_t open_len;
	uint32_t n_seen;
} component_search;

static void enter(component_search *search, uint16_t number)
{
	search->n_seen++;
	search->visits[number] = (visit){.index = search->n_seen, .low = search->n_seen, .open = true};
	search->path[search->path_len++] = number;
	search->open[search->open_len++] = number;
}

/* Take the component that `root` heads off the stack and give its models their depth. */
static void complete_component(component_search *search, uint16_t root)
{
	orm_mapper *mappers = search->build->mappers;
	size_t start = search->open_len;
	uint16_t depth = 0;
	bool cycle;

	while (search->open[--start] != root)
		;
	cycle = search->open_len - start > 1;
	for (size_t i = start; i < search->open_len; i++) {
		const orm_mapper *mapper = &mappers[search->open[i]];

		for (size_t j = 0; j < mapper->n_foreign_keys; j++) {
			const orm_mapper *target = mapper->foreign_keys[j].target;

			if (search->visits[target->number].open) /* in this component: later ones have been completed,
								    earlier ones not reached */
				cycle |= target == mapper;
			else if (target->depth >= depth)
				depth = (uint16_t)(target->depth + 1);
		}
	}
	for (size_t i = start; i < search->open_len; i++) {
		mappers[search->open[i]].depth = depth;
		mappers[search->open[i]].in_cycle = cycle;
	}
	for (size_t i = start; i < search->open_len; i++)
		search->visits[search->open[i]].open = false;
	search->open_len = start;
}

static void explore(component_search *search, uint16_t from)
{
	enter(search, from);
	while (search->path_len > 0) {
		const uint16_t number = search->path[search->path_len - 1];
		const orm_mapper *mapper = &search->build->mappers[number];
		visit *here = &search->visits[number];

		if (here->next_key < mapper->n_foreign_keys) {
			const uint16_t target = mapper->foreign_keys[here->next_key++].target->number;
			const visit *there = &search->visits[target];

			if (there->index == 0)
				enter(search, target);
			else if (there->open && there->index < here->low)
				here->low = there->index;
			continue;
		}
		search->path_len--;
		if (search->path_len > 0) {
			visit *parent = &search->visits[search->path[search->path_len - 1]];

			if (here->low < parent->low)
				parent->low = here->low;
		}
		if (here->low == here->index)
			complete_component(search, number);
	}
}

static int compare_depths(const void *a, const void *b)
{
	const orm_mapper *const *left = a;
	const orm_mapper *const *right = b;

	if ((*left)->depth != (*right)->depth)
		return (*left)->depth < (*right)->depth ? -1 : 1;
	return (*left)->number < (*right)->number ? -1 : (*left)->number > (*right)->number;
}

orm_status orm_registry_order(registry_build *build)
{
	orm_registry *registry = build->registry;
	const size_t n = registry->n_mappers;
	const orm_mapper **by_depth = orm_arena_calloc(&registry->arena, n, sizeof(const orm_mapper *));
	component_search search = {
		.build = build,
		.visits = calloc(n, sizeof(visit)),
		.path = calloc(n, sizeof(uint16_t)),
		.open = calloc(n, sizeof(uint16_t)),
	};
	orm_status status = ORM_ENOMEM;

	if (!by_depth || !search.visits || !search.path || !search.open)
		goto out;
	for (uint16_t i = 0; i < n; i++) {
		if (search.visits[i].index == 0)
			explore(&search, i);
		by_depth[i] = &build->mappers[i];
	}
	qsort(by_depth, n, sizeof *by_depth, compare_depths);
	registry->by_depth = by_depth;
	status = ORM_OK;
out:
	free(search.visits);
	free(search.path);
	free(search.open);
	return status;
}
