/* probe.c - what does a web server answer for that address?  For `sluice check`, not for the loop. */
#include "forward/forward.h"

#include <curl/curl.h>
#include <stdlib.h>

#define PROBE_WAIT_MS 5000L

int
forward_probe(const char *url, int *status, int64_t *length, struct err *err)
{
	CURL *c = curl_easy_init();
	curl_off_t bytes = -1;
	CURLcode rc;
	long code = 0;

	if (c == NULL)
		return err_set(err, ERR_MEMORY, "no memory to ask a web server");
	(void)curl_easy_setopt(c, CURLOPT_URL, url);
	(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, PROBE_WAIT_MS);
	rc = curl_easy_perform(c);
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
	(void)curl_easy_getinfo(c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &bytes);
	curl_easy_cleanup(c);
	if (rc != CURLE_OK)
		return err_set(
			err, ERR_UPSTREAM_UNREACHABLE, "%.150s: %s", url, curl_easy_strerror(rc));
	*status = (int)code;
	*length = (int64_t)bytes;
	return 0;
}
