/*
 * cli-int.h - what the verbs of the command share.
 *
 *   command.c  the table of verbs, help, exit codes        state.c    settings, store, board, manage
 *   records.c  project, token, key, upstream, limit, price report.c   requests, usage, audit, inflight
 *   setup.c    init                                        check.c    check
 *   convert.c  convert                                     serve.c    serve
 *   mock*.c    mock                                        table.c    columns for people
 *   prices.c   price import                                reprice.c    reprice
 *   reconcile.c, csv.c  reconcile
 *   tokens.c   tokens: many at once, import              explain.c, quote.c  explain, quote
 *   care.c     backup, restore, verify, dump, load       changes.c  changes, undo
 *   keys.c     key import                               policies.c  policy try
 *
 * The command changes things by the same calls as the page: manage_handle(), in this process.
 */
#ifndef CLI_CLI_INT_H
#define CLI_CLI_INT_H

#include "base/bytes.h"
#include "base/json.h"
#include "conf/conf.h"
#include "manage/manage.h"

#include <stdbool.h>

enum exit_code { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED };

/* ---- command.c ---- */
struct verb {
	const char *name, *help; /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is the verb */
};
/* "sluice: what: why" on stderr; returns the code it is given. */
int complain(enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Asks on a terminal; true also when `yes`.  Not on a terminal: false, and says that --yes is wanted. */
bool confirm(bool yes, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- state.c: what verbs that touch the store work with ---- */
struct state {
	struct conf conf;
	struct roster *roster;
	struct store *store;
	struct board *board;
	struct manage *manage;
	char actor[96]; /* "command:<user>" */
};
/* create: make what is missing.  0, or -1 after having complained. */
int state_open(struct state *s, bool create);
void state_close(struct state *s);
/* One call of the management API.  path "/manage/…"; body "" for none.  The reply's body is the
 * caller's to free.  Returns the status. */
int state_call(struct state *s, const char *method, const char *path, struct span body,
	struct manage_reply *reply);
/* One call whose reply is shown: as it came where json says so, else by show (NULL: not at all), which
 * gets ctx.  An error is complained of.  Returns what the command returns. */
typedef void state_show(const void *ctx, struct span reply);
int state_tell(struct state *s, const char *method, const char *path, struct span body, bool json,
	state_show *show, const void *ctx);
/* The same with a state that is opened for it. */
int state_ask(const char *method, const char *path, struct span body, bool json, state_show *show,
	const void *ctx);
/* Could it be an id, as requests and changes have them?  So it needs no escape in a path. */
bool is_plain_id(const char *text);
#define PLAIN_ID_MAX 64 /* bytes, without the end */
/* Complains with the sentence of an error reply; returns EXIT_REFUSED, or EXIT_FAILED for 5xx. */
int state_refused(const struct manage_reply *reply);

/* ---- table.c: a JSON list as columns ---- */
struct column {
	const char *title;
	const char *path; /* of the member: "tokens.input" */
	bool right;       /* figures */
	int cut;          /* 0: whole; else at most so many characters */
};
/* Prints {"data":[…]} or one object; "nothing yet" for an empty list. */
void table_print(struct span json, const struct column *columns, size_t count);
/* A member as a terminal may have it: a text without its quotes, "-" for null or none.  Raw JSON has no
 * control bytes. */
struct span member_text(struct span object, const char *member);
/* … behind those words. */
void show_member(const char *before, struct span object, const char *member);
/* One object as "name: value" lines. */
void table_record(struct span object);

/* ---- tokens.c: what records.c shows and does of tokens only ---- */
void tokens_print_minted(struct span reply, bool csv); /* a line each: NDJSON, or CSV */
void tokens_print_cleanup(struct span reply);
/* Did the call reach its ceiling, so that the same one goes on? */
bool tokens_more(struct span reply);
/* Would that action with that body delete? */
bool tokens_deletes(const char *action, struct span body);
/* file NULL or "-": standard input.  options: {"from", "project_id"?, "dry_run"?}. */
int token_import_main(const char *file, struct span options, bool json);

/* ---- keys.c ---- */
/* file NULL or "-": standard input.  options: {"dry_run"?}. */
int key_import_main(const char *file, struct span options, bool json);

/* ---- policies.c ---- */
/* What a policy would change for a request: the one named, or else one of those fields.  ask: "" or the
 * request's object. */
int policy_try_main(const char *which, struct span fields, struct span ask, bool json);

/* ---- prices.c: words of the command line ---- */
int words_time(const char *text, int64_t *wall_ms); /* RFC 3339 or a day; 0, or -1 */
/* The whole file, or standard input for "-".  EXIT_DONE, or another after having complained. */
int words_file(const char *name, struct bytes *text);

/* ---- verbs ---- */
int records_main(int argc, char **argv); /* project, token, key, upstream, limit, price, route, policy */
int price_import_main(int argc, char **argv); /* argv[0] is "import" */
int reprice_main(int argc, char **argv);
int reconcile_main(int argc, char **argv);
int requests_main(int argc, char **argv);
int usage_main(int argc, char **argv);
int audit_main(int argc, char **argv);
int changes_main(int argc, char **argv);
int undo_main(int argc, char **argv);
int inflight_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int quote_main(int argc, char **argv);
int init_main(int argc, char **argv);
int check_main(int argc, char **argv);
int care_main(int argc, char **argv); /* backup, restore, verify, dump, load */
int convert_main(int argc, char **argv);

#endif
