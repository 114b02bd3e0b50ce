// SPDX-License-Identifier: Apache-2.0
// Asks libseccomp. Commands on standard input, one a line; each that answers, answers on standard output.
//   resolve ARCH NAME                          the number of a call on an architecture
//   filter DEFAULT                             begins a filter
//   arch TOKEN                                 adds an architecture
//   rule ACTION NAME COUNT {ARG OP A B}...     adds a rule
//   export OPTIMIZE                            "ok N" and N instructions, or "error STAGE CODE"
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static scmp_filter_ctx filter;
static const char *stage;
static int code;

static void note(const char *what, int result)
{
	if (result < 0 && result != -EEXIST && !stage) {
		stage = what;
		code = result;
	}
}

static void rule(void)
{
	struct scmp_arg_cmp args[6];
	uint32_t action;
	unsigned count = 0, op;
	char name[64];

	if (scanf("%" SCNx32 " %63s %u", &action, name, &count) != 3 || count > 6)
		return;
	for (unsigned i = 0; i < count; i++) {
		if (scanf("%u %u %" SCNx64 " %" SCNx64, &args[i].arg, &op, &args[i].datum_a, &args[i].datum_b) != 4)
			return;
		args[i].op = op;
	}
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return;
	int result = seccomp_rule_add_array(filter, action, number, count, args);
	if (result < 0 && !stage) {
		stage = "rule";
		code = result;
	}
}

static void export(void)
{
	unsigned optimize;
	int fd = memfd_create("filter", 0);

	if (scanf("%u", &optimize) == 1)
		note("optimize", seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, optimize));
	if (!stage)
		note("export", seccomp_export_bpf(filter, fd));
	if (stage) {
		printf("error %s %d\n", stage, code);
	} else {
		struct sock_filter one;
		printf("ok %ld\n", (long)(lseek(fd, 0, SEEK_END) / sizeof one));
		lseek(fd, 0, SEEK_SET);
		while (read(fd, &one, sizeof one) == sizeof one)
			printf("%u %u %u %u\n", one.code, one.jt, one.jf, one.k);
	}
	close(fd);
	seccomp_release(filter);
	filter = NULL;
}

int main(void)
{
	char command[16], name[64];
	uint32_t number;

	for (unsigned level = 7; level > 0 && seccomp_api_set(level) != 0; level--)
		;
	while (scanf("%15s", command) == 1) {
		if (!strcmp(command, "resolve") && scanf("%" SCNx32 " %63s", &number, name) == 2) {
			printf("%d\n", seccomp_syscall_resolve_name_arch(number, name));
		} else if (!strcmp(command, "filter") && scanf("%" SCNx32, &number) == 1) {
			stage = NULL;
			filter = seccomp_init(number);
		} else if (!strcmp(command, "arch") && scanf("%" SCNx32, &number) == 1) {
			note("arch", seccomp_arch_add(filter, number));
		} else if (!strcmp(command, "rule")) {
			rule();
		} else if (!strcmp(command, "export")) {
			export();
		}
		fflush(stdout);
	}
	return 0;
}
