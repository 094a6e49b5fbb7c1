/*
 * records.c - project, token, key, upstream, limit, grant, price, route and policy: add, list, show, set
 * and the rest.
 *
 * The options of a kind are the fields of its record (store/fields.h), so a new field needs nothing
 * here.  They become the body of one call of the management API, which judges them.
 */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY_BYTES   (1 << 20)
#define SECRET_BYTES 16384
#define PATH_BYTES   4096
#define LIST_LIMIT   "500"

/* What the API takes besides the record's own fields. */
struct extra {
	enum record_kind kind;
	const char *name;
	enum field_type type;
	const char *help;
	const char *object; /* member of this object: scope, ask; "ask.project": under that name */
};
static const struct extra extras[] = {
	{ RECORD_PROJECT, "api_key", FIELD_TEXT, "an OpenAI key for this project alone; - reads it",
		NULL },
	{ RECORD_TOKEN, "project", FIELD_TEXT, "name or id of its project", NULL },
	{ RECORD_TOKEN, "duration_minutes", FIELD_INT, "expires after so many minutes", NULL },
	{ RECORD_TOKEN, "secret", FIELD_TEXT, "a token brought along; - reads it", NULL },
	{ RECORD_TOKEN, "secret_sha256", FIELD_TEXT, "the same, by its SHA-256", NULL },
	{ RECORD_TOKEN, "count", FIELD_INT, "mint: how many, up to 1000", NULL },
	{ RECORD_TOKEN, "grace_minutes", FIELD_INT, "rotate: how long the old secret stays good",
		NULL },
	{ RECORD_TOKEN, "ids", FIELD_LIST, "revoke-many: these", NULL },
	{ RECORD_TOKEN, "is_expired", FIELD_BOOL, "revoke-many: those that are", NULL },
	{ RECORD_TOKEN, "days", FIELD_INT, "cleanup: revoked or expired for so long", NULL },
	{ RECORD_TOKEN, "from", FIELD_TEXT, "import: litellm, new-api or llm-proxy", NULL },
	{ RECORD_TOKEN, "dry_run", FIELD_BOOL, "revoke-many, cleanup, import: only tell", NULL },
	{ RECORD_TOKEN, "search", FIELD_TEXT, "list: a part of label, masked secret or id", NULL },
	{ RECORD_KEY, "secret", FIELD_TEXT, "the provider's key; - reads it from standard input",
		NULL },
	{ RECORD_KEY, "project", FIELD_TEXT, "for this project alone", NULL },
	{ RECORD_KEY, "dry_run", FIELD_BOOL, "import: only tell", NULL },
	{ RECORD_KEY, "state", FIELD_TEXT, "list: those that stand so; troubled: all but available",
		NULL },
	{ RECORD_KEY, "search", FIELD_TEXT, "list: a part of label or masked secret, or the id",
		NULL },
	{ RECORD_UPSTREAM, "state", FIELD_TEXT, "breaker: auto, open or closed", NULL },
	{ RECORD_ROUTE, "project", FIELD_TEXT, "for this project alone", NULL },
	{ RECORD_POLICY, "project", FIELD_TEXT, "of scope project", NULL },
	{ RECORD_POLICY, "model", FIELD_TEXT, "try: a request for that model", "ask" },
	{ RECORD_POLICY, "as_project", FIELD_TEXT, "try: of that project", "ask.project" },
	{ RECORD_POLICY, "to_upstream", FIELD_TEXT, "try: that names that upstream",
		"ask.upstream" },
	{ RECORD_POLICY, "input_tokens", FIELD_INT, "try: so long", "ask" },
	{ RECORD_POLICY, "output_tokens", FIELD_INT, "try: with that ceiling", "ask" },
	{ RECORD_POLICY, "session", FIELD_TEXT, "try: of that session", "ask" },
	{ RECORD_LIMIT, "project", FIELD_TEXT, "one project, or each", "scope" },
	{ RECORD_LIMIT, "token", FIELD_TEXT, "one token, or each", "scope" },
	{ RECORD_LIMIT, "model", FIELD_TEXT, "one model or pattern, or each", "scope" },
	{ RECORD_LIMIT, "end_user", FIELD_TEXT, "one end user, or each", "scope" },
	{ RECORD_LIMIT, "address", FIELD_TEXT, "one address or network, or each", "scope" },
	{ RECORD_LIMIT, "tag", FIELD_TEXT, "one tag or pattern, or each", "scope" },
	{ RECORD_LIMIT, "upstream", FIELD_TEXT, "one upstream, or each", "scope" },
	{ RECORD_LIMIT, "key", FIELD_TEXT, "one provider key, or each", "scope" },
	{ RECORD_LIMIT, "amount", FIELD_INT, "of a grant: on top of the cap", NULL },
	{ RECORD_LIMIT, "until", FIELD_TEXT, "of a grant: when it ends", NULL },
	{ RECORD_GRANT, "limit_id", FIELD_TEXT, "those of that limit", NULL },
};
#define EXTRA_COUNT (sizeof extras / sizeof extras[0])

static const struct column project_columns[] = { { "ID", "id", false, 0 },
	{ "NAME", "name", false, 32 }, { "ACTIVE", "is_active", false, 0 },
	{ "CREATED", "created_at", false, 19 } };
static const struct column token_columns[] = { { "ID", "id", false, 0 },
	{ "TOKEN", "masked", false, 0 }, { "LABEL", "label", false, 24 },
	{ "ACTIVE", "is_active", false, 0 }, { "EXPIRES", "expires_at", false, 19 },
	{ "REQUESTS", "request_count", true, 0 }, { "MAX", "max_requests", true, 0 },
	{ "COST $", "cost", true, 0 } };
static const struct column upstream_columns[] = { { "ID", "id", false, 0 },
	{ "NAME", "name", false, 24 }, { "PROTOCOL", "protocol", false, 0 },
	{ "BASE URL", "base_url", false, 48 }, { "ACTIVE", "is_active", false, 0 },
	{ "DEFAULT", "default", false, 0 } };
static const struct column found_columns[] = { { "MODEL", "id", false, 80 },
	{ "CONTEXT", "context_length", true, 0 }, { "FREE", "is_free", false, 0 },
	{ "MODALITY", "modality", false, 40 } };
static const struct column key_columns[] = { { "ID", "id", false, 0 },
	{ "UPSTREAM", "upstream_name", false, 24 }, { "KEY", "masked", false, 0 },
	{ "LABEL", "label", false, 24 }, { "STATE", "state", false, 0 },
	{ "RESTS UNTIL", "rests_until", false, 19 }, { "RUNS DRY", "runs_dry", false, 0 },
	{ "LAST ERROR", "last_error", false, 40 } };
static const struct column limit_columns[] = { { "ID", "id", false, 0 },
	{ "SCOPE", "scope", false, 60 }, { "METRIC", "metric", false, 0 },
	{ "WINDOW", "window", false, 0 }, { "CAP", "cap", true, 0 }, { "USED", "used", true, 0 },
	{ "RESERVED", "reserved", true, 0 }, { "MODE", "mode", false, 0 },
	{ "RESETS", "resets_at", false, 19 } };
static const struct column grant_columns[] = { { "ID", "id", false, 0 },
	{ "LIMIT", "limit", false, 0 }, { "SCOPE", "scope", false, 60 },
	{ "AMOUNT", "amount", true, 0 }, { "RESET", "is_reset", false, 0 },
	{ "UNTIL", "until", false, 19 }, { "REASON", "reason", false, 40 } };
static const struct column price_columns[] = { { "ID", "id", false, 0 },
	{ "MODEL", "model", false, 32 }, { "TIER", "tier", false, 0 },
	{ "ABOVE", "above_tokens", true, 0 }, { "FROM", "from", false, 10 },
	{ "INPUT $", "input", true, 0 }, { "OUTPUT $", "output", true, 0 },
	{ "CACHE READ $", "cache_read", true, 0 }, { "REQUEST $", "request", true, 0 } };

static const struct column route_columns[] = { { "ID", "id", false, 0 },
	{ "NAME", "name", false, 24 }, { "MODEL", "model", false, 32 },
	{ "STRATEGY", "strategy", false, 0 }, { "ACTIVE", "is_active", false, 0 },
	{ "TARGETS", "targets", false, 60 }, { "FALLBACKS", "fallbacks", false, 40 } };
static const struct column history_columns[] = { { "TIME", "time", false, 20 },
	{ "FROM", "from", false, 0 }, { "TO", "to", false, 0 }, { "CAUSE", "cause", false, 0 },
	{ "MODEL", "model", false, 28 }, { "STATUS", "status", true, 0 },
	{ "UNTIL", "until", false, 20 }, { "WHY", "evidence", false, 60 } };
static const struct column breaker_columns[] = { { "OF", "kind", false, 0 },
	{ "NAME", "name", false, 32 }, { "UPSTREAM", "upstream", false, 24 },
	{ "BREAKER", "breaker", false, 0 }, { "STATE", "state", false, 0 },
	{ "CAUSE", "cause", false, 0 }, { "FAILURES", "failures", true, 0 },
	{ "UNTIL", "until", false, 20 } };
static const struct column policy_columns[] = { { "ID", "id", false, 0 },
	{ "NAME", "name", false, 24 }, { "TYPE", "type", false, 0 }, { "SCOPE", "scope", false, 0 },
	{ "OF", "scope_name", false, 24 }, { "PRIORITY", "priority", true, 0 },
	{ "ACTIVE", "is_active", false, 0 } };

#define COLUMNS(c) (c), sizeof(c) / sizeof((c)[0])
static const struct {
	const struct column *columns;
	size_t count;
} tables[RECORD__COUNT] = {
	[RECORD_PROJECT] = { COLUMNS(project_columns) },
	[RECORD_TOKEN] = { COLUMNS(token_columns) },
	[RECORD_UPSTREAM] = { COLUMNS(upstream_columns) },
	[RECORD_KEY] = { COLUMNS(key_columns) },
	[RECORD_PRICE] = { COLUMNS(price_columns) },
	[RECORD_LIMIT] = { COLUMNS(limit_columns) },
	[RECORD_GRANT] = { COLUMNS(grant_columns) },
	[RECORD_ROUTE] = { COLUMNS(route_columns) },
	[RECORD_POLICY] = { COLUMNS(policy_columns) },
};

/* One command line, taken apart. */
struct words {
	enum record_kind kind;
	const char *action, *which; /* which: id or name */
	bool json, csv, yes, help;
	const char *limit, *reason;
	struct bytes body, object; /* object: the member of the body that extras name */
	struct bytes query;        /* the options again, as the filter of a list */
	bool unfiltered;           /* one of them filters no list */
};

static int
find_kind(const char *name)
{
	for (int k = 0; k < RECORD__COUNT; k++)
		if (strcmp(record_name((enum record_kind)k), name) == 0)
			return k;
	return -1;
}

static const struct extra *
find_extra(enum record_kind kind, const char *name)
{
	for (size_t i = 0; i < EXTRA_COUNT; i++)
		if (extras[i].kind == kind && strcmp(extras[i].name, name) == 0)
			return &extras[i];
	return NULL;
}

static const struct field *
find_field(enum record_kind kind, const char *name)
{
	size_t count;
	const struct field *fields = record_fields(kind, &count);

	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0 &&
			(fields[i].flags & (FIELD_READ | FIELD_HIDDEN)) == 0)
			return &fields[i];
	return NULL;
}

/* values: "a|b|c" that it takes; NULL: any. */
static void
print_option(const char *name, enum field_type type, const char *help, const char *values)
{
	char option[64];
	size_t n = 0;

	for (; n < sizeof option - 1 && name[n] != '\0'; n++)
		option[n] = name[n] == '_' ? '-' : name[n];
	option[n] = '\0';
	printf("  --%s%s%*s%s%s%s\n", option, type == FIELD_BOOL ? "" : " X",
		(int)(n < 24 ? 26 - n - (type == FIELD_BOOL ? 0 : 2) : 1), "", help,
		values == NULL ? "" : ": ", values == NULL ? "" : values);
}

static void
print_options(enum record_kind kind)
{
	size_t count;
	const struct field *fields = record_fields(kind, &count);

	for (size_t i = 0; i < EXTRA_COUNT; i++)
		if (extras[i].kind == kind)
			print_option(extras[i].name, extras[i].type, extras[i].help, NULL);
	for (size_t i = 0; i < count; i++)
		if ((fields[i].flags & (FIELD_READ | FIELD_HIDDEN)) == 0 &&
			strncmp(fields[i].name, "scope_", 6) != 0)
			print_option(fields[i].name, fields[i].type, fields[i].help,
				fields[i].type == FIELD_ENUM ? fields[i].values : NULL);
	puts("\nLists are parted by commas, rules by line ends, or are JSON: '[\"a\", \"b\"]'; "
	     "--no-OPTION turns a switch off.");
}

/* "-": the first line of standard input, or all of a JSON document, so that no secret stands in a list
 * of processes. */
static const char *
read_secret(const char *value, char *room, size_t bytes)
{
	if (strcmp(value, "-") != 0)
		return value;
	if (isatty(STDIN_FILENO))
		fputs("secret: ", stderr);
	if (fgets(room, (int)bytes, stdin) == NULL)
		return NULL;
	if (room[strspn(room, " \t\r\n")] == '{') {
		size_t used = strlen(room);

		used += fread(room + used, 1, bytes - 1 - used, stdin);
		room[used] = '\0';
		return room;
	}
	room[strcspn(room, "\r\n")] = '\0';
	return room;
}

static void
add_list(struct bytes *b, const char *name, const char *value, bool numbers)
{
	/* Rules hold commas of their own. */
	const char *ends = strcmp(name, "failure_rules") == 0 || strcmp(name, "request_rules") == 0
				   ? "\n"
				   : ",\n";

	if (value[0] == '[') { /* JSON already */
		bytes_puts(b, value);
		return;
	}
	bytes_puts(b, "[");
	for (bool first = true; *value != '\0'; first = false) {
		size_t len = strcspn(value, ends);

		if (!first)
			bytes_puts(b, ",");
		if (numbers)
			bytes_add(b, value, len);
		else
			bytes_json(b, (struct span){ value, len });
		value += len + (value[len] != '\0');
	}
	bytes_puts(b, "]");
}

static bool
is_integer(const char *s)
{
	s += *s == '-';
	return *s != '\0' && strspn(s, "0123456789") == strlen(s);
}

/* A member of the body; a value that is not what its type wants goes as text and is judged there. */
static void
add_member(struct bytes *b, const char *name, enum field_type type, const char *value)
{
	bytes_puts(b, b->len == 0 ? "{" : ",");
	bytes_json(b, span_of(name));
	bytes_puts(b, ":");
	if (type == FIELD_BOOL || ((type == FIELD_INT || type == FIELD_MS) && is_integer(value)))
		bytes_puts(b, value);
	else if (type == FIELD_LIST || type == FIELD_LIST_INT)
		add_list(b, name, value, type == FIELD_LIST_INT);
	else if (strcmp(value, "null") == 0)
		bytes_puts(b, "null");
	else
		bytes_json(b, span_of(value));
}

/* For what stands in a path or a query. */
static void
add_escaped(struct bytes *b, const char *text)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text != '\0'; text++) {
		if (strchr(plain, *text) != NULL)
			bytes_add(b, text, 1);
		else
			bytes_printf(b, "%%%02X", (unsigned char)*text);
	}
}

/* Options that filter a list; the API knows a project and a token by their ids' names there. */
static void
add_filter(struct words *w, const char *name, const char *value)
{
	static const char *const known[] = { "project_id", "token_id", "upstream", "model",
		"is_active", "end_user", "address", "tag", "key", "limit_id", "q", "state" };

	if (strcmp(name, "search") == 0)
		name = "q";
	else if (strcmp(name, "project") == 0)
		name = "project_id";
	else if (strcmp(name, "token") == 0)
		name = "token_id";
	else if (strcmp(name, "is_enabled") == 0)
		name = "is_active";
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(name, known[i]) == 0 &&
			(w->kind == RECORD_KEY || strcmp(name, "state") != 0)) {
			bytes_printf(&w->query, "&%s=", name);
			add_escaped(&w->query, value);
			return;
		}
	w->unfiltered = true;
}

/* One option of the kind; *used tells whether the next word was its value. */
static int
take_option(struct words *w, const char *option, const char *value, bool *used)
{
	char name[64], secret[SECRET_BYTES];
	bool off = strncmp(option, "no-", 3) == 0;
	const struct extra *extra;
	const struct field *field = NULL;
	enum field_type type;
	size_t n = 0;

	option += off ? 3 : 0;
	for (; n < sizeof name - 1 && option[n] != '\0'; n++)
		name[n] = option[n] == '-' ? '_' : option[n];
	name[n] = '\0';
	if ((extra = find_extra(w->kind, name)) == NULL &&
		(field = find_field(w->kind, name)) == NULL)
		return complain(EXIT_USAGE, "%s has no option --%s; --help lists them",
			record_name(w->kind), option);
	type = extra != NULL ? extra->type : field->type;
	*used = type != FIELD_BOOL ||
		(!off && value != NULL &&
			(strcmp(value, "true") == 0 || strcmp(value, "false") == 0));
	if (type == FIELD_BOOL)
		value = *used ? value : off ? "false" : "true";
	else if (value == NULL || off)
		return complain(EXIT_USAGE, "--%s wants a value", option);
	if (extra != NULL && (strcmp(name, "secret") == 0 || strcmp(name, "api_key") == 0) &&
		(value = read_secret(value, secret, sizeof secret)) == NULL)
		return complain(EXIT_USAGE, "--%s -: nothing came on standard input", option);
	add_filter(w, name, value);
	if (extra != NULL && extra->object != NULL)
		add_member(&w->object,
			strchr(extra->object, '.') != NULL ? strchr(extra->object, '.') + 1 : name,
			type, value);
	else /* a project may be named where the record has its id */
		add_member(
			&w->body, strcmp(name, "project") == 0 ? "project_id" : name, type, value);
	explicit_bzero(secret, sizeof secret);
	return EXIT_DONE;
}

static int
take_words(struct words *w, int argc, char **argv)
{
	w->body = w->object = w->query = BYTES_LIMIT(BODY_BYTES);
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		bool used = false;
		int rc;

		if (strncmp(argv[i], "--", 2) != 0) {
			if (w->action == NULL)
				w->action = argv[i];
			else if (w->which == NULL)
				w->which = argv[i];
			else
				return complain(EXIT_USAGE, "'%s' is one word too many", argv[i]);
		} else if (strcmp(argv[i], "--json") == 0) {
			w->json = true;
		} else if (strcmp(argv[i], "--csv") == 0) {
			w->csv = true;
		} else if (strcmp(argv[i], "--yes") == 0) {
			w->yes = true;
		} else if (strcmp(argv[i], "--help") == 0) {
			w->help = true;
		} else if (strcmp(argv[i], "--config") == 0 && value != NULL) {
			setenv("SLUICE_CONFIG", argv[++i], 1);
		} else if (strcmp(argv[i], "--limit") == 0 && value != NULL) {
			w->limit = argv[++i];
		} else if (strcmp(argv[i], "--reason") == 0 && value != NULL) {
			w->reason = argv[++i];
			if (w->kind == RECORD_LIMIT)
				add_member(&w->body, "reason", FIELD_TEXT, w->reason);
		} else {
			if ((rc = take_option(w, argv[i] + 2, value, &used)) != EXIT_DONE)
				return rc;
			i += used;
		}
	}
	if (w->reason != NULL && w->action != NULL && strcmp(w->action, "revoke-many") == 0)
		add_member(&w->body, "reason", FIELD_TEXT, w->reason);
	if (w->object.len > 0)
		bytes_puts(&w->object, "}");
	if (w->object.len > 0 && w->kind == RECORD_LIMIT) {
		bytes_puts(&w->body, w->body.len == 0 ? "{" : ",");
		bytes_puts(&w->body, "\"scope\":");
		bytes_add(&w->body, w->object.at, w->object.len);
	}
	bytes_puts(&w->body, w->body.len == 0 ? "{}" : "}");
	if (w->body.failed)
		return complain(EXIT_USAGE, "these are too many words");
	return EXIT_DONE;
}

/* How an action becomes a call. */
struct action {
	const char *name;
	const char *method;
	const char *suffix; /* behind the id; NULL: a path of its own, of the action's name */
	bool needs_which, takes_away;
	const char *body; /* fixed; NULL: the options' */
	unsigned kinds;   /* 0: all */
};
#define KIND(k) (1u << RECORD_##k)
#define DELETABLE                                                                                  \
	(KIND(UPSTREAM) | KIND(KEY) | KIND(PRICE) | KIND(LIMIT) | KIND(GRANT) | KIND(ROUTE) |      \
		KIND(POLICY))
static const struct action actions[] = {
	{ "add", "POST", "", false, false, NULL, ~KIND(GRANT) },
	{ "list", "GET", "", false, false, "", 0 },
	{ "show", "GET", "", true, false, "", 0 },
	{ "set", "PATCH", "", true, false, NULL, ~KIND(GRANT) },
	{ "reset", "POST", "/reset", true, true, NULL, KIND(LIMIT) },
	{ "grant", "POST", "/grant", true, false, NULL, KIND(LIMIT) },
	{ "revoke", "POST", "/revoke", true, true, "reason", KIND(TOKEN) | KIND(KEY) },
	{ "rotate", "POST", "/rotate", true, true, NULL, KIND(TOKEN) | KIND(KEY) },
	{ "retry", "POST", "/retry", true, false, "{}", KIND(KEY) },
	{ "test", "POST", "/test", true, false, "{}", KIND(KEY) },
	{ "history", "GET", "/history", true, false, "", KIND(KEY) | KIND(UPSTREAM) },
	{ "breakers", "GET", NULL, false, false, "", KIND(UPSTREAM) },
	{ "breaker", "POST", "/breaker", true, false, NULL, KIND(UPSTREAM) },
	{ "mint", "POST", "/mint", false, false, NULL, KIND(TOKEN) },
	{ "revoke-many", "POST", "/revoke", false, true, NULL, KIND(TOKEN) },
	{ "cleanup", "POST", "/cleanup", false, false, NULL, KIND(TOKEN) },
	{ "enable", "POST", "/enable", true, false, "{}", KIND(KEY) },
	{ "disable", "POST", "/disable", true, true, "reason", KIND(KEY) },
	{ "activate", "PATCH", "", true, false, "{\"is_active\":true}",
		KIND(PROJECT) | KIND(UPSTREAM) | KIND(TOKEN) | KIND(ROUTE) | KIND(POLICY) },
	{ "deactivate", "PATCH", "", true, true, "{\"is_active\":false}",
		KIND(PROJECT) | KIND(UPSTREAM) | KIND(ROUTE) | KIND(POLICY) },
	{ "revoke-tokens", "POST", "/revoke-tokens", true, true, "{}", KIND(PROJECT) },
	{ "models", "GET", "/models", true, false, "", KIND(UPSTREAM) },
	{ "refresh", "POST", "/models/refresh", true, false, "{}", KIND(UPSTREAM) },
	{ "health", "GET", "/health", true, false, "", KIND(UPSTREAM) },
	{ "delete", "DELETE", "", true, true, "", DELETABLE },
	{ "remove", "DELETE", "", true, true, "", DELETABLE },
	/* commands of their own */
	{ "import", NULL, NULL, true, false, NULL, KIND(PRICE) | KIND(TOKEN) | KIND(KEY) },
	{ "try", NULL, NULL, false, false, NULL, KIND(POLICY) },
};

static bool
is_of_kind(const struct action *a, enum record_kind kind)
{
	return a->kinds == 0 || (a->kinds & 1u << kind) != 0;
}

static void
print_help(enum record_kind kind)
{
	printf("usage: sluice %s ACTION [ID or NAME] [OPTIONS] [--json] [--yes]\n\nActions:",
		record_name(kind));
	for (size_t i = 0, n = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (is_of_kind(&actions[i], kind))
			printf("%s %s", n++ == 0 ? "" : ",", actions[i].name);
	puts("\n");
	print_options(kind);
}

static const struct action *
find_action(const struct words *w)
{
	for (size_t i = 0; w->action != NULL && i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(actions[i].name, w->action) == 0 && is_of_kind(&actions[i], w->kind))
			return &actions[i];
	return NULL;
}

static int
make_path(const struct words *w, const struct action *a, struct bytes *out)
{
	if (a->suffix == NULL) {
		bytes_printf(out, "/manage/%s", a->name);
		return out->failed ? -1 : 0;
	}
	bytes_printf(out, "/manage/%s", record_plural(w->kind));
	if (w->which != NULL) {
		bytes_puts(out, "/");
		add_escaped(out, w->which); /* names may hold what a path may not */
	}
	bytes_puts(out, a->suffix);
	/* the counter of one value, where the limit has one for each */
	if (w->kind == RECORD_LIMIT && strcmp(a->name, "show") == 0 && w->query.len > 0) {
		bytes_puts(out, "?");
		bytes_add(out, w->query.at, w->query.len);
	}
	if (strcmp(a->name, "list") == 0) {
		bytes_puts(out, "?limit=");
		add_escaped(out, w->limit != NULL ? w->limit : LIST_LIMIT);
		bytes_add(out, w->query.at, w->query.len);
	}
	return out->failed ? -1 : 0;
}

static int
show_reply(const struct words *w, const struct manage_reply *reply)
{
	struct span body = bytes_span(&reply->body);

	if (w->json)
		printf("%.*s\n", (int)body.len, body.at == NULL ? "" : body.at);
	else if (strcmp(w->action, "list") == 0)
		table_print(body, tables[w->kind].columns, tables[w->kind].count);
	else if (w->kind == RECORD_UPSTREAM &&
		 (strcmp(w->action, "models") == 0 || strcmp(w->action, "refresh") == 0))
		table_print(body, found_columns, sizeof found_columns / sizeof found_columns[0]);
	else if (strcmp(w->action, "breakers") == 0)
		table_print(
			body, breaker_columns, sizeof breaker_columns / sizeof breaker_columns[0]);
	else if (strcmp(w->action, "history") == 0)
		table_print(
			body, history_columns, sizeof history_columns / sizeof history_columns[0]);
	else if (strcmp(w->action, "mint") == 0)
		tokens_print_minted(body, w->csv);
	else if (strcmp(w->action, "cleanup") == 0)
		tokens_print_cleanup(body);
	else if (body.len > 0)
		table_record(body);
	else
		puts("done");
	return EXIT_DONE;
}

static int
run(struct words *w, const struct action *a)
{
	struct bytes reason = BYTES_LIMIT(1024);
	struct span body = bytes_span(&w->body);
	struct bytes path = BYTES_LIMIT(PATH_BYTES);
	struct manage_reply reply;
	struct state s;
	bool again;
	int rc;

	if (a->body != NULL && strcmp(a->body, "reason") == 0) {
		bytes_puts(&reason, "{\"reason\":");
		bytes_json(&reason, span_of(w->reason == NULL ? "" : w->reason));
		bytes_puts(&reason, "}");
		body = w->reason == NULL ? span_of("{}") : bytes_span(&reason);
	} else if (a->body != NULL) {
		body = span_of(a->body);
	}
	if (make_path(w, a, &path) != 0) {
		rc = complain(EXIT_USAGE, "that name is too long");
		goto out;
	}
	if (state_open(&s, false) != 0) {
		rc = EXIT_FAILED;
		goto out;
	}
	do {
		rc = state_call(&s, a->method, path.at, body, &reply) < 300 ? show_reply(w, &reply)
									    : state_refused(&reply);
		again = rc == EXIT_DONE && tokens_more(bytes_span(&reply.body));
		if (reply.body.at != NULL) /* it may show a secret, this once */
			explicit_bzero(reply.body.at, reply.body.len);
		bytes_free(&reply.body);
	} while (again);
	state_close(&s);
out:
	bytes_free(&path);
	bytes_free(&reason);
	return rc;
}

int
records_main(int argc, char **argv)
{
	struct words w = { .kind = (enum record_kind)find_kind(argv[0]) };
	const struct action *a;
	bool takes_away;
	int rc;

	if (w.kind == RECORD_PRICE && argc > 1 && strcmp(argv[1], "import") == 0)
		return price_import_main(argc - 1, argv + 1);
	rc = take_words(&w, argc, argv);
	if (rc != EXIT_DONE)
		goto out;
	if (w.help || w.action == NULL) {
		print_help(w.kind);
		rc = w.help ? EXIT_DONE : EXIT_USAGE;
		goto out;
	}
	if (w.kind == RECORD_TOKEN && strcmp(w.action, "import") == 0) {
		rc = token_import_main(w.which, bytes_span(&w.body), w.json);
		goto out;
	}
	if (w.kind == RECORD_KEY && strcmp(w.action, "import") == 0) {
		rc = key_import_main(w.which, bytes_span(&w.body), w.json);
		goto out;
	}
	if (w.kind == RECORD_POLICY && strcmp(w.action, "try") == 0) {
		rc = policy_try_main(w.which, bytes_span(&w.body), bytes_span(&w.object), w.json);
		goto out;
	}
	if (w.kind == RECORD_POLICY && w.object.len > 0) {
		rc = complain(
			EXIT_USAGE, "a request's model, tokens and session go with try alone");
		goto out;
	}
	if ((a = find_action(&w)) == NULL) {
		rc = complain(EXIT_USAGE, "%s has no action '%s'; `sluice %s --help` lists them",
			argv[0], w.action, argv[0]);
		goto out;
	}
	if (a->needs_which && w.which == NULL) {
		rc = complain(
			EXIT_USAGE, "%s %s: which one? give its id or name", argv[0], w.action);
		goto out;
	}
	if (w.which != NULL && !a->needs_which) {
		rc = complain(EXIT_USAGE, "'%s' is one word too many", w.which);
		goto out;
	}
	if (strcmp(a->name, "list") == 0 && w.unfiltered) {
		rc = complain(EXIT_USAGE,
			"a list goes by --project, --token, --upstream, --model, "
			"--end-user, --tag, "
			"--address, --key, --limit-id, --is-active, --state and --search only");
		goto out;
	}
	takes_away = a->takes_away || tokens_deletes(a->name, bytes_span(&w.body));
	if (takes_away && !confirm(w.yes, "%s %s %s?", w.action, argv[0],
				  w.which != NULL ? w.which : "as said")) {
		rc = EXIT_USAGE;
		goto out;
	}
	rc = run(&w, a);
out:
	if (w.body.at != NULL) /* it may hold a secret */
		explicit_bzero(w.body.at, w.body.len);
	bytes_free(&w.body);
	bytes_free(&w.object);
	bytes_free(&w.query);
	return rc;
}
