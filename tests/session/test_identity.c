/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <stdlib.h>
#include <string.h>

/* ---- by handle ---- */

static void handles_are_found_dense_and_sparse(void **state)
{
	(void)state;
	enum { N = 3000 };
	ormd_handles handles;
	uint32_t number = 1;

	ormd_handles_init(&handles);
	assert_int_equal(ormd_handles_get(&handles, 5), 0);
	for (uint64_t i = 0; i < N; i++) {
		assert_true(ormd_handles_put(&handles, UINT64_C(1) << 40 | i, number++));
		assert_true(ormd_handles_put(&handles, UINT64_C(2) << 40 | i * 1000003, number++));
	}
	assert_true(ormd_handles_put(&handles, UINT64_MAX, number));
	for (uint64_t i = 0; i < N; i++) {
		assert_int_equal(ormd_handles_get(&handles, UINT64_C(1) << 40 | i), 2 * i + 1);
		assert_int_equal(ormd_handles_get(&handles, UINT64_C(2) << 40 | i * 1000003), 2 * i + 2);
		assert_int_equal(ormd_handles_peek(&handles, UINT64_C(2) << 40 | i * 1000003), 2 * i + 2);
	}
	assert_int_equal(ormd_handles_get(&handles, UINT64_MAX), number);
	assert_int_equal(ormd_handles_get(&handles, UINT64_C(1) << 40 | N), 0);
	assert_int_equal(ormd_handles_get(&handles, UINT64_C(3) << 40), 0);

	/* Pages go with their last handle. */
	for (uint64_t i = 0; i < N; i++) {
		ormd_handles_remove(&handles, UINT64_C(2) << 40 | i * 1000003);
		assert_int_equal(ormd_handles_get(&handles, UINT64_C(2) << 40 | i * 1000003), 0);
		assert_int_equal(ormd_handles_get(&handles, UINT64_C(1) << 40 | i), 2 * i + 1);
	}
	ormd_handles_remove(&handles, UINT64_C(7) << 40); /* was not there */
	assert_int_equal(handles.n_pages, (N + ORMD_HANDLES_PER_PAGE - 1) / ORMD_HANDLES_PER_PAGE + 1);
	ormd_handles_fini(&handles);
}

/* ---- by key ---- */

static bool finds(const ormd_keys *keys, uint32_t hash, uint32_t number)
{
	size_t cursor = SIZE_MAX;
	uint32_t found;

	while ((found = ormd_keys_probe(keys, hash, &cursor)) != 0) {
		if (found == number)
			return true;
	}
	return false;
}

static void keys_with_one_hash_are_all_found(void **state)
{
	(void)state;
	ormd_keys keys;

	ormd_keys_init(&keys);
	assert_false(finds(&keys, 7, 1));
	assert_true(ormd_keys_reserve(&keys, 40));
	for (uint32_t i = 1; i <= 40; i++)
		ormd_keys_put(&keys, i % 2 ? 15 : 0xFFFFFFFF, i); /* at the end of the table: they wrap around */
	for (uint32_t i = 1; i <= 40; i++)
		assert_true(finds(&keys, i % 2 ? 15 : 0xFFFFFFFF, i));
	assert_false(ormd_keys_remove(&keys, 15, 2));
	for (uint32_t i = 1; i <= 40; i += 3)
		assert_true(ormd_keys_remove(&keys, i % 2 ? 15 : 0xFFFFFFFF, i));
	for (uint32_t i = 1; i <= 40; i++)
		assert_int_equal(finds(&keys, i % 2 ? 15 : 0xFFFFFFFF, i), i % 3 != 1);
	ormd_keys_fini(&keys);
}

/* Against an array: random puts and removals with few different hashes. */
static void keys_survive_any_order(void **state)
{
	(void)state;
	enum { N = 500 };
	uint32_t hashes[N + 1] = {0};
	bool there[N + 1] = {false};
	ormd_keys keys;
	uint32_t random = 7;

	ormd_keys_init(&keys);
	for (int i = 0; i < 20000; i++) {
		random = random * 1664525 + 1013904223;

		const uint32_t number = random >> 10 & 255 ? (random >> 8) % N + 1 : 1;

		if (there[number]) {
			assert_true(ormd_keys_remove(&keys, hashes[number], number));
		} else {
			hashes[number] = random >> 20 & 31;
			assert_true(ormd_keys_reserve(&keys, 1));
			ormd_keys_put(&keys, hashes[number], number);
		}
		there[number] = !there[number];
		if (i % 500 == 0) {
			size_t len = 0;

			for (uint32_t j = 1; j <= N; j++) {
				assert_int_equal(finds(&keys, hashes[j], j), there[j]);
				len += there[j];
			}
			assert_int_equal(keys.len, len);
		}
	}
	ormd_keys_fini(&keys);
}

/* ---- objects ---- */

static void objects_stay_where_they_are(void **state)
{
	(void)state;
	enum { N = 5 * ORMD_OBJECTS_PER_PAGE };
	ormd_objects objects;
	ormd_object *pointers[N + 1];

	ormd_objects_init(&objects);
	for (uint32_t i = 1; i <= N; i++) {
		assert_int_equal(ormd_objects_take(&objects, &pointers[i]), i);
		pointers[i]->handle = i;
		pointers[i]->state = ORMD_STATE_PERSISTENT;
	}
	for (uint32_t i = 1; i <= N; i++) {
		assert_ptr_equal(ormd_objects_at(&objects, i), pointers[i]);
		assert_true(pointers[i]->handle == i);
	}
	ormd_objects_give(&objects, 10);
	ormd_objects_give(&objects, 700);
	assert_int_equal(objects.n_used, N - 2);
	for (int i = 0; i < 2; i++) {
		ormd_object *object;
		const uint32_t number = ormd_objects_take(&objects, &object);

		assert_true(number == 10 || number == 700);
		assert_ptr_equal(object, pointers[number]);
		assert_true(object->handle == 0 && object->state == ORMD_STATE_NONE);
	}
	ormd_objects_fini(&objects);
}

/* Twice its values and 64 bytes, everything included. */
static void an_object_is_small(void **state)
{
	(void)state;
	enum { N = 100000 };
	orm_batch_builder builder;
	orm_vector vectors[N_BOOK];
	orm_batch batch;
	ormd_session_info info;
	shelf lib;
	ormd_object **objects = calloc(N, sizeof(ormd_object *));
	size_t values = 0;

	assert_non_null(objects);
	library_init(&lib, NULL, ORMD_ON_DEATH_ROLLBACK, 0);

	ormd_install install = {.session = lib.session};

	assert_true(orm_batch_builder_init(&builder, lib.book, NULL, 0));
	for (int i = 0; i < N; i++) {
		static const char title[] = "On the Economy of Machinery and Manufactures";
		const size_t size = (size_t)i % sizeof title;

		orm_vector_builder_put_int64(&builder.vectors[BOOK_ID], i + 1);
		orm_vector_builder_put_text(&builder.vectors[BOOK_TITLE], title, size);
		orm_vector_builder_put_int64(&builder.vectors[BOOK_AUTHOR], i);
		orm_vector_builder_put_int32(&builder.vectors[BOOK_RATING], i);
		orm_vector_builder_put_int64(&builder.vectors[BOOK_CREATED], i);
		orm_batch_builder_end_row(&builder);
		values += 8 + size + 1 + 8 + 4 + 8;
	}
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	assert_int_equal(ormd_unit_install(&install, &batch, objects, &lib.error), ORM_OK);
	ormd_session_info_get(lib.session, &info);
	assert_int_equal(info.n_objects, N);
	assert_true(info.memory <= 2 * values + 64 * (size_t)N);

	/* New and committed ones are no larger. */
	ormd_adds adds = {.values = batch, .first_handle = (uint64_t)lib.ann << ORMD_HANDLE_SHIFT | 1};
	const ormd_draft draft = {.adds = &adds, .n_adds = 1};
	const size_t before = info.memory;

	lib.session->mappers[lib.book->number].next_key = N + 1; /* as a database would count */

	for (size_t i = 0; i < N; i++)
		((int64_t *)(uintptr_t)vectors[BOOK_ID].cells)[i] = 0;
	assert_int_equal(ormd_session_publish(lib.session, lib.ann, 0, &draft, &lib.arena, &lib.published, &lib.error),
			 ORM_OK);
	settle_all(&lib, lib.ann);
	ormd_session_info_get(lib.session, &info);
	assert_int_equal(info.n_objects, 2 * N);
	assert_true(info.memory - before <= 2 * values + 64 * (size_t)N);
	orm_batch_builder_fini(&builder);
	free(objects);
	check_consistency(&lib);
	library_fini(&lib);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_are_found_dense_and_sparse),
		cmocka_unit_test(keys_with_one_hash_are_all_found),
		cmocka_unit_test(keys_survive_any_order),
		cmocka_unit_test(objects_stay_where_they_are),
		cmocka_unit_test(an_object_is_small),
	};

	return cmocka_run_group_tests_name("session_identity", tests, NULL, NULL);
}
