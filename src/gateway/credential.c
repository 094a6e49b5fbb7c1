/*
 * credential.c - what an upstream is to know us by: access tokens are waited for, and errand/credential.c
 * puts it into the head or the address of one attempt.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "errand/errand.h"

#include <string.h>

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

#define NOTHING_RESTS (-1)

/* Until then nobody asks the token endpoint, so nobody asks the key: those who waited for one failure
 * count it once. */
static int64_t
rest_ms(const struct exchange *x, const struct access_hold *hold)
{
	int64_t ms = hold->retry_ms - board_now_ms(x->gw->board);

	return hold->refused ? 0 : ms > 0 ? ms : NOTHING_RESTS;
}

/* None is to be had: the key is told of as if the provider itself had said so. */
static enum credential_verdict
none(struct exchange *x, bool refused, int64_t rests_ms, const char *why)
{
	const struct route_candidate *c = walk_candidate(x);

	x->is_context = x->is_filter = x->one_try = false;
	memset(&x->rules, 0, sizeof x->rules);
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
			       .counts = rests_ms == 0,
			       .rest_ms = rests_ms,
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

	if (c->key == NULL || !credential_buys(u, &kind))
		return CREDENTIAL_READY;
	t = (struct access_terms){ .kind = kind,
		.key = c->key->id,
		.secret = c->key->secret,
		.upstream = u->name,
		.token_url = u->token_url,
		.scope = u->token_scope,
		.ca_file = u->ca_file[0] == '\0' ? NULL : u->ca_file,
		.client_cert = u->client_cert[0] == '\0' ? NULL : u->client_cert,
		.proxy = u->proxy[0] == '\0' ? NULL : u->proxy,
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
		return none(x, false, 0, "the token endpoint takes too long");
	case ACCESS_FAILS:
		return none(x, hold.refused, rest_ms(x, &hold), hold.why);
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
	return x->access_token == NULL ? none(x, false, NOTHING_RESTS, "no memory for it")
				       : CREDENTIAL_READY;
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

int
credential_add(struct exchange *x, struct header_list *l, struct forward_request *q)
{
	const struct route_candidate *c = walk_candidate(x);
	struct credential_lines lines = {
		.arena = x->arena, .line = l->line, .count = l->count, .most = HEADERS_MAX
	};
	int rc = credential_put(&lines, c->upstream, c->key == NULL ? NULL : c->key->secret,
		x->access_token, q, &x->err);

	l->count = lines.count;
	return rc;
}
