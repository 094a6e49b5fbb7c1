/*
 * admit.c - a request without a token of ours learns nothing: whatever is wrong with a secret, the
 * answer is the same until the secret is known.
 */
#include "admit/admit.h"

#include <string.h>

/* AWS's SDKs sign, and show the token as the id of their key: the token is the secret, the signature
 * is not looked at (interfaces.md, Credentials). */
static struct span
aws_key_id(struct span value)
{
	static const char scheme[] = "AWS4-HMAC-SHA256 ", credential[] = "Credential=";
	const char *at, *end;

	if (!span_starts(value, scheme))
		return value;
	at = memmem(value.at, value.len, credential, sizeof credential - 1);
	if (at == NULL)
		return SPAN_NONE;
	at += sizeof credential - 1;
	end = memchr(at, '/', value.len - (size_t)(at - value.at));
	return end == NULL ? SPAN_NONE : (struct span){ at, (size_t)(end - at) };
}

void
admit_add_secret(struct admit_secrets *s, struct span value)
{
	static const char scheme[] = "bearer";
	const size_t len = sizeof scheme - 1;

	value = aws_key_id(value);
	/* the scheme alone is what an SDK without a key sends */
	if (value.len >= len && span_is_nocase((struct span){ value.at, len }, scheme) &&
		(value.len == len || value.at[len] == ' ')) {
		value.at += len;
		value.len -= len;
	}
	while (value.len > 0 && value.at[0] == ' ') {
		value.at++;
		value.len--;
	}
	while (value.len > 0 && value.at[value.len - 1] == ' ')
		value.len--;
	if (value.len == 0 || value.len >= ADMIT_SECRET_BYTES || s->count == ADMIT_SECRETS_MAX)
		return;
	for (int i = 0; i < s->count; i++)
		if (span_is(value, s->text[i]))
			return;
	span_copy(value, s->text[s->count++], ADMIT_SECRET_BYTES);
}

int
admit_identify(struct store *store, const struct admit_secrets *secrets,
	struct admit_caller *caller, bool *known, struct err *err)
{
	bool mistyped = false;
	int found = 0;

	*known = false;
	if (secrets->count == 0)
		return err_set(err, ERR_MISSING_TOKEN, "no credential in the request");
	for (int i = 0; i < secrets->count; i++) {
		const char *text = secrets->text[i];
		uint8_t sha[SHA256_BYTES];
		struct token token;
		int rc;

		if (token_mistyped(text, strlen(text))) {
			mistyped = true;
			continue;
		}
		hash_sha256(text, strlen(text), sha);
		rc = store_token_by_hash(store, sha, &token, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		if (found++ > 0) {
			err_set(err, ERR_BAD_REQUEST, "two different tokens in one request");
			return err_say(err, "The request carries two different tokens; send one.");
		}
		caller->token = token;
		caller->is_old_secret = rc == STORE_OLD_SECRET;
	}
	if (found == 0) {
		err_set(err, ERR_INVALID_TOKEN,
			mistyped ? "checksum of the token does not fit" : "unknown token");
		if (mistyped)
			err_say(err, "This token has a typing error or was cut; copy it again.");
		return -1;
	}
	*known = true;
	switch (store_get(store, RECORD_PROJECT, caller->token.project, &caller->project, err)) {
	case 1:
		return 0;
	case 0:
		return err_set(
			err, ERR_PROJECT_INACTIVE, "the token's project is not in the store");
	default:
		return -1;
	}
}
