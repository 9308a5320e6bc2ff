/* SPDX-License-Identifier: MIT */
/*
 * The disk of the database's server is full: units are refused with an error that tells, nothing that was acknowledged
 * is lost, and with room again all goes on, after a restart of the server if it has ended itself. The disk is a small
 * tmpfs; where mounting one is not allowed, this is skipped.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <orm.h>

#include "support/engine.h"
#include "support/eventually.h"
#include "support/mariadb.h"
#include "support/postgresql.h"
#include "support/server.h"
#include "support/tempdir.h"

#define DISK_SIZE  "400m"
#define ROOM       (INT64_C(24) << 20) /* left for the test */
#define TEXT_SIZE  100000
#define MOST_UNITS 2000
#define N_REFUSED  5    /* tries on the full disk */
#define TIMEOUT_MS 3000 /* for a call of a program */

ORM_DECLARE(Page);

struct Page {
	int64_t id;
	int64_t number;
	const char *text;
};

static const orm_field Page_fields[] = {
	{ORM_COLUMN(Page, id), .primary_key = true},
	{ORM_COLUMN(Page, number), .index = true},
	{ORM_COLUMN(Page, text)},
};
ORM_MODEL(Page, "pages", Page_fields);

static const orm_model *const models[] = {&Page_model, NULL};

typedef struct disk {
	const char *directory; /* of ormd, on another disk */
	const char *mount_point;
	char ballast[SUPPORT_PATH_SIZE];
	support_postgresql postgresql;
	support_mariadb mariadb;
	char url[SUPPORT_PATH_SIZE];
	support_ormd ormd;
} disk;

static void start_server(disk *this)
{
	const char *before = getenv("TMPDIR");
	char *kept = before ? strdup(before) : NULL;

	setenv("TMPDIR", this->mount_point, 1);
	if (engine_under_test() == ENGINE_POSTGRESQL) {
		static const char *const options[] = {"-cwal_keep_size=0", "-cmax_wal_size=48MB", NULL};

		this->postgresql.options = options;
		support_postgresql_start(&this->postgresql);
		support_postgresql_url(&this->postgresql, "postgres", this->url);
	} else {
		support_mariadb_start(&this->mariadb);
		support_mariadb_url(&this->mariadb, "shop", this->url);
	}
	if (kept)
		setenv("TMPDIR", kept, 1);
	else
		unsetenv("TMPDIR");
	free(kept);
}

static int set_up(void **state)
{
	static disk this;

	*state = NULL;
	if (engine_under_test() == ENGINE_SQLITE) /* driver_database_crash */
		return 0;
	this = (disk){.directory = support_tempdir(), .mount_point = support_tempdir()};
	if (mount("none", this.mount_point, "tmpfs", 0, "size=" DISK_SIZE ",mode=1777") != 0) {
		print_message("no small disk can be mounted: %s\n", strerror(errno));
		return 0;
	}
	start_server(&this);
	support_ormd_start(&this.ormd, this.directory, this.url, NULL, NULL);
	*state = &this;
	return 0;
}

static int tear_down(void **state)
{
	disk *this = *state;
	int status;

	if (!this)
		return 0;
	status = support_ormd_stop(&this->ormd);
	if (status != 0) {
		char *log = support_read_file(this->ormd.log_path, NULL);

		print_error("--- log of ormd, which ended with %d\n%s---\n", status, log ? log : "");
		free(log);
	}
	support_postgresql_remove(&this->postgresql);
	support_mariadb_remove(&this->mariadb);
	if (umount2(this->mount_point, MNT_DETACH) != 0)
		print_error("cannot unmount %s: %s\n", this->mount_point, strerror(errno));
	support_tempdir_remove(this->directory);
	return status;
}

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

/* A file that takes all but a little. */
static void fill(disk *this)
{
	struct statvfs space;
	int fd;

	support_join(this->ballast, this->mount_point, "ballast");
	assert_int_equal(statvfs(this->mount_point, &space), 0);
	fd = open(this->ballast, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(space.f_bavail * space.f_frsize) - (off_t)ROOM), 0);
	close(fd);
}

/* PostgreSQL ends itself where it cannot write its log. */
static void restart_if_it_ended(disk *this)
{
	int status;

	if (this->postgresql.process.pid > 0 && support_process_wait(&this->postgresql.process, 0, &status))
		support_postgresql_restart(&this->postgresql);
	if (this->mariadb.process.pid > 0 && support_process_wait(&this->mariadb.process, 0, &status))
		support_mariadb_restart(&this->mariadb);
}

/* ---- units ------------------------------------------------------------------------------------------------------- */

typedef struct ledger {
	orm_db *db;
	int64_t number; /* of the latest unit that was tried */
	int64_t *committed;
	int n_committed, n_refused, n_unknown;
	char told[600]; /* the latest refusal */
} ledger;

/* Text that does not compress. */
static const char *noise(void)
{
	static char text[TEXT_SIZE + 1];

	for (size_t i = 0; i < TEXT_SIZE; i++)
		text[i] = (char)('0' + random() % 75);
	return text;
}

static orm_status write_page(ledger *this)
{
	orm_session *session = orm_session_open(this->db);
	orm_status status;

	orm_session_set_timeout(session, TIMEOUT_MS);
	orm_add(session, Page, .number = ++this->number, .text = noise());
	status = orm_commit(session);
	if (status == ORM_OK) {
		this->committed[this->n_committed++] = this->number;
	} else {
		const orm_error *error = orm_session_error(session);

		snprintf(this->told, sizeof this->told, "%s: %s", orm_status_name(status), error->message);
		assert_true(error->message[0] != '\0');
		if (status != ORM_EDATABASE && status != ORM_EUNAVAILABLE && status != ORM_ELIMIT &&
		    status != ORM_ETIMEOUT && status != ORM_EUNKNOWN && status != ORM_ERETRY)
			fail_msg("%s", this->told);
		this->n_refused += status != ORM_EUNKNOWN;
		this->n_unknown += status == ORM_EUNKNOWN;
	}
	orm_session_close(session);
	return status;
}

static bool can_write(void *context)
{
	return write_page(context) == ORM_OK;
}

static void a_full_disk_loses_nothing(void **state)
{
	disk *this = *state;
	ledger units = {0};
	char sql[100];

	if (!this)
		skip();
	units.committed = calloc(2 * MOST_UNITS, sizeof *units.committed);
	units.db = orm_connect(this->ormd.address, models);
	orm_create_all(units.db);
	assert_int_equal(write_page(&units), ORM_OK);
	fill(this);
	while (units.n_committed < MOST_UNITS && write_page(&units) == ORM_OK)
		;
	for (int i = 1; i < N_REFUSED; i++)
		write_page(&units);
	print_message("after %d units: %s\n", units.n_committed, units.told);
	assert_true(units.n_refused + units.n_unknown > 0);

	assert_int_equal(unlink(this->ballast), 0);
	restart_if_it_ended(this);
	assert_true(support_eventually(can_write, &units, SUPPORT_PATIENCE_MS));
	for (int i = 0; i < units.n_committed; i++) {
		snprintf(sql, sizeof sql, "SELECT count(*) FROM pages WHERE number = %" PRId64, units.committed[i]);
		assert_int_equal(engine_ask_number(this->url, sql), 1);
	}
	assert_int_equal(engine_ask_number(this->url, "SELECT count(*) - count(DISTINCT number) FROM pages"), 0);
	assert_in_range(engine_ask_number(this->url, "SELECT count(*) FROM pages"), units.n_committed,
			units.n_committed + units.n_unknown);
	print_message("full disk: %d units acknowledged, all there; %d refused, none there; %d not known\n",
		      units.n_committed, units.n_refused, units.n_unknown);
	orm_disconnect(units.db);
	free(units.committed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
