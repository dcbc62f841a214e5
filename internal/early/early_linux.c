//go:build cgo

// Runs before Go's runtime: it reads neither memory of it nor calls it.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// The runtime reserves 0.6 GB for its tables and 64 MB an arena, threads reserve 8 MB of stack and glibc 128 MB an arena: between 0.8 and 1.5 GB it starts
// or does not, by chance of addresses.
static const unsigned long long least = 2ULL << 30;

// Whether the runtime takes a GOMEMLIMIT: off, or a number of bytes with or without a unit.
static int readable(const char *s) {
	static const struct { const char *unit; int shift; } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
	if (*s == 0 || strcmp(s, "off") == 0)
		return 1;
	if (*s < '0' || *s > '9')
		return 0;
	char *end;
	errno = 0;
	long long n = strtoll(s, &end, 10);
	if (errno != 0)
		return 0;
	for (unsigned i = 0; i < sizeof units / sizeof *units; i++)
		if (strcmp(end, units[i].unit) == 0)
			return n <= INT64_MAX >> units[i].shift;
	return 0;
}

__attribute__((constructor)) static void early(void) {
	const char *limit = getenv("GOMEMLIMIT");
	if (limit != NULL && !readable(limit)) {
		char clean[41];
		unsigned i = 0;
		for (; i < sizeof clean - 1 && limit[i] != 0; i++)
			clean[i] = limit[i] >= ' ' && limit[i] <= '~' ? limit[i] : '?';
		clean[i] = 0;
		dprintf(2, "syncsam-convert: GOMEMLIMIT: have \"%s\", want off or bytes, such as 4GiB\n", clean);
		_exit(2);
	}
	struct rlimit space;
	if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY && space.rlim_cur < least) {
		dprintf(2, "syncsam-convert: the limit on address space (RLIMIT_AS, ulimit -v): have %llu MB, want at least %llu MB\n", (unsigned long long)space.rlim_cur >> 20, least >> 20);
		_exit(2);
	}
}
