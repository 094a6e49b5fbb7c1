/*
 * allow.c - the rules stand in the order in which a refusal is of most use: who, from where, to
 * what, with what.
 */
#include "admit/allow.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/net.h"

#include <string.h>
#include <strings.h>

#define PARAM_NAME_BYTES 128
#define PARAM_BYTES      4096 /* of a member with escapes that a pattern is held against */

static int
shown(size_t len)
{
	return (int)(len > 100 ? 100 : len);
}

/* The next line of a list: false at its end. */
static bool
next_entry(const char **list, struct span *entry)
{
	size_t len = strcspn(*list, "\n");

	*entry = (struct span){ *list, len };
	*list += len;
	*list += **list == '\n';
	return len > 0;
}

/* ---- who ---- */

static int
check_token(const struct admit_caller *caller, int64_t now_ms, struct err *err)
{
	const struct token *t = &caller->token;
	char when[CLOCK_TEXT_BYTES];

	if (!t->is_active) {
		err_set(err, ERR_TOKEN_REVOKED, "token %s is revoked", t->masked);
		if (t->revoked_reason[0] != '\0')
			err_say(err, "This token has been revoked: %s", t->revoked_reason);
		return -1;
	}
	if (t->expires_ms != 0 && now_ms >= t->expires_ms) {
		clock_rfc3339(t->expires_ms, when);
		err_set(err, ERR_TOKEN_EXPIRED, "token %s expired at %s", t->masked, when);
		return err_say(err, "This token expired at %s; ask for a new one.", when);
	}
	if (caller->is_old_secret && now_ms >= t->old_until_ms) {
		clock_rfc3339(t->old_until_ms, when);
		err_set(err, ERR_TOKEN_EXPIRED, "old secret of token %s, good until %s", t->masked,
			when);
		return err_say(err,
			"This secret was replaced, and was good until %s; ask for the new one.",
			when);
	}
	if (t->not_before_ms != 0 && now_ms < t->not_before_ms) {
		clock_rfc3339(t->not_before_ms, when);
		err_set(err, ERR_INVALID_TOKEN, "token %s is valid from %s on", t->masked, when);
		return err_say(err, "This token is valid from %s on.", when);
	}
	if (!caller->project.is_active)
		return err_set(
			err, ERR_PROJECT_INACTIVE, "project %s is inactive", caller->project.name);
	return 0;
}

static int
check_model(const struct admit_caller *caller, struct span model, struct err *err)
{
	const struct token *t = &caller->token;

	if (model.len == 0 || (glob_list_match(caller->project.allowed_models, model) &&
				      glob_list_match(t->allowed_models, model)))
		return 0;
	err_set(err, ERR_MODEL_NOT_ALLOWED, "model %.*s is not allowed for token %s",
		shown(model.len), model.at, t->masked);
	return err_say(err,
		"This token may not use the model '%.*s'; GET /v1/models lists those it may.",
		shown(model.len), model.at);
}

int
admit_allow(const struct admit_caller *caller, struct span model, int64_t now_ms, struct err *err)
{
	if (check_token(caller, now_ms, err) != 0)
		return -1;
	return check_model(caller, model, err);
}

/* ---- from where ---- */

static int
check_network(const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	const char *of_project = caller->project.allowed_networks;
	const char *of_token = caller->token.allowed_networks;
	const char *address = r->address != NULL ? r->address : "";

	if ((of_project[0] == '\0' || net_in_list(of_project, address)) &&
		(of_token[0] == '\0' || net_in_list(of_token, address)))
		return 0;
	err_set(err, ERR_FORBIDDEN, "token %s may not be used from %.48s", caller->token.masked,
		address);
	return err_say(err, "This token may not be used from the address %.48s.", address);
}

static int
check_origin(const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	struct span origin = r->header(r->header_ctx, "origin");

	if (origin.len == 0 || (glob_list_match(caller->project.allowed_origins, origin) &&
				       glob_list_match(caller->token.allowed_origins, origin)))
		return 0;
	err_set(err, ERR_ORIGIN_NOT_ALLOWED, "origin %.*s is not allowed for token %s",
		shown(origin.len), origin.at, caller->token.masked);
	return err_say(err, "Pages of %.*s may not use this token.", shown(origin.len), origin.at);
}

/* ---- to what ---- */

static bool
lists_method(const char *list, const char *method)
{
	struct span entry;

	while (next_entry(&list, &entry))
		if (span_is_nocase(entry, method) ||
			(strcmp(method, "HEAD") == 0 && span_is_nocase(entry, "GET")))
			return true;
	return false;
}

static int
check_endpoint(const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	const struct token *t = &caller->token;

	if (!glob_list_match(caller->project.allowed_endpoints, r->path) ||
		!glob_list_match(t->allowed_endpoints, r->path)) {
		err_set(err, ERR_ENDPOINT_NOT_ALLOWED, "%.*s is not allowed for token %s",
			shown(r->path.len), r->path.at, t->masked);
		return err_say(
			err, "This token may not call %.*s.", shown(r->path.len), r->path.at);
	}
	if (t->allowed_methods[0] != '\0' && !lists_method(t->allowed_methods, r->method)) {
		err_set(err, ERR_ENDPOINT_NOT_ALLOWED, "method %.16s is not allowed for token %s",
			r->method, t->masked);
		return err_say(err, "This token may not use the method %.16s.", r->method);
	}
	return 0;
}

/* ---- with what ---- */

/* "Name: value" taken apart; the value without blanks around it. */
static bool
split_header(struct span entry, char name[64], struct span *value)
{
	const char *colon = memchr(entry.at, ':', entry.len);

	if (colon == NULL ||
		!span_copy((struct span){ entry.at, (size_t)(colon - entry.at) }, name, 64))
		return false;
	value->at = colon + 1;
	value->len = entry.len - (size_t)(colon + 1 - entry.at);
	while (value->len > 0 && value->at[0] == ' ') {
		value->at++;
		value->len--;
	}
	while (value->len > 0 && value->at[value->len - 1] == ' ')
		value->len--;
	return true;
}

static int
check_headers(const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	const char *list = caller->token.required_headers;
	struct span entry, want;
	char name[64];

	while (next_entry(&list, &entry)) {
		struct span is = SPAN_NONE;

		if (split_header(entry, name, &want)) {
			is = r->header(r->header_ctx, name);
			/* in constant time: the value may stand for a password */
			if (is.len == want.len && want.len > 0 &&
				hash_equal(is.at, want.at, want.len))
				continue;
		} else {
			name[0] = '\0';
		}
		err_set(err, ERR_FORBIDDEN, "header %s is %s; token %s asks for it", name,
			is.len == 0 ? "missing" : "another", caller->token.masked);
		return err_say(err,
			"This token wants the header %s with the value that was agreed on.", name);
	}
	return 0;
}

static int
check_hidden_model(
	const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	if (r->model.len > 0 || !r->has_other_body ||
		(caller->project.allowed_models[0] == '\0' &&
			caller->token.allowed_models[0] == '\0'))
		return 0;
	err_set(err, ERR_MODEL_NOT_ALLOWED, "the model of a body that is no JSON; token %s",
		caller->token.masked);
	return err_say(err,
		"This token may use certain models only, so its requests must be JSON: send "
		"Content-Type: application/json.");
}

struct params {
	const char *list;
	char name[PARAM_NAME_BYTES]; /* of the member refused */
	bool refused;
};

/* Text is unescaped, anything else as it was sent. */
static bool
value_fits(struct span pattern, struct json_value v)
{
	char text[PARAM_BYTES], glob[SHORT_LIST_BYTES];
	struct span s = v.raw;
	ptrdiff_t len;

	if (!span_copy(pattern, glob, sizeof glob))
		return false;
	if (v.type != JSON_STRING)
		return glob_match(glob, s);
	s = (struct span){ v.raw.at + 1, v.raw.len - 2 };
	if (memchr(s.at, '\\', s.len) != NULL) {
		if ((len = json_string(v, text, sizeof text)) < 0)
			return strcmp(glob, "*") == 0;
		s = (struct span){ text, (size_t)len };
	}
	return glob_match(glob, s);
}

static bool
check_member(void *ctx, const struct json_member *m)
{
	struct params *p = ctx;
	/* the key as a value of its own, so that its escapes are undone by the same code */
	struct json_value key = { JSON_STRING, { m->key.at - 1, m->key.len + 2 } };
	const char *list = p->list;
	struct span entry;
	bool listed = false;
	ptrdiff_t len = json_string(key, p->name, sizeof p->name);

	if (len < 0) { /* no API has such names; it could be a listed one in disguise */
		strcpy(p->name, "(a name too long or broken)");
		p->refused = true;
		return false;
	}
	while (next_entry(&list, &entry)) {
		const char *equals = memchr(entry.at, '=', entry.len);
		size_t n = equals == NULL ? entry.len : (size_t)(equals - entry.at);

		if (n != (size_t)len || memcmp(entry.at, p->name, n) != 0)
			continue;
		listed = true;
		if (equals != NULL &&
			value_fits((struct span){ equals + 1, entry.len - n - 1 }, m->value))
			return true;
	}
	p->refused = listed;
	return !listed;
}

static int
check_params(const struct admit_caller *caller, const struct admit_request *r, struct err *err)
{
	struct params p = { .list = caller->token.allowed_params };

	if (p.list[0] == '\0')
		return 0;
	if (r->body.len == 0) {
		if (!r->has_other_body && !r->has_form)
			return 0;
		err_set(err, ERR_PARAM_NOT_ALLOWED, "a body that is no JSON; token %s",
			caller->token.masked);
		return err_say(err, "The parameters of this token's requests are checked, so they "
				    "must be JSON.");
	}
	if (json_each(r->body, check_member, &p, NULL) == 0 && !p.refused)
		return 0;
	err_set(err, ERR_PARAM_NOT_ALLOWED, "member %.100s of the body; token %s", p.name,
		caller->token.masked);
	return err_say(err, "This token may not send that value of '%.100s'.", p.name);
}

int
admit_allow_request(const struct admit_caller *caller, const struct admit_request *r,
	int64_t now_ms, struct err *err)
{
	if (check_token(caller, now_ms, err) != 0 || check_network(caller, r, err) != 0 ||
		check_endpoint(caller, r, err) != 0 || check_origin(caller, r, err) != 0 ||
		check_headers(caller, r, err) != 0 || check_model(caller, r->model, err) != 0 ||
		check_hidden_model(caller, r, err) != 0)
		return -1;
	return check_params(caller, r, err);
}
