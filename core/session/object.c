/* SPDX-License-Identifier: MIT */
#include "session/object.h"

#include <assert.h>
#include <stdlib.h>

void ormd_objects_init(ormd_objects *objects)
{
	*objects = (ormd_objects){.next = 1};
}

void ormd_objects_fini(ormd_objects *objects)
{
	if (!objects)
		return;
	orm_arena_fini(&objects->arena);
	free(objects->pages);
	ormd_objects_init(objects);
}

static bool add_page(ormd_objects *objects)
{
	if (objects->n_pages == objects->max_pages) {
		const size_t max = objects->max_pages ? objects->max_pages * 2 : 4;
		ormd_object **pages = realloc(objects->pages, max * sizeof *pages);

		if (!pages)
			return false;
		objects->pages = pages;
		objects->max_pages = max;
	}

	ormd_object *page = orm_arena_alloc(&objects->arena, ORMD_OBJECTS_PER_PAGE * sizeof *page);

	if (!page)
		return false;
	objects->pages[objects->n_pages++] = page;
	return true;
}

uint32_t ormd_objects_take(ormd_objects *objects, ormd_object **object)
{
	uint32_t number = objects->free;

	if (number) {
		*object = ormd_objects_at(objects, number);
		objects->free = (uint32_t)(*object)->handle; /* a free one's handle is the next free one's number */
	} else {
		if (objects->next == UINT32_MAX)
			return 0;
		if (objects->next / ORMD_OBJECTS_PER_PAGE >= objects->n_pages && !add_page(objects))
			return 0;
		number = objects->next++;
		*object = ormd_objects_at(objects, number);
	}
	**object = (ormd_object){0};
	objects->n_used++;
	return number;
}

void ormd_objects_give(ormd_objects *objects, uint32_t number)
{
	ormd_object *object = ormd_objects_at(objects, number);

	assert(number > 0 && number < objects->next && object->state != ORMD_STATE_NONE);
	*object = (ormd_object){.handle = objects->free};
	objects->free = number;
	objects->n_used--;
}

size_t ormd_objects_size(const ormd_objects *objects)
{
	return objects->n_pages * ORMD_OBJECTS_PER_PAGE * sizeof(ormd_object) +
	       objects->max_pages * sizeof(ormd_object *);
}
