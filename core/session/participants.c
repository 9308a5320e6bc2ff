/* SPDX-License-Identifier: MIT */
#include "session/transaction.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define N_NOTICES 256

/* A ring: notice i of all that there ever were is at i % N_NOTICES. */
struct ormd_notices {
	struct {
		uint64_t revision;
		uint32_t participant;
		ormd_notice_kind kind;
		char *name, *text; /* owned */
	} items[N_NOTICES];
	uint64_t next;
	uint64_t dropped; /* revision of the newest that is no longer there */
};

/* ---- participants ---- */

/* Of the present and the departed; numbers rise. */
static ormd_participant *find(const ormd_session *session, uint32_t number)
{
	size_t low = 0, high = session->n_participants;

	while (low < high) {
		const size_t middle = (low + high) / 2;

		if (session->participants[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < session->n_participants && session->participants[low].number == number
		       ? &session->participants[low]
		       : NULL;
}

static void free_participant(ormd_participant *participant)
{
	free(participant->name);
	free(participant->aborted_why);
}

/* The departed are remembered only for the names in what they did. */
static void forget_departed(ormd_session *session)
{
	size_t kept = 0;

	if (session->pending.len > 0 || session->settled.len > 0)
		return;
	for (size_t i = 0; i < session->n_participants; i++) {
		if (session->participants[i].aborted && !session->participants[i].departed)
			return; /* it will be told by whom */
	}
	for (size_t i = 0; i < session->n_participants; i++) {
		if (session->participants[i].departed)
			free_participant(&session->participants[i]);
		else
			session->participants[kept++] = session->participants[i];
	}
	session->n_participants = kept;
}

orm_status ormd_session_join(ormd_session *session, const char *name, uint32_t *number, orm_error *error)
{
	if (session->next_participant >= UINT32_C(1) << (64 - ORMD_HANDLE_SHIFT))
		return orm_fail(error, ORM_ELIMIT, "session %s has had too many participants; open another",
				session->name ? session->name : "(private)");
	forget_departed(session);
	if (session->n_participants == session->max_participants) {
		const size_t max = session->max_participants ? session->max_participants * 2 : session->name ? 8 : 1;
		ormd_participant *participants = realloc(session->participants, max * sizeof *participants);

		if (!participants)
			return orm_fail(error, ORM_ENOMEM, "out of memory for a participant");
		session->participants = participants;
		session->max_participants = max;
	}

	char *copy = strdup(name ? name : "");

	if (!copy)
		return orm_fail(error, ORM_ENOMEM, "out of memory for a participant");
	*number = session->next_participant++;
	if (session->n_present > 0)
		ormd_unit_operation(session, *number);
	session->participants[session->n_participants++] =
		(ormd_participant){.number = *number, .name = copy, .joined = session->revision};
	session->n_present++;
	ormd_notice_put(session, ORMD_NOTICE_JOINED, *number, "joined");
	return ORM_OK;
}

/* With its transaction: others who had read or locked something in that, and changed nothing yet, learn that it is
 * gone. */
static void end_unit(ormd_session *session, uint32_t number, bool died, const char *reason)
{
	const bool pending = session->pending.len > 0;
	char why[160];

	snprintf(why, sizeof why, "%s, so the unit was rolled back: %s", died ? "died" : "left",
		 reason ? reason : "no reason was given");
	ormd_unit_rollback(session, number, why);
	if (pending || session->n_present == 0)
		ormd_transaction_end(session);
	else
		ormd_transaction_lose(session, ORM_ERETRY, why);
}

void ormd_session_leave(ormd_session *session, uint32_t number, bool died, const char *reason)
{
	ormd_participant *participant = ormd_participant_find(session, number);

	if (!participant)
		return;
	if (session->staged && ormd_staged_participant(session->staged) == number)
		ormd_draft_cancel(session);
	if (session->n_present > 1) {
		ormd_unit_operation(session, number);
		ormd_notice_put(session, died ? ORMD_NOTICE_DIED : ORMD_NOTICE_LEFT, number, reason);
	}
	participant->departed = true;
	session->n_present--;
	if (session->n_present == 0 || (died && session->on_death == ORMD_ON_DEATH_ROLLBACK))
		end_unit(session, number, died, reason);
	ormd_unit_forget_settled(session);
	forget_departed(session);
}

size_t ormd_session_n_participants(const ormd_session *session)
{
	return session->n_present;
}

ormd_participant *ormd_participant_find(const ormd_session *session, uint32_t number)
{
	ormd_participant *participant = find(session, number);

	return participant && !participant->departed ? participant : NULL;
}

const char *ormd_participant_name(const ormd_session *session, uint32_t number)
{
	const ormd_participant *participant = find(session, number);

	if (number == 0)
		return "the server";
	return participant ? participant->name : "a former participant";
}

orm_status ormd_participant_saw(ormd_session *session, uint32_t number, uint64_t seen, ormd_participant **participant,
				orm_error *error)
{
	ormd_participant *found = ormd_participant_find(session, number);

	if (!found)
		return orm_fail(error, ORM_EINVAL, "participant %u is not in the session", (unsigned)number);
	if (seen > session->revision)
		return orm_fail(error, ORM_EINVAL, "revision %llu cannot have been seen: the session is at %llu",
				(unsigned long long)seen, (unsigned long long)session->revision);
	if (seen > found->seen) {
		found->seen = seen;
		ormd_unit_forget_settled(session);
	}
	*participant = found;
	return ORM_OK;
}

orm_status ormd_session_check_seen(const ormd_session *session, uint32_t number, uint64_t seen, orm_error *error)
{
	const ormd_participant *participant = ormd_participant_find(session, number);

	(void)seen; /* having seen it is not enough: the participant has to say that it knows, by rolling back its own
		     */
	if (!participant || participant->aborted == 0)
		return ormd_transaction_check(session, error);
	return orm_fail(error, ORM_EABORTED,
			"the unit of work is gone: %s (participant %u) %s; call orm_rollback, then start it again",
			ormd_participant_name(session, participant->aborted_by), (unsigned)participant->aborted_by,
			participant->aborted_why ? participant->aborted_why : "rolled it back");
}

/* ---- notices ---- */

static void free_notice(ormd_notices *notices, size_t place)
{
	free(notices->items[place].name);
	free(notices->items[place].text);
	notices->items[place].name = notices->items[place].text = NULL;
}

void ormd_participants_fini(ormd_session *session)
{
	for (size_t i = 0; i < session->n_participants; i++)
		free_participant(&session->participants[i]);
	free(session->participants);
	session->participants = NULL;
	session->n_participants = 0;
	if (session->notices) {
		for (size_t i = 0; i < N_NOTICES; i++)
			free_notice(session->notices, i);
		free(session->notices);
		session->notices = NULL;
	}
}

/* One line for people that says all of it: "warehouse died: its process 4711 has ended". Owned. */
static char *sentence(ormd_notice_kind kind, const char *name, const char *text)
{
	static const char *const formats[] = {
		[ORMD_NOTICE_JOINED] = "%s %s",     [ORMD_NOTICE_LEFT] = "%s left: %s",
		[ORMD_NOTICE_DIED] = "%s died: %s", [ORMD_NOTICE_PUBLISHED] = "%s %s",
		[ORMD_NOTICE_COMMITTED] = "%s %s",  [ORMD_NOTICE_ROLLED_BACK] = "%s %s",
	};
	const char *format = text ? formats[kind] : kind == ORMD_NOTICE_DIED ? "%s died" : "%s left";
	const int len = snprintf(NULL, 0, format, name, text);
	char *line = len < 0 ? NULL : malloc((size_t)len + 1);

	if (line)
		snprintf(line, (size_t)len + 1, format, name, text);
	return line;
}

void ormd_notice_put(ormd_session *session, ormd_notice_kind kind, uint32_t participant, const char *text)
{
	if (!session->name)
		return;
	if (!session->notices)
		session->notices = calloc(1, sizeof *session->notices);
	if (!session->notices) {
		session->notices_lost = session->revision;
		return;
	}

	ormd_notices *notices = session->notices;
	const size_t place = notices->next % N_NOTICES;
	char *name = strdup(ormd_participant_name(session, participant));
	char *copy = sentence(kind, ormd_participant_name(session, participant), text);

	if (!name || !copy) {
		free(name);
		free(copy);
		session->notices_lost = session->revision;
		return;
	}
	if (notices->next >= N_NOTICES)
		notices->dropped = notices->items[place].revision;
	free_notice(notices, place);
	notices->items[place].revision = session->revision;
	notices->items[place].participant = participant;
	notices->items[place].kind = kind;
	notices->items[place].name = name;
	notices->items[place].text = copy;
	notices->next++;
}

orm_status ormd_notices_since(const ormd_session *session, uint32_t participant, uint64_t seen, orm_arena *arena,
			      ormd_sync *sync, orm_error *error)
{
	const ormd_participant *reader = ormd_participant_find(session, participant);
	const ormd_notices *notices = session->notices;
	size_t n = 0;

	if (reader && reader->joined > seen)
		seen = reader->joined;
	sync->missed_notices = session->notices_lost > seen || (notices && notices->dropped > seen);
	if (!notices)
		return ORM_OK;

	const uint64_t oldest = notices->next > N_NOTICES ? notices->next - N_NOTICES : 0;
	uint64_t first = notices->next;

	while (first > oldest && notices->items[(first - 1) % N_NOTICES].revision > seen)
		first--;
	if (first == notices->next)
		return ORM_OK;

	ormd_notice *items = orm_arena_calloc(arena, (size_t)(notices->next - first), sizeof *items);

	if (!items)
		return orm_fail(error, ORM_ENOMEM, "out of memory for notices");
	for (; first < notices->next; first++) {
		const size_t place = first % N_NOTICES;

		if (notices->items[place].participant == participant)
			continue;
		items[n] = (ormd_notice){
			.revision = notices->items[place].revision,
			.kind = notices->items[place].kind,
			.participant = notices->items[place].participant,
			.name = orm_arena_strdup(arena, notices->items[place].name),
			.text = orm_arena_strdup(arena, notices->items[place].text),
		};
		if (!items[n].name || !items[n].text)
			return orm_fail(error, ORM_ENOMEM, "out of memory for notices");
		n++;
	}
	sync->notices = items;
	sync->n_notices = n;
	return ORM_OK;
}
