/* SPDX-License-Identifier: MIT */
/* The inside of a session, shared by the files of the session calls. Its objects are the mirror's business. */
#ifndef CLIENT_SESSION_STATE_H
#define CLIENT_SESSION_STATE_H

#include <orm.h>

#include "base/arena.h"
#include "client/binding.h"
#include "client/conflict.h"
#include "client/designators.h"
#include "client/draft.h"
#include "client/mirror.h"
#include "client/relationship.h"
#include "client/sync.h"
#include "rpc/rpc.h"

struct orm_session {
	orm_db *db;                 /* borrowed; sessions are closed first */
	const orm_binding *binding; /* the connection's */
	orm_mirror *mirror;         /* NULL while the session could not be opened */
	rpc_channel *channel;       /* its own, so that sessions of one connection may be used by different threads */
	uint64_t epoch;             /* of the server that has the session */
	uint64_t n_counted;         /* the channel's requests that are in the connection's sum */
	bool shared;
	bool read_only;
	uint64_t id; /* the server's */
	uint32_t participant;
	uint64_t fence;
	int64_t timeout_ms;
	uint64_t n_commits;  /* the number of the last commit that was sent */
	bool commit_unknown; /* that commit ended ORM_EUNKNOWN */
	bool draft_unknown;  /* a draft was sent and not answered: only a rollback makes both sides agree again */
	bool over; /* its last commit was settled with another server: the next call is told that the session is lost */
	orm_draft_limits limits;
	orm_error error; /* the first failure; code ORM_OK: none */
	bool lost;       /* ORM_ELOST or ORM_EFENCED: nothing forgets it */
	designators_cache designators;
	orm_query *queries;  /* all that were made and not freed; see query.c */
	orm_arena request;   /* messages of the call under way; reset with each */
	orm_arena rows;      /* a stream's message; reset with each */
	orm_notice *notices; /* owned, as their strings; see notices.h */
	bool unheard; /* others did something that neither orm_wait nor the end of the notices has told yet */
	size_t n_notices, next_notice, notice_capacity;
};

#endif
