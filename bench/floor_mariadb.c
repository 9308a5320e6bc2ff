/* SPDX-License-Identifier: MIT */
/* The barest ways to do the work with libmariadb: prepared statements in binary, arrays of parameters, many rows of VALUES. */
#include "bench.h"

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mariadb.h"

#define N_VALUES 1000 /* rows of one INSERT .. VALUES: 5,000 of at most 65,535 parameters */
#define N_ARRAY  10000 /* rows of one execution of a statement with arrays */
#define N_COLUMNS 5
#define TEXT_SIZE 64 /* longer than any of ours */

typedef struct my_floor {
	bench_floor base;
	MYSQL      *db;
	MYSQL_STMT *insert, *insert_many, *update, *select, *get, *parents, *children;
} my_floor;

static support_mariadb server;
static unsigned n_databases;

static my_floor *of(bench_floor *floor)
{
	return (my_floor *)(void *)floor;
}

static int failed(MYSQL *db)
{
	fprintf(stderr, "bench: libmariadb: %s\n", mysql_error(db));
	return -1;
}

static int failed_statement(MYSQL_STMT *statement)
{
	fprintf(stderr, "bench: libmariadb: %s\n", mysql_stmt_error(statement));
	return -1;
}

static int run(my_floor *my, const char *sql)
{
	return mysql_query(my->db, sql) == 0 ? 0 : failed(my->db);
}

/* ---- the server and its databases ---- */

static int start(const bench_options *options)
{
	static const char *const settings[] = {"--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1", "--innodb-buffer-pool-size=256M",
	                                       "--innodb-log-file-size=256M", NULL};
	(void)options;
	support_mariadb_make(&server);
	server.options = settings;
	support_mariadb_launch(&server, NULL);
	support_mariadb_await(&server);
	return 0;
}

static void stop(void)
{
	support_mariadb_remove(&server);
}

static const char *server_socket(void)
{
	static char path[SUPPORT_PATH_SIZE];
	return support_join(path, server.directory, "socket");
}

static MYSQL *connect_to(const char *database, const char *socket)
{
	MYSQL *db = mysql_init(NULL);
	if (!db || mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4") != 0 ||
	    !mysql_real_connect(db, NULL, "root", "", database, 0, socket, 0)) {
		failed(db);
		mysql_close(db);
		return NULL;
	}
	return db;
}

static int make_database(const bench_options *options, const char *name, char url[BENCH_URL_SIZE])
{
	char   sql[80], place[SUPPORT_PATH_SIZE];
	MYSQL *db = connect_to(NULL, server_socket());
	(void)options, (void)name;
	snprintf(sql, sizeof sql, "CREATE DATABASE bench%u", ++n_databases);
	int broken = !db || (mysql_query(db, sql) != 0 && failed(db));
	mysql_close(db);
	snprintf(sql, sizeof sql, "bench%u", n_databases);
	support_mariadb_url(&server, sql, place);
	snprintf(url, BENCH_URL_SIZE, "%s", place);
	return broken;
}

static void url_by_socket(const char *url, const char *socket, char other[BENCH_URL_SIZE])
{
	snprintf(other, BENCH_URL_SIZE, "%.*s%s", (int)(strstr(url, "socket=") + 7 - url), url, socket);
}

#define OPTIONS " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin"

static int make_tables(my_floor *my)
{
	return run(my, "CREATE TABLE parents (id BIGINT AUTO_INCREMENT PRIMARY KEY, name LONGTEXT NOT NULL)" OPTIONS) < 0 ||
	       run(my, "CREATE TABLE items (id BIGINT AUTO_INCREMENT PRIMARY KEY, quantity BIGINT NOT NULL, name LONGTEXT NOT NULL,"
	               " price DOUBLE NOT NULL, note LONGTEXT, parent_id BIGINT, KEY ix_items_parent_id (parent_id),"
	               " FOREIGN KEY (parent_id) REFERENCES parents (id))" OPTIONS) < 0 ? -1 : 0;
}

static void close_statements(my_floor *my)
{
	MYSQL_STMT **statements[] = {&my->insert, &my->insert_many, &my->update, &my->select, &my->get, &my->parents, &my->children};
	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
		if (*statements[i])
			mysql_stmt_close(*statements[i]);
		*statements[i] = NULL;
	}
}

static void close_floor(bench_floor *floor)
{
	my_floor *my = of(floor);
	if (!my)
		return;
	bench_floor_forget(floor);
	close_statements(my);
	mysql_close(my->db);
	free(my);
}

static int prepare(my_floor *my, const char *sql, MYSQL_STMT **statement)
{
	*statement = mysql_stmt_init(my->db);
	return *statement && mysql_stmt_prepare(*statement, sql, strlen(sql)) == 0 ? 0 : failed_statement(*statement);
}

static int prepare_many(my_floor *my)
{
	static const char head[] = "INSERT INTO items (quantity, name, price, note, parent_id) VALUES ";
	char *sql = malloc(sizeof head + N_VALUES * 12);
	if (!sql)
		return -1;
	size_t size = sizeof head - 1;
	memcpy(sql, head, size);
	for (size_t i = 0; i < N_VALUES; i++) {
		memcpy(sql + size, i ? ",(?,?,?,?,?)" : "(?,?,?,?,?)", i ? 12 : 11);
		size += i ? 12 : 11;
	}
	sql[size] = '\0';
	int broken = prepare(my, sql, &my->insert_many);
	free(sql);
	return broken;
}

static int prepare_all(my_floor *my)
{
	return prepare(my, "INSERT INTO items (quantity, name, price, note, parent_id) VALUES (?,?,?,?,?)", &my->insert) < 0 ||
	       prepare_many(my) < 0 || prepare(my, "UPDATE items SET quantity=? WHERE id=?", &my->update) < 0 ||
	       prepare(my, "SELECT id, quantity, name, price, note, parent_id FROM items ORDER BY id", &my->select) < 0 ||
	       prepare(my, "SELECT id, quantity, name, price, note, parent_id FROM items WHERE id=?", &my->get) < 0 ||
	       prepare(my, "SELECT id, name FROM parents ORDER BY id", &my->parents) < 0 ||
	       prepare(my, "SELECT id, quantity, name, price, note, parent_id FROM items WHERE parent_id IS NOT NULL", &my->children) < 0
	       ? -1 : 0;
}

static bench_floor *open_floor(const char *url, unsigned flags)
{
	/* "mariadb://root@localhost/DATABASE?socket=PATH" */
	char        database[80];
	const char *name = strrchr(url, '?');
	my_floor   *my = calloc(1, sizeof *my);
	if (!my)
		return NULL;
	while (name[-1] != '/')
		name--;
	snprintf(database, sizeof database, "%.*s", (int)strcspn(name, "?"), name);
	my->base.engine = &bench_mariadb;
	my->db = connect_to(database, strstr(url, "socket=") + 7);
	if (my->db && ((flags & BENCH_TABLES) == 0 || make_tables(my) == 0) && prepare_all(my) == 0)
		return &my->base;
	close_floor(&my->base);
	return NULL;
}

static int empty(bench_floor *floor)
{
	my_floor *my = of(floor);
	close_statements(my); /* of the tables that go */
	return run(my, "DROP TABLE items, parents") < 0 || make_tables(my) < 0 || prepare_all(my) < 0 ? -1 : 0;
}

static int rest(bench_floor *floor)
{
	my_floor *my = of(floor);
	return run(my, "DO SLEEP(0.2)"); /* purge and page cleaner work beside; they cannot be waited for */
}

/* ---- writing ---- */

static int begin(my_floor *my)
{
	return run(my, "START TRANSACTION");
}

static int commit(my_floor *my)
{
	return run(my, "COMMIT");
}

static int insert_parents(my_floor *my, int64_t n)
{
	char sql[120];
	if (n == 0)
		return 0;
	snprintf(sql, sizeof sql, "INSERT INTO parents (name) SELECT CONCAT('item number ', seq) FROM seq_0_to_%lld", (long long)n - 1);
	return run(my, sql);
}

/* The columns of many rows, or those of one. */
typedef struct my_columns {
	int64_t     *quantity, *parent;
	double      *price;
	const char **name, **note;
	unsigned long *name_size, *note_size;
	char        *note_given, *parent_given;
} my_columns;

static void columns_fini(my_columns *columns)
{
	free(columns->quantity);
	free(columns->parent);
	free(columns->price);
	free(columns->name);
	free(columns->note);
	free(columns->name_size);
	free(columns->note_size);
	free(columns->note_given);
	free(columns->parent_given);
}

static int columns_init(my_columns *columns, size_t n)
{
	columns->quantity = calloc(n, sizeof *columns->quantity);
	columns->parent = calloc(n, sizeof *columns->parent);
	columns->price = calloc(n, sizeof *columns->price);
	columns->name = calloc(n, sizeof *columns->name);
	columns->note = calloc(n, sizeof *columns->note);
	columns->name_size = calloc(n, sizeof *columns->name_size);
	columns->note_size = calloc(n, sizeof *columns->note_size);
	columns->note_given = calloc(n, 1);
	columns->parent_given = calloc(n, 1);
	return columns->quantity && columns->parent && columns->price && columns->name && columns->note && columns->name_size &&
	       columns->note_size && columns->note_given && columns->parent_given ? 0 : -1;
}

static void columns_set(my_columns *columns, size_t row, size_t i, int64_t n_parents)
{
	columns->quantity[row] = (int64_t)i;
	columns->name[row] = bench_name(i);
	columns->name_size[row] = strlen(columns->name[row]);
	columns->price[row] = bench_price(i);
	columns->note[row] = bench_note(i);
	columns->note_size[row] = columns->note[row] ? strlen(columns->note[row]) : 0;
	columns->note_given[row] = columns->note[row] ? STMT_INDICATOR_NONE : STMT_INDICATOR_NULL;
	columns->parent[row] = n_parents ? (int64_t)i % n_parents + 1 : 0;
	columns->parent_given[row] = n_parents ? STMT_INDICATOR_NONE : STMT_INDICATOR_NULL;
}

static int insert_arrays(bench_floor *floor, size_t n, int64_t n_parents)
{
	my_floor  *my = of(floor);
	my_columns columns = {0};
	int        broken = columns_init(&columns, N_ARRAY) < 0 || begin(my) < 0 || insert_parents(my, n_parents) < 0;
	for (size_t done = 0; done < n && !broken;) {
		unsigned n_rows = (unsigned)(n - done < N_ARRAY ? n - done : N_ARRAY);
		for (size_t i = 0; i < n_rows; i++)
			columns_set(&columns, i, done + i, n_parents);
		MYSQL_BIND bind[N_COLUMNS] = {
			{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = columns.quantity},
			{.buffer_type = MYSQL_TYPE_STRING, .buffer = columns.name, .length = columns.name_size},
			{.buffer_type = MYSQL_TYPE_DOUBLE, .buffer = columns.price},
			{.buffer_type = MYSQL_TYPE_STRING, .buffer = columns.note, .length = columns.note_size, .u.indicator = columns.note_given},
			{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = columns.parent, .u.indicator = columns.parent_given},
		};
		mysql_stmt_attr_set(my->insert, STMT_ATTR_ARRAY_SIZE, &n_rows);
		if (mysql_stmt_bind_param(my->insert, bind) != 0 || mysql_stmt_execute(my->insert) != 0)
			broken = failed_statement(my->insert);
		done += n_rows;
	}
	columns_fini(&columns);
	return broken ? -1 : commit(my);
}

/* One row's parameters, from the row of the columns. */
static void bind_row(MYSQL_BIND *bind, my_columns *columns, size_t row)
{
	memset(bind, 0, N_COLUMNS * sizeof *bind);
	bind[0].buffer_type = MYSQL_TYPE_LONGLONG;
	bind[0].buffer = &columns->quantity[row];
	bind[1].buffer_type = MYSQL_TYPE_STRING;
	bind[1].buffer = (void *)(uintptr_t)columns->name[row];
	bind[1].buffer_length = columns->name_size[row];
	bind[1].length = &columns->name_size[row];
	bind[2].buffer_type = MYSQL_TYPE_DOUBLE;
	bind[2].buffer = &columns->price[row];
	bind[3].buffer_type = columns->note[row] ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL;
	bind[3].buffer = (void *)(uintptr_t)columns->note[row];
	bind[3].buffer_length = columns->note_size[row];
	bind[3].length = &columns->note_size[row];
	bind[4].buffer_type = columns->parent[row] ? MYSQL_TYPE_LONGLONG : MYSQL_TYPE_NULL;
	bind[4].buffer = &columns->parent[row];
}

static int insert_rows(my_floor *my, MYSQL_STMT *statement, MYSQL_BIND *bind, my_columns *columns, size_t first, size_t n_rows,
                       int64_t n_parents)
{
	const unsigned no_array = 0;
	(void)my;
	for (size_t i = 0; i < n_rows; i++) {
		columns_set(columns, i, first + i, n_parents);
		bind_row(bind + i * N_COLUMNS, columns, i);
	}
	mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &no_array);
	return mysql_stmt_bind_param(statement, bind) != 0 || mysql_stmt_execute(statement) != 0 ? failed_statement(statement) : 0;
}

static int insert_in_steps(my_floor *my, MYSQL_STMT *statement, size_t n, size_t n_at_once, int64_t n_parents)
{
	my_columns  columns = {0};
	MYSQL_BIND *bind = calloc(n_at_once * N_COLUMNS, sizeof *bind);
	int         broken = !bind || columns_init(&columns, n_at_once) < 0 || begin(my) < 0;
	for (size_t i = 0; i + n_at_once <= n && !broken; i += n_at_once)
		broken = insert_rows(my, statement, bind, &columns, i, n_at_once, n_parents);
	/* A last, shorter step one by one. */
	for (size_t i = n - n % n_at_once; i < n && !broken; i++)
		broken = insert_rows(my, my->insert, bind, &columns, i, 1, n_parents);
	columns_fini(&columns);
	free(bind);
	return broken ? -1 : commit(my);
}

static int insert_values(bench_floor *floor, size_t n, int64_t n_parents)
{
	return insert_in_steps(of(floor), of(floor)->insert_many, n, N_VALUES, n_parents);
}

static int insert_loop(bench_floor *floor, size_t n, int64_t n_parents)
{
	return insert_in_steps(of(floor), of(floor)->insert, n, 1, n_parents);
}

static int add_one(bench_floor *floor, size_t i)
{
	my_floor     *my = of(floor);
	int64_t       quantity = (int64_t)i, parent = 0;
	double        price = bench_price(i);
	const char   *name = bench_name(i), *note = bench_note(i);
	unsigned long name_size = strlen(name), note_size = note ? strlen(note) : 0;
	my_columns    columns = {.quantity = &quantity, .parent = &parent, .price = &price, .name = &name, .note = &note, .name_size = &name_size,
	                         .note_size = &note_size};
	MYSQL_BIND    bind[N_COLUMNS];
	bind_row(bind, &columns, 0);
	if (begin(my) < 0 || mysql_stmt_bind_param(my->insert, bind) != 0 || mysql_stmt_execute(my->insert) != 0)
		return failed_statement(my->insert);
	return commit(my);
}

static int update_rows(my_floor *my, int64_t *quantities, int64_t *ids, unsigned n_rows)
{
	unsigned   array_size = n_rows > 1 ? n_rows : 0;
	MYSQL_BIND bind[] = {{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = quantities}, {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = ids}};
	mysql_stmt_attr_set(my->update, STMT_ATTR_ARRAY_SIZE, &array_size);
	return mysql_stmt_bind_param(my->update, bind) != 0 || mysql_stmt_execute(my->update) != 0 ? failed_statement(my->update) : 0;
}

static int update_in_steps(my_floor *my, size_t n, unsigned n_at_once, int64_t delta)
{
	int64_t *quantities = calloc(n_at_once, sizeof *quantities), *ids = calloc(n_at_once, sizeof *ids);
	int      broken = !quantities || !ids || begin(my) < 0;
	for (size_t done = 0; done < n && !broken;) {
		unsigned n_rows = (unsigned)(n - done < n_at_once ? n - done : n_at_once);
		for (size_t i = 0; i < n_rows; i++) {
			quantities[i] = (int64_t)(done + i) + delta;
			ids[i] = (int64_t)(done + i) + 1;
		}
		broken = update_rows(my, quantities, ids, n_rows);
		done += n_rows;
	}
	free(quantities);
	free(ids);
	return broken ? -1 : commit(my);
}

static int update_arrays(bench_floor *floor, size_t n, int64_t delta)
{
	return update_in_steps(of(floor), n, N_ARRAY, delta);
}

static int update_loop(bench_floor *floor, size_t n, int64_t delta)
{
	return update_in_steps(of(floor), n, 1, delta);
}

static int change_one(bench_floor *floor, int64_t id, int64_t quantity)
{
	my_floor *my = of(floor);
	return begin(my) < 0 || update_rows(my, &quantity, &id, 1) < 0 ? -1 : commit(my);
}

/* ---- reading ---- */

typedef struct my_row {
	int64_t       id, quantity, parent;
	double        price;
	char          name[TEXT_SIZE], note[TEXT_SIZE];
	unsigned long name_size, note_size;
	my_bool       note_null, parent_null;
} my_row;

static int bind_item(MYSQL_STMT *statement, my_row *row)
{
	MYSQL_BIND bind[] = {
		{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &row->id},
		{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &row->quantity},
		{.buffer_type = MYSQL_TYPE_STRING, .buffer = row->name, .buffer_length = TEXT_SIZE, .length = &row->name_size},
		{.buffer_type = MYSQL_TYPE_DOUBLE, .buffer = &row->price},
		{.buffer_type = MYSQL_TYPE_STRING, .buffer = row->note, .buffer_length = TEXT_SIZE, .length = &row->note_size,
	         .is_null = &row->note_null},
		{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &row->parent, .is_null = &row->parent_null},
	};
	return mysql_stmt_bind_result(statement, bind) != 0 ? failed_statement(statement) : 0;
}

static void read_item(const my_row *row, bench_item *item)
{
	item->id = row->id;
	item->quantity = row->quantity;
	item->name = bench_copy(row->name, row->name_size);
	item->price = row->price;
	item->note = row->note_null ? NULL : bench_copy(row->note, row->note_size);
	item->has_parent = !row->parent_null;
	item->parent_id = row->parent_null ? 0 : row->parent;
}

static int read_items(my_floor *my, MYSQL_STMT *statement, size_t n)
{
	my_row row;
	if (mysql_stmt_execute(statement) != 0 || bind_item(statement, &row) < 0)
		return failed_statement(statement);
	while (my->base.n_items < n && mysql_stmt_fetch(statement) == 0)
		read_item(&row, &my->base.items[my->base.n_items++]);
	return mysql_stmt_free_result(statement) == 0 && my->base.n_items == n ? 0 : failed_statement(statement);
}

static int select_items(bench_floor *floor, size_t n)
{
	return bench_floor_expect(floor, n, 0) != 0 ? -1 : read_items(of(floor), of(floor)->select, n);
}

static int select_parents(bench_floor *floor, size_t n_parents, size_t n_items)
{
	my_floor  *my = of(floor);
	my_row     row;
	MYSQL_BIND bind[] = {
		{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &row.id},
		{.buffer_type = MYSQL_TYPE_STRING, .buffer = row.name, .buffer_length = TEXT_SIZE, .length = &row.name_size},
	};
	if (bench_floor_expect(floor, n_items, n_parents) != 0)
		return -1;
	if (mysql_stmt_execute(my->parents) != 0 || mysql_stmt_bind_result(my->parents, bind) != 0)
		return failed_statement(my->parents);
	while (floor->n_parents < n_parents && mysql_stmt_fetch(my->parents) == 0) {
		bench_parent *parent = &floor->parents[floor->n_parents++];
		parent->id = row.id;
		parent->name = bench_copy(row.name, row.name_size);
	}
	if (mysql_stmt_free_result(my->parents) != 0 || floor->n_parents != n_parents)
		return failed_statement(my->parents);
	if (read_items(my, my->children, n_items) < 0)
		return -1;
	bench_floor_link(floor);
	return 0;
}

static int get(bench_floor *floor, int64_t id)
{
	my_floor  *my = of(floor);
	my_row     row;
	bench_item item = {0};
	MYSQL_BIND bind[] = {{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &id}};
	if (mysql_stmt_bind_param(my->get, bind) != 0 || mysql_stmt_execute(my->get) != 0 || bind_item(my->get, &row) < 0 ||
	    mysql_stmt_fetch(my->get) != 0)
		return failed_statement(my->get);
	read_item(&row, &item);
	mysql_stmt_free_result(my->get);
	free(item.name);
	free(item.note);
	return 0;
}

const bench_engine bench_mariadb = {
	.name = "MariaDB",
	.option = "mariadb",
	.client = "libmariadb",
	.is_server = true,
	.start = start,
	.stop = stop,
	.database = make_database,
	.socket = server_socket,
	.url_by_socket = url_by_socket,
	.open = open_floor,
	.close = close_floor,
	.inserts = (const bench_way[]){{"prepared INSERT with arrays of parameters", insert_arrays, false},
	                               {"prepared INSERT with 1,000 rows of VALUES", insert_values, false},
	                               {"prepared INSERT loop", insert_loop, true},
	                               {0}},
	.updates = (const bench_way[]){{"prepared UPDATE with arrays of parameters", update_arrays, false},
	                               {"prepared UPDATE loop", update_loop, true},
	                               {0}},
	.empty = empty,
	.rest = rest,
	.select = select_items,
	.parents = select_parents,
	.get = get,
	.add_one = add_one,
	.change_one = change_one,
};
