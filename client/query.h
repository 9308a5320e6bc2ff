/* SPDX-License-Identifier: MIT */
/* Queries: what orm_where and its like collect, and how it is run. */
#ifndef CLIENT_QUERY_H
#define CLIENT_QUERY_H

#include "client/call.h"

/* What a query's run gives. */
typedef struct query_result {
	orm_mirror_result rows; /* in the mirror's arena */
	uint64_t count;
} query_result;

/* Run and take everything; failures stick. */
orm_status query_run(orm_query *query, Ormd__V1__ResultKind kind, uint64_t limit, query_result *result);

/*
 * Terms for the members that a call gave: column = value, relationship = object. ORM_EINVAL sticks. Another's unsent
 * object without a key is sent first (one call more).
 */
orm_status query_filter(orm_query *query, const void *example, const char *text);

/* All queries of a session that were not freed. */
void query_free_all(orm_session *session);

/*
 * A streaming call that brings rows (Query, Load): rows to `result` (NULL: not wanted), relationships marked as loaded
 * when the stream has ended well.
 */
orm_status query_stream(orm_call *call, query_result *result);

#endif
