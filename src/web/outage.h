/*
 * outage.h - a program that cannot work still answers: every request gets the same error, in its
 * own words, instead of a web server's bare 502 or a wait.
 */
#ifndef WEB_OUTAGE_H
#define WEB_OUTAGE_H

#include "web/web.h"

/* Answers with `why` for for_ms (in CGI: the one request), then returns: whoever keeps the program
 * alive starts it again, and so it tries again.  make_error as in struct web_handler. */
void web_outage(const struct err *why, int for_ms, void *ctx,
	const char *(*make_error)(void *ctx, const struct web_request *r, const struct err *why,
		struct bytes *out));

#endif
