/*
 * oauth_fuzz.c - token endpoints may answer anything, and people paste anything as a secret.
 *
 * Properties: a token that is granted can stand in a header, and what is said of one that is not is
 * plain text; a secret that is taken reads back as itself and makes a request; a template that is
 * taken puts a key somewhere, and never a line's end into a header.  The first byte chooses.
 */
#include "wire/auth.h"

#include "../../lib/fuzz.h"
#include "wire/oauth.h"
#include <string.h>

static void
answer(int status, struct span body)
{
	static struct oauth_reply r;

	if (oauth_reply_read(status, body, &r) == OAUTH_GRANTED) {
		must(auth_is_header_value(span_of(r.token)) && strchr(r.token, ' ') == NULL);
		must(r.life_ms > 0 && r.life_ms <= 7 * 86400000LL);
	} else {
		must(r.token[0] == '\0' && auth_is_header_value(span_of(r.why)));
	}
}

static void
secret(enum oauth_kind kind, struct span given)
{
	struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX), again = BYTES_LIMIT(OAUTH_GIVEN_MAX);
	char name[OAUTH_NAME_BYTES];
	struct oauth_request q = { 0 };
	struct err err;

	if (oauth_read_secret(kind, given, &kept, name, NULL, &err) == 0) {
		must(oauth_read_secret(kind, bytes_span(&kept), &again, name, NULL, &err) == 0);
		must(again.len == kept.len && memcmp(again.at, kept.at, kept.len) == 0);
		/* a long address may not have room for what is put behind it */
		if (oauth_request_make(kind, bytes_span(&kept), "", "", 0, &q, &err) == 0)
			must(q.body.len > 0 && strncmp(q.url, "http", 4) == 0);
		oauth_request_free(&q);
	} else {
		must(err.code == ERR_BAD_REQUEST && err.says[0] != '\0');
	}
	bytes_free(&kept);
	bytes_free(&again);
}

static void template(struct span text)
{
	struct bytes out = BYTES_LIMIT(65536);
	struct auth_template t;
	char copy[512];
	struct err err;

	if (!span_copy(text, copy, sizeof copy) || auth_template_parse(copy, &t, &err) != 0)
		return;
	must(auth_template_fill(&t, SPAN_LIT("k"), &out) == 0);
	must(memchr(out.at, 'k', out.len) != NULL || memmem(out.at, out.len, "aw", 2) != NULL);
	bytes_drop(&out, out.len);
	if (auth_template_fill(&t, SPAN_LIT("\r\nX: y"), &out) == 0)
		must(memchr(out.at, '\n', out.len) == NULL &&
			memchr(out.at, '\r', out.len) == NULL);
	bytes_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0] % 8) {
	case 0:
		answer(200, rest);
		break;
	case 1:
		answer(400, rest);
		break;
	case 2:
		answer(401, rest);
		break;
	case 3:
		secret(OAUTH_SAP, rest);
		break;
	case 4:
		secret(OAUTH_GOOGLE, rest);
		break;
	case 5:
		secret(OAUTH_ENTRA, rest);
		break;
	default:
		template(rest);
		break;
	}
	return 0;
}
