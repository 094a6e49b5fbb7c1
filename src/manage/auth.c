/*
 * auth.c - what an upstream is to know us by: its fields checked together, and keys that fit it.
 *
 * A secret that does not fit is refused when it is stored, not when somebody's request needs it.
 */
#include "manage/manage-int.h"
#include "wire/auth.h"
#include "wire/oauth.h"

#include <string.h>

/* ---- upstreams ---- */

/* How a provider of a protocol that begins so usually knows its customers; others take a bearer. */
static const struct {
	const char *protocol;
	enum upstream_auth auth;
} usual[] = {
	{ "azure", AUTH_API_KEY },
	{ "anthropic", AUTH_X_API_KEY },
	{ "gemini", AUTH_X_GOOG_API_KEY },
	{ "vertex", AUTH_GOOGLE },
	{ "bedrock", AUTH_SIGV4 },
	{ "sap", AUTH_SAP },
};

enum upstream_auth
auth_usual(const struct upstream *u)
{
	const struct field *f = shape_field_named(RECORD_UPSTREAM, "protocol");
	struct span name = shape_enum_name(f->values, u->protocol);

	if (u->auth_template[0] != '\0')
		return AUTH_TEMPLATE;
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (span_starts(name, usual[i].protocol))
			return usual[i].auth;
	return AUTH_BEARER;
}

static int
refuse_err(struct call *c, const char *field)
{
	struct err why = c->err; /* its sentence is the answer */

	return call_refuse(c, ERR_BAD_REQUEST, field, "%s", err_public(&why));
}

static bool
is_made_of(const char *s, const char *more)
{
	for (; *s != '\0'; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			    (*s >= '0' && *s <= '9') || strchr(more, *s) != NULL))
			return false;
	return true;
}

static int
check_place(struct edit *e, const struct upstream *u)
{
	char region[64], service[64];

	if (!is_made_of(u->region, "-") || !is_made_of(u->signing_service, "-"))
		return call_refuse(e->call, ERR_BAD_REQUEST,
			is_made_of(u->region, "-") ? "signing_service" : "region",
			"Names of regions and services have letters, digits and dashes, such as "
			"eu-central-1.");
	auth_aws_place(u->base_url, region, service);
	if (u->auth == AUTH_SIGV4 && u->region[0] == '\0' && region[0] == '\0')
		return call_refuse(e->call, ERR_BAD_REQUEST, "region",
			"region is required: signatures are for one, and base_url does not name "
			"it.");
	return 0;
}

static int
check_token_url(struct edit *e, const struct upstream *u)
{
	const char *url = u->token_url;

	if (url[0] == '\0' || strncmp(url, "https://", 8) == 0 ||
		(u->allow_private && strncmp(url, "http://", 7) == 0))
		return 0;
	return call_refuse(e->call, ERR_BAD_REQUEST, "token_url",
		"token_url must begin with https://; http:// goes with allow_private alone.");
}

int
auth_check_upstream(struct edit *e)
{
	struct upstream *u = e->record;
	struct auth_template t;

	if (e->before == NULL && !edit_gave(e, offsetof(struct upstream, auth)))
		u->auth = auth_usual(u);
	if (u->auth == AUTH_TEMPLATE || u->auth_template[0] != '\0')
		if (auth_template_parse(u->auth_template, &t, &e->call->err) != 0)
			return refuse_err(e->call, "auth_template");
	if (u->auth_parameter[0] == '\0' || !is_made_of(u->auth_parameter, "-._~"))
		return call_refuse(e->call, ERR_BAD_REQUEST, "auth_parameter",
			"auth_parameter must be the name of a query parameter, such as key.");
	if (u->resource_group[0] != '\0' && !auth_is_header_value(span_of(u->resource_group)))
		return call_refuse(e->call, ERR_BAD_REQUEST, "resource_group",
			"resource_group may hold visible ASCII characters only.");
	return check_place(e, u) != 0 ? -1 : check_token_url(e, u);
}

/* ---- keys ---- */

/* Enough of what is no secret for people to tell keys apart. */
static void
mask_by_name(const char *name, char masked[TOKEN_MASKED_BYTES])
{
	const size_t most = TOKEN_MASKED_BYTES - 4;
	size_t n = 0;

	for (; n < most && name[n] != '\0'; n++)
		masked[n] = name[n] > 0x20 && name[n] < 0x7f ? name[n] : '?';
	masked[n] = '\0';
	if (name[n] != '\0')
		memcpy(masked + n, "\xE2\x80\xA6", 4);
}

static int
read_service_key(struct call *c, enum oauth_kind kind, const struct upstream *u, const char *given,
	struct bytes *kept, char masked[TOKEN_MASKED_BYTES])
{
	struct oauth_request request;
	char name[OAUTH_NAME_BYTES];
	bool by_certificate, open;

	if (oauth_read_secret(kind, span_of(given), kept, name, &by_certificate, &c->err) != 0)
		return refuse_err(c, "secret");
	if (by_certificate && u->client_cert[0] == '\0')
		return call_refuse(c, ERR_BAD_REQUEST, "secret",
			"This service key has no clientsecret: put its certificate and key into a "
			"PEM file "
			"and name that as the upstream's client_cert first.");
	if (oauth_request_make(kind, bytes_span(kept), u->token_url, u->token_scope, 0, &request,
		    &c->err) != 0)
		return refuse_err(c, "secret");
	open = strncmp(request.url, "https://", 8) != 0;
	oauth_request_free(&request);
	if (open && !u->allow_private)
		return call_refuse(c, ERR_BAD_REQUEST, "secret",
			"The secret names a token endpoint without TLS; it must be https://.");
	mask_by_name(name, masked);
	return 0;
}

static int
read_aws_key(struct call *c, const char *given, char masked[TOKEN_MASKED_BYTES])
{
	struct auth_aws_key k;

	if (auth_aws_key(span_of(given), &k, &c->err) != 0)
		return refuse_err(c, "secret");
	token_mask(k.id.at, k.id.len, masked);
	return 0;
}

/* The secret as it is to be kept, which is as it came but for service keys. */
static int
read_secret(struct call *c, const struct upstream *u, const char *given, struct bytes *kept,
	char masked[TOKEN_MASKED_BYTES])
{
	switch ((enum upstream_auth)u->auth) {
	case AUTH_SAP:
		return read_service_key(c, OAUTH_SAP, u, given, kept, masked);
	case AUTH_GOOGLE:
		return read_service_key(c, OAUTH_GOOGLE, u, given, kept, masked);
	case AUTH_ENTRA:
		return read_service_key(c, OAUTH_ENTRA, u, given, kept, masked);
	default:
		break;
	}
	if (given[0] == '{')
		return call_refuse(c, ERR_BAD_REQUEST, "secret",
			"This upstream sends its keys as they are, and this one is a JSON "
			"document; "
			"set "
			"the upstream's auth to sap-oauth, google-account or entra-id first.");
	if (strlen(given) > AUTH_KEY_MOST)
		return call_refuse(c, ERR_BAD_REQUEST, "secret",
			"secret may have %d bytes at most.", AUTH_KEY_MOST);
	if (call_check_secret(c, "secret", given, 1) != 0)
		return -1;
	if (bytes_puts(kept, given) != 0)
		return call_no_memory(c);
	if (u->auth == AUTH_SIGV4)
		return read_aws_key(c, given, masked);
	token_mask(given, strlen(given), masked);
	return 0;
}

int
auth_seal_key(struct call *c, struct key *k, const char *given)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);
	struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX);
	char masked[TOKEN_MASKED_BYTES] = "";
	int rc;

	if (u == NULL)
		return call_no_memory(c);
	rc = store_get(c->m->store, RECORD_UPSTREAM, k->upstream, u, &c->err);
	if (rc <= 0)
		return rc < 0 ? -1
			      : call_refuse(c, ERR_UNKNOWN_UPSTREAM, "upstream",
					"There is no such upstream.");
	rc = read_secret(c, u, given, &kept, masked);
	if (rc == 0)
		rc = store_seal(c->m->store, k->head.id, bytes_span(&kept), &k->secret, &c->err);
	if (rc == 0)
		memcpy(k->masked, masked, sizeof k->masked);
	if (kept.at != NULL)
		explicit_bzero(kept.at, kept.room);
	bytes_free(&kept);
	return rc;
}
