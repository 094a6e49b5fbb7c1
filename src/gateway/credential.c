/*
 * credential.c - what an upstream is to know us by, put into the head or the address of one attempt.
 *
 * A credential is the last thing that goes in: it replaces a line of the same name, whoever it came
 * from, and a signature has to see all else.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/auth.h"
#include "wire/sigv4.h"

#include <string.h>
#include <strings.h>

#define VALUE_MAX (16 * 1024) /* of a header or an address with a credential in it */

/* Does that upstream take access tokens, which its keys buy? */
static bool
takes_tokens(const struct route_candidate *c, enum oauth_kind *kind)
{
	if (c->key == NULL)
		return false;
	switch ((enum upstream_auth)c->upstream->auth) {
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

void
credential_begin(struct exchange *x)
{
	x->renewing = x->renewed = false;
	x->access_token = NULL;
	x->access_number = 0;
	x->waits_since_ms = 0;
}

static void
on_wake(void *ctx)
{
	exchange_run(ctx);
}

/* None is to be had: the key is told of as if the provider itself had said so. */
static enum credential_verdict
none(struct exchange *x, bool refused, const char *why)
{
	const struct route_candidate *c = walk_candidate(x);

	x->is_context = x->is_filter = x->one_try = false;
	x->failure = refused ? FAILURE_KEY_INVALID : FAILURE_TRANSIENT;
	x->renewing = false;
	x->row.upstream = c->upstream->head.id;
	x->row.key = c->key->id;
	err_set(&x->err, ERR_UPSTREAM_CREDENTIALS, "upstream %s: no access token: %s",
		c->upstream->name, why);
	err_say(&x->err,
		refused ? "The provider's sign-in refused the gateway's own key; tell its "
			  "operator."
			: "The gateway could not sign in at the provider; try again soon.");
	walk_report(x, &(struct route_outcome){ .failure = x->failure,
			       .status = refused ? 401 : 0,
			       .counts = true,
			       .evidence = span_of(why) });
	log_request(LOG_WARN, "attempt", x->request_id, "%s", x->err.text);
	return CREDENTIAL_NONE;
}

enum credential_verdict
credential_ask(struct exchange *x)
{
	const struct conf *conf = &x->gw->conf;
	const struct route_candidate *c = walk_candidate(x);
	const struct upstream *u = c->upstream;
	struct access_terms t;
	struct access_hold hold;
	enum oauth_kind kind;

	if (!takes_tokens(c, &kind))
		return CREDENTIAL_READY;
	t = (struct access_terms){ .kind = kind,
		.key = c->key->id,
		.secret = c->key->secret,
		.upstream = u->name,
		.token_url = u->token_url,
		.scope = u->token_scope,
		.ca_file = u->ca_file[0] == '\0' ? NULL : u->ca_file,
		.client_cert = u->client_cert[0] == '\0' ? NULL : u->client_cert,
		.allow_private = u->allow_private,
		.connect_ms = u->connect_ms > 0 ? u->connect_ms : conf->connect_timeout_ms,
		.first_byte_ms =
			u->first_byte_ms > 0 ? u->first_byte_ms : conf->first_byte_timeout_ms };
	x->waiter.wake = on_wake;
	x->waiter.ctx = x;
	switch (access_ask(
		x->gw->access, &t, x->renewing ? x->access_number : 0, &x->waiter, &hold)) {
	case ACCESS_WAITS:
		if (x->waits_since_ms == 0)
			x->waits_since_ms = (int64_t)uv_now(&x->gw->loop);
		if (!credential_is_late(x))
			return CREDENTIAL_WAIT;
		access_leave(&x->waiter);
		return none(x, false, "the token endpoint takes too long");
	case ACCESS_FAILS:
		return none(x, hold.refused, hold.why);
	case ACCESS_KEEPS:
		x->renewing = false;
		return CREDENTIAL_KEPT;
	case ACCESS_READY:
		break;
	}
	x->renewed = x->renewing;
	x->renewing = false;
	x->waits_since_ms = 0;
	x->access_number = hold.number;
	x->access_token = arena_strdup(x->arena, hold.token);
	return x->access_token == NULL ? none(x, false, "no memory for it") : CREDENTIAL_READY;
}

void
credential_leave(struct exchange *x)
{
	access_leave(&x->waiter);
	x->renewing = false;
}

bool
credential_is_late(const struct exchange *x)
{
	return x->waits_since_ms != 0 &&
	       (int64_t)uv_now(&x->gw->loop) - x->waits_since_ms >= ACCESS_WAIT_MS;
}

bool
credential_renews(struct exchange *x)
{
	if (x->access_number == 0 || x->renewed || x->gone || x->cut || x->content_sent ||
		(x->end.status != 401 && x->end.status != 403))
		return false;
	log_request(LOG_INFO, "attempt", x->request_id,
		"upstream %s refused an access token with status %d; it is asked again with "
		"another",
		x->plan.candidate[x->candidate].upstream->name, x->end.status);
	x->renewing = true;
	return true;
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

static struct span
header_of(const struct header_list *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcasecmp(l->line[i].name, name) == 0)
			return span_of(l->line[i].value);
	return SPAN_LIT("");
}

static int
add_signature(struct exchange *x, struct header_list *l, const struct forward_request *q,
	const struct upstream *u, struct span secret)
{
	struct sigv4_headers made;
	struct auth_aws_key key;
	struct sigv4_request r;
	char region[64], service[64];

	if (auth_aws_key(secret, &key, &x->err) != 0)
		return err_set(&x->err, ERR_UPSTREAM_CREDENTIALS,
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
		return err_set(&x->err, ERR_UPSTREAM_CREDENTIALS,
			"a request to upstream %s cannot be signed", u->name);
	if (set_header(x, l, "x-amz-date", arena_strdup(x->arena, made.x_amz_date)) != 0 ||
		(key.session.len > 0 &&
			set_header(x, l, "x-amz-security-token",
				arena_strndup(x->arena, key.session.at, key.session.len)) != 0))
		return -1;
	return set_header(x, l, "authorization", arena_strdup(x->arena, made.authorization));
}

int
credential_add(struct exchange *x, struct header_list *l, struct forward_request *q)
{
	const struct route_candidate *c = walk_candidate(x);
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
	case AUTH_SAP:
		if (set_header(x, l, "ai-resource-group",
			    u->resource_group[0] == '\0' ? "default" : u->resource_group) != 0)
			return -1;
		/* fall through */
	case AUTH_GOOGLE:
	case AUTH_ENTRA:
		return set_header(x, l, "authorization",
			arena_printf(x->arena, "Bearer %s", x->access_token));
	case AUTH_SIGV4:
		return add_signature(x, l, q, u, span_of(c->key->secret));
	}
	return err_set(&x->err, ERR_UPSTREAM_CREDENTIALS,
		"upstream %s has an auth that this version does not know", u->name);
}
