/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/error.h"
#include "sql/compile.h"
#include "sql/ddl.h"

#define N(array) (sizeof(array) / sizeof *(array))
#define ID                                                                                                             \
	{                                                                                                              \
		.name = "id", .type = ORM_INT64, .primary_key = true                                                   \
	}
#define REF(model, column) .references_model = (model), .references_column = (column)

static orm_registry *make(const orm_model_spec *specs, size_t n)
{
	orm_error error = {.code = ORM_OK};
	orm_registry *registry = orm_registry_new(specs, n, &error);

	if (!registry)
		fail_msg("%s", error.message);
	return registry;
}

/* ---- the statements as one text ----------------------------------------------------------------------------- */

static orm_status collect(const char *sql, void *context, orm_error *error)
{
	(void)error;
	orm_buffer_printf(context, "%s;\n", sql);
	return ORM_OK;
}

static void check_create(const ormd_dialect *dialect, const orm_registry *registry, const char *expected)
{
	orm_buffer script;

	orm_buffer_init(&script);
	assert_int_equal(ormd_ddl_create_all(dialect, registry, collect, &script, NULL), ORM_OK);
	assert_string_equal(script.data, expected);
	orm_buffer_fini(&script);
}

static void check_drop(const ormd_dialect *dialect, const orm_registry *registry, const char *expected)
{
	orm_buffer script;

	orm_buffer_init(&script);
	assert_int_equal(ormd_ddl_drop_all(dialect, registry, collect, &script, NULL), ORM_OK);
	assert_string_equal(script.data, expected);
	orm_buffer_fini(&script);
}

/* ---- the engine --------------------------------------------------------------------------------------------- */

static int open_database(void **state)
{
	sqlite3 *db;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK)
		return -1;
	*state = db;
	return sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
}

static int close_database(void **state)
{
	return sqlite3_close(*state);
}

static orm_status execute(const char *sql, void *context, orm_error *error)
{
	if (sqlite3_exec(context, sql, NULL, NULL, NULL) != SQLITE_OK)
		return orm_fail(error, ORM_EDATABASE, "%s: %s", sqlite3_errmsg(context), sql);
	return ORM_OK;
}

static void run(sqlite3 *db, const char *sql)
{
	orm_error error;

	if (execute(sql, db, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

/* It must fail with this in the message. */
static void refuse(sqlite3 *db, const char *sql, const char *why)
{
	orm_error error;

	if (execute(sql, db, &error) == ORM_OK)
		fail_msg("not refused: %s", sql);
	if (!strstr(error.message, why))
		fail_msg("%s", error.message);
}

static int64_t ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);

	const int64_t result = sqlite3_column_int64(statement, 0);

	sqlite3_finalize(statement);
	return result;
}

static void create(sqlite3 *db, const orm_registry *registry)
{
	orm_error error;

	if (ormd_ddl_create_all(&ormd_dialect_sqlite, registry, execute, db, &error) != ORM_OK)
		fail_msg("%s", error.message);
}

/* In a transaction, as the daemon does it. */
static void drop(sqlite3 *db, const orm_registry *registry)
{
	orm_error error;

	run(db, "BEGIN");
	if (ormd_ddl_drop_all(&ormd_dialect_sqlite, registry, execute, db, &error) != ORM_OK)
		fail_msg("%s", error.message);
	run(db, "COMMIT");
}

static void check_nothing_left(sqlite3 *db)
{
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema"), 0);
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

static orm_registry *shop(void)
{
	static const orm_column_spec users[] = {
		ID,
		{.name = "name", .type = ORM_TEXT, .max_length = 5, .index = true, .check = "name <> ''"},
		{.name = "email", .type = ORM_TEXT, .nullable = true, .unique = true},
		{.name = "active", .type = ORM_BOOL, .server_default = "1"},
		{.name = "photo", .type = ORM_BYTES, .nullable = true, .max_length = 2},
		{.name = "score", .type = ORM_DOUBLE, .nullable = true, .check = "score >= 0"},
		{.name = "day", .type = ORM_DATE, .server_default = ORM_DEFAULT_NOW},
		{.name = "clock", .type = ORM_TIME, .server_default = ORM_DEFAULT_NOW},
		{.name = "instant", .type = ORM_DATETIME, .server_default = ORM_DEFAULT_NOW},
	};
	static const orm_column_spec lines[] = {
		{.name = "user_id",
		 .type = ORM_INT64,
		 .primary_key = true,
		 .index = true,
		 REF("User", "id"),
		 .on_delete = ORM_CASCADE},
		{.name = "no", .type = ORM_INT32, .primary_key = true},
		{.name = "email", .type = ORM_TEXT, .nullable = true, REF("User", "email"), .on_delete = ORM_SET_NULL},
	};
	static const orm_column_spec notes[] = {
		{.name = "code", .type = ORM_TEXT, .primary_key = true, .unique = true, .index = true},
		{.name = "no",
		 .type = ORM_INT32,
		 .server_default = "1",
		 REF("Line", "no"),
		 .on_delete = ORM_SET_DEFAULT},
		{.name = "user_id", .type = ORM_INT64, .server_default = "1", REF("Line", "user_id")},
	};
	static const orm_model_spec specs[] = {
		{.name = "Note", .table = "notes", .columns = notes, .n_columns = N(notes)},
		{.name = "Line", .table = "lines", .columns = lines, .n_columns = N(lines)},
		{.name = "User", .table = "users", .columns = users, .n_columns = N(users)},
	};

	return make(specs, N(specs));
}

static void the_schema_of_sqlite(void **state)
{
	orm_registry *registry = shop();

	(void)state;
	check_create(&ormd_dialect_sqlite, registry,
		     "CREATE TABLE IF NOT EXISTS \"users\" (\n"
		     "\t\"id\" INTEGER PRIMARY KEY,\n"
		     "\t\"name\" VARCHAR(5) NOT NULL,\n"
		     "\t\"email\" TEXT,\n"
		     "\t\"active\" BOOLEAN NOT NULL DEFAULT (1),\n"
		     "\t\"photo\" BLOB,\n"
		     "\t\"score\" DOUBLE PRECISION,\n"
		     "\t\"day\" INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) / 86400),\n"
		     "\t\"clock\" INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) % 86400 * 1000000 + "
		     "CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000),\n"
		     "\t\"instant\" INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000 + "
		     "CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000),\n"
		     "\tCONSTRAINT \"uq_users_email\" UNIQUE (\"email\"),\n"
		     "\tCONSTRAINT \"ck_users_name\" CHECK ((name <> '') AND length(\"name\") <= 5),\n"
		     "\tCONSTRAINT \"ck_users_active\" CHECK (\"active\" IN (0, 1)),\n"
		     "\tCONSTRAINT \"ck_users_photo\" CHECK (length(\"photo\") <= 2),\n"
		     "\tCONSTRAINT \"ck_users_score\" CHECK (score >= 0)\n"
		     ");\n"
		     "CREATE INDEX IF NOT EXISTS \"ix_users_name\" ON \"users\" (\"name\");\n"
		     "CREATE TABLE IF NOT EXISTS \"lines\" (\n"
		     "\t\"user_id\" BIGINT NOT NULL,\n"
		     "\t\"no\" INTEGER NOT NULL,\n"
		     "\t\"email\" TEXT,\n"
		     "\tCONSTRAINT \"pk_lines\" PRIMARY KEY (\"user_id\", \"no\"),\n"
		     "\tCONSTRAINT \"fk_lines_user_id_users\" FOREIGN KEY (\"user_id\") REFERENCES \"users\" (\"id\") "
		     "ON DELETE CASCADE,\n"
		     "\tCONSTRAINT \"fk_lines_email_users\" FOREIGN KEY (\"email\") REFERENCES \"users\" (\"email\") "
		     "ON DELETE SET NULL\n"
		     ");\n"
		     "CREATE INDEX IF NOT EXISTS \"ix_lines_user_id\" ON \"lines\" (\"user_id\");\n"
		     "CREATE TABLE IF NOT EXISTS \"notes\" (\n"
		     "\t\"code\" TEXT NOT NULL,\n"
		     "\t\"no\" INTEGER NOT NULL DEFAULT (1),\n"
		     "\t\"user_id\" BIGINT NOT NULL DEFAULT (1),\n"
		     "\tCONSTRAINT \"pk_notes\" PRIMARY KEY (\"code\"),\n"
		     "\tCONSTRAINT \"fk_notes_user_id_no_lines\" FOREIGN KEY (\"user_id\", \"no\") REFERENCES "
		     "\"lines\" (\"user_id\", \"no\") "
		     "ON DELETE SET DEFAULT\n"
		     ");\n");
	check_drop(
		&ormd_dialect_sqlite, registry,
		"DROP TABLE IF EXISTS \"notes\";\nDROP TABLE IF EXISTS \"lines\";\nDROP TABLE IF EXISTS \"users\";\n");
	orm_registry_free(registry);
}

/* How each engine keeps them, and how they are read. */
static void decimals_uuids_and_json(void **state)
{
	static const orm_column_spec columns[] = {
		{.name = "id", .type = ORM_UUID, .primary_key = true},
		{.name = "price", .type = ORM_DECIMAL, .precision = 10, .scale = 2, .server_default = "1.5", .check = "price > 0"},
		{.name = "rate", .type = ORM_DECIMAL, .nullable = true},
		{.name = "notes", .type = ORM_JSON, .nullable = true},
	};
	static const orm_model_spec spec = {.name = "Item", .table = "items", .columns = columns, .n_columns = N(columns)};
	static const ormd_order by_price = {.column = 1};
	orm_registry *registry = make(&spec, 1);
	const ormd_select select = {
		.mapper = &registry->mappers[0], .order = &by_price, .n_order = 1, .limit = ORMD_NO_LIMIT};
	orm_buffer sql;

	(void)state;
	check_create(&ormd_dialect_sqlite, registry,
		     "CREATE TABLE IF NOT EXISTS \"items\" (\n"
		     "\t\"id\" BLOB NOT NULL,\n"
		     "\t\"price\" INTEGER NOT NULL DEFAULT (150),\n"
		     "\t\"rate\" INTEGER,\n"
		     "\t\"notes\" TEXT,\n"
		     "\tCONSTRAINT \"pk_items\" PRIMARY KEY (\"id\"),\n"
		     "\tCONSTRAINT \"ck_items_id\" CHECK (length(\"id\") = 16),\n"
		     "\tCONSTRAINT \"ck_items_price\" CHECK ((price > 0) AND typeof(\"price\") IN ('integer', 'null')),\n"
		     "\tCONSTRAINT \"ck_items_rate\" CHECK (typeof(\"rate\") IN ('integer', 'null')),\n"
		     "\tCONSTRAINT \"ck_items_notes\" CHECK (json_valid(\"notes\"))\n"
		     ");\n");
	check_create(&ormd_dialect_postgresql, registry,
		     "CREATE TABLE IF NOT EXISTS \"items\" (\n"
		     "\t\"id\" UUID NOT NULL,\n"
		     "\t\"price\" NUMERIC(10, 2) NOT NULL DEFAULT (1.5),\n"
		     "\t\"rate\" NUMERIC(18, 4),\n"
		     "\t\"notes\" JSON,\n"
		     "\tCONSTRAINT \"pk_items\" PRIMARY KEY (\"id\"),\n"
		     "\tCONSTRAINT \"ck_items_price\" CHECK (price > 0)\n"
		     ");\n");
	orm_buffer_init(&sql);
	ormd_sql_select(&ormd_dialect_sqlite, &select, &sql);
	assert_string_equal(sql.data, "SELECT \"id\", ormd_decimal(\"price\", 2), ormd_decimal(\"rate\", 4), \"notes\" "
				      "FROM \"items\" ORDER BY \"price\"");
	orm_buffer_reset(&sql);
	ormd_sql_select(&ormd_dialect_postgresql, &select, &sql);
	assert_string_equal(sql.data, "SELECT \"id\", \"price\", \"rate\", \"notes\" FROM \"items\" ORDER BY \"price\"");
	orm_buffer_fini(&sql);
	orm_registry_free(registry);
}

static void large_decimals_need_an_engine_for_them(void **state)
{
	static const orm_column_spec columns[] = {ID, {.name = "price", .type = ORM_DECIMAL, .precision = 19, .scale = 2}};
	static const orm_model_spec spec = {.name = "Item", .table = "items", .columns = columns, .n_columns = N(columns)};
	orm_registry *registry = make(&spec, 1);
	orm_error error;

	(void)state;
	assert_int_equal(ormd_dialect_check(&ormd_dialect_postgresql, registry, &error), ORM_OK);
	assert_int_equal(ormd_dialect_check(&ormd_dialect_mysql, registry, &error), ORM_OK);
	assert_int_equal(ormd_dialect_check(&ormd_dialect_sqlite, registry, &error), ORM_EUNSUPPORTED);
	assert_string_equal(error.model, "Item");
	assert_string_equal(error.column, "price");
	assert_non_null(strstr(error.message, "19 digits, but sqlite keeps at most 18"));
	orm_registry_free(registry);
}

static void the_engine_keeps_what_the_models_say(void **state)
{
	sqlite3 *db = *state;
	orm_registry *registry = shop();

	create(db, registry);
	create(db, registry); /* what is there is left alone */
	run(db,
	    "INSERT INTO users (name, email) VALUES ('Alice', 'a@x'), ('h\xC3\xA9h\xC3\xA9h', NULL), ('Bob', NULL)");
	assert_int_equal(ask(db, "SELECT id FROM users WHERE name = 'Bob'"), 3);
	assert_int_equal(ask(db, "SELECT id FROM users WHERE rowid = 3"), 3); /* the key is the rowid itself */
	refuse(db, "INSERT INTO users (name) VALUES ('Robert')", "ck_users_name");
	refuse(db, "INSERT INTO users (name) VALUES ('')", "ck_users_name");
	refuse(db, "INSERT INTO users (name) VALUES (NULL)", "NOT NULL");
	refuse(db, "INSERT INTO users (name, active) VALUES ('Bob', 2)", "ck_users_active");
	refuse(db, "INSERT INTO users (name, photo) VALUES ('Bob', x'010203')", "ck_users_photo");
	refuse(db, "INSERT INTO users (name, score) VALUES ('Bob', -0.5)", "ck_users_score");
	refuse(db, "INSERT INTO users (name, email) VALUES ('Bob', 'a@x')", "UNIQUE");

	/* The defaults are the current moment, as ormd stores it: the three agree with each other and with the engine.
	 */
	assert_int_equal(ask(db, "SELECT day = instant / 86400000000 AND clock = instant % 86400000000 FROM users"), 1);
	assert_int_equal(ask(db, "SELECT abs(instant / 1000000 - strftime('%s', 'now')) < 3600 FROM users"), 1);
	assert_int_equal(ask(db, "SELECT count(*) FROM users WHERE typeof(day) || typeof(clock) || typeof(instant) = "
				 "'integerintegerinteger'"),
			 3);

	run(db, "INSERT INTO lines VALUES (1, 1, 'a@x'), (3, 1, 'a@x'), (3, 2, NULL)");
	refuse(db, "INSERT INTO lines VALUES (4, 1, NULL)", "FOREIGN KEY");
	refuse(db, "INSERT INTO lines VALUES (3, 2, NULL)", "UNIQUE");
	run(db, "INSERT INTO notes VALUES ('n', 2, 3)");
	run(db, "DELETE FROM lines WHERE user_id = 3 AND no = 2");
	assert_int_equal(ask(db, "SELECT user_id * 10 + no FROM notes"), 11);
	run(db, "DELETE FROM notes");
	run(db, "DELETE FROM users WHERE name = 'Alice'");
	assert_int_equal(ask(db, "SELECT count(*) FROM lines"), 1);
	assert_int_equal(ask(db, "SELECT email IS NULL FROM lines"), 1);

	drop(db, registry);
	check_nothing_left(db);
	drop(db, registry); /* nothing there: nothing to do */
	orm_registry_free(registry);
}

static orm_registry *cycle(orm_on_delete on_delete)
{
	const orm_column_spec chickens[] = {
		ID, {.name = "egg_id", .type = ORM_INT64, .nullable = true, REF("Egg", "id"), .on_delete = on_delete}};
	const orm_column_spec eggs[] = {
		ID,
		{.name = "chicken_id",
		 .type = ORM_INT64,
		 .nullable = true,
		 REF("Chicken", "id"),
		 .on_delete = on_delete},
		{.name = "twin_id", .type = ORM_INT64, .nullable = true, REF("Egg", "id"), .on_delete = on_delete}};
	const orm_column_spec boxes[] = {
		ID, {.name = "egg_id", .type = ORM_INT64, .nullable = true, REF("Egg", "id"), .on_delete = on_delete}};
	const orm_model_spec specs[] = {{.name = "Box", .table = "boxes", .columns = boxes, .n_columns = 2},
					{.name = "Chicken", .table = "chickens", .columns = chickens, .n_columns = 2},
					{.name = "Egg", .table = "eggs", .columns = eggs, .n_columns = 3}};

	return make(specs, 3);
}

static void cycles_are_created_and_dropped_with_rows_in_them(void **state)
{
	static const orm_on_delete rules[] = {ORM_NO_ACTION, ORM_RESTRICT, ORM_CASCADE, ORM_SET_NULL};
	sqlite3 *db = *state;

	for (size_t i = 0; i < N(rules); i++) {
		orm_registry *registry = cycle(rules[i]);

		create(db, registry);
		run(db, "INSERT INTO chickens (id) VALUES (1), (2);"
			"INSERT INTO eggs (id, chicken_id, twin_id) VALUES (1, 2, NULL), (2, 1, 1);"
			"UPDATE eggs SET twin_id = 2 WHERE id = 1;"
			"UPDATE chickens SET egg_id = id;"
			"INSERT INTO boxes (egg_id) VALUES (1), (2)");
		refuse(db, "INSERT INTO chickens (egg_id) VALUES (3)", "FOREIGN KEY");
		drop(db, registry);
		check_nothing_left(db);
		assert_int_equal(ask(db, "PRAGMA defer_foreign_keys"), 0); /* it was for that transaction */
		orm_registry_free(registry);
	}
}

/* An engine that wants a table to be there before a foreign key leads to it. */
static void engines_without_forward_references(void **state)
{
	ormd_dialect strict = ormd_dialect_sqlite;
	orm_registry *registry = cycle(ORM_CASCADE);

	(void)state;
	strict.alter_add_foreign_key = true;
	strict.defer_foreign_keys = NULL;
	strict.type_check = NULL;
	strict.quote = '`';
	check_create(&strict, registry,
		     "CREATE TABLE IF NOT EXISTS `chickens` (\n\t`id` INTEGER PRIMARY KEY,\n\t`egg_id` BIGINT\n);\n"
		     "CREATE TABLE IF NOT EXISTS `eggs` (\n\t`id` INTEGER PRIMARY KEY,\n\t`chicken_id` "
		     "BIGINT,\n\t`twin_id` BIGINT,\n"
		     "\tCONSTRAINT `fk_eggs_twin_id_eggs` FOREIGN KEY (`twin_id`) REFERENCES `eggs` (`id`) ON DELETE "
		     "CASCADE\n);\n"
		     "CREATE TABLE IF NOT EXISTS `boxes` (\n\t`id` INTEGER PRIMARY KEY,\n\t`egg_id` BIGINT,\n"
		     "\tCONSTRAINT `fk_boxes_egg_id_eggs` FOREIGN KEY (`egg_id`) REFERENCES `eggs` (`id`) ON DELETE "
		     "CASCADE\n);\n"
		     "ALTER TABLE IF EXISTS `chickens` DROP CONSTRAINT IF EXISTS `fk_chickens_egg_id_eggs`;\n"
		     "ALTER TABLE `chickens` ADD CONSTRAINT `fk_chickens_egg_id_eggs` FOREIGN KEY (`egg_id`) "
		     "REFERENCES `eggs` (`id`) ON DELETE "
		     "CASCADE;\n"
		     "ALTER TABLE IF EXISTS `eggs` DROP CONSTRAINT IF EXISTS `fk_eggs_chicken_id_chickens`;\n"
		     "ALTER TABLE `eggs` ADD CONSTRAINT `fk_eggs_chicken_id_chickens` FOREIGN KEY (`chicken_id`) "
		     "REFERENCES `chickens` (`id`) ON "
		     "DELETE CASCADE;\n");
	check_drop(&strict, registry,
		   "ALTER TABLE IF EXISTS `eggs` DROP CONSTRAINT IF EXISTS `fk_eggs_chicken_id_chickens`;\n"
		   "ALTER TABLE IF EXISTS `chickens` DROP CONSTRAINT IF EXISTS `fk_chickens_egg_id_eggs`;\n"
		   "DROP TABLE IF EXISTS `boxes`;\nDROP TABLE IF EXISTS `eggs`;\nDROP TABLE IF EXISTS `chickens`;\n");
	orm_registry_free(registry);
}

static void names_that_mean_harm_are_names(void **state)
{
	sqlite3 *db = *state;
	const orm_column_spec evils[] = {
		{.name = "id\"); DROP TABLE victims; --", .type = ORM_INT64, .primary_key = true},
		{.name = "a'b`c[d]e",
		 .type = ORM_TEXT,
		 .max_length = 3,
		 .index = true,
		 .unique = false,
		 .nullable = true},
		{.name = "select", .type = ORM_BOOL, .unique = true, .nullable = true}};
	const orm_column_spec others[] = {
		{.name = "x\"y", .type = ORM_INT64, .primary_key = true, REF("Evil", "id\"); DROP TABLE victims; --")}};
	const orm_model_spec specs[] = {
		{.name = "Evil", .table = "order\"; DROP TABLE victims; --", .columns = evils, .n_columns = 3},
		{.name = "Other", .table = "table", .columns = others, .n_columns = 1}};
	orm_registry *registry = make(specs, 2);
	orm_buffer sql;

	run(db, "CREATE TABLE victims (id INTEGER)");
	create(db, registry);
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 3);
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'order\"; DROP "
				 "TABLE victims; --'"),
			 1);

	orm_buffer_init(&sql);
	ormd_sql_insert(&ormd_dialect_sqlite, &registry->mappers[0], NULL, 0, NULL, 0, &sql);
	run(db, sql.data);
	orm_buffer_reset(&sql);
	ormd_sql_max_key(&ormd_dialect_sqlite, &registry->mappers[0], &sql);
	assert_int_equal(ask(db, sql.data), 1);
	orm_buffer_fini(&sql);

	drop(db, registry);
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema"), 1);
	run(db, "DROP TABLE victims");
	orm_registry_free(registry);
}

static void names_are_short_and_not_mistaken_for_each_other(void **state)
{
	sqlite3 *db = *state;
	const char *long_name = "a_name_of_sixty_three_bytes_which_is_the_most_that_is_allowed_x";
	const char *as_long = "a_name_of_sixty_three_bytes_which_is_the_most_that_is_allowed_y";
	const orm_column_spec orders[] = {ID, {.name = "line_no", .type = ORM_INT64, .index = true}};
	const orm_column_spec order_lines[] = {ID, {.name = "no", .type = ORM_INT64, .index = true}};
	const orm_column_spec longs[] = {ID,
					 {.name = long_name, .type = ORM_INT64, .index = true},
					 {.name = as_long, .type = ORM_INT64, .index = true}};
	const orm_model_spec specs[] = {
		{.name = "Order", .table = "order", .columns = orders, .n_columns = 2},
		{.name = "Order_line", .table = "order_line", .columns = order_lines, .n_columns = 2},
		{.name = "Long", .table = long_name, .columns = longs, .n_columns = 3}};
	orm_registry *registry = make(specs, 3);

	create(db, registry);
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'index'"), 4);
	assert_int_equal(ask(db, "SELECT max(length(CAST(name AS BLOB))) FROM sqlite_schema"), ORM_MAX_NAME);
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE "
				 "'ix_order_line_no_________'"),
			 2);
	create(db, registry); /* the same names again */
	assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'index'"), 4);
	drop(db, registry);
	check_nothing_left(db);
	orm_registry_free(registry);
}

static void ormds_own_table(void **state)
{
	sqlite3 *db = *state;
	orm_error error;
	orm_buffer sql;
	const uint16_t columns[] = {ORMD_COMMIT_CLIENT_ID, ORMD_COMMIT_NO, ORMD_COMMIT_FINGERPRINT};

	for (int i = 0; i < 2; i++) {
		if (ormd_ddl_create_system(&ormd_dialect_sqlite, execute, db, &error) != ORM_OK)
			fail_msg("%s", error.message);
	}
	orm_buffer_init(&sql);
	ormd_sql_insert(&ormd_dialect_sqlite, &ormd_commit_mapper, columns, 3, NULL, 0, &sql);
	assert_string_equal(
		sql.data,
		"INSERT INTO \"ormd_commit\" (\"client_id\", \"commit_no\", \"fingerprint\") VALUES (?, ?, ?)");
	orm_buffer_fini(&sql);
	for (uint16_t i = 0; i < ormd_commit_mapper.n_columns; i++)
		assert_int_equal(ormd_commit_mapper.columns[i].number, i);
	run(db, "INSERT INTO ormd_commit (client_id, commit_no, fingerprint) VALUES (x'01', 1, 7)");
	refuse(db, "INSERT INTO ormd_commit (client_id, commit_no, fingerprint) VALUES (x'01', 1, 8)", "UNIQUE");
	assert_int_equal(ask(db, "SELECT abs(at / 1000000 - strftime('%s', 'now')) < 3600 FROM ormd_commit"), 1);
	run(db, "DROP TABLE ormd_commit");
}

static orm_status stop_at_second(const char *sql, void *context, orm_error *error)
{
	(void)sql;
	if (++*(int *)context == 2)
		return orm_fail(error, ORM_EDATABASE, "enough");
	return ORM_OK;
}

static void a_failure_stops(void **state)
{
	orm_registry *registry = shop();
	orm_error error;
	int calls = 0;

	(void)state;
	assert_int_equal(ormd_ddl_create_all(&ormd_dialect_sqlite, registry, stop_at_second, &calls, &error),
			 ORM_EDATABASE);
	assert_string_equal(error.message, "enough");
	assert_int_equal(calls, 2);
	calls = 0;
	assert_int_equal(ormd_ddl_drop_all(&ormd_dialect_sqlite, registry, stop_at_second, &calls, &error),
			 ORM_EDATABASE);
	assert_int_equal(calls, 2);
	orm_registry_free(registry);
}

/* ---- what the compiler writes, on the engine ------------------------------------------------------------------ */

static void prepare(sqlite3 *db, const char *sql, size_t n_parameters)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %.200s", sqlite3_errmsg(db), sql);
	assert_int_equal(sqlite3_bind_parameter_count(statement), n_parameters);
	sqlite3_finalize(statement);
}

/* Each kind of result of this filter, with and without bounds. */
static void check_prepares(sqlite3 *db, const ormd_select *where)
{
	ormd_select select = *where;
	orm_buffer sql;
	orm_arena arena;
	orm_error error;

	orm_buffer_init(&sql);
	orm_arena_init(&arena, 0);
	if (ormd_select_check(&select, &error) != ORM_OK)
		fail_msg("%s", error.message);
	for (int kind = 0; kind < 6; kind++) {
		size_t n = 0;

		select.result = (ormd_result)(kind / 2);
		select.limit = kind % 2 ? 1 : ORMD_NO_LIMIT;
		select.offset = kind % 2 ? 1 : 0;
		orm_buffer_reset(&sql);
		ormd_sql_select(&ormd_dialect_sqlite, &select, &sql);
		assert_non_null(ormd_select_parameters(&select, &arena, &n));
		prepare(db, sql.data, n);
	}
	orm_arena_fini(&arena);
	orm_buffer_fini(&sql);
}

static void the_engine_takes_the_largest_statements(void **state)
{
	static orm_value values[ORMD_MAX_VALUES];
	static ormd_term terms[ORMD_MAX_TERMS];
	const uint16_t key[] = {0, 1};
	const uint16_t id[] = {0};
	sqlite3 *db = *state;
	orm_registry *registry = shop();
	const orm_mapper *line = orm_registry_find(registry, "Line");
	ormd_select select = {.mapper = line, .where = terms};
	orm_buffer sql;

	create(db, registry);
	for (size_t i = 0; i < ORMD_MAX_VALUES; i++)
		values[i] = (orm_value){.type = ORM_INT64, .integer = (int64_t)i};

	/* as many conditions as there may be, side by side */
	for (size_t i = 0; i < ORMD_MAX_TERMS; i++)
		terms[i] = (ormd_term){.op = ORMD_NE, .column = 0, .values = &values[i], .n_values = 1};
	select.n_where = ORMD_MAX_TERMS;
	check_prepares(db, &select);

	/* a long chain of ORs, built from the left and from the right */
	for (size_t i = 2; i < ORMD_MAX_TERMS; i += 2)
		terms[i] = (ormd_term){.op = ORMD_OR};
	select.n_where = ORMD_MAX_TERMS - 1;
	check_prepares(db, &select);
	for (size_t i = 1; i < ORMD_MAX_TERMS; i++)
		terms[i] = i < ORMD_MAX_TERMS / 2 ? terms[0] : (ormd_term){.op = ORMD_OR};
	check_prepares(db, &select);

	/* inside each other, with ANDs in ORs to the right, and with NOTs, and beside as many others as there may be */
	for (size_t i = 0; i < ORMD_MAX_TERMS; i++)
		terms[i] = (ormd_term){.op = ORMD_IN, .column = 0, .values = values, .n_values = 2};
	for (size_t i = 0; i < ORMD_MAX_NESTING; i++)
		terms[ORMD_MAX_NESTING + 1 + i] = (ormd_term){.op = i % 2 ? ORMD_OR : ORMD_AND};
	select.n_where = ORMD_MAX_TERMS;
	check_prepares(db, &select);
	for (size_t i = 0; i < ORMD_MAX_NESTING; i++)
		terms[ORMD_MAX_TERMS - 1 - i] = (ormd_term){.op = ORMD_NOT};
	check_prepares(db, &select);

	/* lists */
	terms[0] = (ormd_term){.op = ORMD_IN, .column = 0, .values = values, .n_values = ORMD_MAX_VALUES / 2 + 1};
	terms[1] = (ormd_term){.op = ORMD_IN, .column = 0, .values = values, .n_values = ORMD_MAX_VALUES / 2 - 1};
	select.n_where = 2;
	check_prepares(db, &select);

	/* rows by key: both kinds */
	orm_buffer_init(&sql);
	ormd_sql_select_by(&ormd_dialect_sqlite, line, key, 2, ORMD_MAX_COMPOSITE_ROWS, true, &sql);
	prepare(db, sql.data, 2 * ORMD_MAX_COMPOSITE_ROWS);
	orm_buffer_reset(&sql);
	ormd_sql_select_by(&ormd_dialect_sqlite, line, id, 1, 32766, true, &sql);
	prepare(db, sql.data, 32766);
	orm_buffer_fini(&sql);
	drop(db, registry);
	orm_registry_free(registry);
}

static void rows_by_composite_key_come_from_the_index(void **state)
{
	sqlite3 *db = *state;
	orm_registry *registry = shop();
	const uint16_t key[] = {0, 1};
	orm_buffer sql;

	create(db, registry);
	orm_buffer_init(&sql);
	orm_buffer_puts(&sql, "EXPLAIN QUERY PLAN ");
	ormd_sql_select_by(&ormd_dialect_sqlite, orm_registry_find(registry, "Line"), key, 2, 16, false, &sql);

	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &statement, NULL), SQLITE_OK);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		const char *detail = (const char *)sqlite3_column_text(statement, 3);

		if (strstr(detail, "SCAN"))
			fail_msg("%s", detail);
	}
	sqlite3_finalize(statement);
	orm_buffer_fini(&sql);
	drop(db, registry);
	orm_registry_free(registry);
}

/* One text parameter, one number back. */
static int64_t count_like(sqlite3 *db, const orm_mapper *mapper, const char *pattern)
{
	const orm_value value = {.type = ORM_TEXT, .text = pattern, .size = (uint32_t)strlen(pattern)};
	const ormd_term term = {.op = ORMD_LIKE, .column = 2, .values = &value, .n_values = 1};
	const ormd_select select = {
		.mapper = mapper, .result = ORMD_COUNT, .where = &term, .n_where = 1, .limit = ORMD_NO_LIMIT};
	sqlite3_stmt *statement;
	orm_buffer sql;

	orm_buffer_init(&sql);
	ormd_sql_select(&ormd_dialect_sqlite, &select, &sql);
	assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &statement, NULL), SQLITE_OK);
	orm_buffer_fini(&sql);
	sqlite3_bind_text(statement, 1, pattern, -1, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);

	const int64_t n = sqlite3_column_int64(statement, 0);

	sqlite3_finalize(statement);
	return n;
}

static int64_t ask_select(sqlite3 *db, const ormd_select *select)
{
	sqlite3_stmt *statement;
	orm_buffer sql;
	orm_arena arena;
	size_t n = 0;

	orm_buffer_init(&sql);
	orm_arena_init(&arena, 0);
	ormd_sql_select(&ormd_dialect_sqlite, select, &sql);
	assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &statement, NULL), SQLITE_OK);

	const orm_value *parameters = ormd_select_parameters(select, &arena, &n);

	assert_non_null(parameters);
	for (size_t i = 0; i < n; i++)
		sqlite3_bind_int64(statement, (int)i + 1, parameters[i].integer);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);

	const int64_t result = sqlite3_column_int64(statement, 0);

	assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
	sqlite3_finalize(statement);
	orm_arena_fini(&arena);
	orm_buffer_fini(&sql);
	return result;
}

static void counts_and_existence(void **state)
{
	sqlite3 *db = *state;
	orm_registry *registry = shop();
	const orm_value two = {.type = ORM_INT64, .integer = 2};
	const ormd_term from_two = {.op = ORMD_GE, .column = 0, .values = &two, .n_values = 1};
	ormd_select select = {.mapper = orm_registry_find(registry, "User"), .where = &from_two, .n_where = 1};
	const struct {
		uint64_t limit;
		uint64_t offset;
		int64_t count;
	} cases[] = {{ORMD_NO_LIMIT, 0, 3}, {2, 0, 2}, {10, 0, 3}, {0, 0, 0},
		     {ORMD_NO_LIMIT, 1, 2}, {1, 1, 1}, {1, 3, 0},  {ORMD_NO_LIMIT, 9, 0}};

	create(db, registry);
	run(db, "INSERT INTO users (name) VALUES ('a'), ('b'), ('c'), ('d')");
	for (size_t i = 0; i < N(cases); i++) {
		select.limit = cases[i].limit;
		select.offset = cases[i].offset;
		select.result = ORMD_COUNT;
		assert_int_equal(ask_select(db, &select), cases[i].count);
		select.result = ORMD_EXISTS;
		assert_int_equal(ask_select(db, &select), cases[i].count > 0);
	}
	drop(db, registry);
	orm_registry_free(registry);
}

static void like_as_documented(void **state)
{
	sqlite3 *db = *state;
	orm_registry *registry = shop();
	const orm_mapper *user = orm_registry_find(registry, "User");

	create(db, registry);
	run(db, "INSERT INTO users (name, email) VALUES ('a', 'a%b'), ('b', 'axb'), ('c', 'AxxB'), ('d', 'a\\b'), "
		"('e', NULL)");
	assert_int_equal(count_like(db, user, "a%b"), 4);
	assert_int_equal(count_like(db, user, "a_b"), 3);
	assert_int_equal(count_like(db, user, "a\\%b"), 1);
	assert_int_equal(count_like(db, user, "a\\\\b"), 1);
	assert_int_equal(count_like(db, user, "%"), 4);
	drop(db, registry);
	orm_registry_free(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_schema_of_sqlite),
		cmocka_unit_test(decimals_uuids_and_json),
		cmocka_unit_test(large_decimals_need_an_engine_for_them),
		cmocka_unit_test_setup_teardown(the_engine_keeps_what_the_models_say, open_database, close_database),
		cmocka_unit_test_setup_teardown(cycles_are_created_and_dropped_with_rows_in_them, open_database,
						close_database),
		cmocka_unit_test(engines_without_forward_references),
		cmocka_unit_test_setup_teardown(names_that_mean_harm_are_names, open_database, close_database),
		cmocka_unit_test_setup_teardown(names_are_short_and_not_mistaken_for_each_other, open_database,
						close_database),
		cmocka_unit_test_setup_teardown(ormds_own_table, open_database, close_database),
		cmocka_unit_test(a_failure_stops),
		cmocka_unit_test_setup_teardown(the_engine_takes_the_largest_statements, open_database, close_database),
		cmocka_unit_test_setup_teardown(rows_by_composite_key_come_from_the_index, open_database,
						close_database),
		cmocka_unit_test_setup_teardown(like_as_documented, open_database, close_database),
		cmocka_unit_test_setup_teardown(counts_and_existence, open_database, close_database),
	};

	return cmocka_run_group_tests_name("ddl", tests, NULL, NULL);
}
