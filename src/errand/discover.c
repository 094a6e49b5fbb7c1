/*
 * discover.c - a provider is asked for its models, page by page, and what it says is kept.
 */
#include "errand/errand-int.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define PAGES_MOST 64
#define PAGE_BYTES (8 * 1024 * 1024) /* OpenRouter's list has 600 KB */
#define PAGE_MS    20000

static int
ask_page(struct errand_desk *d, const struct upstream *u, const struct snapshot_key *key,
	struct models_page *page, struct bytes *text, struct err *err)
{
	struct bytes url = BYTES_LIMIT(URL_BYTES + sizeof page->next * 3 + 256);
	struct errand e = { .upstream = u,
		.key = key,
		.method = "GET",
		.total_ms = PAGE_MS,
		.most_bytes = PAGE_BYTES };
	int rc = models_url(u, span_of(page->next), &url, err);

	if (rc == 0) {
		e.url = url.at;
		errand_run(d, &e, 1);
		if (e.err.code != ERR_NONE) {
			*err = e.err;
			rc = -1;
		} else if (e.status != 200) {
			rc = err_set(err,
				e.status == 401 || e.status == 403 ? ERR_UPSTREAM_CREDENTIALS
								   : ERR_UPSTREAM_UNREACHABLE,
				"upstream %s answered with status %d", u->name, e.status);
		} else {
			rc = models_read(u, bytes_span(&e.body), page, text, err);
		}
	}
	bytes_free(&e.body);
	bytes_free(&url);
	return rc;
}

static int
ask_all(struct errand_desk *d, const struct snapshot *p, const struct upstream *u,
	struct models_page *page, struct bytes *text, struct err *err)
{
	const struct snapshot_key *key = errand_key(d->board, p, u);

	if (key == NULL && u->auth != AUTH_NONE)
		return err_set(err, ERR_UPSTREAM_CREDENTIALS,
			"upstream %s has no key that may be asked now", u->name);
	for (int i = 0; i < PAGES_MOST; i++) {
		if (ask_page(d, u, key, page, text, err) != 0)
			return -1;
		if (page->next[0] == '\0')
			return 0;
	}
	page->is_cut = true;
	return 0;
}

int
discover_now(struct errand_desk *d, const struct snapshot *p, const struct upstream *u,
	struct models_head *head, struct err *err)
{
	struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
	struct models_page page = { 0 };
	struct err why = { 0 };
	int64_t now_ms = board_now_ms(d->board);
	int rc;

	rc = ask_all(d, p, u, &page, &text, &why);
	/* somebody else may have asked meanwhile: what he got stays */
	if (store_models_get(d->store, u->head.id, head, NULL, err) < 0) {
		bytes_free(&text);
		return -1;
	}
	if (head->of != models_of(u)) /* that was another one's */
		memset(head, 0, sizeof *head);
	head->of = models_of(u);
	head->tried_ms = now_ms;
	head->why[0] = '\0';
	if (rc != 0) {
		(void)span_copy(span_of(why.text), head->why, sizeof head->why);
		log_write(LOG_WARN, "discover", "%s", why.text);
		rc = store_models_note(d->store, u->head.id, head, err);
		bytes_free(&text);
		return rc == 0 && why.code == ERR_MEMORY ? err_set(err, ERR_MEMORY, "%s", why.text)
							 : rc;
	}
	if (page.is_cut)
		(void)snprintf(head->why, sizeof head->why, "there are more than %d models: cut",
			MODELS_MAX);
	head->at_ms = now_ms;
	head->count = page.count;
	rc = store_models_put(d->store, u->head.id, head, bytes_span(&text), err);
	bytes_free(&text);
	if (rc != 0)
		return -1;
	board_generation_bump(d->board);
	log_write(LOG_INFO, "discover", "upstream %s has %u models", u->name, (unsigned)page.count);
	return 1;
}
