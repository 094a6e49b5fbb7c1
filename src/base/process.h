/*
 * process.h - what every program of ours does to itself when it starts.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdint.h>

/* No core dump and no debugger of another user: memory holds provider keys in clear. */
void process_keep_secrets(void);

/* Raises RLIMIT_NOFILE to its hard limit; returns how many descriptors there may be. */
int64_t process_raise_descriptors(void);

/* The cores this process may run on. */
int process_cores(void);
/* Keeps this process, and what it starts, on the n-th of them, from 0.  0 or -1. */
int process_pin(int n);

/* Starts a detached thread with a stack of 512 KB, as threads that call the store need it.
 * 0, or an errno. */
int process_start_thread(void *(*run)(void *), void *arg);

#endif
