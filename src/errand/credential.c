/*
 * credential.c - what an upstream is to know us by, put into the head or the address of one attempt.
 *
 * A credential is the last thing that goes in: it replaces a line of the same name, whoever it came
 * from, and a signature has to see all else.
 */
#include "errand/errand.h"

#include "base/arena.h"
#include "base/clock.h"
#include "wire/auth.h"
#include "wire/sigv4.h"

#include <string.h>
#include <strings.h>

#define VALUE_MAX (16 * 1024) /* of a header or an address with a credential in it */
#define URL_MAX   (96 * 1024) /* of an address that a client gave, without it */

static int
no_memory(struct err *err)
{
	return err_set(err, ERR_MEMORY, "no memory for a credential");
}

static int
set_header(struct credential_lines *l, const char *name, const char *value, struct err *err)
{
	size_t kept = 0;

	if (value == NULL)
		return no_memory(err);
	for (size_t i = 0; i < l->count; i++)
		if (strcasecmp(l->line[i].name, name) != 0)
			l->line[kept++] = l->line[i];
	l->count = kept;
	if (l->count == l->most)
		return err_set(err, ERR_BAD_REQUEST,
			"more than %zu headers: no room for the credential", l->most - 1);
	l->line[l->count++] = (struct forward_header){ name, value };
	return 0;
}

static int
set_parameter(struct credential_lines *l, struct forward_request *q, struct span name,
	struct span value, struct err *err)
{
	struct bytes url = BYTES_LIMIT(VALUE_MAX + URL_MAX);
	const char *copy = NULL;

	if (auth_add_query(span_of(q->url), name, value, &url) == 0)
		copy = arena_strndup(l->arena, url.at, url.len);
	if (url.at != NULL)
		explicit_bzero(url.at, url.room);
	bytes_free(&url);
	if (copy == NULL)
		return no_memory(err);
	q->url = copy;
	return 0;
}

static int
add_in_query(struct credential_lines *l, struct forward_request *q, const struct upstream *u,
	struct span key, struct err *err)
{
	struct bytes value = BYTES_LIMIT(VALUE_MAX);
	int rc = auth_escape(key, &value) != 0
			 ? no_memory(err)
			 : set_parameter(l, q, span_of(u->auth_parameter), bytes_span(&value), err);

	if (value.at != NULL)
		explicit_bzero(value.at, value.room);
	bytes_free(&value);
	return rc;
}

static int
add_by_template(struct credential_lines *l, struct forward_request *q, const struct upstream *u,
	struct span key, struct err *err)
{
	struct bytes value = BYTES_LIMIT(VALUE_MAX);
	struct auth_template t;
	int rc = auth_template_parse(u->auth_template, &t, err);

	if (rc == 0 && auth_template_fill(&t, key, &value) != 0)
		rc = err_set(err, ERR_UPSTREAM_CREDENTIALS,
			"the key of upstream %s does not fit its auth_template", u->name);
	if (rc == 0)
		rc = t.in_query ? set_parameter(l, q, t.name, bytes_span(&value), err)
				: set_header(l, arena_strndup(l->arena, t.name.at, t.name.len),
					  arena_strndup(l->arena, value.at, value.len), err);
	if (value.at != NULL)
		explicit_bzero(value.at, value.room);
	bytes_free(&value);
	return rc;
}

static struct span
header_of(const struct credential_lines *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcasecmp(l->line[i].name, name) == 0)
			return span_of(l->line[i].value);
	return SPAN_LIT("");
}

static int
add_signature(struct credential_lines *l, const struct forward_request *q, const struct upstream *u,
	struct span secret, struct err *err)
{
	struct sigv4_headers made;
	struct auth_aws_key key;
	struct sigv4_request r;
	char region[64], service[64];

	if (auth_aws_key(secret, &key, err) != 0)
		return err_set(err, ERR_UPSTREAM_CREDENTIALS,
			"the key of upstream %s is no key of an AWS account", u->name);
	auth_aws_place(u->base_url, region, service);
	r = (struct sigv4_request){ .method = q->method,
		.url = span_of(q->url),
		.content_type = header_of(l, "content-type"),
		.body = q->has_body ? q->body : SPAN_LIT(""),
		.id = key.id,
		.secret = key.secret,
		.session = key.session,
		.region = span_of(u->region[0] != '\0' ? u->region : region),
		.service = span_of(u->signing_service[0] != '\0' ? u->signing_service
				   : service[0] != '\0'          ? service
								 : "bedrock"),
		.now_ms = clock_wall_ms() };

	if (q->body_fd >= 0 || sigv4_sign(&r, &made) != 0)
		return err_set(err, ERR_UPSTREAM_CREDENTIALS,
			"a request to upstream %s cannot be signed", u->name);
	if (set_header(l, "x-amz-date", arena_strdup(l->arena, made.x_amz_date), err) != 0 ||
		(key.session.len > 0 &&
			set_header(l, "x-amz-security-token",
				arena_strndup(l->arena, key.session.at, key.session.len),
				err) != 0))
		return -1;
	return set_header(l, "authorization", arena_strdup(l->arena, made.authorization), err);
}

int
credential_put(struct credential_lines *l, const struct upstream *u, const char *secret,
	const char *access_token, struct forward_request *q, struct err *err)
{
	if (secret == NULL)
		return 0;
	switch ((enum upstream_auth)u->auth) {
	case AUTH_BEARER:
		return set_header(
			l, "authorization", arena_printf(l->arena, "Bearer %s", secret), err);
	case AUTH_X_API_KEY:
		return set_header(l, "x-api-key", secret, err);
	case AUTH_API_KEY:
		return set_header(l, "api-key", secret, err);
	case AUTH_X_GOOG_API_KEY:
		return set_header(l, "x-goog-api-key", secret, err);
	case AUTH_QUERY:
		return add_in_query(l, q, u, span_of(secret), err);
	case AUTH_TEMPLATE:
		return add_by_template(l, q, u, span_of(secret), err);
	case AUTH_NONE:
		return 0;
	case AUTH_SAP:
		if (set_header(l, "ai-resource-group",
			    u->resource_group[0] == '\0' ? "default" : u->resource_group, err) != 0)
			return -1;
		/* fall through */
	case AUTH_GOOGLE:
	case AUTH_ENTRA:
		return set_header(
			l, "authorization", arena_printf(l->arena, "Bearer %s", access_token), err);
	case AUTH_SIGV4:
		return add_signature(l, q, u, span_of(secret), err);
	}
	return err_set(err, ERR_UPSTREAM_CREDENTIALS,
		"upstream %s has an auth that this version does not know", u->name);
}

bool
credential_buys(const struct upstream *u, enum oauth_kind *kind)
{
	switch ((enum upstream_auth)u->auth) {
	case AUTH_SAP:
		*kind = OAUTH_SAP;
		return true;
	case AUTH_GOOGLE:
		*kind = OAUTH_GOOGLE;
		return true;
	case AUTH_ENTRA:
		*kind = OAUTH_ENTRA;
		return true;
	default:
		return false;
	}
}

static const char *
or_null(const char *s)
{
	return s[0] == '\0' ? NULL : s;
}

void
credential_way(struct forward_request *q, const struct upstream *u)
{
	q->allow_private = u->allow_private;
	q->ca_file = or_null(u->ca_file);
	q->client_cert = or_null(u->client_cert);
	q->proxy = or_null(u->proxy);
	q->pool = u->name;
}

void
credential_extra(struct credential_lines *l, const struct upstream *u)
{
	const char *at = u->extra_headers;

	while (*at != '\0') {
		size_t len = strcspn(at, "\n");
		const char *colon = memchr(at, ':', len);

		if (colon != NULL && l->count < l->most) {
			size_t skip = (size_t)(colon - at) + 1;
			const char *name = arena_strndup(l->arena, at, (size_t)(colon - at));
			const char *value;

			while (skip < len && at[skip] == ' ')
				skip++;
			value = arena_strndup(l->arena, at + skip, len - skip);
			if (name != NULL && value != NULL)
				l->line[l->count++] = (struct forward_header){ name, value };
		}
		at += len + (at[len] == '\n');
	}
}
