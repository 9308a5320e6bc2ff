/* SPDX-License-Identifier: MIT */
/*
 * Random drafts of all kinds, most of which fail somewhere: keys taken, parents missing or deleted, keys exchanged,
 * cascades, conflicts. What must hold needs no model: a draft that fails leaves everything as it was, to the order of
 * the lists, and a rollback what was committed last.
 */
#include "session/unit_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shelf lib;
static uint64_t dice;

static uint32_t roll(uint32_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)((dice >> 33) % n);
}

static int compare_handles(const void *a, const void *b)
{
	const ormd_object *const *left = a, *const *right = b;

	return ((*left)->handle > (*right)->handle) - ((*left)->handle < (*right)->handle);
}

static void dump_object(const ormd_object *object, bool values_only, orm_buffer *out)
{
	const ormd_layout *layout = ormd_object_layout(lib.session, object);

	orm_buffer_printf(out, "%llx %s", (unsigned long long)object->handle, layout->mapper->name);
	for (uint16_t i = 0; i < layout->n_columns; i++) {
		orm_value value;

		ormd_record_value(layout, object->record, i, &value);
		orm_buffer_puts(out, ormd_record_is_unset(layout, object->record, i) ? " unset:" : " ");
		orm_value_print(&value, 100, out);
		if (!values_only && object->change) {
			const ormd_mark mark = ormd_change_mark(object->change, i);

			orm_buffer_printf(out, "@%llu/%u", (unsigned long long)mark.revision, mark.author);
		}
	}
	if (!values_only)
		orm_buffer_printf(out, " state %d flags %d", object->state, object->flags);
	orm_buffer_putc(out, '\n');
}

static void dump_list(const ormd_change_list *list, orm_buffer *out)
{
	for (const ormd_change *change = list->first; change; change = change->next)
		orm_buffer_printf(out, "%llx/%llu/%d/%p ", (unsigned long long)change->object->handle,
				  (unsigned long long)change->revision, change->event_kind, (void *)change->base);
	orm_buffer_putc(out, '\n');
}

/* All objects by handle; of the committed ones their values only. */
static char *dump(bool committed)
{
	ormd_session *session = lib.session;
	orm_buffer out;
	ormd_object *objects[2000];
	size_t n = 0;

	for (uint16_t i = 0; i < session->registry->n_mappers; i++) {
		size_t cursor = 0;
		ormd_object *object;

		while ((object = ormd_unit_next_object(session, &session->registry->mappers[i], &cursor))) {
			assert_true(n < 2000);
			objects[n++] = object;
		}
	}
	qsort(objects, n, sizeof objects[0], compare_handles);
	orm_buffer_init(&out);
	orm_buffer_puts(&out, "objects\n");
	for (size_t i = 0; i < n; i++)
		dump_object(objects[i], committed, &out);
	if (!committed) {
		dump_list(&session->pending, &out);
		dump_list(&session->settled, &out);
		orm_buffer_printf(&out, "revision %llu, %zu bytes, %zu objects\n",
				  (unsigned long long)session->revision, session->pool.used, session->objects.n_used);
	}
	return orm_buffer_steal(&out);
}

/* ---- random drafts ---- */

static uint64_t any_handle(const orm_mapper *mapper)
{
	size_t cursor = 0, n = lib.session->mappers[mapper->number].keys.len;
	ormd_object *object = NULL;

	if (n == 0)
		return 0;
	for (size_t i = roll((uint32_t)n) + 1; i > 0; i--)
		object = ormd_unit_next_object(lib.session, mapper, &cursor);
	return object->handle;
}

/* One of the draft's own new objects of this model, or one that is there. */
static uint64_t any_target(const rows_draft *draft, const orm_mapper *mapper)
{
	for (size_t i = 0; i < draft->n_adds && roll(2); i++) {
		if (draft->adds[i].values.mapper == mapper)
			return draft->adds[i].first_handle;
	}
	return any_handle(mapper);
}

static const char *any_code(void)
{
	return orm_arena_printf(&lib.arena, "%u", roll(12));
}

static void add_something(rows_draft *draft, uint32_t participant)
{
	const uint64_t handle = library_handle(&lib, participant);

	switch (roll(5)) {
	case 0:
		draft_add(draft, lib.author, handle,
			  CELLS(TEXT(AUTHOR_NAME, any_code()), INT(AUTHOR_ID, roll(3) ? 0 : roll(40))));
		break;
	case 1:
		draft_add_to(draft, lib.book, handle, CELLS(TEXT(BOOK_TITLE, any_code())), lib.book_author,
			     any_target(draft, lib.author));
		break;
	case 2:
		draft_add_to(draft, lib.chapter, handle, CELLS(INT32(CHAPTER_NUMBER, roll(3))), lib.chapter_book,
			     any_target(draft, lib.book));
		break;
	case 3:
		draft_add_to(draft, lib.paragraph, handle, CELLS(INT32(PARAGRAPH_NUMBER, roll(3))),
			     lib.paragraph_chapter, any_target(draft, lib.chapter));
		break;
	default:
		draft_add(draft, lib.tag, handle, CELLS(TEXT(TAG_CODE, any_code())));
		break;
	}
}

static void change_something(rows_draft *draft, uint64_t base)
{
	const uint64_t author = any_handle(lib.author), book = any_handle(lib.book), chapter = any_handle(lib.chapter),
		       tag = any_handle(lib.tag);

	switch (roll(7)) {
	case 0:
		if (author)
			draft_update(draft, lib.author, author, base,
				     CELLS(TEXT(AUTHOR_EMAIL, roll(2) ? any_code() : NULL)));
		break;
	case 1:
		if (author)
			draft_update(draft, lib.author, author, base, CELLS(INT(AUTHOR_ID, roll(40) + 1)));
		break;
	case 2:
		if (book)
			draft_update_to(draft, lib.book, book, base, lib.book_author,
					roll(3) ? any_target(draft, lib.author) : 0);
		break;
	case 3:
		if (chapter)
			draft_update_to(draft, lib.chapter, chapter, base, lib.chapter_book,
					any_target(draft, lib.book));
		break;
	case 4:
		if (chapter)
			draft_update(draft, lib.chapter, chapter, base,
				     CELLS(INT32(CHAPTER_NUMBER, roll(3)), TEXT(CHAPTER_TITLE, any_code())));
		break;
	default:
		if (tag)
			draft_update(draft, lib.tag, tag, base,
				     CELLS(TEXT(TAG_CODE, any_code()), TEXT(TAG_LABEL, any_code())));
		break;
	}
}

static void delete_something(rows_draft *draft, uint64_t base)
{
	const orm_mapper *mapper = &lib.registry->mappers[roll(lib.registry->n_mappers)];
	const uint64_t handle = any_handle(mapper);

	if (handle)
		draft_delete(draft, mapper, handle, base);
}

static orm_status publish_something(void)
{
	const uint32_t participant = lib.ann + roll(3);
	const uint64_t revision = ormd_session_revision(lib.session);
	const uint64_t base = roll(3) || revision < 3 ? revision : revision - roll(3);
	rows_draft draft;

	draft_init(&draft, &lib);
	for (uint32_t i = roll(3); i > 0; i--)
		add_something(&draft, participant);
	for (uint32_t i = roll(3); i > 0; i--)
		change_something(&draft, base);
	for (uint32_t i = roll(6) ? 0 : 1; i > 0; i--)
		delete_something(&draft, base);
	return draft_publish(&draft, participant);
}

static void play(uint64_t seed, size_t *n_failed, size_t *n_published)
{
	char *committed, *before, *after;

	dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	library_init(&lib, "undo", ORMD_ON_DEATH_ROLLBACK, 0);
	committed = dump(true);
	for (int round = 0; round < 400; round++) {
		orm_status status;

		before = dump(false);
		status = publish_something();
		after = dump(false);
		if (status != ORM_OK && strcmp(before, after) != 0)
			fail_msg("seed %llu, round %d: %s\nbefore:\n%s\nafter:\n%s", (unsigned long long)seed, round,
				 lib.error.message, before, after);
		*(status == ORM_OK ? n_published : n_failed) += 1;
		free(before);
		free(after);
		check_consistency(&lib);
		if (roll(15) == 0) {
			settle_all(&lib, lib.ann);
			free(committed);
			committed = dump(true);
		} else if (roll(25) == 0) {
			ormd_session_rollback(lib.session, lib.ann);
			ormd_session_rollback(lib.session, lib.bob); /* they have seen it */
			ormd_session_rollback(lib.session, lib.cid);
			after = dump(true);
			if (strcmp(committed, after) != 0)
				fail_msg("seed %llu, round %d: committed:\n%s\nrolled back:\n%s",
					 (unsigned long long)seed, round, committed, after);
			free(after);
		}
		check_consistency(&lib);
	}
	free(committed);
	library_fini(&lib);
}

static void what_fails_leaves_no_trace(void **state)
{
	size_t n_failed = 0, n_published = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		play(seed, &n_failed, &n_published);
	assert_true(n_failed > 400 && n_published > 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fails_leaves_no_trace),
	};

	return cmocka_run_group_tests_name("session_undo", tests, NULL, NULL);
}
