/* SPDX-License-Identifier: MIT */
/* Request ids: order, repetition, what is given up, what is kept. */
#include "rpc/harness.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/dedup.h"

enum { LANE = 7 };

static int calls[64]; /* their addresses stand for calls */
static rpc_lanes lanes;
static rpc_entry *entry;

static int set_up(void **state)
{
	(void)state;
	rpc_lanes_init(&lanes, 1000, 4000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rpc_lanes_fini(&lanes);
	return 0;
}

static rpc_admission admit(uint64_t seq)
{
	return rpc_lanes_admit(&lanes, LANE, seq, seq * 10, &calls[seq], &entry);
}

static void *end(uint64_t seq, const char *reply)
{
	return rpc_lanes_end(&lanes, LANE, seq, (const uint8_t *)reply, strlen(reply));
}

static void calls_run_in_order_one_at_a_time(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_int_equal(admit(3), RPC_ADMIT_HOLD);
	assert_int_equal(admit(2), RPC_ADMIT_HOLD);
	assert_ptr_equal(end(1, "one"), &calls[2]);
	assert_ptr_equal(end(2, "two"), &calls[3]);
	assert_null(end(3, "three"));
	assert_int_equal(admit(4), RPC_ADMIT_RUN);
}

static void a_repetition_is_answered_from_memory(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_int_equal(admit(1), RPC_ADMIT_ATTACH);
	assert_ptr_equal(entry->call, &calls[1]);
	end(1, "one");
	assert_int_equal(admit(1), RPC_ADMIT_REPLAY);
	assert_true(entry->kept);
	assert_memory_equal(entry->reply, "one", 3);
	assert_int_equal(admit(2), RPC_ADMIT_RUN);
	end(2, "two");
	assert_int_equal(admit(1), RPC_ADMIT_REPLAY); /* until acknowledged */
	rpc_lanes_ack(&lanes, LANE, 1);
	assert_int_equal(admit(1), RPC_ADMIT_STALE);
	assert_int_equal(admit(2), RPC_ADMIT_REPLAY);
}

static void a_number_used_for_something_else_is_refused(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_int_equal(rpc_lanes_admit(&lanes, LANE, 1, 999, &calls[9], &entry), RPC_ADMIT_REUSED);
	end(1, "one");
	assert_int_equal(rpc_lanes_admit(&lanes, LANE, 1, 999, &calls[9], &entry), RPC_ADMIT_REUSED);
}

static void numbers_too_far_ahead_are_gaps(void **state)
{
	(void)state;
	assert_int_equal(admit(1 + RPC_LANE_WINDOW), RPC_ADMIT_GAP);
	assert_int_equal(admit(RPC_LANE_WINDOW), RPC_ADMIT_HOLD);
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_null(end(1, ""));
	assert_int_equal(admit(1 + RPC_LANE_WINDOW), RPC_ADMIT_HOLD); /* takes the place of 1 */
	assert_int_equal(admit(1), RPC_ADMIT_STALE);
}

static void what_is_given_up_is_passed_over_and_never_run(void **state)
{
	(void)state;
	assert_int_equal(admit(3), RPC_ADMIT_HOLD);
	assert_ptr_equal(rpc_lanes_ack(&lanes, LANE, 2), &calls[3]); /* 1 and 2 never came */
	assert_int_equal(admit(2), RPC_ADMIT_STALE);
	end(3, "");
	assert_null(rpc_lanes_ack(&lanes, LANE, 40));
	assert_int_equal(admit(41), RPC_ADMIT_RUN);
}

static void giving_up_a_running_call_does_not_start_the_next_beside_it(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_null(rpc_lanes_ack(&lanes, LANE, 2)); /* 1 runs still, 2 is given up */
	assert_int_equal(admit(3), RPC_ADMIT_HOLD);
	assert_int_equal(admit(2), RPC_ADMIT_STALE);
	assert_ptr_equal(end(1, "late"), &calls[3]);
	assert_null(end(3, ""));
	assert_int_equal(admit(1), RPC_ADMIT_STALE);
}

static void unordered_calls_take_a_number_but_no_turn(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_null(rpc_lanes_pass(&lanes, LANE, 2, 20, NULL, 0));
	assert_int_equal(admit(3), RPC_ADMIT_HOLD);
	assert_int_equal(admit(2), RPC_ADMIT_PASSED);
	assert_ptr_equal(end(1, ""), &calls[3]);
	assert_null(end(3, ""));
	assert_null(rpc_lanes_pass(&lanes, LANE, 4, 40, NULL, 0));
	assert_int_equal(admit(5), RPC_ADMIT_RUN);
}

static void a_held_call_that_ends_early_is_passed_over(void **state)
{
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	assert_int_equal(admit(2), RPC_ADMIT_HOLD);
	assert_int_equal(admit(3), RPC_ADMIT_HOLD);
	assert_null(end(2, "deadline")); /* 1 runs: no turn for 3 */
	assert_int_equal(admit(2), RPC_ADMIT_REPLAY);
	assert_ptr_equal(end(1, ""), &calls[3]);
}

static void replies_are_kept_within_limits(void **state)
{
	static uint8_t reply[1001];
	(void)state;
	assert_int_equal(admit(1), RPC_ADMIT_RUN);
	rpc_lanes_end(&lanes, LANE, 1, reply, 1001); /* one too large to keep */
	assert_int_equal(admit(1), RPC_ADMIT_REPLAY);
	assert_false(entry->kept);
	for (uint64_t seq = 2; seq <= 6; seq++) { /* five of the four that fit */
		assert_int_equal(admit(seq), RPC_ADMIT_RUN);
		rpc_lanes_end(&lanes, LANE, seq, reply, 1000);
		assert_true(lanes.cached <= 4000);
	}
	assert_int_equal(admit(2), RPC_ADMIT_REPLAY);
	assert_false(entry->kept);
	assert_int_equal(admit(3), RPC_ADMIT_REPLAY);
	assert_true(entry->kept);
	rpc_lanes_ack(&lanes, LANE, 6);
	assert_int_equal(lanes.cached, 0);
}

static void lanes_are_independent_and_limited(void **state)
{
	(void)state;
	for (uint32_t lane = 0; lane < RPC_MAX_LANES; lane++)
		assert_int_equal(rpc_lanes_admit(&lanes, lane, 1, 1, &calls[1], &entry), RPC_ADMIT_RUN);
	assert_int_equal(rpc_lanes_admit(&lanes, 1000, 1, 1, &calls[1], &entry), RPC_ADMIT_TOO_MANY);
	size_t cursor = 0, n = 0;
	while (rpc_lanes_next_call(&lanes, &cursor))
		n++;
	assert_int_equal(n, RPC_MAX_LANES);
}

/* A model of the whole: random arrivals of a pipelining client, checked against what may happen. */
static void random_arrivals_keep_the_promises(void **state)
{
	uint32_t random = 12345;
	uint64_t first_open = 1, ran = 0, running = 0;
	bool came[2000] = {false};
	(void)state;
	for (int step = 0; step < 200000 && first_open < 1900; step++) {
		random = random * 1664525 + 1013904223;
		uint64_t seq = first_open + (random >> 16) % 12;
		void *due = rpc_lanes_ack(&lanes, LANE, first_open - 1);
		assert_null(due); /* nothing is given up here */
		rpc_admission admission = rpc_lanes_admit(&lanes, LANE, seq, seq * 10, &calls[seq % 64], &entry);
		if (admission == RPC_ADMIT_RUN) {
			assert_int_equal(running, 0);
			assert_int_equal(seq, ran + 1);
			running = seq;
		} else if (admission == RPC_ADMIT_HOLD) {
			assert_true(seq > ran + 1 || running);
		} else {
			assert_true(came[seq]);
			assert_true(admission == RPC_ADMIT_ATTACH || admission == RPC_ADMIT_REPLAY);
		}
		came[seq] = true;
		if (running && (random >> 8) % 3 == 0) {
			void *call = rpc_lanes_end(&lanes, LANE, running, (const uint8_t *)"x", 1);
			ran = running;
			running = call ? ran + 1 : 0;
			if (call)
				assert_ptr_equal(call, &calls[running % 64]);
			assert_int_equal(call != NULL, came[ran + 1]);
			while (first_open <= ran)
				first_open++;
		}
	}
	assert_true(first_open >= 1900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_run_in_order_one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_repetition_is_answered_from_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_number_used_for_something_else_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(numbers_too_far_ahead_are_gaps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_given_up_is_passed_over_and_never_run, set_up, tear_down),
		cmocka_unit_test_setup_teardown(giving_up_a_running_call_does_not_start_the_next_beside_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(unordered_calls_take_a_number_but_no_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_held_call_that_ends_early_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(replies_are_kept_within_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lanes_are_independent_and_limited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_arrivals_keep_the_promises, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
