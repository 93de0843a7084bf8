/*
 * Asks the driver for rows with bytes behind their pixels, as some drivers have them and the virtual camera makes them
 * when it is asked: preloaded into a program, it widens the rows of each format that the program sets on a device.
 *
 *   PAD=BYTES:PATH[:PATH...] LD_PRELOAD=pad.so PROGRAM...       PATHs are devices, without links
 *
 * cc -O2 -shared -fPIC -o pad.so pad.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_padded(int fd)
{
	char link[64], path[256], needle[260];
	const char *pad = getenv("PAD");
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (!pad || n < 0) return 0;
	path[n] = 0;
	snprintf(needle, sizeof needle, ":%s", path);
	const char *found = strstr(pad, needle);
	return found && (found[n + 1] == ':' || !found[n + 1]);
}

/* Programs that do not use the C library's ioctl() use its syscall(). */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list list;
	va_start(list, number);
	for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
	va_end(list);
	if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_ioctl && (unsigned long)a[1] == VIDIOC_S_FMT && is_padded(a[0])) {
		struct v4l2_format *format = (struct v4l2_format *)a[2];
		struct v4l2_format once = *format;
		if (next(number, a[0], a[1], &once) < 0) return -1;	/* how long rows are without */
		format->fmt.pix.bytesperline = once.fmt.pix.bytesperline + atoi(getenv("PAD"));
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
