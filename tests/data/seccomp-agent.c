// SPDX-License-Identifier: Apache-2.0
// A seccomp agent: waits at a socket for one listener, writes the container process state that came with it to a file, and
// answers every notification with an errno.
//
// usage: seccomp-agent SOCKET STATE-FILE ERRNO
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int stop(const char *what)
{
	perror(what);
	return 1;
}

static int receive(int connection, const char *file)
{
	static char text[65536];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {text, sizeof text};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t length = recvmsg(connection, &message, 0), more;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int listener;
	if (length < 0 || !header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&listener, CMSG_DATA(header), sizeof listener);
	while ((more = read(connection, text + length, sizeof text - length)) > 0)
		length += more;
	FILE *out = fopen(file, "w");
	if (!out || fwrite(text, 1, length, out) != (size_t)length || fclose(out))
		return -1;
	return listener;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (argc != 4)
		return 2;
	strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
	int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	umask(0);
	if (bind(socket_fd, (struct sockaddr *)&address, sizeof address) || listen(socket_fd, 1))
		return stop("listen");
	int connection = accept(socket_fd, NULL, NULL);
	int listener = receive(connection, argv[2]);
	if (listener < 0)
		return stop("receive");
	for (;;) {
		struct seccomp_notif call;
		memset(&call, 0, sizeof call);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
			if (errno == EINTR)
				continue;
			// The last process of the filter is gone.
			return errno == ENOENT ? 0 : stop("receive a notification");
		}
		struct seccomp_notif_resp answer = {.id = call.id, .error = -atoi(argv[3])};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT)
			return stop("answer");
	}
}
