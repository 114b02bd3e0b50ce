// SPDX-License-Identifier: Apache-2.0
// The floor: the least a kernel must do to run one program in a container with the mounts, devices and masks that
// an OCI runtime's default `spec` asks for. No JSON, no options, no error recovery: what a runtime takes longer than
// this is the runtime's own doing.
//
//   cc -O2 -static floor.c -o floor
//   cd BUNDLE && floor /bin/true       as root, with cgroup2 at /sys/fs/cgroup
//   cd BUNDLE && floor -u /bin/true    as a user: one id mapped, no cgroup, devices bound instead of made
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call)                                                    \
	do {                                                          \
		if ((call) < 0) {                                     \
			fprintf(stderr, "floor: %s: %s\n", #call, strerror(errno)); \
			_exit(1);                                     \
		}                                                     \
	} while (0)

static int user; // an unprivileged user in a user namespace of his own

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void mount_default_filesystems(void)
{
	MUST(mount("proc", "proc", "proc", 0, 0));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	MUST(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	MUST(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0));
	if (!user)
		MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0));
}

static void make_devices(void)
{
	static const struct {
		const char *at, *from;
		int major, minor;
	} devices[] = {
		{ "dev/null", "/dev/null", 1, 3 },     { "dev/zero", "/dev/zero", 1, 5 },
		{ "dev/full", "/dev/full", 1, 7 },     { "dev/random", "/dev/random", 1, 8 },
		{ "dev/urandom", "/dev/urandom", 1, 9 }, { "dev/tty", "/dev/tty", 5, 0 },
	};
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		if (!user) {
			MUST(mknod(devices[i].at, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
			continue;
		}
		int fd = open(devices[i].at, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
		MUST(fd);
		close(fd);
		MUST(mount(devices[i].from, devices[i].at, 0, MS_BIND, 0));
	}
	MUST(symlink("/proc/self/fd", "dev/fd"));
	MUST(symlink("/proc/self/fd/0", "dev/stdin"));
	MUST(symlink("/proc/self/fd/1", "dev/stdout"));
	MUST(symlink("/proc/self/fd/2", "dev/stderr"));
	MUST(symlink("pts/ptmx", "dev/ptmx"));
}

static void mask_and_protect(void)
{
	static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	static const char *const masked[] = { "proc/kcore",      "proc/keys", "proc/timer_list",
					      "proc/sched_debug", "proc/acpi", "proc/scsi",
					      "proc/asound",     "proc/latency_stats", "proc/timer_stats" };
	for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++)
		if (mount(readonly[i], readonly[i], 0, MS_BIND | MS_REC, 0) == 0)
			MUST(mount(0, readonly[i], 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
	// A file is hidden by the null device, a folder by an empty file system; what this kernel lacks needs no mask.
	for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
		if (mount("dev/null", masked[i], 0, MS_BIND, 0) < 0 && errno == ENOTDIR)
			MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, 0));
}

static void live(char **program, int mapped)
{
	char byte;
	if (user) {
		MUST(read(mapped, &byte, 1));
		MUST(setresgid(0, 0, 0));
		MUST(setresuid(0, 0, 0));
	}
	umask(0);
	MUST(mount(0, "/", 0, MS_REC | MS_SLAVE, 0));
	MUST(mount("rootfs", "rootfs", 0, MS_BIND | MS_REC, 0));
	MUST(chdir("rootfs"));
	mount_default_filesystems();
	make_devices();
	mask_and_protect();
	MUST(sethostname("floor", 5));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	char *env[] = { "PATH=/bin", 0 };
	execve(program[0], program, env);
	_exit(127);
}

static void map_one_id(pid_t pid)
{
	char file[64], map[64];
	snprintf(file, sizeof file, "/proc/%d/setgroups", pid);
	put(file, "deny");
	snprintf(file, sizeof file, "/proc/%d/uid_map", pid);
	snprintf(map, sizeof map, "0 %d 1", getuid());
	put(file, map);
	snprintf(file, sizeof file, "/proc/%d/gid_map", pid);
	snprintf(map, sizeof map, "0 %d 1", getgid());
	put(file, map);
}

int main(int argc, char **argv)
{
	char **program = argv + 1, cgroup[64];
	int go[2], status;
	if (argc > 1 && strcmp(argv[1], "-u") == 0) {
		user = 1;
		program++;
	}
	if (!*program) {
		fputs("usage: floor [-u] PROGRAM [ARGUMENT...], in a bundle folder\n", stderr);
		return 2;
	}
	MUST(pipe2(go, O_CLOEXEC));
	struct clone_args args = { .exit_signal = SIGCHLD };
	args.flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;
	snprintf(cgroup, sizeof cgroup, "/sys/fs/cgroup/floor-%d", getpid());
	if (user) {
		args.flags |= CLONE_NEWUSER;
	} else {
		MUST(mkdir(cgroup, 0755));
		int fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
		MUST(fd);
		args.flags |= CLONE_INTO_CGROUP | CLONE_NEWCGROUP;
		args.cgroup = fd;
	}
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	MUST(pid);
	if (pid == 0)
		live(program, go[0]);
	if (user) {
		map_one_id(pid);
		MUST(write(go[1], "x", 1));
	}
	MUST(waitpid(pid, &status, 0));
	if (!user)
		MUST(rmdir(cgroup));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
