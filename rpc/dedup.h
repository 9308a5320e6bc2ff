/* SPDX-License-Identifier: MIT */
/*
 * Request ids: what makes a repeated request an answered one.
 *
 * A client's calls on a lane are numbered 1, 2, 3, ... and run strictly in that order, one at a time. A lane
 * remembers its last RPC_LANE_WINDOW numbers: what runs, what came early and waits for its turn, and the replies of
 * what has ended, until the client says (ack) that it needs them no more. Numbers up to `ack` that never came
 * are taken as given up: they are passed over and refused if they come after all.
 *
 * Not for several threads at once: the caller holds the client's lock. Calls are opaque and borrowed.
 */
#ifndef RPC_DEDUP_H
#define RPC_DEDUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_LANE_WINDOW 16
#define RPC_MAX_LANES   64

typedef enum rpc_entry_state {
	RPC_ENTRY_EMPTY = 0,
	RPC_ENTRY_HELD, /* came early, waits for its turn */
	RPC_ENTRY_RUNNING,
	RPC_ENTRY_ENDED,    /* `reply` is what was answered */
	RPC_ENTRY_PASSED,   /* an unordered call took this number; it is run again if repeated */
	RPC_ENTRY_CANCELLED /* cancelled before it came */
} rpc_entry_state;

typedef struct rpc_entry {
	uint64_t seq;
	uint64_t fingerprint;
	rpc_entry_state state;
	bool kept;      /* reply is there; false: it was too large to keep */
	void *call;     /* HELD, RUNNING: borrowed */
	uint8_t *reply; /* owned */
	size_t size, capacity;
} rpc_entry;

typedef struct rpc_lane {
	uint32_t id;
	uint64_t next; /* the lowest number that has not ended */
	uint64_t acked;
	rpc_entry entries[RPC_LANE_WINDOW];
} rpc_lane;

typedef struct rpc_lanes {
	rpc_lane *items[RPC_MAX_LANES];
	size_t len;
	size_t cached; /* bytes of replies kept */
	size_t max_cached;
	size_t max_reply;
} rpc_lanes;

typedef enum rpc_admission {
	RPC_ADMIT_RUN,    /* its turn is now */
	RPC_ADMIT_HOLD,   /* its turn comes */
	RPC_ADMIT_ATTACH, /* it runs or waits already: entry->call */
	RPC_ADMIT_REPLAY, /* it has ended: entry->reply, if kept */
	RPC_ADMIT_PASSED, /* RPC_ENTRY_PASSED */
	RPC_ADMIT_CANCELLED,
	RPC_ADMIT_REUSED,   /* the same number for something else */
	RPC_ADMIT_STALE,    /* ended long ago, or given up */
	RPC_ADMIT_GAP,      /* too far ahead */
	RPC_ADMIT_TOO_MANY, /* lanes */
	RPC_ADMIT_NO_MEMORY
} rpc_admission;

void rpc_lanes_init(rpc_lanes *lanes, size_t max_reply, size_t max_cached);
void rpc_lanes_fini(rpc_lanes *lanes);

/* The client needs nothing up to `ack` any more. Returns the call whose turn comes by that, or NULL. */
void *rpc_lanes_ack(rpc_lanes *lanes, uint32_t lane, uint64_t ack);

/* May request `seq` run? *entry is set for ATTACH and REPLAY, and valid while the lock is held. seq is not 0. */
rpc_admission rpc_lanes_admit(rpc_lanes *lanes, uint32_t lane, uint64_t seq, uint64_t fingerprint, void *call,
			      rpc_entry **entry);

/*
 * The call with this number has ended with these bytes. For HELD ones too, which then are passed over when their turn
 * comes. Returns the call whose turn is now (its state is RUNNING), or NULL.
 */
void *rpc_lanes_end(rpc_lanes *lanes, uint32_t lane, uint64_t seq, const uint8_t *reply, size_t size);

/*
 * Number `seq` needs no turn: it is answered outside the order. With reply: that is what a repetition gets. Does
 * nothing when the number is not in the window or taken. Returns the call whose turn is now, or NULL.
 */
void *rpc_lanes_pass(rpc_lanes *lanes, uint32_t lane, uint64_t seq, uint64_t fingerprint, const uint8_t *reply,
		     size_t size);

/*
 * Frames of one connection may overtake each other: a request that is cancelled before it has come is not run when it
 * comes. Does nothing when it has come. Returns the call whose turn is now, or NULL.
 */
void *rpc_lanes_cancel(rpc_lanes *lanes, uint32_t lane, uint64_t seq);
bool rpc_lanes_is_cancelled(rpc_lanes *lanes, uint32_t lane, uint64_t seq);

/* The entry of a call that is held or runs, or NULL. */
rpc_entry *rpc_lanes_find(rpc_lanes *lanes, uint32_t lane, uint64_t seq);

/* Walk the entries with a call: start with *cursor == 0; NULL at the end. */
rpc_entry *rpc_lanes_next_call(rpc_lanes *lanes, size_t *cursor);

#endif
