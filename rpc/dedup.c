/* SPDX-License-Identifier: MIT */
#include "rpc/dedup.h"

#include <stdlib.h>
#include <string.h>

enum { BUFFER_KEPT = 4096 }; /* reply buffers up to this size are used again instead of freed */

static rpc_lane *find_lane(rpc_lanes *lanes, uint32_t id);
static rpc_lane *add_lane(rpc_lanes *lanes, uint32_t id);
static rpc_entry *entry_at(rpc_lane *lane, uint64_t seq);
static bool has_call(const rpc_entry *entry);
static void forget_reply(rpc_lanes *lanes, rpc_entry *entry);
static void keep_reply(rpc_lanes *lanes, rpc_lane *lane, rpc_entry *entry, const uint8_t *reply, size_t size);
static void *advance(rpc_lane *lane);

void rpc_lanes_init(rpc_lanes *lanes, size_t max_reply, size_t max_cached)
{
	*lanes = (rpc_lanes){.max_reply = max_reply, .max_cached = max_cached};
}

void rpc_lanes_fini(rpc_lanes *lanes)
{
	for (size_t i = 0; i < lanes->len; i++) {
		for (size_t k = 0; k < RPC_LANE_WINDOW; k++)
			free(lanes->items[i]->entries[k].reply);
		free(lanes->items[i]);
	}
	lanes->len = 0;
}

void *rpc_lanes_ack(rpc_lanes *lanes, uint32_t id, uint64_t ack)
{
	if (!ack)
		return NULL;
	rpc_lane *lane = find_lane(lanes, id);
	if (!lane && lanes->len < RPC_MAX_LANES)
		lane = add_lane(lanes, id); /* a client that we have forgotten, or that knew our predecessor */
	if (!lane || ack <= lane->acked)
		return NULL;
	lane->acked = ack;
	uint64_t next = ack < lane->next ? lane->next : ack + 1;
	bool runs = false;
	for (size_t i = 0; i < RPC_LANE_WINDOW; i++) {
		rpc_entry *entry = &lane->entries[i];
		if (entry->state == RPC_ENTRY_EMPTY || entry->seq > ack)
			continue;
		if (!has_call(entry)) {
			forget_reply(lanes, entry);
			entry->state = RPC_ENTRY_EMPTY;
		} else if (entry->seq <= next) {
			next = entry->seq; /* what runs or waits is not passed over */
			runs = entry->state == RPC_ENTRY_RUNNING;
		}
	}
	if (next == lane->next || runs)
		return NULL;
	lane->next = next;
	return advance(lane);
}

rpc_admission rpc_lanes_admit(rpc_lanes *lanes, uint32_t id, uint64_t seq, uint64_t fingerprint, void *call,
			      rpc_entry **out)
{
	rpc_lane *lane = find_lane(lanes, id);
	*out = NULL;
	if (!lane) {
		if (lanes->len == RPC_MAX_LANES)
			return RPC_ADMIT_TOO_MANY;
		lane = add_lane(lanes, id);
		if (!lane)
			return RPC_ADMIT_NO_MEMORY;
	}
	rpc_entry *entry = entry_at(lane, seq);
	if (entry->state != RPC_ENTRY_EMPTY && entry->seq == seq) {
		if (entry->state == RPC_ENTRY_CANCELLED)
			return RPC_ADMIT_CANCELLED;
		if (entry->fingerprint != fingerprint)
			return RPC_ADMIT_REUSED;
		*out = entry;
		if (has_call(entry))
			return RPC_ADMIT_ATTACH;
		return entry->state == RPC_ENTRY_ENDED ? RPC_ADMIT_REPLAY : RPC_ADMIT_PASSED;
	}
	if (seq < lane->next || seq <= lane->acked)
		return RPC_ADMIT_STALE;
	if (seq - lane->next >= RPC_LANE_WINDOW)
		return RPC_ADMIT_GAP;
	forget_reply(lanes, entry);
	entry->seq = seq;
	entry->fingerprint = fingerprint;
	entry->call = call;
	entry->state = seq == lane->next ? RPC_ENTRY_RUNNING : RPC_ENTRY_HELD;
	*out = entry;
	return seq == lane->next ? RPC_ADMIT_RUN : RPC_ADMIT_HOLD;
}

void *rpc_lanes_end(rpc_lanes *lanes, uint32_t id, uint64_t seq, const uint8_t *reply, size_t size)
{
	rpc_lane *lane = find_lane(lanes, id);
	rpc_entry *entry = rpc_lanes_find(lanes, id, seq);
	if (!entry)
		return NULL;
	bool ran = entry->state == RPC_ENTRY_RUNNING;
	entry->state = RPC_ENTRY_ENDED;
	entry->call = NULL;
	if (seq <= lane->acked)
		entry->state = RPC_ENTRY_EMPTY; /* nobody will ask again */
	else
		keep_reply(lanes, lane, entry, reply, size);
	if (!ran)
		return NULL;
	lane->next = seq + 1;
	if (lane->next <= lane->acked) {
		uint64_t ack = lane->acked;
		lane->acked = 0;
		lane->next = seq + 1;
		void *call = rpc_lanes_ack(lanes, id, ack);
		if (call || lane->next > ack)
			return call;
	}
	return advance(lane);
}

void *rpc_lanes_pass(rpc_lanes *lanes, uint32_t id, uint64_t seq, uint64_t fingerprint, const uint8_t *reply,
		     size_t size)
{
	rpc_entry *entry;
	rpc_admission admission = rpc_lanes_admit(lanes, id, seq, fingerprint, NULL, &entry);
	if (admission != RPC_ADMIT_RUN && admission != RPC_ADMIT_HOLD)
		return NULL;
	rpc_lane *lane = find_lane(lanes, id);
	entry->state = RPC_ENTRY_PASSED;
	if (reply) {
		entry->state = RPC_ENTRY_ENDED;
		keep_reply(lanes, lane, entry, reply, size);
	}
	return admission == RPC_ADMIT_RUN ? advance(lane) : NULL;
}

void *rpc_lanes_cancel(rpc_lanes *lanes, uint32_t id, uint64_t seq)
{
	rpc_entry *entry;
	rpc_admission admission = rpc_lanes_admit(lanes, id, seq, 0, NULL, &entry);
	if (admission != RPC_ADMIT_RUN && admission != RPC_ADMIT_HOLD)
		return NULL;
	entry->state = RPC_ENTRY_CANCELLED;
	return admission == RPC_ADMIT_RUN ? advance(find_lane(lanes, id)) : NULL;
}

bool rpc_lanes_is_cancelled(rpc_lanes *lanes, uint32_t id, uint64_t seq)
{
	rpc_lane *lane = find_lane(lanes, id);
	rpc_entry *entry = lane ? entry_at(lane, seq) : NULL;
	return entry && entry->seq == seq && entry->state == RPC_ENTRY_CANCELLED;
}

rpc_entry *rpc_lanes_find(rpc_lanes *lanes, uint32_t id, uint64_t seq)
{
	rpc_lane *lane = find_lane(lanes, id);
	if (!lane)
		return NULL;
	rpc_entry *entry = entry_at(lane, seq);
	return entry->seq == seq && has_call(entry) ? entry : NULL;
}

rpc_entry *rpc_lanes_next_call(rpc_lanes *lanes, size_t *cursor)
{
	for (; *cursor < lanes->len * RPC_LANE_WINDOW; ++*cursor) {
		rpc_entry *entry = &lanes->items[*cursor / RPC_LANE_WINDOW]->entries[*cursor % RPC_LANE_WINDOW];
		if (has_call(entry)) {
			++*cursor;
			return entry;
		}
	}
	return NULL;
}

static rpc_lane *find_lane(rpc_lanes *lanes, uint32_t id)
{
	for (size_t i = 0; i < lanes->len; i++) {
		if (lanes->items[i]->id == id)
			return lanes->items[i];
	}
	return NULL;
}

static rpc_lane *add_lane(rpc_lanes *lanes, uint32_t id)
{
	rpc_lane *lane = calloc(1, sizeof *lane);
	if (!lane)
		return NULL;
	lane->id = id;
	lane->next = 1;
	lanes->items[lanes->len++] = lane;
	return lane;
}

static rpc_entry *entry_at(rpc_lane *lane, uint64_t seq)
{
	return &lane->entries[seq % RPC_LANE_WINDOW];
}

static bool has_call(const rpc_entry *entry)
{
	return entry->state == RPC_ENTRY_HELD || entry->state == RPC_ENTRY_RUNNING;
}

static void forget_reply(rpc_lanes *lanes, rpc_entry *entry)
{
	if (entry->kept)
		lanes->cached -= entry->size;
	entry->kept = false;
	entry->size = 0;
	if (entry->capacity > BUFFER_KEPT) {
		free(entry->reply);
		entry->reply = NULL;
		entry->capacity = 0;
	}
}

/* The oldest replies of the lane make room; without room or memory the reply is not kept. */
static void keep_reply(rpc_lanes *lanes, rpc_lane *lane, rpc_entry *entry, const uint8_t *reply, size_t size)
{
	forget_reply(lanes, entry);
	if (!reply || size > lanes->max_reply || size > lanes->max_cached)
		return;
	while (lanes->cached + size > lanes->max_cached) {
		rpc_entry *oldest = NULL;
		for (size_t i = 0; i < RPC_LANE_WINDOW; i++) {
			rpc_entry *other = &lane->entries[i];
			if (other->kept && other != entry && (!oldest || other->seq < oldest->seq))
				oldest = other;
		}
		if (!oldest)
			return;
		forget_reply(lanes, oldest);
	}
	if (size > entry->capacity) {
		size_t capacity = size < 512 ? 512 : size;
		uint8_t *grown = realloc(entry->reply, capacity);
		if (!grown)
			return;
		entry->reply = grown;
		entry->capacity = capacity;
	}
	if (size)
		memcpy(entry->reply, reply, size);
	entry->size = size;
	entry->kept = true;
	lanes->cached += size;
}

/* Pass over what has ended; start what waits at the front. */
static void *advance(rpc_lane *lane)
{
	for (;;) {
		rpc_entry *entry = entry_at(lane, lane->next);
		if (entry->state == RPC_ENTRY_EMPTY || entry->seq != lane->next)
			return NULL;
		if (entry->state == RPC_ENTRY_RUNNING)
			return NULL;
		if (entry->state == RPC_ENTRY_HELD) {
			entry->state = RPC_ENTRY_RUNNING;
			return entry->call;
		}
		lane->next++;
	}
}
