/* SPDX-License-Identifier: MIT */
/* ormctl against a real server, in which a program (this one, by plain rpc) has a session with pending changes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "programs.h"
#include "support/engine.h"
#include "support/eventually.h"
#include "support/server.h"

static const char *dir;
static char url[ENGINE_URL_SIZE];
static support_ormd ormd;
static client program;

/* ---- ormctl -------------------------------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
	(void)state;
	dir = support_tempdir();
	setenv("XDG_RUNTIME_DIR", dir, 1);
	engine_fresh_url(url);
	support_ormd_start(&ormd, dir, url, NULL, NULL);
	return 0;
}

static int set_up_with_session(void **state)
{
	set_up(state);
	client_connect(&program, ormd.address);
	client_declare_models(&program);
	client_create_tables(&program);
	client_open_session(&program, "order-1042", "till 3");
	client_add_user(&program, "Alice");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_fini(&program);
	support_process_fini(&ormd.process);
	engine_drop(url);
	support_tempdir_remove(dir);
	return 0;
}

/* ormctl -d URL ARGUMENTS... */
static program_result run(const char *const *arguments)
{
	const char *all[16] = {"-d", url};
	int n = 2;

	for (; *arguments; arguments++)
		all[n++] = *arguments;
	return run_program(dir, ormctl_path(), all);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void assert_says(const char *const *arguments, int code, const char *part)
{
	program_result result = run(arguments);

	assert_output_has(&result, part);
	assert_int_equal(result.code, code);
	program_result_fini(&result);
}

#define ASSERT_SAYS(code, part, ...) assert_says((const char *const[]){__VA_ARGS__, NULL}, code, part)

/* What it says with --json; owned. */
static json_t *ask(const char *command, const char *argument)
{
	program_result result = argument ? RUN("--json", command, argument) : RUN("--json", command);
	json_error_t error;
	json_t *json = json_loads(result.output, 0, &error);

	if (!json)
		fail_msg("%s in:\n%s", error.text, result.output);
	assert_int_equal(result.code, 0);
	program_result_fini(&result);
	return json;
}

static const char *text_in(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text)
		fail_msg("no text '%s'", key);
	return text;
}

static json_int_t number_in(const json_t *object, const char *key)
{
	const json_t *number = json_object_get(object, key);

	if (!json_is_integer(number))
		fail_msg("no number '%s'", key);
	return json_integer_value(number);
}

static void wrong_usage_is_64(void **state)
{
	(void)state;
	ASSERT_SAYS(64, "no such command", "frobnicate");
	ASSERT_SAYS(64, "which session", "pending");
	ASSERT_SAYS(64, "takes no argument", "status", "x");
	ASSERT_SAYS(64, "too many", "pending", "x", "y");
	ASSERT_SAYS(64, "--timeout", "status", "--timeout", "soon");
	ASSERT_SAYS(64, "--limit", "pending", "x", "--limit", "0");
	ASSERT_SAYS(64, "either --address or --database", "status", "-a", ormd.address);
	ASSERT_SAYS(64, "mermaid", "schema", "--format", "svg");

	program_result result = run_program(dir, ormctl_path(), (const char *const[]){"status", NULL});

	assert_int_equal(result.code, 64);
	program_result_fini(&result);
}

static void help_lists_the_commands(void **state)
{
	static const char *const commands[] = {
		"status", "sessions", "participants SESSION", "pending SESSION", "schema", "health",
		"ping",   "services"};
	program_result result = run_program(dir, ormctl_path(), (const char *const[]){"--help", NULL});

	(void)state;
	assert_int_equal(result.code, 0);
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		assert_output_has(&result, commands[i]);
	program_result_fini(&result);
}

static void a_server_that_is_not_there_is_69(void **state)
{
	char other[SUPPORT_PATH_SIZE + 16];
	program_result result;

	(void)state;
	snprintf(other, sizeof other, "sqlite:///%s/other.db", dir);
	result = run_program(dir, ormctl_path(), (const char *const[]){"status", "-d", other, NULL});
	assert_output_has(&result, "nobody serves");
	assert_int_equal(result.code, 69);
	program_result_fini(&result);

	snprintf(other, sizeof other, "ipc://%s/none.sock", dir);
	result = run_program(dir, ormctl_path(), (const char *const[]){"status", "-a", other, NULL});
	assert_output_has(&result, "none.sock");
	assert_int_equal(result.code, 69);
	program_result_fini(&result);

	support_ormd_kill(&ormd); /* its lock file still names it */
	ASSERT_SAYS(69, "has died", "status");
}

/* It has stopped, but its kernel still accepts connections. */
static void a_server_that_hangs_is_given_up(void **state)
{
	(void)state;
	assert_true(support_process_signal(&ormd.process, SIGSTOP));
	ASSERT_SAYS(69, "does not answer", "status", "--timeout", "200ms");
	assert_true(support_process_signal(&ormd.process, SIGCONT));
	ASSERT_SAYS(0, "SERVING", "health");
}

static void status_tells_who_serves_what(void **state)
{
	json_t *status = ask("status", NULL);

	(void)state;
	assert_string_equal(text_in(status, "database"), url);
	assert_string_equal(text_in(status, "dialect"),
			    engine_under_test() == ENGINE_MARIADB ? "mysql" : engine_name(engine_under_test()));
	assert_int_equal(number_in(status, "pid"), ormd.process.pid);
	assert_string_equal(json_string_value(json_array_get(json_object_get(status, "addresses"), 0)), ormd.address);
	assert_int_equal(number_in(status, "sessions"), 1);
	assert_int_equal(number_in(status, "participants"), 1);
	assert_int_equal(number_in(status, "connections"), 2);
	assert_true(number_in(status, "calls") >= 4);
	assert_true(json_is_false(json_object_get(status, "draining")));
	json_decref(status);
	ASSERT_SAYS(0, ormd.address, "status");
}

static void the_server_is_found_by_address_too(void **state)
{
	program_result result =
		run_program(dir, ormctl_path(), (const char *const[]){"-a", ormd.address, "ping", NULL});

	(void)state;
	assert_output_has(&result, "answers in");
	assert_int_equal(result.code, 0);
	program_result_fini(&result);
}

static void sessions_tell_what_is_pending(void **state)
{
	json_t *reply = ask("sessions", NULL);
	const json_t *sessions = json_object_get(reply, "sessions");
	const json_t *first = json_array_get(sessions, 0);
	char id[24];

	(void)state;
	snprintf(id, sizeof id, "%016" PRIx64, program.session);
	assert_int_equal(json_array_size(sessions), 1);
	assert_string_equal(text_in(first, "id"), id);
	assert_string_equal(text_in(first, "name"), "order-1042");
	assert_string_equal(text_in(first, "on_death"), "ON_DEATH_ROLLBACK");
	assert_int_equal(number_in(first, "pending_new"), 1);
	assert_int_equal(number_in(first, "pending_changed"), 0);
	assert_int_equal(number_in(first, "objects"), 1);
	assert_true(number_in(first, "memory") > 0);
	json_decref(reply);
	ASSERT_SAYS(0, "order-1042", "sessions");
}

static void a_database_with_one_server_has_that_one(void **state)
{
	json_t *where = ask("where", "order-1042");
	json_t *servers = ask("servers", NULL);

	(void)state;
	assert_string_equal(text_in(where, "address"), ormd.address);
	assert_true(json_is_true(json_object_get(where, "asked")));
	/* Where there may be several, it is the only one of them. */
	assert_int_equal(json_array_size(json_object_get(servers, "servers")), engine_under_test() != ENGINE_SQLITE);
	json_decref(where);
	json_decref(servers);
	ASSERT_SAYS(0, ormd.address, "where", "order-1042");
	ASSERT_SAYS(66, "order-1043", "where", "order-1043");
	ASSERT_SAYS(0, engine_under_test() == ENGINE_SQLITE ? "one server" : ormd.address, "servers");
}

static void participants_are_found_by_name_and_by_id(void **state)
{
	char id[24];

	(void)state;
	snprintf(id, sizeof id, "%016" PRIx64, program.session);
	for (int i = 0; i < 2; i++) {
		json_t *reply = ask("participants", i == 0 ? "order-1042" : id);
		const json_t *first = json_array_get(json_object_get(reply, "participants"), 0);

		assert_string_equal(text_in(first, "name"), "till 3");
		assert_int_equal(number_in(first, "pid"), getpid());
		assert_true(json_is_true(json_object_get(first, "connected")));
		json_decref(reply);
	}
	ASSERT_SAYS(0, "till 3", "participants", "order-1042");
	ASSERT_SAYS(66, "no session 'nobody'", "participants", "nobody");
}

static void pending_changes_are_told_with_their_author(void **state)
{
	char id[24];

	(void)state;
	snprintf(id, sizeof id, "%016" PRIx64, program.session);
	for (int i = 0; i < 2; i++) {
		json_t *reply = ask("pending", i == 0 ? "order-1042" : id);
		const json_t *objects = json_object_get(reply, "objects");
		const json_t *first = json_array_get(objects, 0);
		const json_t *field;
		size_t k;
		bool has_name = false;

		assert_int_equal(json_array_size(objects), 1);
		assert_string_equal(text_in(first, "model"), "User");
		assert_string_equal(text_in(first, "change"), "new");
		assert_string_equal(text_in(first, "author"), "till 3");
		json_array_foreach(json_object_get(first, "fields"), k, field) has_name =
			has_name || (strcmp(text_in(field, "column"), "name") == 0 &&
				     strcmp(text_in(field, "after"), "'Alice'") == 0);
		assert_true(has_name);
		json_decref(reply);
	}
	ASSERT_SAYS(0, "name = 'Alice'", "pending", "order-1042");
	ASSERT_SAYS(66, "no session 'nobody'", "pending", "nobody");
	ASSERT_SAYS(66, "no session", "pending", "ffffffffffffffff");
}

static void the_schema_is_drawn(void **state)
{
	json_t *reply = ask("schema", NULL);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(reply, "models")), 2);
	json_decref(reply);
	ASSERT_SAYS(0, "Post (table posts)", "schema");
	ASSERT_SAYS(0, "author   User  by Post.user_id", "schema");
	ASSERT_SAYS(0, "digraph models {", "schema", "--format", "dot");
	ASSERT_SAYS(0, "m0:c2 -> m1:c0", "schema", "--format", "dot");
	ASSERT_SAYS(0, "User ||--o{ Post : user_id", "schema", "--format", "mermaid");
}

static void a_model_of_two_programs_is_told_once(void **state)
{
	client other;
	json_t *reply;

	(void)state;
	client_connect(&other, ormd.address);
	client_declare_models(&other);
	client_fini(&other);
	reply = ask("schema", NULL);
	assert_int_equal(json_array_size(json_object_get(reply, "models")), 2);
	json_decref(reply);
}

static void without_models_there_is_nothing_to_draw(void **state)
{
	(void)state;
	ASSERT_SAYS(0, "no program has declared models", "schema");
	ASSERT_SAYS(0, "digraph models {", "schema", "--format", "dot");
}

static void health_is_told(void **state)
{
	json_t *reply = ask("health", NULL);

	(void)state;
	assert_string_equal(text_in(reply, "status"), "SERVING");
	json_decref(reply);
	ASSERT_SAYS(0, "SERVING", "health");
	ASSERT_SAYS(0, "SERVING", "health", "ormd.v1.Session");

	program_result unknown = RUN("health", "ormd.v9.Nothing");

	assert_int_not_equal(unknown.code, 0);
	program_result_fini(&unknown);
}

static void services_are_listed(void **state)
{
	json_t *reply = ask("services", NULL);

	(void)state;
	assert_true(json_array_size(json_object_get(reply, "services")) >= 5);
	json_decref(reply);
	ASSERT_SAYS(0, "Query (ormd.v1.QueryRequest) -> stream of ormd.v1.QueryReply", "services");
}

static void ping_measures(void **state)
{
	json_t *reply = ask("ping", NULL);

	(void)state;
	assert_string_equal(text_in(reply, "address"), ormd.address);
	assert_true(number_in(reply, "microseconds") > 0);
	json_decref(reply);
}

int main(void)
{
#define TEST(name)         cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_SESSION(name) cmocka_unit_test_setup_teardown(name, set_up_with_session, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(wrong_usage_is_64),
		TEST(help_lists_the_commands),
		TEST(a_server_that_is_not_there_is_69),
		TEST(a_server_that_hangs_is_given_up),
		TEST_SESSION(status_tells_who_serves_what),
		TEST(the_server_is_found_by_address_too),
		TEST_SESSION(sessions_tell_what_is_pending),
		TEST_SESSION(a_database_with_one_server_has_that_one),
		TEST_SESSION(participants_are_found_by_name_and_by_id),
		TEST_SESSION(pending_changes_are_told_with_their_author),
		TEST_SESSION(the_schema_is_drawn),
		TEST_SESSION(a_model_of_two_programs_is_told_once),
		TEST(without_models_there_is_nothing_to_draw),
		TEST(health_is_told),
		TEST(services_are_listed),
		TEST(ping_measures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
