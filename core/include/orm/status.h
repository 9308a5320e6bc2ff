/* SPDX-License-Identifier: MIT */
/*
 * Status codes and the error record: how every fallible call of ormd reports, on both sides of the wire.
 *
 * A fallible function returns orm_status: ORM_OK (0) or one of the stable negative numbers below. The
 * details (what happened to which table and column, and what to do) travel in an orm_error in the
 * caller's storage. Outputs of a failed call stay untouched unless its comment says otherwise.
 *
 * The numbers are part of the wire contract: they are never reused or renumbered.
 */
#ifndef ORM_STATUS_H
#define ORM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what the shared library exports; everything else stays hidden. */
#if defined(__GNUC__)
#define ORM_API __attribute__((visibility("default")))
#define ORM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ORM_API
#define ORM_PRINTF(fmt, args)
#endif

typedef enum orm_status {
	ORM_OK = 0,
	ORM_EINVAL = -1,        /* the caller's mistake: a bad argument, model, filter or value */
	ORM_ENOMEM = -2,        /* out of memory */
	ORM_ENOTFOUND = -3,     /* no such row, session, server or file */
	ORM_ECONSTRAINT = -4,   /* the database refused a row: NOT NULL, UNIQUE, CHECK or FOREIGN KEY */
	ORM_ESTALE = -5,        /* the row is gone or has another version than the one that was read */
	ORM_ECONFLICT = -6,     /* another participant changed the same field of the same object */
	ORM_ETIMEOUT = -7,      /* the deadline passed; nothing was done unless the call says otherwise */
	ORM_EUNAVAILABLE = -8,  /* the server or the database cannot be reached now */
	ORM_EUNKNOWN = -9,      /* a commit whose outcome is not known yet; ask again by its id */
	ORM_ELOST = -10,        /* the session is gone (server restarted); its unit did not commit */
	ORM_EFENCED = -11,      /* this participant was declared dead and replaced; its writes are refused */
	ORM_EFORKED = -12,      /* the connection belongs to the parent process; connect anew after fork() */
	ORM_ENOTLOADED = -13,   /* a relationship was used that has not been loaded */
	ORM_ESTATE = -14,       /* not possible in this state of the session or object */
	ORM_EMODEL = -15,       /* the models of the two sides, or of model and table, differ */
	ORM_EDATABASE = -16,    /* the engine failed: disk full, I/O error, corruption, SQL it refuses */
	ORM_ERETRY = -17,       /* it met another, or lost the database; nothing was written: run the whole unit again */
	ORM_ECANCELLED = -18,   /* the caller cancelled the call */
	ORM_EPERM = -19,        /* not permitted for this user */
	ORM_EUNSUPPORTED = -20, /* the other side, or the engine, does not know this */
	ORM_EPROTOCOL = -21,    /* the peer's bytes make no sense */
	ORM_ELIMIT = -22,       /* a limit was reached: message size, memory budget, number of sessions */
	ORM_EEXIST = -23,       /* it is there already: a second server, a second object with this key */
	ORM_EABORTED = -24,     /* the unit was rolled back by somebody else: a participant died or rolled back */
	ORM_EINTERNAL = -25     /* a bug in ormd: please report the message */
} orm_status;

/*
 * What went wrong, in the caller's storage. Strings are cut to fit and always terminated; an empty string
 * means "does not apply". `message` is one line, names the table and column, and says what to do.
 */
typedef struct orm_error {
	orm_status code;
	char       model[64];    /* the model's C name, "User" */
	char       column[64];   /* the column, or the relationship */
	char       key[128];     /* the primary key as text, "7" or "(7, 'a')" */
	char       message[512];
} orm_error;

/* The code's name without its prefix, "ECONSTRAINT"; "E?" for a number that is not one. Never NULL. */
ORM_API const char *orm_status_name(orm_status code);

#ifdef __cplusplus
}
#endif
#endif
