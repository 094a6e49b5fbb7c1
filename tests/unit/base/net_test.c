/* net_test.c - who is in a list of addresses and networks. */
#include "base/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
an_address_is_found_by_itself_and_by_its_network(void **state)
{
	static const struct {
		const char *why, *list, *address;
		bool want;
	} cases[] = {
		{ "itself", "192.0.2.1", "192.0.2.1", true },
		{ "another", "192.0.2.1", "192.0.2.2", false },
		{ "second of a list", "192.0.2.1,192.0.2.2", "192.0.2.2", true },
		{ "in a network", "10.0.0.0/8", "10.255.0.1", true },
		{ "beside it", "10.0.0.0/8", "11.0.0.1", false },
		{ "a network that ends within a byte", "192.0.2.128/25", "192.0.2.200", true },
		{ "its other half", "192.0.2.128/25", "192.0.2.100", false },
		{ "everybody", "0.0.0.0/0", "203.0.113.9", true },
		{ "IPv6", "fd00::/8", "fd12::1", true },
		{ "IPv6 outside", "fd00::/8", "2001:db8::1", false },
		{ "kinds are not mixed", "0.0.0.0/0", "::1", false },
		{ "empty list", "", "192.0.2.1", false },
		{ "no address", "0.0.0.0/0", "unknown", false },
		{ "a broken entry fits nothing", "10.0.0.0/x,10.0.0.0/99,nonsense", "10.0.0.1",
			false },
		{ "parted by line ends", "192.0.2.1\n10.0.0.0/8", "10.0.0.1", true },
		{ "IPv4 in the clothes of IPv6", "10.0.0.0/8", "::ffff:10.0.0.1", true },
		{ "a sign is no length", "10.0.0.0/+8,10.0.0.0/-1", "10.0.0.1", false },
		{ "and hides no other", "nonsense,10.0.0.1", "10.0.0.1", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (net_in_list(cases[i].list, cases[i].address) != cases[i].want)
			fail_msg("%s", cases[i].why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_found_by_itself_and_by_its_network),
	};

	return cmocka_run_group_tests_name("base/net", tests, NULL, NULL);
}
