/*
 * auth.h - what an upstream is to know us by, as far as it is text: places for a key in a head or a
 * query, and the forms that secrets come in.  Pure; safe over threads.
 *
 * Errors are ERR_BAD_REQUEST with a sentence that says what is expected, and never what was given.
 */
#ifndef WIRE_AUTH_H
#define WIRE_AUTH_H

#include "base/bytes.h"
#include "base/err.h"
#include <stdbool.h>

/*
 * "header NAME: TEXT" or "query NAME=TEXT", where TEXT holds ${key}, or ${base64} for the key in
 * base64 (Basic authentication), at least once.
 */
struct auth_template {
	bool in_query;
	struct span name, text; /* of what was parsed */
};
int auth_template_parse(const char *text, struct auth_template *out, struct err *err);
/* The text with the key in it; percent-encoded where it goes into a query.  0, or -1: out's limit,
 * or the key cannot stand there (a line's end in a header). */
int auth_template_fill(const struct auth_template *t, struct span key, struct bytes *out);

/* RFC 3986: all but unreserved characters as %XX. */
int auth_escape(struct span s, struct bytes *out);
/* url with name=value at the end of its query, and no other parameter of that name.  value is
 * escaped already. */
int auth_add_query(struct span url, struct span name, struct span value, struct bytes *out);

/* "ID:SECRET" or "ID:SECRET:SESSION_TOKEN".  The spans lie in secret. */
struct auth_aws_key {
	struct span id, secret, session; /* session: "" none */
};
int auth_aws_key(struct span secret, struct auth_aws_key *out, struct err *err);
/* Region and service that the host of an AWS address names; "" where it names none. */
void auth_aws_place(const char *url, char region[64], char service[64]);

/* May that stand as the whole value of a header?  Visible ASCII and blanks within. */
bool auth_is_header_value(struct span s);

#endif
