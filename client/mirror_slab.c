/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/mman.h>

#include "client/mirror_state.h"

/* The memory that slabs are cut from: mapped, growing from one slab to 32, never moved. */
typedef struct orm_slab_chunk orm_slab_chunk;
struct orm_slab_chunk {
	orm_slab_chunk *older;
	void *map;
	size_t map_size;
	size_t size; /* of it, for slabs */
};

#define HUGE_PAGE ((size_t)2 << 20)
#define MAX_CHUNK HUGE_PAGE
#define POPULATE_CHUNK                                                                                                 \
	(8 *                                                                                                           \
	 ORM_SLAB_SIZE) /* so large a session will use it: one system call instead of a page fault for every 4 KiB */

static size_t round_up(size_t size, size_t to)
{
	return (size + to - 1) / to * to;
}

/* Where each part of a slab of `n` objects begins; returns its size. */
static size_t arrange(const orm_layout *layout, uint32_t n, size_t *families_at, size_t *structs_at)
{
	const size_t n_families = (size_t)layout->n_out + layout->n_in;
	size_t size = sizeof(orm_slab) + n * sizeof(orm_object);

	*families_at = size = round_up(size, _Alignof(max_align_t));
	size += n * n_families * sizeof(orm_family *);
	*structs_at = size = round_up(size, 64);
	return size + 2 * (size_t)n * layout->size;
}

bool orm_slabs_init(orm_mirror *mirror, orm_model_state *model)
{
	const orm_layout *layout = model->layout;
	const size_t each =
		sizeof(orm_object) + ((size_t)layout->n_out + layout->n_in) * sizeof(orm_family *) + 2 * layout->size;
	size_t n = (ORM_SLAB_SIZE - sizeof(orm_slab)) / each;

	(void)mirror;
	if (n == 0)
		n = 1;
	while (n > 1 && arrange(layout, (uint32_t)n, &model->families_at, &model->structs_at) > ORM_SLAB_SIZE)
		n--;
	model->capacity = (uint32_t)n;
	model->slab_size =
		round_up(arrange(layout, (uint32_t)n, &model->families_at, &model->structs_at), ORM_SLAB_SIZE);
	return model->structs_at < ORM_SLAB_SIZE; /* else a struct's address would not lead to its slab */
}

static bool add_chunk(orm_mirror *mirror, size_t least)
{
	size_t size = mirror->chunks ? mirror->chunks->size * 2 : ORM_SLAB_SIZE;
	orm_slab_chunk *chunk = malloc(sizeof *chunk);
	size_t alignment;

	if (size > MAX_CHUNK)
		size = MAX_CHUNK;
	if (size < least)
		size = least;
	if (!chunk)
		return false;
	alignment = size < HUGE_PAGE ? ORM_SLAB_SIZE : HUGE_PAGE;
	chunk->size = size;
	chunk->map_size = size + alignment; /* so that an aligned address is in it */
	chunk->map = mmap(NULL, chunk->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk->map == MAP_FAILED) {
		free(chunk);
		return false;
	}
	chunk->older = mirror->chunks;
	mirror->chunks = chunk;
	mirror->chunk_next = (char *)round_up((size_t)chunk->map, alignment);
	mirror->chunk_end = mirror->chunk_next + size;
	/* Both only save time, and may fail. */
	if (size >= HUGE_PAGE)
		(void)madvise(mirror->chunk_next, size, MADV_HUGEPAGE);
	if (size >= POPULATE_CHUNK)
		(void)madvise(mirror->chunk_next, size, MADV_POPULATE_WRITE);
	return true;
}

static orm_slab *new_slab(orm_mirror *mirror, orm_model_state *model)
{
	const orm_layout *layout = model->layout;
	orm_slab *slab;

	if ((size_t)(mirror->chunk_end - mirror->chunk_next) < model->slab_size && !add_chunk(mirror, model->slab_size))
		return NULL;
	slab = (orm_slab *)(void *)mirror->chunk_next;
	if (!orm_map_put(&mirror->slabs, orm_hash_u64((uint64_t)(uintptr_t)slab), slab))
		return NULL;
	mirror->chunk_next += model->slab_size;
	slab->layout = layout;
	slab->n_before = model->last ? model->last->n_before + model->last->n_objects : 0;
	slab->structs = (char *)slab + model->structs_at;
	slab->snapshot = (ptrdiff_t)(model->capacity * layout->size);
	slab->families = (orm_family **)(void *)((char *)slab + model->families_at);
	slab->stride = (uint32_t)layout->size;
	slab->n_families = (uint32_t)(layout->n_out + layout->n_in);
	slab->capacity = model->capacity;
	if (model->last)
		model->last->next = slab;
	else
		model->first = slab;
	model->last = slab;
	return slab;
}

orm_object *orm_slab_take(orm_mirror *mirror, orm_model_state *model)
{
	orm_slab *slab = model->last;
	orm_object *object;

	if (!slab || slab->n_objects == slab->capacity) {
		slab = new_slab(mirror, model);
		if (!slab)
			return NULL;
	}
	object = &slab->objects[slab->n_objects];
	object->index = slab->n_objects++; /* the rest is as it was mapped: zero */
	return object;
}

void orm_slabs_free(orm_mirror *mirror)
{
	for (orm_slab_chunk *chunk = mirror->chunks, *older; chunk; chunk = older) {
		older = chunk->older;
		munmap(chunk->map, chunk->map_size);
		free(chunk);
	}
	mirror->chunks = NULL;
	mirror->chunk_next = mirror->chunk_end = NULL;
}

static bool is_slab(const void *slab, const void *address)
{
	return slab == address;
}

orm_object *orm_mirror_find(const orm_mirror *mirror, const void *address)
{
	orm_slab *slab = orm_slab_of(address);
	size_t offset;

	if (!address || !orm_map_get(&mirror->slabs, orm_hash_u64((uint64_t)(uintptr_t)slab), is_slab, slab))
		return NULL;
	if ((const char *)address < slab->structs)
		return NULL;
	offset = (size_t)((const char *)address - slab->structs);
	if (offset / slab->stride >= slab->n_objects || offset % slab->stride != 0)
		return NULL;
	return &slab->objects[offset / slab->stride];
}

const orm_layout *orm_object_layout(const orm_object *object)
{
	return orm_layout_of(object);
}

void *orm_object_struct(const orm_object *object)
{
	return orm_struct_of(object);
}
