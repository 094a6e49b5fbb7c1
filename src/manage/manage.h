/*
 * manage.h - the management API: what the admin page and the command can read and change.
 *
 * Free of any transport: a request comes as plain values and a reply leaves as plain values, so the
 * FastCGI program, the command and the tests call the same code.  The HTTP side is described in
 * htdocs/openapi.json; a test holds that file against manage_endpoints().
 *
 * Threads.  manage_handle() may be called from any number of threads at once, never the loop's: it
 * blocks as store.h says, and for some 100 ms while a password is checked (32 MB of memory then).
 *
 * Abandonment (store.h).  A call whose thread is abandoned never returns.  Whoever takes the work
 * over calls manage_handle() again with the same `once`, and attempt raised by one, and with a
 * reply of its own: every id and secret that a change needs was drawn beforehand, so that the
 * change is made once.  The request's spans must outlive all attempts.
 */
#ifndef MANAGE_MANAGE_H
#define MANAGE_MANAGE_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/id.h"
#include "board/board.h"
#include "store/store.h"
#include <stdbool.h>

struct conf;
struct manage;

#define MANAGE_BODY_MAX  (1024 * 1024)     /* no endpoint takes more, but for price lists: */
#define MANAGE_LIST_MAX  (8 * 1024 * 1024)
#define MANAGE_REPLY_MAX (16 * 1024 * 1024)

/* The value in the store that keeps the web server's root, where the state was found inside it. */
#define WEB_ROOT_VALUE "web.root"

/* What a request draws at random, once over all its attempts. */
struct manage_once {
	struct id request;       /* "req_…" in errors and in the audit */
	struct id record[3];     /* of what it creates */
	char secret[TOKEN_BYTES]; /* text of a token it mints */
	uint8_t session[SHA256_BYTES]; /* a session's cookie */
};
void manage_once(struct manage_once *once);

struct manage_request {
	const char *method;
	struct span path;  /* as the client sent it: whatever stands before "/manage/" is the mount */
	struct span query; /* raw, without '?' */
	struct span body;
	/* A header's value by its name in lower case; SPAN_NONE when absent.  NULL: no headers. */
	struct span (*header)(void *ctx, const char *name);
	void *header_ctx;
	const char *address;     /* of the client, as text; "" not known */
	const char *remote_user; /* who the web server says it is; "" nobody */
	bool is_https;
	const char *actor; /* not NULL: a caller in this process that is trusted ("command:root") */
	const struct manage_once *once;
	int attempt;       /* 0, and one more for each time it was abandoned */
	/* Of the web server, where it tells; NULL or "" not known. */
	const char *web_root, *web_server;
};

#define MANAGE_LINES_MAX 8
struct manage_line {
	const char *name;
	char value[240];
};

struct manage_reply {
	int status;
	struct bytes body; /* JSON, or empty; bytes_free() is the caller's */
	struct manage_line lines[MANAGE_LINES_MAX];
	size_t line_count;
};

/* Borrows all three until manage_free(). */
struct manage *manage_new(struct store *store, struct board *board, const struct conf *conf,
	struct err *err);
void manage_free(struct manage *m);

/* Makes setup.code beside the store while there is neither it nor an admin password: so that a
 * person who can only copy files can begin. */
int manage_offer_setup(struct manage *m, struct err *err);

/* Answers one request; always fills *out. */
void manage_handle(struct manage *m, const struct manage_request *q, struct manage_reply *out);

/* The most a body may have for that path: for the transport, before it reads. */
int64_t manage_body_limit(const char *method, struct span path);

/* What is reachable, in order; method NULL ends it. */
struct manage_endpoint_name {
	const char *method, *path; /* "/manage/tokens/{id}" */
};
size_t manage_endpoints(const struct manage_endpoint_name **list);

/* Sessions that ran out are removed, and what store_tidy() takes.  For a clerk, every few minutes. */
int manage_sweep(struct manage *m, struct err *err);

/* An error as the API answers it; for the transport's own refusals. */
void manage_error_body(const struct err *why, const char *request_id, struct bytes *out);

/* ---- beginnings: init of the command, first start of sluice-manage.fcgi ---- */

/*
 * The master key file, if it is not there: 32 random bytes or those given (64 hex digits or base64;
 * NULL or "": random), mode 0600.  1 made, 0 was there, -1.  Comes before store_open().
 */
int manage_make_master_key(const char *path, const char *given, struct err *err);

struct manage_secrets {
	/* What init was given, or "" to have it made. */
	const char *given_token, *given_password;
	/* What was made, each shown once by the caller and then wiped; "" when it existed before. */
	char token[64], setup_code[64];
	bool took_token, took_password; /* those given were stored now */
};
/*
 * A management token when there is none (or the one given, besides those there), the admin password
 * when one is given, else setup.code while there is no password.  Repeating it changes nothing.
 */
int manage_init_secrets(struct manage *m, struct manage_secrets *s, struct err *err);
/* Sets the admin password, whatever it was, and ends all sessions. */
int manage_set_password(struct manage *m, struct span password, struct err *err);
bool manage_has_password(struct manage *m, struct err *err);

/*
 * Makes the upstreams of the setting `upstreams` that are not there by name, each with its key:
 * [{"name","provider"?,"base_url","api_key"?,"is_default"?,"timeout"? (seconds),"allow_private"?}].
 * Those that are there stay as they are.  *made counts the new ones.
 */
int manage_import_upstreams(struct manage *m, struct span json, const char *actor, size_t *made,
	struct err *err);

/*
 * Imports a price list, our own shape or the community's (manage/pricefile-int.h), in one transaction
 * with one audit entry.  Prices made by hand stay, and nothing is removed that the list does not name.
 * With from_ms, what differs from what holds then comes as new rows from then on; the second time
 * nothing changes.  report (may be NULL) gets the outcome as JSON: counts, members not understood, and
 * each change with its rates before and after.  ERR_BAD_REQUEST, ERR_CONFLICT, ERR_EXCEEDS_LIMIT.
 */
struct price_import {
	int64_t from_ms;      /* of rows that state none; 0: always */
	const char *provider; /* of a community list only that provider's, without prefix; NULL: all */
	const char *upstream; /* name or id, of rows that name none; NULL: any */
	bool dry_run;
	bool is_shipped;      /* see manage_import_prices() */
};
int manage_price_import(struct manage *m, struct span json, const char *actor,
	const struct price_import *how, size_t *changed, struct bytes *report, struct err *err);

/* The list that comes along with sluice: it replaces what came along before, and leaves what was
 * imported since or made by hand.  *changed counts what was added, changed or removed. */
int manage_import_prices(struct manage *m, struct span json, const char *actor, size_t *changed,
	struct err *err);
/* The same with the prices.json of the installation.  1 done, 0 there is none, -1. */
int manage_import_price_list(struct manage *m, const struct conf *conf, const char *actor,
	size_t *changed, struct err *err);

/*
 * Imports provider keys, a thousand as well as one.  text: a JSON list of what POST /manage/keys takes, or
 * CSV, with a line of such names or, without one, as upstream,secret,label,weight,priority; lists within a
 * field are parted by ';'.  Keys that their upstream has already are skipped, so it may be repeated; those
 * that cannot be taken are told of by row and change nothing for the others.  Written in batches, each
 * in one transaction with one audit entry.
 *
 * *report: {"data":[{"row","upstream","masked","label","id" or "skipped" or "refused"}],"dry_run","read",
 * "imported","skipped","refused"}.  No secret is in it.  -1: the file cannot be read (ERR_BAD_REQUEST) or
 * the store not be written.
 */
struct manage_key_import {
	const char *actor;
	const char *upstream; /* name or id, of rows that name none; NULL: they are refused */
	bool dry_run;
	void (*progress)(void *ctx, int64_t done, int64_t total); /* NULL: nobody watches */
	void *ctx;
};
int manage_import_keys(struct manage *m, struct span text, const struct manage_key_import *how,
	struct bytes *report, struct err *err);

/*
 * Imports tokens that another gateway exported, as JSON or CSV, with what limits them there; their
 * secrets, or the hashes of them, stay as they are, so no client notices.  Tokens that are here
 * already are left alone: it may be repeated.
 */
struct manage_token_import {
	const char *from;    /* "litellm", "new-api", "llm-proxy" */
	const char *project; /* that they all go to; NULL: those the file names, made when missing */
	const char *actor;
	bool dry_run;        /* the report of it without the change */
};
/* *report: {"data":[{"row","name","masked","id" or "skipped" or "refused","limits"?,"revoked"?,
 * "not_carried":[…]}],"dry_run","read","imported","skipped","refused","limits","projects_made":[…]}.
 * -1: the file cannot be read (ERR_BAD_REQUEST) or the store not be written; rows before that
 * may be in, and repeating does the rest. */
int manage_import_tokens(struct manage *m, struct span text, const struct manage_token_import *how,
	struct bytes *report, struct err *err);

#endif
