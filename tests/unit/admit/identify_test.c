/* identify_test.c - whoever shows a token of ours is known, wherever an SDK put it; whoever does not
 * learns nothing. */
#include "house.h"

#include "admit/allow.h"

static void
secrets_are_taken_from_wherever_sdks_put_them(void **state)
{
	static char longest[ADMIT_SECRET_BYTES], longer[ADMIT_SECRET_BYTES + 1];
	static const struct {
		const char *why;
		const char *values[8];
		const char *want[ADMIT_SECRETS_MAX];
	} cases[] = {
		{ "a bearer", { "Bearer abc" }, { "abc" } },
		{ "its scheme in any case", { "bearer a", "BEARER b", "bEaReR c" },
			{ "a", "b", "c" } },
		{ "the bare secret of other headers", { "abc" }, { "abc" } },
		{ "one word begins like the scheme", { "Bearerabc" }, { "Bearerabc" } },
		{ "blanks around it", { "  abc ", "Bearer   def  " }, { "abc", "def" } },
		{ "the same in two places counts once", { "Bearer abc", "abc", "bearer abc" },
			{ "abc" } },
		{ "case of the secret counts", { "abc", "ABC" }, { "abc", "ABC" } },
		{ "nothing", { "", "   " }, { NULL } },
		{ "a scheme alone, from an SDK without a key",
			{ "Bearer ", "bearer", "Bearer    " }, { NULL } },
		{ "as long as can be", { longest }, { longest } },
		{ "too long is not looked at", { longer, "abc" }, { "abc" } },
		{ "more than there are places", { "a", "b", "c", "d", "e", "f" },
			{ "a", "b", "c", "d", "e" } },
	};

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	memset(longer, 'x', sizeof longer - 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct admit_secrets s = { 0 };
		int want = 0;

		for (size_t v = 0; v < 8 && cases[i].values[v] != NULL; v++)
			admit_add_secret(&s, span_of(cases[i].values[v]));
		while (want < ADMIT_SECRETS_MAX && cases[i].want[want] != NULL)
			want++;
		if (s.count != want)
			fail_msg("%s: %d secrets", cases[i].why, s.count);
		for (int k = 0; k < want; k++)
			if (strcmp(s.text[k], cases[i].want[k]) != 0)
				fail_msg("%s: '%s'", cases[i].why, s.text[k]);
	}
}

static void
a_token_is_known_or_the_answer_says_why_not(void **state)
{
	struct house *h = *state;
	struct project project = house_project(h, "acme");
	char ours[TOKEN_BYTES], second[TOKEN_BYTES], unknown[TOKEN_BYTES], typo[TOKEN_BYTES],
		cut[TOKEN_BYTES];
	const char *brought = "brought-along-from-another-gateway";
	const char *orphan = "of-a-project-that-is-not-there";

	token_make(ours);
	token_make(second);
	token_make(unknown);
	memcpy(typo, ours, sizeof typo);
	typo[20] = typo[20] == 'a' ? 'b' : 'a';
	(void)snprintf(cut, sizeof cut, "%.30s", ours);

	const struct token first = house_token(h, project.head.id, ours);
	const struct token foreign = house_token(h, project.head.id, brought);

	house_token(h, project.head.id, second);
	house_token(h, id_random(), orphan);

	const struct {
		const char *why;
		const char *secrets[3];
		enum err_code want;
		bool known;
		const struct token *token;
		const char *says; /* a part of it */
	} cases[] = {
		{ "ours", { ours }, ERR_NONE, true, &first, "" },
		{ "in a header as bearer", { "Bearer", ours }, ERR_NONE, true, &first, "" },
		{ "one brought along keeps its text", { brought }, ERR_NONE, true, &foreign, "" },
		{ "none", { NULL }, ERR_MISSING_TOKEN, false, NULL, "" },
		{ "an unknown one", { unknown }, ERR_INVALID_TOKEN, false, NULL, "" },
		{ "of others", { "sk-proj-abc" }, ERR_INVALID_TOKEN, false, NULL, "" },
		{ "a typing error is told", { typo }, ERR_INVALID_TOKEN, false, NULL, "typing" },
		{ "a piece of one too", { cut }, ERR_INVALID_TOKEN, false, NULL, "cut" },
		{ "ours beside a provider's", { "sk-ant-api03-x", ours }, ERR_NONE, true, &first,
			"" },
		{ "ours beside an unknown", { ours, unknown }, ERR_NONE, true, &first, "" },
		{ "ours beside its own typo", { typo, ours }, ERR_NONE, true, &first, "" },
		{ "ours in two headers", { ours, ours }, ERR_NONE, true, &first, "" },
		{ "two of ours", { ours, second }, ERR_BAD_REQUEST, false, NULL, "two different" },
		{ "two of ours, one brought along", { brought, second }, ERR_BAD_REQUEST, false,
			NULL, "send one" },
		{ "its project is gone", { orphan }, ERR_PROJECT_INACTIVE, true, NULL, "" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct admit_secrets s = { 0 };
		struct admit_caller caller;
		bool known = !cases[i].known;

		for (size_t v = 0; v < 3 && cases[i].secrets[v] != NULL; v++)
			admit_add_secret(&s, span_of(cases[i].secrets[v]));
		err = (struct err){ 0 };
		if ((admit_identify(h->store, &s, &caller, &known, &err) == 0) !=
				(cases[i].want == ERR_NONE) ||
			err.code != cases[i].want || known != cases[i].known)
			fail_msg("%s: %s, %s: %s", cases[i].why, known ? "known" : "not known",
				err_name(err.code), err.text);
		if (strstr(err.says, cases[i].says) == NULL)
			fail_msg("%s: says '%s'", cases[i].why, err.says);
		for (size_t v = 0; v < 3 && cases[i].secrets[v] != NULL; v++)
			if (strlen(cases[i].secrets[v]) > 10 &&
				(strstr(err.says, cases[i].secrets[v]) != NULL ||
					strstr(err.text, cases[i].secrets[v]) != NULL))
				fail_msg("%s: a secret in an error", cases[i].why);
		if (cases[i].token != NULL &&
			(!id_equal(caller.token.head.id, cases[i].token->head.id) ||
				!id_equal(caller.project.head.id, project.head.id)))
			fail_msg("%s: another token or project", cases[i].why);
	}
}

static void
revoking_bites_on_the_next_request(void **state)
{
	struct house *h = *state;
	struct project project = house_project(h, "acme");
	struct token token = house_token(h, project.head.id, "a-secret");
	struct admit_secrets s = { 0 };
	struct admit_caller caller;
	bool known;

	admit_add_secret(&s, span_of("a-secret"));
	WORKS(admit_identify(h->store, &s, &caller, &known, &err));
	WORKS(admit_allow(&caller, SPAN_NONE, clock_wall_ms(), &err));
	token.is_active = false;
	WORKS(store_update(h->store, RECORD_TOKEN, &token, 0, &by_test, &err));
	WORKS(admit_identify(h->store, &s, &caller, &known, &err));
	REFUSED(admit_allow(&caller, SPAN_NONE, clock_wall_ms(), &err), ERR_TOKEN_REVOKED);

	token.is_active = true;
	project.is_active = false;
	WORKS(store_update(h->store, RECORD_TOKEN, &token, 0, &by_test, &err));
	WORKS(store_update(h->store, RECORD_PROJECT, &project, 0, &by_test, &err));
	WORKS(admit_identify(h->store, &s, &caller, &known, &err));
	REFUSED(admit_allow(&caller, SPAN_NONE, clock_wall_ms(), &err), ERR_PROJECT_INACTIVE);
}

#define NOW 1000000

static void
a_caller_may_go_on_or_is_told_why_not(void **state)
{
	static const struct {
		const char *why;
		bool revoked, inactive;
		const char *reason;
		int64_t expires_ms, not_before_ms;
		const char *project_models, *token_models, *model;
		enum err_code want;
		const char *says;
	} cases[] = {
		{ "nothing against it", false, false, "", 0, 0, "", "", "gpt-4", ERR_NONE, "" },
		{ "no model named", false, false, "", 0, 0, "gpt-*", "gpt-4", "", ERR_NONE, "" },
		{ "revoked", true, false, "", 0, 0, "", "", "", ERR_TOKEN_REVOKED, "" },
		{ "revoked for a reason", true, false, "found in a repository", 0, 0, "", "", "",
			ERR_TOKEN_REVOKED, "found in a repository" },
		{ "revoked is told before expired", true, true, "", 1, 0, "x", "", "y",
			ERR_TOKEN_REVOKED, "" },
		{ "not yet expired", false, false, "", NOW + 1, 0, "", "", "", ERR_NONE, "" },
		{ "expires in this moment", false, false, "", NOW, 0, "", "", "", ERR_TOKEN_EXPIRED,
			"1970-01-01T00:16:40" },
		{ "from this moment on", false, false, "", 0, NOW, "", "", "", ERR_NONE, "" },
		{ "not yet", false, false, "", 0, NOW + 1, "", "", "", ERR_INVALID_TOKEN,
			"1970-01-01T00:16:40" },
		{ "its project sleeps", false, true, "", 0, 0, "", "", "", ERR_PROJECT_INACTIVE,
			"" },
		{ "a model of the project's", false, false, "", 0, 0, "gpt-*\nclaude-*", "",
			"claude-x", ERR_NONE, "" },
		{ "none of the project's", false, false, "", 0, 0, "gpt-*\nclaude-*", "", "llama",
			ERR_MODEL_NOT_ALLOWED, "llama" },
		{ "the token narrows", false, false, "", 0, 0, "gpt-*", "gpt-4", "gpt-5",
			ERR_MODEL_NOT_ALLOWED, "gpt-5" },
		{ "the token cannot widen", false, false, "", 0, 0, "gpt-*", "*", "llama",
			ERR_MODEL_NOT_ALLOWED, "llama" },
		{ "both allow", false, false, "", 0, 0, "gpt-*", "gpt-4", "gpt-4", ERR_NONE, "" },
		{ "the token alone narrows", false, false, "", 0, 0, "", "gpt-4", "gpt-5",
			ERR_MODEL_NOT_ALLOWED, "gpt-5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct admit_caller c = { 0 };

		record_init(RECORD_TOKEN, &c.token);
		record_init(RECORD_PROJECT, &c.project);
		c.token.is_active = !cases[i].revoked;
		c.project.is_active = !cases[i].inactive;
		c.token.expires_ms = cases[i].expires_ms;
		c.token.not_before_ms = cases[i].not_before_ms;
		(void)snprintf(c.token.revoked_reason, sizeof c.token.revoked_reason, "%s",
			cases[i].reason);
		(void)snprintf(c.token.allowed_models, sizeof c.token.allowed_models, "%s",
			cases[i].token_models);
		(void)snprintf(c.project.allowed_models, sizeof c.project.allowed_models, "%s",
			cases[i].project_models);
		err = (struct err){ 0 };
		if ((admit_allow(&c, span_of(cases[i].model), NOW, &err) == 0) !=
				(cases[i].want == ERR_NONE) ||
			err.code != cases[i].want)
			fail_msg("%s: %s: %s", cases[i].why, err_name(err.code), err.text);
		if (strstr(err.says, cases[i].says) == NULL)
			fail_msg("%s: says '%s'", cases[i].why, err.says);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_taken_from_wherever_sdks_put_them),
		TEST(a_token_is_known_or_the_answer_says_why_not),
		TEST(revoking_bites_on_the_next_request),
		cmocka_unit_test(a_caller_may_go_on_or_is_told_why_not),
	};

	return cmocka_run_group_tests_name("admit/identify", tests, NULL, NULL);
}
