/* SPDX-License-Identifier: MIT */
/* The inside of a query, shared by query.c (building), query_filter.c (filters by designators) and query_run.c. */
#ifndef CLIENT_QUERY_STATE_H
#define CLIENT_QUERY_STATE_H

#include "base/buffer.h"
#include "client/query.h"

struct orm_query {
	orm_session *session;
	const orm_layout *layout;
	orm_arena arena;   /* terms and their values */
	orm_buffer terms;  /* Ormd__V1__Term *, postfix */
	orm_buffer orders; /* Ormd__V1__Order * */
	orm_buffer loads;  /* uint32_t: relationships */
	size_t n_operands; /* terms that nothing has joined yet: AND joins them at last */
	bool limited;
	uint64_t limit;
	uint64_t offset;
	bool populate_existing;
	Ormd__V1__Lock lock;
	orm_query *next, *previous; /* the session's others */
};

orm_query *query_new(orm_session *session, const orm_layout *layout); /* NULL: out of memory, which sticks */

/* A failure sticks to the session, as in all that follows. */
void query_put_term(orm_query *query, Ormd__V1__Operator op, uint32_t column, Ormd__V1__Value **values,
		    size_t n_values);

/* A copy of a value, in the query's arena; NULL if that failed. */
Ormd__V1__Value *query_value(orm_query *query, const orm_column *column, const orm_value *value);

#endif
