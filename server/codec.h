/* SPDX-License-Identifier: MIT */
/*
 * Between the wire's messages and core's structs. Decoding borrows from the message wherever it can and checks everything: what comes in is a
 * peer's. Encoding borrows from what it encodes; the messages live in an arena and must be packed before their source changes.
 */
#ifndef ORMD_SERVER_CODEC_H
#define ORMD_SERVER_CODEC_H

#include "proto/ormd.pb-c.h"
#include "rpc/rpc.h"
#include "session/session.h"

/* ORM_EPROTOCOL or ORM_EINVAL when the message does not hold together; ORM_ENOMEM. Results in `arena`. */
orm_status ormd_decode_models(Ormd__V1__ModelSpec *const *models, size_t n, orm_arena *arena, orm_model_spec **specs, orm_error *error);
orm_status ormd_decode_batch(const orm_registry *registry, const Ormd__V1__Batch *message, orm_arena *arena, orm_batch *batch,
                             orm_error *error);
orm_status ormd_decode_draft(const orm_registry *registry, const Ormd__V1__Draft *message, orm_arena *arena, ormd_draft *draft,
                             orm_error *error);
orm_status ormd_decode_statement(const orm_registry *registry, const Ormd__V1__Statement *message, orm_arena *arena, ormd_select *select,
                                 const orm_relationship *const **load, size_t *n_load, orm_error *error);
/* By the wire's numbers; NULL and ORM_EINVAL when there is none. */
const orm_mapper       *ormd_decode_mapper(const orm_registry *registry, uint32_t number, orm_error *error);
const orm_relationship *ormd_decode_relationship(const orm_mapper *mapper, uint32_t number, orm_error *error);

/* NULL (or false) when out of memory. */
Ormd__V1__Sync      *ormd_encode_sync(const ormd_sync *sync, orm_arena *arena);
Ormd__V1__Objects  **ormd_encode_rows(const ormd_rows *rows, size_t n, orm_arena *arena);
Ormd__V1__Loaded   **ormd_encode_loaded(const ormd_loaded *loaded, size_t n, orm_arena *arena);
Ormd__V1__KeyRange **ormd_encode_keys(const ormd_key_range *keys, size_t n, orm_arena *arena);
Ormd__V1__ModelSpec *ormd_encode_model(const orm_mapper *mapper, orm_arena *arena);

/* gRPC's code for a status, as FEATURES of gRPC clients expect it: conflicts and stale rows ABORTED, and so on. */
rpc_code ormd_rpc_code(orm_status status);

/* What a failed call tells beside the error itself; members may be NULL or 0. */
typedef struct ormd_failure {
	const ormd_published *published;  /* conflicts, the object at fault */
	const ormd_sync      *sync;
	uint32_t              author;
	bool                  draft_published; /* the draft is in the unit although the call failed */
	const char           *moved_to;        /* address of the server that has the session, */
	const char           *moved_to_host;   /* and its machine */
} ormd_failure;

/* End a call with this error and its typed details (ErrorDetail, ConflictDetail). */
void ormd_fail_call(rpc_call *call, const orm_error *error, const ormd_failure *failure);
void ormd_fail_pull(rpc_pull *pull, const orm_error *error);

#endif
