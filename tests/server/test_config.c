/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "server/config.h"
#include "server/config_options.h"
#include "support/tempdir.h"

static ormd_config config;
static orm_error error;

static int set_up(void **state)
{
	(void)state;
	ormd_config_init(&config);
	error = (orm_error){0};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ormd_config_fini(&config);
	return 0;
}

static orm_status load(const char *text)
{
	char path[SUPPORT_PATH_SIZE];
	const char *dir = support_tempdir();

	support_write_file(support_join(path, dir, "ormd.conf"), text, strlen(text));

	const orm_status status = ormd_config_load(&config, path, &error);

	support_tempdir_remove(dir);
	return status;
}

static void assert_message_has(const char *part)
{
	if (!strstr(error.message, part))
		fail_msg("'%s' is not in the message '%s'", part, error.message);
}

static void defaults_are_sensible(void **state)
{
	(void)state;
	assert_null(config.database);
	assert_int_equal(config.n_listen, 0);
	assert_int_equal(config.ipc_mode, 0600);
	assert_int_equal(config.log_level, LOG_INFO);
	assert_null(config.log_file);
	assert_true(config.create);
	assert_int_equal(config.lease_ms, 15000);
	assert_int_equal(config.grace_ms, 2000);
	assert_int_equal(config.drain_timeout_ms, 5000);
	assert_int_equal(config.max_transaction_ms, 60000);
	assert_int_equal(config.wait_ms, 30000);
	assert_int_equal(config.idle_timeout_ms, 0);
	assert_int_equal(config.max_message, 16 << 20);
	assert_int_equal(config.max_clients, 4096);
	assert_int_equal(config.lock_fd, -1);
	assert_int_equal(config.ready_fd, -1);
	assert_int_equal(config.exit_with_pid, 0);
}

static void every_default_is_a_value_that_may_be_given(void **state)
{
	(void)state;
	for (size_t i = 0; i < ormd_n_options; i++) {
		const ormd_option *option = &ormd_options[i];

		if (option->default_text &&
		    ormd_config_set(&config, option->name, option->default_text, ORMD_FROM_ARGUMENTS, &error) != ORM_OK)
			fail_msg("%s", error.message);
	}
}

static void a_file_sets_options(void **state)
{
	(void)state;
	assert_int_equal(load("# a comment\n"
			      "database = sqlite:////var/shop.db\n"
			      "\n"
			      "[ormd]\n"
			      "listen = ipc:///run/ormd/shop.sock\n"
			      "listen=tcp://127.0.0.1:7000\n"
			      "lease = 1m ; another comment\n"
			      "max-message = 1MiB\n"
			      "log-level = debug\n"
			      "ipc-mode = 0660\n"
			      "advertise = tls+tcp://host1:7420\n"
			      "replica = postgresql://db2/shop\n"
			      "replica = postgresql://db3/shop\n"
			      "writers = 3\n"
			      "create = no"),
			 ORM_OK);
	assert_string_equal(config.database, "sqlite:////var/shop.db");
	assert_int_equal(config.n_listen, 2);
	assert_string_equal(config.listen[0], "ipc:///run/ormd/shop.sock");
	assert_string_equal(config.listen[1], "tcp://127.0.0.1:7000");
	assert_int_equal(config.lease_ms, 60000);
	assert_int_equal(config.max_message, 1 << 20);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(config.ipc_mode, 0660);
	assert_string_equal(config.advertise, "tls+tcp://host1:7420");
	assert_int_equal(config.n_replicas, 2);
	assert_string_equal(config.replicas[0], "postgresql://db2/shop");
	assert_string_equal(config.replicas[1], "postgresql://db3/shop");
	assert_int_equal(config.n_writers, 3);
	assert_false(config.create);
	assert_int_equal(ormd_config_set(&config, "replica", "postgresql://db4/shop", ORMD_FROM_ARGUMENTS, &error),
			 ORM_OK);
	assert_int_equal(config.n_replicas, 1);
	assert_string_equal(config.replicas[0], "postgresql://db4/shop");
}

static void a_mistake_in_a_file_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text;
		const char *line;
		const char *message;
	} cases[] = {
		{"lease = 1s\nlaese = 2s\n", "ormd.conf:2: ", "'laese'"},
		{"lease = soon\n", "ormd.conf:1: ", "lease: 'soon' is not a time"},
		{"\n\n\nlease = 5\n", "ormd.conf:4: ", "ms, s, m or h"},
		{"lease = 5s\nwhat is this\n", "ormd.conf:2: ", "NAME = VALUE"},
		{"[server]\nlease = 5s\n", "ormd.conf:2: ", "[server]"},
		{"database = oracle://x\n", "ormd.conf:1: ", "oracle"},
		{"listen = /run/x.sock\n", "ormd.conf:1: ", "ipc:///PATH"},
		{"advertise = host1\n", "ormd.conf:1: ", "advertise: 'host1' is not an address"},
		{"replica = oracle://x\n", "ormd.conf:1: ", "replica: "},
		{"writers = many\n", "ormd.conf:1: ", "not a number"},
		{"max-message = 1\n", "ormd.conf:1: ", "too small"},
		{"max-clients = 70000\n", "ormd.conf:1: ", "too large"},
		{"create = maybe\n", "ormd.conf:1: ", "yes nor no"},
		{"log-level = loud\n", "ormd.conf:1: ", "debug, info"},
		{"ipc-mode = 0999\n", "ormd.conf:1: ", "octal"},
		{"log-file =\n", "ormd.conf:1: ", "empty"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		tear_down(state);
		set_up(state);
		assert_int_equal(load(cases[i].text), ORM_EINVAL);
		assert_message_has(cases[i].line);
		assert_message_has(cases[i].message);
	}
}

/* The line numbers of what follows must not suffer from it either. */
static void a_long_line_is_read_whole(void **state)
{
	char *text = NULL;
	char name[6001];

	(void)state;
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_true(asprintf(&text, "log-file = /%s\nlease = 3s\nnonsense = 1\n", name) > 0);
	assert_int_equal(load(text), ORM_EINVAL);
	assert_message_has("ormd.conf:3: ");
	assert_int_equal(strlen(config.log_file), sizeof name);
	assert_int_equal(config.lease_ms, 3000);
	free(text);
}

static void a_missing_file_is_not_found(void **state)
{
	(void)state;
	assert_int_equal(ormd_config_load(&config, "/nonexistent/ormd.conf", &error), ORM_ENOTFOUND);
	assert_message_has("/nonexistent/ormd.conf");
}

static void the_command_line_wins_over_the_file(void **state)
{
	(void)state;
	assert_int_equal(ormd_config_set(&config, "lease", "7s", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(ormd_config_set(&config, "listen", "ipc:///a", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(ormd_config_set(&config, "listen", "ipc:///b", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(load("lease = 9s\nlisten = ipc:///c\ngrace = 1s\n"), ORM_OK);
	assert_int_equal(config.lease_ms, 7000);
	assert_int_equal(config.grace_ms, 1000);
	assert_int_equal(config.n_listen, 2);
	assert_string_equal(config.listen[0], "ipc:///a");
	assert_string_equal(config.listen[1], "ipc:///b");
}

static void the_command_line_replaces_the_files_addresses(void **state)
{
	(void)state;
	assert_int_equal(load("listen = ipc:///c\nlisten = ipc:///d\n"), ORM_OK);
	assert_int_equal(config.n_listen, 2);
	assert_int_equal(ormd_config_set(&config, "listen", "ipc:///a", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(config.n_listen, 1);
	assert_string_equal(config.listen[0], "ipc:///a");
}

/* A mistake shall not sleep until the day when the overriding option is dropped. */
static void an_overridden_mistake_is_still_one(void **state)
{
	(void)state;
	assert_int_equal(ormd_config_set(&config, "lease", "7s", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(load("lease = never\n"), ORM_EINVAL);
	assert_int_equal(config.lease_ms, 7000);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
	(void)state;
	assert_int_equal(ormd_config_set(&config, "lease", "7s", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(ormd_config_set(&config, "lease", "-1s", ORMD_FROM_ARGUMENTS, &error), ORM_EINVAL);
	assert_int_equal(config.lease_ms, 7000);
}

static void there_is_an_end_to_addresses(void **state)
{
	char address[32];

	(void)state;
	for (int i = 0; i < ORMD_MAX_ADDRESSES; i++) {
		snprintf(address, sizeof address, "ipc:///s%d", i);
		assert_int_equal(ormd_config_set(&config, "listen", address, ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	}
	assert_int_equal(ormd_config_set(&config, "listen", "ipc:///more", ORMD_FROM_ARGUMENTS, &error), ORM_EINVAL);
	assert_int_equal(config.n_listen, ORMD_MAX_ADDRESSES);
}

static void a_database_is_needed(void **state)
{
	(void)state;
	assert_int_equal(ormd_config_check(&config, &error), ORM_EINVAL);
	assert_message_has("--database");
	assert_int_equal(ormd_config_set(&config, "database", "sqlite:///x.db", ORMD_FROM_ARGUMENTS, &error), ORM_OK);
	assert_int_equal(ormd_config_check(&config, &error), ORM_OK);
}

static int from_arguments(const char *first, const char *second)
{
	const char *const arguments[] = {"ormd", first, second, NULL};

	ormd_config_fini(&config);
	ormd_config_init(&config);
	return ormd_config_from_arguments(&config, first ? 3 : 1, (char **)(uintptr_t)arguments);
}

/* Where a password in it is not seen by others. */
static void the_database_may_come_from_the_environment(void **state)
{
	static const char text[] = "database = sqlite:///file.db\n";
	char path[SUPPORT_PATH_SIZE];

	(void)state;
	support_write_file(support_join(path, support_tempdir(), "ormd.conf"), text, strlen(text));
	setenv("ORMD_DATABASE", "sqlite:///environment.db", 1);
	assert_int_equal(from_arguments(NULL, NULL), 0);
	assert_string_equal(config.database, "sqlite:///environment.db");
	assert_int_equal(from_arguments("--config", path), 0);
	assert_string_equal(config.database, "sqlite:///environment.db");
	assert_int_equal(from_arguments("--database", "sqlite:///arguments.db"), 0);
	assert_string_equal(config.database, "sqlite:///arguments.db");
	setenv("ORMD_DATABASE", "shop.db", 1);
	assert_int_equal(from_arguments(NULL, NULL), 64);
	unsetenv("ORMD_DATABASE");
	assert_int_equal(from_arguments("--config", path), 0);
	assert_string_equal(config.database, "sqlite:///file.db");
}

static void tls_needs_certificates(void **state)
{
	(void)state;
	ormd_config_set(&config, "database", "sqlite:///x.db", ORMD_FROM_ARGUMENTS, &error);
	assert_int_equal(ormd_config_set(&config, "listen", "tls+tcp://0.0.0.0:7000", ORMD_FROM_ARGUMENTS, &error),
			 ORM_OK);
	assert_int_equal(ormd_config_check(&config, &error), ORM_EINVAL);
	assert_message_has("tls-ca-file");
	ormd_config_set(&config, "tls-ca-file", "/ca.pem", ORMD_FROM_ARGUMENTS, &error);
	assert_int_equal(ormd_config_check(&config, &error), ORM_EINVAL);
	ormd_config_set(&config, "tls-cert-key-file", "/server.pem", ORMD_FROM_ARGUMENTS, &error);
	assert_int_equal(ormd_config_check(&config, &error), ORM_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(defaults_are_sensible),
		TEST(every_default_is_a_value_that_may_be_given),
		TEST(a_file_sets_options),
		TEST(a_mistake_in_a_file_is_named_with_its_line),
		TEST(a_long_line_is_read_whole),
		TEST(a_missing_file_is_not_found),
		TEST(the_command_line_wins_over_the_file),
		TEST(the_command_line_replaces_the_files_addresses),
		TEST(an_overridden_mistake_is_still_one),
		TEST(a_refused_value_leaves_the_old_one),
		TEST(there_is_an_end_to_addresses),
		TEST(a_database_is_needed),
		TEST(the_database_may_come_from_the_environment),
		TEST(tls_needs_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
