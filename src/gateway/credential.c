/*
 * credential.c - what an upstream is to know us by, put into the head or the address of one attempt.
 *
 * A credential is the last thing that goes in: it replaces a line of the same name, whoever it came
 * from, and a signature has to see all else.
 */
#include "gateway/gateway-int.h"

#include "wire/auth.h"

#include <string.h>
#include <strings.h>

#define VALUE_MAX (16 * 1024) /* of a header or an address with a credential in it */

void
credential_begin(struct exchange *x)
{
	x->renewing = x->renewed = false;
}

enum credential_verdict
credential_ask(struct exchange *x)
{
	x->renewing = false;
	return CREDENTIAL_READY;
}

void
credential_leave(struct exchange *x)
{
	x->renewing = false;
}

bool
credential_is_late(const struct exchange *x)
{
	(void)x;
	return false;
}

bool
credential_renews(struct exchange *x)
{
	(void)x;
	return false;
}

/* ---- one attempt's head ---- */

static int
no_memory(struct exchange *x)
{
	return err_set(&x->err, ERR_MEMORY, "no memory for a credential");
}

static int
set_header(struct exchange *x, struct header_list *l, const char *name, const char *value)
{
	size_t kept = 0;

	if (value == NULL)
		return no_memory(x);
	for (size_t i = 0; i < l->count; i++)
		if (strcasecmp(l->line[i].name, name) != 0)
			l->line[kept++] = l->line[i];
	l->count = kept;
	if (l->count == HEADERS_MAX)
		return err_set(&x->err, ERR_BAD_REQUEST,
			"more than %d headers: no room for the credential", HEADERS_MAX - 1);
	l->line[l->count++] = (struct forward_header){ name, value };
	return 0;
}

static int
set_parameter(struct exchange *x, struct forward_request *q, struct span name, struct span value)
{
	struct bytes url = BYTES_LIMIT(VALUE_MAX + WEB_HEADERS_BYTES);
	const char *copy = NULL;

	if (auth_add_query(span_of(q->url), name, value, &url) == 0)
		copy = arena_strndup(x->arena, url.at, url.len);
	if (url.at != NULL)
		explicit_bzero(url.at, url.room);
	bytes_free(&url);
	if (copy == NULL)
		return no_memory(x);
	q->url = copy;
	return 0;
}

static int
add_in_query(
	struct exchange *x, struct forward_request *q, const struct upstream *u, struct span key)
{
	struct bytes value = BYTES_LIMIT(VALUE_MAX);
	int rc = auth_escape(key, &value) != 0
			 ? no_memory(x)
			 : set_parameter(x, q, span_of(u->auth_parameter), bytes_span(&value));

	if (value.at != NULL)
		explicit_bzero(value.at, value.room);
	bytes_free(&value);
	return rc;
}

static int
add_by_template(struct exchange *x, struct header_list *l, struct forward_request *q,
	const struct upstream *u, struct span key)
{
	struct bytes value = BYTES_LIMIT(VALUE_MAX);
	struct auth_template t;
	int rc = auth_template_parse(u->auth_template, &t, &x->err);

	if (rc == 0 && auth_template_fill(&t, key, &value) != 0)
		rc = err_set(&x->err, ERR_UPSTREAM_CREDENTIALS,
			"the key of upstream %s does not fit its auth_template", u->name);
	if (rc == 0)
		rc = t.in_query ? set_parameter(x, q, t.name, bytes_span(&value))
				: set_header(x, l, arena_strndup(x->arena, t.name.at, t.name.len),
					  arena_strndup(x->arena, value.at, value.len));
	if (value.at != NULL)
		explicit_bzero(value.at, value.room);
	bytes_free(&value);
	return rc;
}

int
credential_add(struct exchange *x, struct header_list *l, struct forward_request *q)
{
	const struct route_candidate *c = &x->plan.candidate[x->candidate];
	const struct upstream *u = c->upstream;

	if (c->key == NULL)
		return 0;
	switch ((enum upstream_auth)u->auth) {
	case AUTH_BEARER:
		return set_header(
			x, l, "authorization", arena_printf(x->arena, "Bearer %s", c->key->secret));
	case AUTH_X_API_KEY:
		return set_header(x, l, "x-api-key", c->key->secret);
	case AUTH_API_KEY:
		return set_header(x, l, "api-key", c->key->secret);
	case AUTH_X_GOOG_API_KEY:
		return set_header(x, l, "x-goog-api-key", c->key->secret);
	case AUTH_QUERY:
		return add_in_query(x, q, u, span_of(c->key->secret));
	case AUTH_TEMPLATE:
		return add_by_template(x, l, q, u, span_of(c->key->secret));
	case AUTH_NONE:
		return 0;
	case AUTH_SIGV4:
	case AUTH_SAP:
	case AUTH_GOOGLE:
	case AUTH_ENTRA:
		break;
	}
	return err_set(&x->err, ERR_UPSTREAM_CREDENTIALS,
		"upstream %s has an auth that this version does not know", u->name);
}
