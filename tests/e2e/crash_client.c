/* SPDX-License-Identifier: MIT */
#include "e2e/crash_client.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const orm_field Operation_fields[] = {
	{ ORM_COLUMN(Operation, id), .primary_key = true },
	{ ORM_COLUMN(Operation, name), .max_length = 60, .index = true },
};
ORM_MODEL(Operation, "operations", Operation_fields);

static const orm_field Counter_fields[] = {
	{ ORM_COLUMN(Counter, id), .primary_key = true },
	{ ORM_COLUMN(Counter, value) },
	{ ORM_COLUMN(Counter, version), .version = true },
};
ORM_MODEL(Counter, "counters", Counter_fields);

const orm_model *const crash_models[] = { &Operation_model, &Counter_model, NULL };

typedef struct worker {
	const char  *url;
	orm_db      *db;
	orm_session *session;
	int          client;
	int          report_fd;
	int64_t      operation; /* the next one to do */
} worker;

static bool is_told_to_end(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	return poll(&in, 1, 0) != 0;
}

static void report(worker *this, crash_report_kind kind)
{
	const crash_report one = {.kind = (int32_t)kind, .client = this->client, .operation = this->operation};
	if (write(this->report_fd, &one, sizeof one) != (ssize_t)sizeof one)
		exit(3); /* the test is gone */
}

static void leave(worker *this)
{
	orm_session_close(this->session);
	this->session = NULL;
	if (this->db && orm_db_error(this->db)->code < 0) {
		orm_disconnect(this->db);
		this->db = NULL;
	}
}

/* What the death of a server, or of its database, may bring to a call that is no commit. */
static bool is_death(orm_status status)
{
	return status == ORM_ELOST || status == ORM_EUNAVAILABLE || status == ORM_ETIMEOUT || status == ORM_ERETRY;
}

/* For what is away to come back. */
static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

static int fail(worker *this, const char *what)
{
	const orm_error *error = orm_session_error(this->session);
	fprintf(stderr, "client %d, operation %" PRId64 ": %s: %s %s\n", this->client, this->operation, what, orm_status_name(error->code),
	        error->message);
	leave(this);
	orm_session *after = orm_session_open(this->db);
	Counter     *counter = orm_get(after, Counter, this->client);
	if (counter)
		fprintf(stderr, "client %d: its counter is at %" PRId64 ", version %" PRId64 "\n", this->client, counter->value, counter->version);
	orm_session_close(after);
	report(this, CRASH_FAILED);
	orm_disconnect(this->db);
	return 1;
}

static bool prepare(worker *this)
{
	if (!this->db)
		this->db = orm_connect(this->url, crash_models);
	if (!this->session)
		this->session = orm_session_open(this->db);
	Counter *counter = orm_get(this->session, Counter, this->client);
	if (!counter)
		counter = orm_add(this->session, Counter, .id = this->client, .value = 0);
	orm_add(this->session, Operation, .name = orm_printf(this->session, "%d:%" PRId64, this->client, this->operation));
	if (orm_session_error(this->session)->code < 0)
		return false;
	counter->value++;
	return true;
}

int crash_client_run(const char *url, int client, int64_t n_operations, int report_fd)
{
	worker this = {.url = url, .client = client, .report_fd = report_fd, .operation = 1};
	while ((n_operations == 0 || this.operation <= n_operations) && !is_told_to_end()) {
		if (!prepare(&this)) {
			if (!is_death(orm_session_error(this.session)->code))
				return fail(&this, "cannot work");
			report(&this, CRASH_LOST);
			leave(&this);
			pause_a_little();
			continue;
		}
		uint64_t   n_requests = orm_db_requests(this.db);
		orm_status status = orm_commit(this.session);
		bool       doubt = orm_db_requests(this.db) - n_requests > 1;
		while (status == ORM_EUNKNOWN) { /* until it is known */
			doubt = true;
			status = orm_commit_outcome(this.session);
		}
		if (status == ORM_OK) {
			report(&this, doubt ? CRASH_COMMITTED_AFTER_DOUBT : CRASH_COMMITTED);
			this.operation++;
			if (doubt)
				leave(&this); /* the session ended with its server */
		} else if (status == ORM_ELOST || status == ORM_EABORTED) {
			report(&this, CRASH_ABORTED_AFTER_DOUBT);
			leave(&this);
		} else if (status == ORM_EUNAVAILABLE || status == ORM_ETIMEOUT || status == ORM_ERETRY) {
			report(&this, CRASH_REFUSED);
			leave(&this);
			pause_a_little();
		} else {
			return fail(&this, "commit");
		}
	}
	leave(&this);
	orm_disconnect(this.db);
	return 0;
}
