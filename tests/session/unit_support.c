/* SPDX-License-Identifier: MIT */
#include "session/unit_support.h"

#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

static orm_registry *make_registry(void)
{
	static const orm_column_spec authors[N_AUTHOR] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "name", .type = ORM_TEXT},
		{.name = "email", .type = ORM_TEXT, .nullable = true, .unique = true},
		{.name = "photo", .type = ORM_BYTES, .nullable = true},
		{.name = "score", .type = ORM_DOUBLE, .nullable = true},
		{.name = "born", .type = ORM_DATE, .nullable = true},
		{.name = "active", .type = ORM_BOOL, .nullable = true},
		{.name = "version", .type = ORM_INT32, .version = true},
	};
	static const orm_column_spec books[N_BOOK] = {
		{.name = "id", .type = ORM_INT64, .primary_key = true},
		{.name = "title", .type = ORM_TEXT},
		{.name = "author_id",
		 .type = ORM_INT64,
		 .nullable = true,
		 .references_model = "Author",
		 .references_column = "id",
		 .on_delete = ORM_SET_NULL},
		{.name = "rating", .type = ORM_INT32, .server_default = "3"},
		{.name = "created", .type = ORM_DATETIME, .nullable = true, .server_default = ORM_DEFAULT_NOW},
	};
	static const orm_column_spec chapters[N_CHAPTER] = {
		{.name = "book_id",
		 .type = ORM_INT64,
		 .primary_key = true,
		 .references_model = "Book",
		 .references_column = "id",
		 .on_delete = ORM_CASCADE},
		{.name = "number", .type = ORM_INT32, .primary_key = true},
		{.name = "title", .type = ORM_TEXT, .nullable = true},
	};
	static const orm_column_spec paragraphs[N_PARAGRAPH] = {
		{.name = "book_id",
		 .type = ORM_INT64,
		 .primary_key = true,
		 .references_model = "Chapter",
		 .references_column = "book_id",
		 .on_delete = ORM_CASCADE},
		{.name = "chapter",
		 .type = ORM_INT32,
		 .primary_key = true,
		 .references_model = "Chapter",
		 .references_column = "number",
		 .on_delete = ORM_CASCADE},
		{.name = "number", .type = ORM_INT32, .primary_key = true},
		{.name = "text", .type = ORM_TEXT, .nullable = true},
	};
	static const orm_column_spec tags[N_TAG] = {
		{.name = "code", .type = ORM_TEXT, .primary_key = true},
		{.name = "label", .type = ORM_TEXT, .nullable = true},
	};
	static const orm_relationship_spec book_relationships[] = {{.name = "author", .target = "Author"}};
	static const orm_relationship_spec chapter_relationships[] = {{.name = "book", .target = "Book"}};
	static const orm_relationship_spec paragraph_relationships[] = {
		{.name = "chapter_object", .target = "Chapter"}};
	static const orm_model_spec specs[] = {
		{.name = "Author", .table = "authors", .columns = authors, .n_columns = N_AUTHOR},
		{.name = "Book",
		 .table = "books",
		 .columns = books,
		 .n_columns = N_BOOK,
		 .relationships = book_relationships,
		 .n_relationships = 1},
		{.name = "Chapter",
		 .table = "chapters",
		 .columns = chapters,
		 .n_columns = N_CHAPTER,
		 .relationships = chapter_relationships,
		 .n_relationships = 1},
		{.name = "Paragraph",
		 .table = "paragraphs",
		 .columns = paragraphs,
		 .n_columns = N_PARAGRAPH,
		 .relationships = paragraph_relationships,
		 .n_relationships = 1},
		{.name = "Tag", .table = "tags", .columns = tags, .n_columns = N_TAG},
	};
	orm_error error = {.code = ORM_OK};
	orm_registry *registry = orm_registry_new(specs, sizeof specs / sizeof specs[0], &error);

	if (!registry)
		fail_msg("%s", error.message);
	return registry;
}

void library_init(shelf *library, const char *name, ormd_on_death on_death, size_t max_memory)
{
	const ormd_session_options options = {.name = name, .on_death = on_death, .max_memory = max_memory};

	memset(library, 0, sizeof *library);
	orm_arena_init(&library->arena, 0);
	library->registry = make_registry();
	library->author = orm_registry_find(library->registry, "Author");
	library->book = orm_registry_find(library->registry, "Book");
	library->chapter = orm_registry_find(library->registry, "Chapter");
	library->paragraph = orm_registry_find(library->registry, "Paragraph");
	library->tag = orm_registry_find(library->registry, "Tag");
	library->book_author = orm_mapper_relationship(library->book, "author");
	library->chapter_book = orm_mapper_relationship(library->chapter, "book");
	library->paragraph_chapter = orm_mapper_relationship(library->paragraph, "chapter_object");
	library->session = ormd_session_new(library->registry, NULL, &options, &library->error);
	assert_non_null(library->session);
	assert_int_equal(ormd_session_join(library->session, "ann", &library->ann, &library->error), ORM_OK);
	if (!name)
		return;
	assert_int_equal(ormd_session_join(library->session, "bob", &library->bob, &library->error), ORM_OK);
	assert_int_equal(ormd_session_join(library->session, "cid", &library->cid, &library->error), ORM_OK);
}

void library_fini(shelf *library)
{
	ormd_session_free(library->session);
	orm_registry_free(library->registry);
	orm_arena_fini(&library->arena);
}

uint64_t library_handle(shelf *library, uint32_t participant)
{
	return (uint64_t)participant << ORMD_HANDLE_SHIFT | ++library->counter[participant % 8];
}

/* ---- values ---- */

orm_value int_value(orm_type type, int64_t value)
{
	return (orm_value){.type = (uint8_t)type, .integer = value};
}

orm_value text_value(const char *value)
{
	return value ? (orm_value){.type = ORM_TEXT, .size = (uint32_t)strlen(value), .text = value}
		     : null_value(ORM_TEXT);
}

orm_value bytes_value(const void *value, size_t size)
{
	return (orm_value){.type = ORM_BYTES, .size = (uint32_t)size, .bytes = value};
}

orm_value number_value(double value)
{
	return (orm_value){.type = ORM_DOUBLE, .number = value};
}

orm_value null_value(orm_type type)
{
	return (orm_value){.type = (uint8_t)type, .null = true};
}

/* One row as a batch, in the arena. */
static orm_batch make_batch(shelf *library, const orm_mapper *mapper, size_t n, const cell_value *cells)
{
	uint16_t columns[ORM_MAX_COLUMNS];
	orm_batch_builder builder;
	orm_vector *vectors = orm_arena_calloc(&library->arena, n, sizeof *vectors);
	orm_batch batch;

	for (size_t i = 0; i < n; i++)
		columns[i] = cells[i].column;
	assert_true(orm_batch_builder_init(&builder, mapper, columns, n));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(cells[i].value.type, mapper->columns[cells[i].column].type);
		orm_vector_builder_put(&builder.vectors[i], &cells[i].value);
	}
	orm_batch_builder_end_row(&builder);
	assert_true(orm_batch_builder_view(&builder, vectors, &batch));
	for (size_t i = 0; i < n; i++) {
		const size_t width = orm_type_size((orm_type)vectors[i].type);

		vectors[i].cells = orm_arena_memdup(&library->arena, vectors[i].cells, width ? width : vectors[i].size);
		vectors[i].nulls = vectors[i].nulls ? orm_arena_memdup(&library->arena, vectors[i].nulls, 1) : NULL;
		vectors[i].ends =
			vectors[i].ends ? orm_arena_memdup(&library->arena, vectors[i].ends, sizeof(uint32_t)) : NULL;
	}
	orm_batch_builder_fini(&builder);
	return batch;
}

static const void *keep(shelf *library, const void *data, size_t size)
{
	return orm_arena_memdup(&library->arena, data, size);
}

/* ---- drafts ---- */

void draft_init(rows_draft *draft, shelf *library)
{
	memset(draft, 0, sizeof *draft);
	draft->library = library;
}

static const ormd_references *make_reference(shelf *library, const orm_relationship *relationship, uint64_t target)
{
	const ormd_references reference = {.relationship = relationship,
					   .targets = keep(library, &target, sizeof target)};

	return keep(library, &reference, sizeof reference);
}

void draft_add(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, size_t n, const cell_value *cells)
{
	assert_true(draft->n_adds < 32);
	draft->adds[draft->n_adds++] =
		(ormd_adds){.values = make_batch(draft->library, mapper, n, cells), .first_handle = handle};
}

void draft_add_to(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, size_t n, const cell_value *cells,
		  const orm_relationship *relationship, uint64_t target)
{
	draft_add(draft, mapper, handle, n, cells);
	draft->adds[draft->n_adds - 1].references = make_reference(draft->library, relationship, target);
	draft->adds[draft->n_adds - 1].n_references = 1;
}

void draft_update(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base, size_t n,
		  const cell_value *cells)
{
	assert_true(draft->n_updates < 32);
	draft->updates[draft->n_updates++] = (ormd_updates){.values = make_batch(draft->library, mapper, n, cells),
							    .handles = keep(draft->library, &handle, sizeof handle),
							    .base = base};
}

void draft_update_to(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base,
		     const orm_relationship *relationship, uint64_t target)
{
	draft_update(draft, mapper, handle, base, 0, NULL);
	draft->updates[draft->n_updates - 1].references = make_reference(draft->library, relationship, target);
	draft->updates[draft->n_updates - 1].n_references = 1;
}

void draft_delete(rows_draft *draft, const orm_mapper *mapper, uint64_t handle, uint64_t base)
{
	assert_true(draft->n_deletes < 32);
	draft->deletes[draft->n_deletes++] = (ormd_deletes){.mapper = mapper,
							    .handles = keep(draft->library, &handle, sizeof handle),
							    .n_handles = 1,
							    .base = base};
}

ormd_draft draft_view(const rows_draft *draft)
{
	return (ormd_draft){.adds = draft->adds,
			    .n_adds = draft->n_adds,
			    .updates = draft->updates,
			    .n_updates = draft->n_updates,
			    .deletes = draft->deletes,
			    .n_deletes = draft->n_deletes};
}

orm_status draft_publish(rows_draft *draft, uint32_t participant)
{
	shelf *library = draft->library;
	const ormd_draft view = draft_view(draft);

	memset(&library->error, 0, sizeof library->error);
	return ormd_session_publish(library->session, participant, ormd_session_revision(library->session), &view,
				    &library->arena, &library->published, &library->error);
}

static void expect_ok(shelf *library, orm_status status)
{
	if (status != ORM_OK)
		fail_msg("%s: %s", orm_status_name(status), library->error.message);
}

uint64_t add_row(shelf *library, uint32_t participant, const orm_mapper *mapper, size_t n, const cell_value *cells)
{
	const uint64_t handle = library_handle(library, participant);
	rows_draft draft;

	draft_init(&draft, library);
	draft_add(&draft, mapper, handle, n, cells);
	expect_ok(library, draft_publish(&draft, participant));
	return handle;
}

orm_status update_row(shelf *library, uint32_t participant, const orm_mapper *mapper, uint64_t handle, size_t n,
		      const cell_value *cells)
{
	rows_draft draft;

	draft_init(&draft, library);
	draft_update(&draft, mapper, handle, ormd_session_revision(library->session), n, cells);
	return draft_publish(&draft, participant);
}

orm_status delete_row(shelf *library, uint32_t participant, const orm_mapper *mapper, uint64_t handle)
{
	rows_draft draft;

	draft_init(&draft, library);
	draft_delete(&draft, mapper, handle, ormd_session_revision(library->session));
	return draft_publish(&draft, participant);
}

/* ---- the database's part ---- */

void settle_all(shelf *library, uint32_t participant)
{
	ormd_unit_settle_begin(library->session, participant);
	ormd_unit_settle(library->session, participant);
}

ormd_object *install_row(shelf *library, const orm_mapper *mapper, bool populate_existing, size_t n,
			 const cell_value *cells)
{
	ormd_install install = {.session = library->session, .populate_existing = populate_existing};
	cell_value all[ORM_MAX_COLUMNS];
	ormd_object *object = NULL;

	for (uint16_t i = 0; i < mapper->n_columns; i++)
		all[i] = (cell_value){i, null_value(mapper->columns[i].type)};
	for (size_t i = 0; i < n; i++)
		all[cells[i].column] = cells[i];

	const orm_batch batch = make_batch(library, mapper, mapper->n_columns, all);

	expect_ok(library, ormd_unit_install(&install, &batch, &object, &library->error));
	assert_non_null(object);
	return object;
}

/* ---- looking ---- */

const char *print_value(shelf *library, const orm_value *value)
{
	orm_buffer out;
	const char *printed;

	orm_buffer_init(&out);
	orm_value_print(value, 1000, &out);
	printed = orm_arena_strndup(&library->arena, out.data, out.size);
	orm_buffer_fini(&out);
	return printed;
}

static ormd_object *object_of(shelf *library, uint64_t handle)
{
	ormd_object *object = ormd_unit_by_handle(library->session, handle);

	if (!object)
		fail_msg("no object has the handle %llx", (unsigned long long)handle);
	return object;
}

const char *cell_of(shelf *library, uint64_t handle, uint16_t column)
{
	const ormd_object *object = object_of(library, handle);
	const ormd_layout *layout = ormd_object_layout(library->session, object);
	orm_value value;

	if (ormd_record_is_unset(layout, object->record, column))
		return "unset";
	ormd_record_value(layout, object->record, column, &value);
	return print_value(library, &value);
}

ormd_state object_state(shelf *library, uint64_t handle)
{
	const ormd_object *object = ormd_unit_by_handle(library->session, handle);

	return object ? (ormd_state)object->state : ORMD_STATE_NONE;
}

bool has_handle(const uint64_t *handles, size_t n, uint64_t handle)
{
	for (size_t i = 0; i < n; i++) {
		if (handles[i] == handle)
			return true;
	}
	return false;
}

static const char *print_row(shelf *library, const ormd_rows *rows, size_t row)
{
	orm_buffer out;
	const char *printed;

	orm_buffer_init(&out);
	for (size_t i = 0; i < rows->values.n_vectors; i++) {
		orm_vector_cursor cursor;
		orm_value value;

		orm_vector_cursor_init(&cursor, &rows->values.vectors[i]);
		for (size_t j = 0; j <= row; j++)
			orm_vector_cursor_next(&cursor, &value);
		orm_buffer_printf(&out, "%s%u=%s", i ? " " : "", (unsigned)rows->values.vectors[i].column,
				  print_value(library, &value));
	}
	printed = orm_arena_strndup(&library->arena, out.data ? out.data : "", out.size);
	orm_buffer_fini(&out);
	return printed;
}

const char *row_of(shelf *library, const ormd_rows *rows, size_t n_rows, uint64_t handle)
{
	const char *found = NULL;

	for (size_t i = 0; i < n_rows; i++) {
		assert_int_equal(rows[i].n_rows, rows[i].values.n_rows);
		for (size_t j = 0; j < rows[i].n_rows; j++) {
			if (rows[i].handles[j] != handle)
				continue;
			assert_null(found); /* once is enough */
			found = print_row(library, &rows[i], j);
		}
	}
	return found;
}

ormd_sync sync_of(shelf *library, uint32_t participant, uint64_t seen)
{
	ormd_sync sync;

	expect_ok(library,
		  ormd_session_sync(library->session, participant, seen, &library->arena, &sync, &library->error));
	return sync;
}

static void check_list(const ormd_change_list *list, bool pending)
{
	size_t n = 0;
	const ormd_change *previous = NULL;

	for (const ormd_change *change = list->first; change; change = change->next) {
		assert_ptr_equal(change->previous, previous);
		assert_true(!previous || previous->revision <= change->revision);
		assert_int_equal(change->pending, pending);
		assert_ptr_equal(change->object->change, change);
		previous = change;
		n++;
	}
	assert_ptr_equal(list->last, previous);
	assert_int_equal(list->len, n);
}

void check_consistency(shelf *library)
{
	ormd_session *session = library->session;

	check_list(&session->pending, true);
	check_list(&session->settled, false);
	for (uint16_t i = 0; i < session->registry->n_mappers; i++) {
		const orm_mapper *mapper = &session->registry->mappers[i];
		const ormd_mapper_unit *unit = &session->mappers[i];
		size_t counts[ORMD_STATE_GONE + 1] = {0};
		size_t cursor = 0;
		ormd_object *object;

		while ((object = ormd_unit_next_object(session, mapper, &cursor))) {
			orm_value key[ORM_MAX_COLUMNS];
			const ormd_object *found;

			assert_int_equal(object->flags, ORMD_FLAG_KEYED);
			assert_int_equal(object->mapper, i);
			assert_ptr_equal(ormd_unit_by_handle(session, object->handle), object);
			assert_true(object->state != ORMD_STATE_NONE && object->state != ORMD_STATE_GONE);
			for (uint16_t j = 0; j < mapper->n_key; j++)
				ormd_record_value(&unit->layout, object->record, mapper->key[j], &key[j]);
			found = ormd_unit_by_key(session, mapper, key);
			assert_true(found == object || object->state == ORMD_STATE_DELETED);
			if (ormd_object_pending(object))
				counts[object->state]++;
			else
				assert_int_equal(object->state, ORMD_STATE_PERSISTENT);
		}
		assert_int_equal(counts[ORMD_STATE_NEW], unit->n_new);
		assert_int_equal(counts[ORMD_STATE_PERSISTENT], unit->n_changed);
		assert_int_equal(counts[ORMD_STATE_DELETED], unit->n_deleted);
	}
}
