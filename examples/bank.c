/* SPDX-License-Identifier: MIT */
/*
 * A bank that loses no cent, however many of these programs run at once: decimals, UUIDs as keys, a JSON document, and units of work that are
 * run again when another was in the way.
 *
 *   bank URL setup          make the tables, and three accounts with 100.00 each
 *   bank URL transfer N     move money between them N times
 *   bank URL show           the accounts, and what they have together
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <orm.h>

#define CENTS 2 /* digits after the point */

ORM_DECLARE(Account);
ORM_DECLARE(Transfer);

struct Account {
	orm_uuid    id;
	const char *owner;
	orm_decimal balance;
	int64_t     version;
};

struct Transfer {
	orm_uuid     id;
	orm_uuid     payer_id, payee_id;
	orm_decimal  amount;
	orm_json     details;
	orm_datetime made;
};

static const orm_field Account_fields[] = {
	{ ORM_COLUMN(Account, id),       .primary_key = true },
	{ ORM_COLUMN(Account, owner),    .max_length = 50, .unique = true },
	{ ORM_COLUMN(Account, balance),  .precision = 12, .scale = CENTS, .check = "balance >= 0" },
	{ ORM_COLUMN(Account, version),  .version = true },
};
ORM_MODEL(Account, "accounts", Account_fields);

static const orm_field Transfer_fields[] = {
	{ ORM_COLUMN(Transfer, id),       .primary_key = true },
	{ ORM_COLUMN(Transfer, payer_id), .references = ORM_KEY(Account, id) },
	{ ORM_COLUMN(Transfer, payee_id), .references = ORM_KEY(Account, id) },
	{ ORM_COLUMN(Transfer, amount),   .precision = 12, .scale = CENTS },
	{ ORM_COLUMN(Transfer, details) },
	{ ORM_COLUMN(Transfer, made),     .server_default = ORM_NOW },
};
ORM_MODEL(Transfer, "transfers", Transfer_fields);

static const orm_model *const models[] = { &Account_model, &Transfer_model, NULL };

static orm_decimal decimal(orm_session *s, int64_t cents)
{
	char text[ORM_DECIMAL_SIZE];
	orm_decimal_from_int64(cents, CENTS, text);
	return (orm_decimal){ orm_printf(s, "%s", text) };
}

/* ---- one transfer: a unit of work ---- */

typedef struct order {
	orm_uuid payer, payee;
	int64_t  cents;
	bool     refused; /* the payer has not got that much */
} order;

static orm_status transfer(orm_session *s, void *arg)
{
	order   *o = arg;
	int64_t  payer_has, payee_has;
	orm_uuid id;
	/* Locked, and everybody locks in the same order: nobody waits in a circle, and what is read here stays true until the commit. */
	bool     payer_first = memcmp(&o->payer, &o->payee, sizeof o->payer) < 0;
	Account *first = orm_get_for_update(s, Account, payer_first ? o->payer : o->payee);
	Account *second = orm_get_for_update(s, Account, payer_first ? o->payee : o->payer);
	if (!first || !second)
		return ORM_ENOTFOUND; /* or why it could not be read, which the session remembers */
	Account *payer = payer_first ? first : second, *payee = payer_first ? second : first;
	orm_decimal_to_int64(payer->balance.text, CENTS, &payer_has);
	orm_decimal_to_int64(payee->balance.text, CENTS, &payee_has);
	if ((o->refused = payer_has < o->cents))
		return ORM_OK;
	payer->balance = decimal(s, payer_has - o->cents);
	payee->balance = decimal(s, payee_has + o->cents);
	if (orm_uuid_v7(&id) != ORM_OK)
		return ORM_EUNAVAILABLE;
	orm_add(s, Transfer, .id = id, .payer_id = payer->id, .payee_id = payee->id, .amount = decimal(s, o->cents),
	        .details = (orm_json){ orm_printf(s, "{\"from\": \"%s\", \"to\": \"%s\"}", payer->owner, payee->owner) });
	return ORM_OK;
}

/* ---- the program ---- */

static orm_status open_accounts(orm_session *s, void *arg)
{
	static const char *const owners[] = { "Ann", "Bob", "Cid" };
	(void)arg;
	for (size_t i = 0; i < 3; i++) {
		orm_uuid id;
		if (orm_uuid_v7(&id) != ORM_OK)
			return ORM_EUNAVAILABLE;
		orm_add(s, Account, .id = id, .owner = owners[i], .balance = (orm_decimal){ "100.00" });
	}
	return ORM_OK;
}

static orm_status read_ids(orm_session *s, void *arg)
{
	orm_uuid    *ids = arg;
	Account_list accounts = orm_all(s, Account);
	if (accounts.len != 3)
		return ORM_ENOTFOUND;
	for (size_t i = 0; i < accounts.len; i++)
		ids[i] = accounts.items[i]->id;
	return ORM_OK;
}

static orm_status transfer_often(orm_db *db, long n, const orm_run_options *options)
{
	orm_uuid   ids[3], seed;
	long       refused = 0;
	orm_status status = orm_run_with(db, options, read_ids, ids);
	if (status == ORM_OK)
		status = orm_uuid_v4(&seed);
	srand((unsigned)seed.bytes[0] << 8 | seed.bytes[1]);
	for (long i = 0; i < n && status == ORM_OK; i++) {
		int   payer = rand() % 3;
		order o = { .payer = ids[payer], .payee = ids[(payer + 1 + rand() % 2) % 3], .cents = 1 + rand() % 5000 };
		status = orm_run_with(db, options, transfer, &o);
		refused += o.refused;
	}
	if (status == ORM_OK)
		printf("%ld transfers, %ld refused\n", n - refused, refused);
	return status;
}

static orm_status show(orm_session *s, void *arg)
{
	int64_t      sum = 0;
	Account_list accounts = orm_all(s, Account);
	(void)arg;
	for (size_t i = 0; i < accounts.len; i++) {
		char    id[ORM_UUID_SIZE];
		int64_t cents = 0;
		orm_uuid_format(accounts.items[i]->id, id);
		orm_decimal_to_int64(accounts.items[i]->balance.text, CENTS, &cents);
		sum += cents;
		printf("%s  %s  %9s\n", id, accounts.items[i]->owner, accounts.items[i]->balance.text);
	}
	char total[ORM_DECIMAL_SIZE];
	orm_decimal_from_int64(sum, CENTS, total);
	printf("together %s\n", total);
	return ORM_OK;
}

int main(int argc, char **argv)
{
	orm_error       error = { 0 };
	orm_run_options options = { .max_tries = 100, .error = &error };
	orm_status      status;
	bool setup = argc == 3 && strcmp(argv[2], "setup") == 0, showing = argc == 3 && strcmp(argv[2], "show") == 0;
	if (!setup && !showing && (argc != 4 || strcmp(argv[2], "transfer") != 0)) {
		fprintf(stderr, "usage: bank URL setup | transfer N | show\n");
		return 2;
	}
	orm_db *db = orm_connect(argv[1], models);
	if (setup) {
		orm_drop_all(db);
		status = orm_create_all(db);
		if (status == ORM_OK)
			status = orm_run_with(db, &options, open_accounts, NULL);
		else
			error = *orm_db_error(db);
	} else {
		status = showing ? orm_run_with(db, &options, show, NULL) : transfer_often(db, strtol(argv[3], NULL, 10), &options);
	}
	if (status < 0)
		fprintf(stderr, "bank: %s\n", error.message[0] ? error.message : orm_status_name(status));
	orm_disconnect(db);
	return status < 0;
}
