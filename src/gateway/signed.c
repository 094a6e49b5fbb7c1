/*
 * signed.c - what models signed and the client's format cannot carry: out of the answer into the vault, by
 * the ledger's thread before the reply closes, and back into the next request of that conversation.
 *
 * The vault is a cache.  What cannot be kept or found is left out, and the request goes on without.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES (1 << 20) /* of one answer; what is beyond is not kept */
#define SEEK_BYTES (8 << 20) /* put back into one request; what is older is left out */
#define HOUR_MS    3600000LL

/* ---- back into a request ---- */

bool
signed_is_sought(const struct exchange *x, const struct format *to)
{
	const struct format *from = x->match.format;

	if (x->gw->conf.vault_hours == 0 || x->from_memory || to == NULL || to == from)
		return false;
	return signatures_of_format(to) != SIGNER_NONE &&
	       signatures_of_format(to) != signatures_of_format(from);
}

struct seeking {
	struct exchange *x;
	char *room; /* for the longest record */
	size_t bytes;
	bool failed;
};

static struct span
look(void *ctx, struct arena *a, const char *key)
{
	struct seeking *s = ctx;
	struct err err = { 0 };
	const char *copy;
	size_t len;
	int rc;

	if (s->failed) /* each further one would wait as long */
		return SPAN_NONE;
	rc = store_vault_get(s->x->gw->store, s->x->caller.project.head.id, key, clock_wall_ms(),
		s->room, VAULT_RECORD_MAX, &len, &err);
	if (rc < 0) {
		log_request(LOG_WARN, "signed", s->x->request_id,
			"signatures cannot be looked for: %s", err.text);
		s->failed = true;
	}
	if (rc <= 0 || len > SEEK_BYTES - s->bytes ||
		(copy = arena_strndup(a, s->room, len)) == NULL)
		return SPAN_NONE;
	s->bytes += len;
	return (struct span){ copy, len };
}

int
signed_restore(void *ctx, struct neutral_request *n, struct err *err)
{
	struct exchange *x = ctx;
	struct seeking s = { .x = x, .room = malloc(VAULT_RECORD_MAX) };
	int rc;

	if (s.room == NULL)
		return err_set(err, ERR_MEMORY, "no memory to look for signatures");
	store_stay(x->gw->store, true);
	rc = signatures_restore(n, signatures_of_format(x->out.format), look, &s, err);
	store_stay(x->gw->store, false);
	free(s.room);
	return rc;
}

/* ---- out of an answer ---- */

void
signed_forget(struct exchange *x)
{
	signatures_free(x->signatures);
	x->signatures = NULL;
}

void
signed_begin(struct exchange *x)
{
	signed_forget(x);
	if (x->out.converted && !x->is_count && x->gw->conf.vault_hours > 0)
		x->signatures = signatures_new(signatures_of_format(x->match.format));
}

int
signed_see(void *ctx, const struct neutral_event *e)
{
	struct exchange *x = ctx;

	if (x->signatures != NULL && signatures_note(x->signatures, e) != 0)
		signed_forget(x);
	return 0;
}

void
signed_see_reply(void *ctx, const struct neutral_reply *r)
{
	(void)neutral_replay(r, signed_see, ctx);
}

static int
put(void *ctx, const char *key, struct span record)
{
	struct ledger_keep *k = ctx;
	struct vault_record *r = &k->record[k->count];

	if (k->count == VAULT_PUT_MAX || record.len > KEEP_BYTES - k->text.len ||
		bytes_add(&k->text, record.at, record.len) != 0)
		return -1;
	(void)span_copy(span_of(key), r->key, sizeof r->key);
	r->record.len = record.len;
	k->count++;
	return 0;
}

struct ledger_keep *
signed_keep(struct exchange *x)
{
	int64_t now_ms = clock_wall_ms();
	struct ledger_keep *k, *fitted;
	size_t at = 0;

	/* of an answer that broke off the client has nothing to come back with */
	if (x->signatures == NULL || x->err.code != ERR_NONE || x->passage.failed)
		return NULL;
	k = calloc(1, sizeof *k + VAULT_PUT_MAX * sizeof k->record[0]);
	if (k == NULL)
		return NULL;
	k->project = x->caller.project.head.id;
	k->until_ms = now_ms + x->gw->conf.vault_hours * HOUR_MS;
	k->cap_bytes = x->gw->conf.vault_cap_bytes;
	k->text = BYTES_LIMIT(KEEP_BYTES);
	(void)signatures_give(x->signatures, put, k);
	signed_forget(x);
	if (k->count == 0) {
		ledger_keep_free(k);
		return NULL;
	}
	for (size_t i = 0; i < k->count; i++) {
		k->record[i].record.at = k->text.at + at;
		at += k->record[i].record.len;
	}
	fitted = realloc(k, sizeof *k + k->count * sizeof k->record[0]);
	return fitted == NULL ? k : fitted;
}
