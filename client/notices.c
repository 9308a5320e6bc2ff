/* SPDX-License-Identifier: MIT */
#include "client/notices.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "client/error.h"

#define MAX_NOTICES 1024

static void forget(orm_session *session, size_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		free((char *)(uintptr_t)session->notices[i].participant);
	session->n_notices -= n;
	session->next_notice = session->next_notice > n ? session->next_notice - n : 0;
	memmove(session->notices, session->notices + n, session->n_notices * sizeof *session->notices);
}

static bool reserve(orm_session *session)
{
	const size_t capacity = session->notice_capacity ? 2 * session->notice_capacity : 16;

	if (session->next_notice > 0)
		forget(session, session->next_notice); /* handed out: good until this call */
	if (session->n_notices == MAX_NOTICES)
		forget(session, MAX_NOTICES / 2);
	if (session->n_notices < session->notice_capacity)
		return true;

	orm_notice *grown = realloc(session->notices, capacity * sizeof *grown);

	if (!grown)
		return false;
	session->notices = grown;
	session->notice_capacity = capacity;
	return true;
}

static bool take(orm_session *session, orm_notice_kind kind, uint64_t revision, const char *participant,
		 const char *text)
{
	const size_t participant_size = strlen(participant) + 1;
	const size_t text_size = strlen(text) + 1;
	char *copy = reserve(session) ? malloc(participant_size + text_size) : NULL;

	if (!copy)
		return false;
	memcpy(copy, participant, participant_size);
	memcpy(copy + participant_size, text, text_size);
	session->notices[session->n_notices++] =
		(orm_notice){.kind = kind, .revision = revision, .participant = copy, .text = copy + participant_size};
	return true;
}

orm_status notices_take(orm_session *session, const Ormd__V1__Sync *sync, orm_error *error)
{
	bool taken = true;

	if (sync && (sync->n_notices > 0 || sync->missed_notices))
		session->unheard = true;
	if (sync && sync->missed_notices)
		taken = take(session, ORM_NOTICE_PUBLISHED, sync->rev, "",
			     "more was done than is kept in words; the objects show all of it");
	for (size_t i = 0; sync && i < sync->n_notices && taken; i++) {
		const Ormd__V1__Notice *notice = sync->notices[i];
		const bool known = notice->kind >= ORMD__V1__NOTICE_KIND__NOTICE_JOINED &&
				   notice->kind <= ORMD__V1__NOTICE_KIND__NOTICE_ROLLED_BACK;

		if (known)
			taken = take(session, (orm_notice_kind)notice->kind, notice->rev,
				     notice->name ? notice->name : "", notice->text ? notice->text : "");
	}
	return taken ? ORM_OK : orm_fail(error, ORM_ENOMEM, "out of memory");
}

orm_status notices_check_rollback(const Ormd__V1__Sync *sync, orm_error *error)
{
	for (size_t i = 0; sync && i < sync->n_notices; i++) {
		const Ormd__V1__Notice *notice = sync->notices[i];

		if (notice->kind == ORMD__V1__NOTICE_KIND__NOTICE_ROLLED_BACK)
			return orm_fail(error, ORM_EABORTED, "the unit of work is gone: %s; call orm_rollback to go on",
					notice->text ? notice->text : "no reason was given");
	}
	return ORM_OK;
}

void notices_fini(orm_session *session)
{
	forget(session, session->n_notices);
	free(session->notices);
	session->notices = NULL;
	session->notice_capacity = 0;
}

const orm_notice *orm_next_notice(orm_session *session)
{
	if (!session_usable(session))
		return NULL;
	if (session->next_notice == session->n_notices) {
		session->unheard = false;
		return NULL;
	}
	return &session->notices[session->next_notice++];
}
