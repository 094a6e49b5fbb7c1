/*
 * oauth_test.c - service keys in the forms people have them, what is asked for with them, and what
 * token endpoints answer.
 */
#include "wire/oauth.h"

#include "base/json.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static EVP_PKEY *rsa;
static char google[8192]; /* a service account's file */

static int
make_account(void **state)
{
	struct bytes json = BYTES_LIMIT(sizeof google - 1);
	BIO *pem = BIO_new(BIO_s_mem());
	char *at;
	long len;

	(void)state;
	rsa = EVP_RSA_gen(2048);
	assert_non_null(rsa);
	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(pem, rsa, NULL, NULL, 0, NULL, NULL), 1);
	len = BIO_get_mem_data(pem, &at);
	bytes_puts(
		&json, "{\n \"type\": \"service_account\", \"private_key_id\": \"kid\\u002d1\",\n");
	bytes_puts(&json,
		" \"client_email\": \"a@p.example\", \"client_id\": \"1\", \"private_key\": ");
	bytes_json(&json, (struct span){ at, (size_t)len });
	bytes_puts(&json, ", \"token_uri\": \"https://token.example/token\" }\n");
	memcpy(google, json.at, json.len + 1);
	bytes_free(&json);
	BIO_free(pem);
	return 0;
}

static int
free_account(void **state)
{
	(void)state;
	EVP_PKEY_free(rsa);
	return 0;
}

/* The parameter of a form, decoded. */
static const char *
field(const struct bytes *form, const char *name, char out[4096])
{
	const char *at = form->at;
	size_t len = strlen(name), n = 0;

	for (; at != NULL; at = strchr(at, '&') == NULL ? NULL : strchr(at, '&') + 1)
		if (strncmp(at, name, len) == 0 && at[len] == '=')
			break;
	if (at == NULL)
		return NULL;
	for (at += len + 1; *at != '\0' && *at != '&'; at++) {
		unsigned int c = (unsigned char)*at;

		if (c == '%') {
			assert_int_equal(sscanf(at + 1, "%2X", &c), 1);
			at += 2;
		}
		assert_true(n < 4095);
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return out;
}

static void
secrets_are_read_in_the_forms_people_have_them(void **state)
{
	static const struct {
		enum oauth_kind kind;
		const char *given, *kept, *name;
	} cases[] = {
		{ OAUTH_SAP,
			"{\"clientid\":\"sb-1!b2|x\",\"clientsecret\":\"s\",\"url\":\"https://"
			"a.example\","
			"\"identityzone\":\"z\",\"serviceurls\":{\"AI_API_URL\":\"https://b\"}}",
			"{\"clientid\":\"sb-1!b2|x\",\"clientsecret\":\"s\",\"url\":\"https://"
			"a.example\"}",
			"sb-1!b2|x" },
		{ OAUTH_SAP,
			" {\"credentials\":{\"clientid\":\"c\",\"clientsecret\":\"s\",\"url\":"
			"\"https://a\"}}\n",
			"{\"clientid\":\"c\",\"clientsecret\":\"s\",\"url\":\"https://a\"}", "c" },
		{ OAUTH_SAP,
			"{\"clientid\":\"c\",\"certurl\":\"https://cert.example\",\"url\":\"https:/"
			"/a\"}",
			"{\"clientid\":\"c\",\"certurl\":\"https://cert.example\"}", "c" },
		{ OAUTH_ENTRA, "tenant.example:client:se:cret",
			"{\"tenant\":\"tenant.example\",\"client_id\":\"client\",\"client_secret\":"
			"\"se:cret\"}",
			"client" },
		{ OAUTH_ENTRA,
			"{\"appId\":\"a\",\"displayName\":\"d\",\"password\":\"p\",\"tenant\":"
			"\"t\"}",
			"{\"tenant\":\"t\",\"client_id\":\"a\",\"client_secret\":\"p\"}", "a" },
		{ OAUTH_ENTRA, "{\"tenant_id\":\"t\",\"client_id\":\"a\",\"client_secret\":\"p\"}",
			"{\"tenant\":\"t\",\"client_id\":\"a\",\"client_secret\":\"p\"}", "a" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX),
			     again = BYTES_LIMIT(OAUTH_GIVEN_MAX);
		char name[OAUTH_NAME_BYTES];
		struct err err = { 0 };
		bool certificate;

		if (oauth_read_secret(cases[i].kind, span_of(cases[i].given), &kept, name,
			    &certificate, &err) != 0)
			fail_msg("case %zu: %s", i, err.text);
		assert_string_equal(kept.at, cases[i].kept);
		assert_string_equal(name, cases[i].name);
		assert_int_equal(certificate, strstr(cases[i].kept, "certurl") != NULL);
		/* what is kept reads as itself */
		assert_int_equal(oauth_read_secret(cases[i].kind, bytes_span(&kept), &again, name,
					 NULL, &err),
			0);
		assert_string_equal(again.at, kept.at);
		bytes_free(&kept);
		bytes_free(&again);
	}
}

static void
a_secret_that_does_not_fit_is_refused_and_not_repeated(void **state)
{
	static const struct {
		enum oauth_kind kind;
		const char *given;
	} cases[] = {
		{ OAUTH_SAP, "" },
		{ OAUTH_SAP, "hush" },
		{ OAUTH_SAP, "{\"clientid\":\"hush\"" },
		{ OAUTH_SAP, "{\"clientid\":\"hush\",\"clientsecret\":\"hush\"}" },
		{ OAUTH_SAP, "{\"clientid\":\"hush\",\"url\":\"https://a\"}" },
		{ OAUTH_SAP, "{\"clientsecret\":\"hush\",\"url\":\"https://a\"}" },
		{ OAUTH_SAP, "{\"clientid\":\"hush\",\"clientsecret\":\"s\",\"url\":\"ftp://a\"}" },
		{ OAUTH_SAP,
			"{\"clientid\":\"hush\",\"clientsecret\":\"s\",\"url\":\"https://u@a\"}" },
		{ OAUTH_SAP,
			"{\"clientid\":\"hush\",\"clientsecret\":\"s\",\"url\":\"https://a b\"}" },
		{ OAUTH_SAP, "{\"clientid\":7,\"clientsecret\":\"hush\",\"url\":\"https://a\"}" },
		{ OAUTH_GOOGLE, "{\"client_email\":\"hush\"}" },
		{ OAUTH_GOOGLE, "{\"client_email\":\"hush\",\"private_key\":\"hush\"}" },
		{ OAUTH_GOOGLE, "{\"private_key\":\"hush\"}" },
		{ OAUTH_ENTRA, "hush" },
		{ OAUTH_ENTRA, "a:hush" },
		{ OAUTH_ENTRA, "a/b:c:hush" },
		{ OAUTH_ENTRA, "..:c:hush" },
		{ OAUTH_ENTRA, ":c:hush" },
		{ OAUTH_ENTRA, "t:c:" },
		{ OAUTH_ENTRA, "t:c:hush\xFF" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX);
		char name[OAUTH_NAME_BYTES] = "";
		struct err err = { 0 };

		if (oauth_read_secret(
			    cases[i].kind, span_of(cases[i].given), &kept, name, NULL, &err) == 0)
			fail_msg("taken: %s", cases[i].given);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		assert_non_null(strstr(err.says, "must be"));
		assert_null(strstr(err.says, "hush"));
		assert_null(strstr(err.text, "hush"));
		bytes_free(&kept);
	}
}

static void
a_long_member_is_refused(void **state)
{
	char given[4096];
	struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX);
	char name[OAUTH_NAME_BYTES];
	struct err err = { 0 };

	(void)state;
	(void)snprintf(given, sizeof given,
		"{\"clientid\":\"%01500d\",\"clientsecret\":\"s\",\"url\":\"https://a\"}", 1);
	assert_int_equal(oauth_read_secret(OAUTH_SAP, span_of(given), &kept, name, NULL, &err), -1);
	bytes_free(&kept);
}

static void
client_credentials_are_asked_for_as_a_form(void **state)
{
	static const char sap[] = "{\"clientid\":\"sb-1!b2|x\",\"clientsecret\":\"a+b&c=\",\"url\":"
				  "\"https://a.example/\"}";
	static const char entra[] =
		"{\"tenant\":\"t-1\",\"client_id\":\"c\",\"client_secret\":\"s\"}";
	struct oauth_request r;
	struct err err = { 0 };
	char out[4096];

	(void)state;
	assert_int_equal(oauth_request_make(OAUTH_SAP, span_of(sap), "", "", 0, &r, &err), 0);
	assert_string_equal(r.url, "https://a.example/oauth/token");
	assert_string_equal(r.body.at, "grant_type=client_credentials&client_id=sb-1%21b2%7Cx&"
				       "client_secret=a%2Bb%26c%3D");
	oauth_request_free(&r);

	assert_int_equal(oauth_request_make(OAUTH_ENTRA, span_of(entra), "", "", 0, &r, &err), 0);
	assert_string_equal(r.url, "https://login.microsoftonline.com/t-1/oauth2/v2.0/token");
	assert_string_equal(
		field(&r.body, "scope", out), "https://cognitiveservices.azure.com/.default");
	oauth_request_free(&r);

	assert_int_equal(oauth_request_make(OAUTH_ENTRA, span_of(entra),
				 "https://sso.example/token", "api://x/.default", 0, &r, &err),
		0);
	assert_string_equal(r.url, "https://sso.example/token");
	assert_string_equal(field(&r.body, "scope", out), "api://x/.default");
	oauth_request_free(&r);

	assert_int_equal(
		oauth_request_make(OAUTH_SAP, SPAN_LIT("not a key"), "", "", 0, &r, &err), -1);
	oauth_request_free(&r); /* nothing, and no harm */
}

static void
a_key_with_a_certificate_sends_no_secret(void **state)
{
	static const char given[] = "{\"clientid\":\"c\",\"certurl\":\"https://cert.example\"}";
	struct oauth_request r;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(oauth_request_make(OAUTH_SAP, span_of(given), "", "", 0, &r, &err), 0);
	assert_string_equal(r.url, "https://cert.example/oauth/token");
	assert_string_equal(r.body.at, "grant_type=client_credentials&client_id=c");
	oauth_request_free(&r);
}

static size_t
unbase64url(const char *text, size_t len, unsigned char *out, size_t room)
{
	char padded[4096];
	size_t n = 0;
	int got;

	assert_true(len + 4 < sizeof padded && room >= len);
	for (; n < len; n++)
		padded[n] = text[n] == '-' ? '+' : text[n] == '_' ? '/' : text[n];
	while (n % 4 != 0)
		padded[n++] = '=';
	got = EVP_DecodeBlock(out, (unsigned char *)padded, (int)n);
	assert_true(got > 0);
	return (size_t)got - (n - len);
}

static void
google_is_shown_a_signed_assertion(void **state)
{
	struct bytes kept = BYTES_LIMIT(OAUTH_GIVEN_MAX);
	char name[OAUTH_NAME_BYTES], out[4096], *first, *second;
	unsigned char text[4096], signature[1024];
	struct oauth_request r;
	struct err err = { 0 };
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t n, signature_len;
	int64_t iat, exp;

	(void)state;
	assert_int_equal(
		oauth_read_secret(OAUTH_GOOGLE, span_of(google), &kept, name, NULL, &err), 0);
	assert_string_equal(name, "a@p.example");
	assert_int_equal(oauth_request_make(
				 OAUTH_GOOGLE, bytes_span(&kept), "", "", 1760000000999, &r, &err),
		0);
	assert_string_equal(r.url, "https://token.example/token");
	assert_string_equal(
		field(&r.body, "grant_type", out), "urn:ietf:params:oauth:grant-type:jwt-bearer");
	assert_non_null(field(&r.body, "assertion", out));
	first = strchr(out, '.');
	second = strrchr(out, '.');
	assert_true(first != NULL && second != first);
	assert_null(strpbrk(out, "+/="));

	n = unbase64url(out, (size_t)(first - out), text, sizeof text);
	text[n] = '\0';
	assert_string_equal((char *)text, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"kid-1\"}");
	n = unbase64url(first + 1, (size_t)(second - first - 1), text, sizeof text);
	{
		struct span claims = { (char *)text, n };

		assert_true(span_is(json_get(claims, "iss").raw, "\"a@p.example\""));
		assert_true(
			span_is(json_get(claims, "aud").raw, "\"https://token.example/token\""));
		assert_true(span_is(json_get(claims, "scope").raw,
			"\"https://www.googleapis.com/auth/cloud-platform\""));
		assert_int_equal(json_int(json_get(claims, "iat"), &iat), 0);
		assert_int_equal(json_int(json_get(claims, "exp"), &exp), 0);
	}
	assert_int_equal(exp - iat, 3600);
	assert_true(iat <= 1760000000 && iat > 1760000000 - 60);

	signature_len = unbase64url(second + 1, strlen(second + 1), signature, sizeof signature);
	assert_int_equal(EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, rsa), 1);
	assert_int_equal(EVP_DigestVerify(c, signature, signature_len, (unsigned char *)out,
				 (size_t)(second - out)),
		1);
	signature[7] ^= 1;
	EVP_MD_CTX_reset(c);
	assert_int_equal(EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, rsa), 1);
	assert_int_not_equal(EVP_DigestVerify(c, signature, signature_len, (unsigned char *)out,
				     (size_t)(second - out)),
		1);
	EVP_MD_CTX_free(c);
	oauth_request_free(&r);
	bytes_free(&kept);
}

static void
answers_give_a_token_or_say_why_not(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum oauth_outcome want;
		const char *token, *why;
		int64_t life_ms;
	} cases[] = {
		{ 200,
			"{\"access_token\":\"t.1-_~+/"
			"=\",\"token_type\":\"bearer\",\"expires_in\":3599}",
			OAUTH_GRANTED, "t.1-_~+/=", "", 3599000 },
		{ 200, "{\"access_token\":\"t\",\"expires_in\":\"3599\"}", OAUTH_GRANTED, "t", "",
			3599000 },
		{ 200, "{\"access_token\":\"t\"}", OAUTH_GRANTED, "t", "", 300000 },
		{ 200, "{\"access_token\":\"t\",\"expires_in\":0}", OAUTH_GRANTED, "t", "",
			300000 },
		{ 200, "{\"access_token\":\"t\",\"expires_in\":99999999999}", OAUTH_GRANTED, "t",
			"", 7 * 86400000LL },
		{ 200, "{\"access_token\":\"a b\",\"expires_in\":5}", OAUTH_FAILED, "", "header",
			0 },
		{ 200, "{\"access_token\":\"a\\r\\nX: y\"}", OAUTH_FAILED, "", "header", 0 },
		{ 200, "{\"access_token\":\"\"}", OAUTH_FAILED, "", "header", 0 },
		{ 200, "{\"access_token\":7}", OAUTH_FAILED, "", "no access_token", 0 },
		{ 200, "<html>", OAUTH_FAILED, "", "no access_token", 0 },
		{ 200, "", OAUTH_FAILED, "", "no access_token", 0 },
		{ 401, "{\"error\":\"unauthorized\",\"error_description\":\"hush\"}", OAUTH_REFUSED,
			"", "status 401 (unauthorized)", 0 },
		{ 401, "", OAUTH_REFUSED, "", "status 401", 0 },
		{ 400, "{\"error\":\"invalid_grant\"}", OAUTH_REFUSED, "", "(invalid_grant)", 0 },
		{ 400, "{\"error\":\"temporarily_unavailable\"}", OAUTH_FAILED, "", "status 400",
			0 },
		{ 400, "{\"error\":\"hush hush\"}", OAUTH_FAILED, "", "status 400", 0 },
		{ 302, "", OAUTH_FAILED, "", "status 302", 0 },
		{ 429, "{\"error\":\"invalid_client\"}", OAUTH_FAILED, "", "status 429", 0 },
		{ 503, "<html>hush", OAUTH_FAILED, "", "status 503", 0 },
	};
	static struct oauth_reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum oauth_outcome got =
			oauth_reply_read(cases[i].status, span_of(cases[i].body), &reply);

		if (got != cases[i].want)
			fail_msg("%s: %d", cases[i].body, (int)got);
		assert_string_equal(reply.token, cases[i].token);
		assert_int_equal(reply.life_ms, cases[i].life_ms);
		if (strstr(reply.why, cases[i].why) == NULL || strstr(reply.why, "hush") != NULL)
			fail_msg("%s: %s", cases[i].body, reply.why);
	}
}

static void
a_token_that_is_too_long_is_no_token(void **state)
{
	static char body[OAUTH_TOKEN_BYTES + 100];
	static struct oauth_reply reply;
	size_t n = (size_t)snprintf(body, sizeof body, "{\"access_token\":\"");

	(void)state;
	memset(body + n, 'x', OAUTH_TOKEN_BYTES);
	memcpy(body + n + OAUTH_TOKEN_BYTES, "\"}", 3);
	assert_int_equal(oauth_reply_read(200, span_of(body), &reply), OAUTH_FAILED);
	memcpy(body + n + OAUTH_TOKEN_BYTES - 1, "\"}", 3);
	assert_int_equal(oauth_reply_read(200, span_of(body), &reply), OAUTH_GRANTED);
	assert_int_equal(strlen(reply.token), OAUTH_TOKEN_BYTES - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_read_in_the_forms_people_have_them),
		cmocka_unit_test(a_secret_that_does_not_fit_is_refused_and_not_repeated),
		cmocka_unit_test(a_long_member_is_refused),
		cmocka_unit_test(client_credentials_are_asked_for_as_a_form),
		cmocka_unit_test(a_key_with_a_certificate_sends_no_secret),
		cmocka_unit_test(google_is_shown_a_signed_assertion),
		cmocka_unit_test(answers_give_a_token_or_say_why_not),
		cmocka_unit_test(a_token_that_is_too_long_is_no_token),
	};

	return cmocka_run_group_tests_name("wire/oauth", tests, make_account, free_account);
}
