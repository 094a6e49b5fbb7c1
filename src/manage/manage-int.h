/*
 * manage-int.h - what the files of this room share: one call while it is answered, and the helpers
 * that every endpoint uses.
 */
#ifndef MANAGE_MANAGE_INT_H
#define MANAGE_MANAGE_INT_H

#include "base/arena.h"
#include "base/json.h"
#include "manage/manage.h"
#include <stdatomic.h>

#define MANAGE_ID_BYTES 160 /* of the {id} in a path: an id or a name */
#define CALL_ARENA_MAX  (48 * 1024 * 1024)

struct manage {
	struct store *store;
	struct board *board;
	char code_file[4096]; /* setup.code, beside the store */
	int64_t session_ms;
	const struct conf *conf;
	_Atomic bool looked_at_root; /* where the web server's files are */
	_Atomic int scrypts; /* running now in this process */
};

/* One call while it is answered: everything in it belongs to the calling thread. */
struct call {
	struct manage *m;
	const struct manage_request *q;
	struct manage_reply *out;
	struct arena *arena;
	char mount[256];           /* what stood before "/manage/"; "" at the root */
	char id[MANAGE_ID_BYTES];  /* {id} of the path, decoded */
	char actor[64];            /* "" not signed in */
	char csrf[2 * SHA256_BYTES + 1]; /* of the session; "" unless signed in by cookie */
	int64_t session_ends_ms;   /* of the session, else 0 */
	char request_id[ID_TEXT_BYTES];
	struct store_change change; /* for the audit */
	struct err err;
	char field[64];            /* which member was refused; "" none */
	int retry_after_s;         /* of a 429 */
	bool tells_initialised;    /* a 401 says whether there is a password yet */
	struct known_name *names;  /* looked up for this call (resource.c) */
	struct grant *grants;      /* the same (limits.c) */
	size_t grant_count;
	bool has_grants;
	struct project_key *project_keys; /* read for this call (kinds.c) */
	bool has_project_keys;
	bool is_undo; /* what is written is called so in the audit */
};

/* An endpoint's function: 0 with c->out filled, or -1 with c->err. */
typedef int endpoint_fn(struct call *c);

/* -1 with c->err: `says` is for the client and names no secret.  field may be NULL. */
int call_refuse(struct call *c, enum err_code code, const char *field, const char *says, ...)
	__attribute__((format(printf, 4, 5)));
int call_no_memory(struct call *c);
/* Decoded query parameter: length, 0 when absent or empty, -1 with c->err. */
int call_query(struct call *c, const char *name, char *out, size_t room);
/* The same as a whole number within [min, max]; fallback when absent. */
int call_query_int(struct call *c, const char *name, int64_t min, int64_t max, int64_t fallback,
	int64_t *out);
struct span call_header(const struct call *c, const char *name);
void call_line(struct call *c, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Names the change for the audit. */
const struct store_change *call_change(struct call *c, const char *action);
/* A string member, decoded into the arena; NULL with c->err (wrong type, too long, NUL inside). */
char *call_string(struct call *c, const char *field, struct json_value v, size_t longest);
int call_bool(struct call *c, const char *field, struct json_value v, bool *out);
/* Walks the body's members; fn returns false to end with c->err set. */
int call_body(struct call *c, bool (*fn)(void *ctx, const char *name, struct json_value v), void *ctx);

/* ---- session.c ---- */
endpoint_fn session_get, session_post, session_delete, setup_post;
/* Finds out who calls: fills actor, csrf.  1 signed in, 0 not, -1 with c->err. */
int session_identify(struct call *c);
/* A changing call by cookie needs the session's X-CSRF-Token. */
int session_check_csrf(struct call *c);
int password_store(struct manage *m, struct span password, struct err *err);
/* 1 there, 0 not, -1. */
int password_exists(struct manage *m, struct err *err);
int management_token_make(struct manage *m, char out[64], struct err *err);
int management_token_store(struct manage *m, const char *token, struct err *err);
int management_token_any(struct manage *m, struct err *err);
/* Makes setup.code unless there is one.  1 made (code filled), 0 there, -1. */
int setup_code_make(struct manage *m, char code[64], struct err *err);

/* ---- shape.c: records as JSON ---- */
const struct field *shape_field_at(enum record_kind kind, size_t offset);
const struct field *shape_field_named(enum record_kind kind, const char *name);
/* `"name":value` of one field. */
void shape_member(struct bytes *out, const struct field *f, const void *record);
/* The value alone; of a secret null. */
void shape_value(struct bytes *out, const struct field *f, const void *record);
/* Sets a field from JSON: null puts it back to its fallback.  0, or -1 with c->err. */
int shape_set(struct call *c, const struct field *f, struct json_value v, void *record);
/* The name of that number in "a|b|c"; empty when there is none. */
struct span shape_enum_name(const char *values, int32_t value);
bool shape_is_empty(const struct field *f, const void *record);
void shape_time(struct bytes *out, const char *name, int64_t wall_ms);   /* 0: null */
void shape_money(struct bytes *out, const char *name, int64_t nusd);     /* < 0 too; COST_UNKNOWN: null */
void shape_text(struct bytes *out, const char *name, const char *text);
void shape_int(struct bytes *out, const char *name, int64_t value);
/* forecast.c: the members forecast, runs_dry_at and runs_dry of a key. */
void shape_forecast(struct call *c, struct id key, struct bytes *out);
void shape_tokens(struct bytes *out, const struct tokens *t);
/* A money member: string or number of dollars.  0, or -1 with c->err. */
int shape_parse_money(struct call *c, const char *field, struct json_value v, int64_t *out);
/* RFC 3339, a date, or null (0). */
int shape_parse_time(struct call *c, const char *field, struct json_value v, int64_t *out);
int time_of_text(const char *text, int64_t *wall_ms);

/* ---- resource.c: list, get, create, change, delete of any kind ---- */
struct edit;

/* What a list is asked for; a none id or "" filters nothing. */
struct filter {
	struct id project, token, upstream;
	struct id token_project; /* of `token` */
	char model[NAME_BYTES * 2];
	char text[NAME_BYTES]; /* somewhere in what a person sees of it */
	int active; /* -1 any, 0, 1 */
	/* of limits and grants alone (limits.c) */
	struct id key, limit;
	char end_user[USER_BYTES], tag[LABEL_BYTES], address[48];
	/* of keys alone (keys.c): how they stand, a bit for each enum target_state; 0: any */
	unsigned states;
	bool or_open; /* those whose breaker is open, too */
	struct board *board;
};

/* What a kind has beside its fields.  Every hook may be NULL. */
struct kind {
	enum record_kind record;
	/* Takes a member that is no field, or that needs more: 1 taken, 0 not mine, -1 with c->err. */
	int (*member)(struct edit *e, const char *name, struct json_value v);
	/* After all members: checks what belongs together.  0 or -1. */
	int (*finish)(struct edit *e);
	/* After the record is written. */
	int (*written)(struct edit *e);
	/* Fields that `extra` shows in another form, and that are not taken under their names. */
	bool (*hides)(const struct field *f);
	/* More members of the JSON.  filter: of the list, NULL for one record. */
	int (*extra)(struct call *c, const void *record, const struct filter *f, struct bytes *out);
	/* Does the list's filter let this record through? */
	bool (*passes)(const void *record, const struct filter *f);
};
extern const struct kind kind_project, kind_token, kind_upstream, kind_key, kind_price, kind_limit, kind_grant,
	kind_route, kind_policy;

struct edit {
	struct call *call;
	const struct kind *kind;
	void *record;
	const void *before; /* NULL: being created */
	uint64_t given;     /* a bit for each field of the table that was sent */
	size_t members;     /* how many were sent */
	/* Of kinds that take more than their fields. */
	char *secret;       /* of a key or a token that is brought along; project: api_key */
	bool has_sha256, has_duration, has_scope, revoke_tokens;
	uint8_t sha256[SHA256_BYTES];
	int64_t duration_minutes;
	struct json_value cap; /* JSON_NONE: not given */
	int64_t revoked, already_revoked, total; /* tokens of a project */
	int64_t count; /* of tokens to mint; 0: this is no batch */
};
/* The body applied to e->record, whatever it held before: 0, or -1 with c->err. */
int resource_apply(struct edit *e);
/* Was the field at that offset sent? */
bool edit_gave(const struct edit *e, size_t offset);

/* By id or name: 0 with *record, or -1 with c->err (ERR_NOT_FOUND). */
int resource_find(struct call *c, enum record_kind kind, const char *name_or_id, void *record);
/* A reference in a query or a body to a record of that kind. */
int resource_refer(struct call *c, enum record_kind kind, const char *field, const char *name_or_id,
	struct id *id);
/* The same of a parameter of the query; *id stays as it is when absent. */
int resource_query(struct call *c, const char *name, enum record_kind kind, struct id *id);
/* What a list is asked for.  0, or -1 with c->err. */
int resource_filter(struct call *c, const struct kind *k, struct filter *f);
/* The name (or label) shown for an id, looked up once a call; "" when it is gone. */
const char *resource_name(struct call *c, enum record_kind kind, struct id id);
/* All records of a kind that pass, from behind `after`, at most `most`: an array in the arena. */
int resource_collect(struct call *c, enum record_kind kind, struct id after, size_t most,
	bool (*passes)(const void *record, const struct filter *f), const struct filter *f,
	void **records, size_t *count);
/* Reads, lets fn change, writes; again when somebody else was faster.  *record is the result.
 * fn: 1 changed, 0 nothing to do, -1 with c->err. */
int resource_change(struct call *c, enum record_kind kind, struct id id, const char *action,
	int (*fn)(struct call *c, void *record, void *ctx), void *ctx, void *record);
/* store_create() that takes a record that is there already, by this call's own id, for a success. */
int resource_create(struct call *c, enum record_kind kind, void *record, const char *action);
/* "route.create", in the arena; whatever the verb, "route.undo" while a change is taken back. */
const char *resource_action(struct call *c, enum record_kind kind, const char *verb);
int resource_reply(struct call *c, int status, const struct kind *k, const struct edit *e,
	const void *record);

int resource_list(struct call *c, const struct kind *k);
int resource_get(struct call *c, const struct kind *k);
int resource_post(struct call *c, const struct kind *k);
int resource_patch(struct call *c, const struct kind *k);
int resource_delete(struct call *c, const struct kind *k);

/* ---- kinds.c ---- */
endpoint_fn projects_list, projects_post, projects_get, projects_patch;
endpoint_fn upstreams_list, upstreams_post, upstreams_get, upstreams_patch, upstreams_delete;
endpoint_fn prices_list, prices_post, prices_get, prices_patch, prices_delete;
endpoint_fn prices_import; /* prices.c */

/* ---- keys.c, key_import.c ---- */
/* The parameter that only lists of keys take.  0, or -1 with c->err. */
int keys_read_filter(struct call *c, struct filter *f);
endpoint_fn keys_list, keys_post, keys_get, keys_patch, keys_delete, keys_enable, keys_disable;
endpoint_fn keys_rotate, keys_revoke, keys_retry, keys_import;

/* ---- standing.c ---- */
endpoint_fn keys_history, keys_test, upstreams_history, breakers_list;
/* How it stands, as members; of one key that was asked for more than in lists.  0, or -1 with c->err. */
int key_put_standing(struct call *c, const struct key *k, struct bytes *out);
int upstream_put_standing(struct call *c, const struct upstream *u, struct bytes *out);
/* What rests of it at single models is due, too. */
int key_retry_parts(struct call *c, struct id key);
/* ---- providers.c ---- */
endpoint_fn upstream_models_get, upstream_models_refresh, upstream_health_get;
/* Upstreams, keys in clear and all, until the call ends.  NULL with c->err. */
struct snapshot *providers_snapshot(struct call *c);
/* What was found of an upstream that is deleted.  0 or -1. */
int providers_forget(struct call *c, struct id upstream);

/* ---- keyservice.c ---- */
endpoint_fn key_service_next, key_service_disable;

/* ---- auth.c ---- */
#define AUTH_KEY_MOST   3500  /* bytes of a provider's key */
#define AUTH_GIVEN_MOST 16384 /* of a service key as it is pasted */
/* The fields that say how keys are sent; fills in what is usual.  0, or -1 with c->err. */
int auth_check_upstream(struct edit *e);
enum upstream_auth auth_usual(const struct upstream *u); /* for its protocol */
/* Checks that the secret fits the key's upstream, seals it and masks it.  0, or -1 with c->err, which
 * shows nothing of it. */
int auth_seal_key(struct call *c, struct key *k, const char *given);

/* ---- limits.c ---- */
endpoint_fn limits_list, limits_post, limits_get, limits_patch, limits_delete, limits_reset, limits_grant;
endpoint_fn grants_list, grants_get, grants_delete;
/* The parameters that only lists of limits and grants take.  0, or -1 with c->err. */
int limits_read_filter(struct call *c, struct filter *f);

/* A secret as somebody types it: visible ASCII, and no masked one pasted back. */
int call_check_secret(struct call *c, const char *field, const char *text, size_t least);

/* ---- tokens.c ---- */
endpoint_fn tokens_list, tokens_post, tokens_get, tokens_patch, tokens_delete, tokens_revoke;
endpoint_fn tokens_rotate, tokens_mint, tokens_revoke_many, tokens_cleanup;
endpoint_fn projects_revoke_tokens;
endpoint_fn tokens_import; /* import.c */
/* All tokens of the project that is e->record: fills revoked, already_revoked and total. */
int tokens_revoke_all(struct edit *e);

/* ---- lists.c: the lists that were sent, in a token or a project.  0, or -1 with c->err ---- */
int lists_check_project(struct edit *e);
int lists_check_token(struct edit *e, const struct project *project);

/* ---- rules.c: what may stand in lists of routes, policies, upstreams and keys.  0, or -1 with c->err ---- */
/* The lists of the record that were sent and that mean the same in every kind. */
int rules_check(struct edit *e);
/* One pattern: a glob, or "/regex/" that compiles. */
int rules_check_pattern(struct call *c, const char *field, const char *pattern);
bool rules_is_regex(const char *pattern);
/* sum: of the shares. */
int rules_check_objectives(struct call *c, const char *field, const char *list, int64_t *sum);
int rules_check_aliases(struct call *c, const char *field, const char *list);
int rules_check_requests(struct call *c, const char *field, const char *list);
/* The list's next entry, cut to fit; false at its end. */
bool rules_next(const char **list, char *out, size_t room);

/* ---- upstreams.c: the breaker's endpoint, hooks of the kind, and what kinds.c does not look at ---- */
int upstream_member(struct edit *e, const char *name, struct json_value v);
bool upstream_hides(const struct field *f);
int upstream_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out);
int upstream_check_routing(struct edit *e);
/* The board after the record; before NULL: it is new. */
void upstream_follow(struct call *c, const struct upstream *u, const struct upstream *before);
endpoint_fn upstreams_breaker;

/* ---- routes.c, policies.c ---- */
endpoint_fn routes_list, routes_post, routes_get, routes_patch, routes_delete;
endpoint_fn policies_list, policies_post, policies_get, policies_patch, policies_delete;
endpoint_fn policies_dry_run;
bool route_names_upstream(const struct route *r, struct id upstream);
/* Is that upstream, key or route named by a route, policy or upstream?  Then -1 with c->err, which names
 * them. */
int refuse_when_named(struct call *c, enum record_kind of, struct id id);

/* ---- report.c ---- */
endpoint_fn inflight_list, inflight_cut; /* inflight.c */
endpoint_fn requests_list, requests_get, usage_get, health_get;
void requests_put(struct call *c, const struct usage_row *r); /* {…} */
endpoint_fn routes_quote;                                     /* quote.c */
endpoint_fn requests_explain;                                 /* explain.c */
/* Once a process: is the state where the web server's files are?  Says so in the log, and keeps the
 * root for `sluice check`. */
void health_look_at_root(struct call *c);

/* ---- audit.c ---- */
endpoint_fn audit_list;
endpoint_fn changes_list; /* those entries that changed records */
endpoint_fn changes_undo; /* changes.c */
struct id audit_change_id(const struct audit_entry *e);

/* ---- backup.c ---- */
endpoint_fn backup_list, backup_post;

#endif
