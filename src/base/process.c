/* process.c */
#include "base/process.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define STACK_BYTES           (512 * 1024)
#define DESCRIPTORS_UNLIMITED 1048576 /* taken for "no limit" */

/* The leak sanitizer reads the process as a debugger does. */
#if defined(__SANITIZE_ADDRESS__)
#define SECRETS_DUMPABLE 1
#else
#define SECRETS_DUMPABLE 0
#endif

void
process_keep_secrets(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE,
		SECRETS_DUMPABLE); /* also keeps a piped core_pattern from getting one */
}

int64_t
process_raise_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return 1024;
	if (l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
	if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur == RLIM_INFINITY)
		return DESCRIPTORS_UNLIMITED;
	return l.rlim_cur > DESCRIPTORS_UNLIMITED ? DESCRIPTORS_UNLIMITED : (int64_t)l.rlim_cur;
}

/* Not the machine's cores but those that a container or taskset leaves to us. */
int
process_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
		return 1;
	return CPU_COUNT(&set);
}

int
process_pin(int n)
{
	cpu_set_t set, one;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return -1;
	CPU_ZERO(&one);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && n-- == 0) {
			CPU_SET(cpu, &one);
			return sched_setaffinity(0, sizeof one, &one);
		}
	return -1;
}

int
process_start_thread(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return rc;
}
