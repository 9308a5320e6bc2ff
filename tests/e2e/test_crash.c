/* SPDX-License-Identifier: MIT */
/*
 * kill -9 of the server during commits, again and again, while clients go on by the library's rules: nothing that was
 * acknowledged may be lost, nothing may be done twice. 300 deaths, fewer where a server is to be connected to;
 * ORMD_FULL=1: 10,000.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <signal.h>

#include <cmocka.h>

#include "e2e/crash_witness.h"
#include "e2e/place.h"
#include "support/eventually.h"

#define N_CLIENTS 4

static bool server_runs(void *context)
{
	return place_server(context) > 0;
}

static void kill_the_server(crash_witness *witness, test_place *place, int round)
{
	pid_t pid;

	assert_true(support_eventually(server_runs, place, SUPPORT_PATIENCE_MS));
	if (round % 8) /* else at once, perhaps while it recovers */
		crash_witness_wait(witness);
	crash_pause_at_most_us(3000);
	pid = place_server(place);
	if (pid > 0) {
		kill(pid, SIGKILL);
		assert_int_equal(place_wait_server(pid), 128 + SIGKILL);
	}
}

static void nothing_is_lost_or_done_twice(void **state)
{
	test_place *place = *state;
	const int n_rounds = crash_rounds(engine_under_test() == ENGINE_SQLITE ? 300 : 100, 10000);
	crash_witness witness;

	orm_disconnect(place_connect(place, crash_models));
	crash_witness_start(&witness, N_CLIENTS, place->url, place->url);
	for (int round = 0; round < n_rounds; round++)
		kill_the_server(&witness, place, round);
	crash_witness_wait(&witness);
	crash_witness_end(&witness);
	crash_witness_check(&witness, place->url);
	assert_true(place_is_sound(place));
	crash_witness_print(&witness, "kill -9 of ormd", n_rounds);
	assert_true(crash_witness_doubts(&witness) > n_rounds / 2); /* or the test tests something else */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_lost_or_done_twice, place_set_up_unserved,
						place_tear_down_unserved),
	};
	const int client = crash_client_main(argc, argv);

	return client >= 0 ? client : cmocka_run_group_tests(tests, NULL, NULL);
}
