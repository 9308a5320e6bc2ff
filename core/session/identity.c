/* SPDX-License-Identifier: MIT */
#include "session/identity.h"

#include <assert.h>
#include <stdlib.h>

#include "base/map.h"

/* ---- by handle ---- */

struct ormd_handle_page {
	uint64_t place; /* handle / ORMD_HANDLES_PER_PAGE */
	uint32_t n_used;
	uint32_t numbers[ORMD_HANDLES_PER_PAGE];
};

#define MIN_PAGE_SLOTS ((size_t)4)

void ormd_handles_init(ormd_handles *handles)
{
	*handles = (ormd_handles){0};
}

void ormd_handles_fini(ormd_handles *handles)
{
	if (!handles)
		return;
	for (size_t i = 0; i < handles->n_slots; i++)
		free(handles->slots[i]);
	free(handles->slots);
	*handles = (ormd_handles){0};
}

/* The slot of a page, or the free slot where it would go. There is a free one. */
static size_t page_slot(ormd_handle_page *const *slots, size_t n_slots, uint64_t place)
{
	size_t slot = (size_t)orm_hash_u64(place) & (n_slots - 1);

	while (slots[slot] && slots[slot]->place != place)
		slot = (slot + 1) & (n_slots - 1);
	return slot;
}

static ormd_handle_page *find_page(ormd_handles *handles, uint64_t place)
{
	if (handles->last && handles->last->place == place)
		return handles->last;
	if (handles->n_pages == 0)
		return NULL;

	ormd_handle_page *page = handles->slots[page_slot(handles->slots, handles->n_slots, place)];

	if (page)
		handles->last = page;
	return page;
}

static bool grow_slots(ormd_handles *handles)
{
	const size_t n_slots = handles->n_slots ? handles->n_slots * 2 : MIN_PAGE_SLOTS;
	ormd_handle_page **slots = calloc(n_slots, sizeof *slots);

	if (!slots)
		return false;
	for (size_t i = 0; i < handles->n_slots; i++) {
		if (handles->slots[i])
			slots[page_slot(slots, n_slots, handles->slots[i]->place)] = handles->slots[i];
	}
	free(handles->slots);
	handles->slots = slots;
	handles->n_slots = n_slots;
	return true;
}

uint32_t ormd_handles_get(ormd_handles *handles, uint64_t handle)
{
	const ormd_handle_page *page = find_page(handles, handle / ORMD_HANDLES_PER_PAGE);

	return page ? page->numbers[handle % ORMD_HANDLES_PER_PAGE] : 0;
}

uint32_t ormd_handles_peek(const ormd_handles *handles, uint64_t handle)
{
	ormd_handles view = *handles;

	return ormd_handles_get(&view, handle);
}

bool ormd_handles_put(ormd_handles *handles, uint64_t handle, uint32_t number)
{
	const uint64_t place = handle / ORMD_HANDLES_PER_PAGE;
	ormd_handle_page *page = find_page(handles, place);

	if (!page) {
		if (handles->n_pages + 1 > handles->n_slots - handles->n_slots / 4 && !grow_slots(handles))
			return false;
		page = calloc(1, sizeof *page);
		if (!page)
			return false;
		page->place = place;
		handles->slots[page_slot(handles->slots, handles->n_slots, place)] = page;
		handles->n_pages++;
		handles->last = page;
	}
	assert(page->numbers[handle % ORMD_HANDLES_PER_PAGE] == 0);
	page->numbers[handle % ORMD_HANDLES_PER_PAGE] = number;
	page->n_used++;
	return true;
}

static void drop_page(ormd_handles *handles, ormd_handle_page *page)
{
	const size_t mask = handles->n_slots - 1;
	size_t hole = page_slot(handles->slots, handles->n_slots, page->place);

	/* Shift back what a search would no longer find past the hole: see base/map.c. */
	for (size_t i = (hole + 1) & mask; handles->slots[i]; i = (i + 1) & mask) {
		const size_t home = (size_t)orm_hash_u64(handles->slots[i]->place) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			handles->slots[hole] = handles->slots[i];
			hole = i;
		}
	}
	handles->slots[hole] = NULL;
	handles->n_pages--;
	if (handles->last == page)
		handles->last = NULL;
	free(page);
}

void ormd_handles_remove(ormd_handles *handles, uint64_t handle)
{
	ormd_handle_page *page = find_page(handles, handle / ORMD_HANDLES_PER_PAGE);

	if (!page || !page->numbers[handle % ORMD_HANDLES_PER_PAGE])
		return;
	page->numbers[handle % ORMD_HANDLES_PER_PAGE] = 0;
	if (--page->n_used == 0)
		drop_page(handles, page);
}

size_t ormd_handles_size(const ormd_handles *handles)
{
	return handles->n_pages * sizeof(ormd_handle_page) + handles->n_slots * sizeof(ormd_handle_page *);
}

/* ---- by key ---- */

#define MIN_KEY_SLOTS ((size_t)16)

void ormd_keys_init(ormd_keys *keys)
{
	*keys = (ormd_keys){0};
}

void ormd_keys_fini(ormd_keys *keys)
{
	if (!keys)
		return;
	free(keys->slots);
	*keys = (ormd_keys){0};
}

static void place(ormd_key_slot *slots, size_t n_slots, uint32_t hash, uint32_t number)
{
	size_t slot = hash & (n_slots - 1);

	while (slots[slot].number)
		slot = (slot + 1) & (n_slots - 1);
	slots[slot] = (ormd_key_slot){.hash = hash, .number = number};
}

bool ormd_keys_reserve(ormd_keys *keys, size_t more)
{
	const uint64_t wanted = (uint64_t)keys->len + more;
	size_t n_slots = keys->n_slots ? keys->n_slots : MIN_KEY_SLOTS;

	if (wanted > UINT32_MAX)
		return false;
	while (n_slots - n_slots / 4 < wanted)
		n_slots *= 2;
	if (n_slots == keys->n_slots)
		return true;

	ormd_key_slot *slots = calloc(n_slots, sizeof *slots);

	if (!slots)
		return false;
	for (size_t i = 0; i < keys->n_slots; i++) {
		if (keys->slots[i].number)
			place(slots, n_slots, keys->slots[i].hash, keys->slots[i].number);
	}
	free(keys->slots);
	keys->slots = slots;
	keys->n_slots = n_slots;
	return true;
}

void ormd_keys_put(ormd_keys *keys, uint32_t hash, uint32_t number)
{
	assert(number && keys->len < keys->n_slots - keys->n_slots / 4);
	place(keys->slots, keys->n_slots, hash, number);
	keys->len++;
}

bool ormd_keys_remove(ormd_keys *keys, uint32_t hash, uint32_t number)
{
	if (keys->len == 0)
		return false;

	const size_t mask = keys->n_slots - 1;
	size_t hole = hash & mask;

	while (keys->slots[hole].number && keys->slots[hole].number != number)
		hole = (hole + 1) & mask;
	if (!keys->slots[hole].number)
		return false;
	for (size_t i = (hole + 1) & mask; keys->slots[i].number; i = (i + 1) & mask) {
		const size_t home = keys->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			keys->slots[hole] = keys->slots[i];
			hole = i;
		}
	}
	keys->slots[hole] = (ormd_key_slot){0};
	keys->len--;
	return true;
}

size_t ormd_keys_size(const ormd_keys *keys)
{
	return keys->n_slots * sizeof(ormd_key_slot);
}

uint32_t ormd_keys_probe(const ormd_keys *keys, uint32_t hash, size_t *cursor)
{
	if (keys->len == 0)
		return 0;

	size_t slot = *cursor == SIZE_MAX ? hash & (keys->n_slots - 1) : (*cursor + 1) & (keys->n_slots - 1);

	for (; keys->slots[slot].number; slot = (slot + 1) & (keys->n_slots - 1)) {
		if (keys->slots[slot].hash == hash) {
			*cursor = slot;
			return keys->slots[slot].number;
		}
	}
	return 0;
}
