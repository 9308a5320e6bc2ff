/* SPDX-License-Identifier: MIT */
/* Running a unit of work until it met no other. */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "client/connection.h"
#include "client/error.h"

#define DEFAULT_TRIES    10
#define FIRST_PAUSE_US   4000
#define LONGEST_PAUSE_US 1000000

/* Nothing was written, and the same unit may go well when it begins anew. */
static bool may_go_well(orm_status status)
{
	return status == ORM_ERETRY || status == ORM_ESTALE || status == ORM_ELOST;
}

/* Any time up to the longest, so that those that met do not meet again. */
static void pause_before_try(int64_t *longest_us, int64_t deadline_us)
{
	const int64_t left_us = deadline_us - orm_clock_us();
	uint64_t random = 0;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
		random = orm_hash_u64((uint64_t)orm_clock_us());

	int64_t us = (int64_t)(random % (uint64_t)*longest_us);

	if (us > left_us)
		us = left_us > 0 ? left_us : 0;

	const struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&time, NULL);
	if (*longest_us < LONGEST_PAUSE_US)
		*longest_us *= 2;
}

static orm_status try_once(orm_db *db, const orm_session_options *options, int64_t deadline_us, orm_run_function *unit,
			   void *arg, orm_error *error)
{
	orm_session *session = orm_session_open_with(db, options);
	orm_status status = orm_session_error(session)->code;

	if (deadline_us != ORM_NO_DEADLINE)
		orm_session_set_timeout(session, orm_deadline_left_ms(deadline_us));
	if (status == ORM_OK)
		status = unit(session, arg);
	if (status >= 0 && orm_session_error(session)->code == ORM_OK)
		status = orm_commit(session);
	if (orm_session_error(session)->code != ORM_OK) {
		*error = *orm_session_error(session);
		status = error->code;
	} else if (status < 0) {
		orm_fail(error, status, "the unit of work says that it failed (%s)", orm_status_name(status));
	}
	orm_session_close(session); /* what is not committed is rolled back */
	return status < 0 ? status : ORM_OK;
}

orm_status orm_run_with(orm_db *db, const orm_run_options *options, orm_run_function *unit, void *arg)
{
	static const orm_run_options none;
	const orm_run_options *o = options ? options : &none;
	const orm_session_options session = {.isolation = o->isolation};
	const unsigned max_tries = o->max_tries ? o->max_tries : DEFAULT_TRIES;
	const int64_t timeout_ms = o->timeout_ms || !db ? o->timeout_ms : db->timeout_ms;
	const int64_t deadline_us = orm_deadline_in_ms(timeout_ms);
	int64_t pause_us = FIRST_PAUSE_US;
	orm_error error = {0};
	orm_status status = try_once(db, &session, deadline_us, unit, arg, &error);

	for (unsigned n = 1; may_go_well(status) && n < max_tries && orm_clock_us() < deadline_us; n++) {
		pause_before_try(&pause_us, deadline_us);
		status = try_once(db, &session, deadline_us, unit, arg, &error);
	}
	if (status == ORM_OK)
		orm_error_clear(&error);
	if (o->error)
		*o->error = error;
	return status;
}

orm_status orm_run(orm_db *db, orm_run_function *unit, void *arg)
{
	return orm_run_with(db, NULL, unit, arg);
}
