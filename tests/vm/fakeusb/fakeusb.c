/*
 * fakeusb - simulated USB cameras (UVC, MJPEG and H.264) and USB serial ports (CDC ACM),
 * plugged into the running Linux kernel through its USB/IP virtual host
 * controller (vhci_hcd).  The kernel's own uvcvideo and cdc_acm drivers bind to
 * them, so programs see ordinary /dev/videoN and /dev/ttyACMN nodes, and an
 * unplug is a real USB disconnect.  Meant for vmrun.sh's virtual machine.
 *
 *   modprobe -a vhci_hcd uvcvideo cdc_acm
 *   fakeusb [-c CONTROL_FIFO] [-p PICTURES] [-s SETTINGS] DEVICE...
 *
 * DEVICE is one of
 *   cam:NAME[,id=VVVV:PPPP][,serial=S][,product=P][,vendor=V][,fps=30[/15...]][,depth=3][,nostamp][,off],MODE[,MODE...]
 *       MODE: WxH=FILE, concatenated JPEG pictures of that size, sent in a loop;
 *       h264:WxH=FILE, an H.264 stream; see clips.h.
 *       Unless 'nostamp', each picture gets a stamp, in a JPEG's comment or in a
 *       message of the H.264 stream:  "fakeusb NAME seq=%010u mono_ns=%020llu"
 *       (CLOCK_MONOTONIC when the camera took it).  seq also counts pictures that
 *       were lost: the camera holds at most 'depth' (1..8) that nobody has taken.
 *       It has the image controls of a webcam; see controls.h.
 *   acm:NAME[,id=VVVV:PPPP][,serial=S][,product=P][,vendor=V][,off],pty=PATH | echo
 *       PATH becomes a symlink to a pseudo terminal: what a program writes to
 *       /dev/ttyACMN comes out there, and the other way round.
 *   'off': not plugged in at the start.
 *
 * Commands, one a line, on CONTROL_FIFO (made if missing) and on standard input
 * when that is not a terminal or /dev/null:
 *   plug NAME | unplug NAME        (as if by hand: the device vanishes at once)
 *   freeze NAME | thaw NAME        (stays plugged in, sends nothing)
 *   error NAME N                   (next N pictures carry the UVC error bit)
 *   truncate NAME N                (next N pictures end at their half)
 *   drop NAME N                    (next N pictures are not sent)
 *   rate NAME PERCENT              (real rate against the nominal one)
 *   stat                           (one line a device on standard output)
 *   quit
 * Standard output: a line for each event, flushed.  "ready" once all are plugged.
 * PICTURES: a line for each picture that a camera took, flushed:
 *   NAME SEQ MONO_NS taken | error | truncated | lost | dropped | frozen
 *   (the first three are sent; lost: nobody took the earlier ones)
 * SETTINGS: a line for each value of a control that the computer sets; see controls.h.
 *
 * cc -O2 -Wall -o fakeusb fakeusb.c      (-static gives a file without any library)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAXDEV 14
#define MAXMODE 4
#define MAXFPS 6
#define VHCI "/sys/devices/platform/vhci_hcd.0/"

static void say(const char *f, ...) { va_list a; va_start(a, f); vprintf(f, a); va_end(a); putchar('\n'); fflush(stdout); }
static void die(const char *f, ...) { va_list a; va_start(a, f); fputs("fakeusb: ", stderr); vfprintf(stderr, f, a); va_end(a); fputc('\n', stderr); exit(1); }
static void put16(uint8_t *p, unsigned v) { p[0] = v; p[1] = v >> 8; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v); put16(p + 2, v >> 16); }
static uint32_t get32(const uint8_t *p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }
static uint64_t mono(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }

#include "clips.h"
#include "controls.h"

struct urb { uint32_t seq, len; struct urb *next; };

struct dev {
	enum { CAM, ACM } kind;
	char name[64], serial[64], product[64], vendor[64];
	uint16_t vid, pid;
	int port, sock, off;
	uint8_t config[1024]; int configlen;
	struct urb *in_head, **in_tail;		/* queued bulk IN */
	struct urb *intr_head, **intr_tail;	/* queued interrupt IN (never answered) */
	/* camera */
	struct mode mode[MAXMODE]; int nmode;
	int fps[MAXFPS], nfps, stamp;
	int values[NCONTROL]; uint8_t error;	/* of the image controls */
	uint8_t probe[26], commit[26];
	int timer, armed, frozen, rate;
	unsigned n_error, n_trunc, n_drop;
	size_t next;
	uint32_t seq, sent, lost; uint8_t fid; int broken;
	struct { uint8_t *p; size_t n, cap; } q[8]; int qh, qn, depth;	/* the camera's own memory */
	size_t bufpos;
	/* serial */
	uint8_t line[7]; int master, slave, echo; char link[256];
	uint8_t eb[65536]; size_t elen;
} dev[MAXDEV];
static int ndev;
static FILE *pictures;

/* ---- descriptors ---------------------------------------------------------- */
static uint8_t *d;	/* writing position */
static uint8_t *D(int n, ...) { uint8_t *s = d; va_list a; va_start(a, n); while (n--) *d++ = va_arg(a, int); va_end(a); return s; }

static int count(const struct dev *v, enum format f) { int n = 0; for (int i = 0; i < v->nmode; i++) n += v->mode[i].format == f; return n; }
/* Formats and their frames are numbered from 1: MJPEG first, if there is any. */
static enum format format_of(const struct dev *v, int number) { return number == 1 && count(v, MJPEG) ? MJPEG : H264; }
static struct mode *mode_of(struct dev *v, const uint8_t *probe)
{
	enum format f = format_of(v, probe[2]);
	struct mode *first = NULL;
	for (int i = 0, number = 0; i < v->nmode; i++) {
		if (v->mode[i].format != f) continue;
		if (++number == probe[3]) return &v->mode[i];
		if (!first) first = &v->mode[i];
	}
	return first ? first : &v->mode[0];
}
static void describe_format(struct dev *v, int number)
{
	enum format f = format_of(v, number);
	if (f == MJPEG) D(11, 11, 0x24, 6, number, count(v, f), 1, 1, 0, 0, 0, 0);
	else {
		D(5, 28, 0x24, 0x10, number, count(v, f));		/* frame based */
		D(16, 'H', '2', '6', '4', 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71);
		D(7, 0, 1, 0, 0, 0, 0, 1);				/* frames are of variable size */
	}
	for (int i = 0, frame = 0; i < v->nmode; i++) {
		if (v->mode[i].format != f) continue;
		int w = v->mode[i].w, hh = v->mode[i].h;
		uint8_t *q = D(5, 26 + 4 * v->nfps, 0x24, f == MJPEG ? 7 : 0x11, ++frame, 0);
		put16(d, w); put16(d + 2, hh);
		put32(d + 4, (uint32_t)w * hh * 16 * v->fps[v->nfps - 1]); put32(d + 8, (uint32_t)w * hh * 16 * v->fps[0]);
		d = q + 17;
		if (f == MJPEG) { put32(d, (uint32_t)w * hh * 2); d += 4; }
		put32(d, 10000000 / v->fps[0]); d[4] = v->nfps; d += 5;
		if (f == H264) { put32(d, 0); d += 4; }
		for (int k = 0; k < v->nfps; k++) { put32(d, 10000000 / v->fps[k]); d += 4; }
	}
}
static void describe(struct dev *v)
{
	d = v->config;
	D(9, 9, 2, 0, 0, 2, 1, 0, 0x80, 250);
	if (v->kind == CAM) {
		D(8, 8, 11, 0, 2, 0x0e, 3, 0, 2);			/* association */
		D(9, 9, 4, 0, 0, 0, 0x0e, 1, 0, 2);			/* video control */
		uint8_t *h = D(13, 13, 0x24, 1, 0, 1, 0, 0, 0, 0x6c, 0xdc, 2, 1, 1);
		D(18, 18, 0x24, 2, TERMINAL, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, terminal_bits[0], terminal_bits[1], terminal_bits[2]);
		D(11, 11, 0x24, 5, PROCESSING, TERMINAL, 0, 0, 2, processing_bits[0], processing_bits[1], 0);
		D(9, 9, 0x24, 3, 2, 1, 1, 0, PROCESSING, 0);
		put16(h + 5, d - h);
		D(9, 9, 4, 1, 0, 1, 0x0e, 2, 0, 0);			/* video streaming */
		int nformat = !!count(v, MJPEG) + !!count(v, H264);
		h = D(13, 13 + nformat, 0x24, 1, nformat, 0, 0, 0x81, 0, 2, 0, 0, 0, 1);
		for (int i = 0; i < nformat; i++) D(1, 0);
		for (int i = 1; i <= nformat; i++) describe_format(v, i);
		D(6, 6, 0x24, 13, 1, 1, 4);
		put16(h + 4, d - h);
		D(7, 7, 5, 0x81, 2, 0, 2, 0);				/* bulk IN, 512 */
	} else {
		D(8, 8, 11, 0, 2, 2, 2, 1, 0);
		D(9, 9, 4, 0, 0, 1, 2, 2, 1, 0);
		D(5, 5, 0x24, 0, 0x10, 1); D(5, 5, 0x24, 1, 0, 1); D(4, 4, 0x24, 2, 2); D(5, 5, 0x24, 6, 0, 1);
		D(7, 7, 5, 0x83, 3, 16, 0, 9);
		D(9, 9, 4, 1, 0, 2, 0x0a, 0, 0, 0);
		D(7, 7, 5, 0x02, 2, 0, 2, 0);
		D(7, 7, 5, 0x82, 2, 0, 2, 0);
	}
	v->configlen = d - v->config;
	put16(v->config + 2, v->configlen);
}

/* ---- USB/IP --------------------------------------------------------------- */
static int sendall(int fd, const void *p, size_t n)
{
	while (n) { ssize_t r = send(fd, p, n, MSG_NOSIGNAL); if (r < 0 && errno == EINTR) continue; if (r <= 0) return -1; p = (char *)p + r; n -= r; }
	return 0;
}
static int recvall(int fd, void *p, size_t n)
{
	while (n) { ssize_t r = recv(fd, p, n, MSG_WAITALL); if (r < 0 && errno == EINTR) continue; if (r <= 0) return -1; p = (char *)p + r; n -= r; }
	return 0;
}
static void reply(struct dev *v, uint32_t cmd, uint32_t seq, int status, const void *data, size_t n, size_t actual)
{
	uint32_t h[12] = { htonl(cmd), htonl(seq), 0, 0, 0, htonl(status), htonl(actual) };
	static uint8_t b[1 << 20];
	if (v->sock < 0) return;
	memcpy(b, h, 48);
	if (n) memcpy(b + 48, data, n);
	sendall(v->sock, b, 48 + n);
}
#define DONE(v, u, p, n) reply(v, 3, (u)->seq, 0, p, n, n)

static void flushq(struct urb **head, struct urb ***tail) { while (*head) { struct urb *u = *head; *head = u->next; free(u); } *tail = head; }
static struct urb *pop(struct urb **head, struct urb ***tail) { struct urb *u = *head; if (u && !(*head = u->next)) *tail = head; return u; }
static int cut(struct urb **head, struct urb ***tail, uint32_t seq)
{
	for (struct urb **p = head; *p; p = &(*p)->next)
		if ((*p)->seq == seq) { struct urb *u = *p; *p = u->next; if (!*p) *tail = p; free(u); return 1; }
	return 0;
}

/* ---- camera --------------------------------------------------------------- */
static void arm(struct dev *v, int on)
{
	struct itimerspec t = {0};
	if (on) {
		uint64_t ns = (uint64_t)get32(v->commit + 4) * 100 * 100 / (v->rate ? v->rate : 100);
		if (ns < least_frame_ns(v->values)) ns = least_frame_ns(v->values);
		t.it_value.tv_sec = t.it_interval.tv_sec = ns / 1000000000; t.it_value.tv_nsec = t.it_interval.tv_nsec = ns % 1000000000;
	}
	timerfd_settime(v->timer, 0, &t, NULL);
	v->armed = on;
}
static void pump(struct dev *v)		/* move the picture in hand into waiting transfers */
{
	while (v->in_head && v->qn) {
		struct urb *u = pop(&v->in_head, &v->in_tail);
		size_t n = v->q[v->qh].n - v->bufpos;
		if (n > u->len) n = u->len;
		DONE(v, u, v->q[v->qh].p + v->bufpos, n);
		v->bufpos += n;
		/* a full transfer does not end a payload: an empty one must follow */
		if (v->bufpos == v->q[v->qh].n && n < u->len) { v->sent++; v->bufpos = 0; v->qh = (v->qh + 1) % 8; v->qn--; }
		free(u);
	}
}
static void note(struct dev *v, uint64_t at, const char *outcome)
{
	if (pictures) { fprintf(pictures, "%s %u %llu %s\n", v->name, v->seq, (unsigned long long)at, outcome); fflush(pictures); }
}
static void tick(struct dev *v)
{
	struct mode *m = mode_of(v, v->commit);
	struct pic *p = &m->pic[v->next++ % m->npic];
	size_t n = p->n, stamped = 0;
	uint64_t now = mono();
	v->seq++;
	const char *unsent = NULL;
	if (v->frozen) unsent = "frozen";
	else if (v->n_drop) { v->n_drop--; unsent = "dropped"; }
	else if (v->qn >= v->depth || (v->broken && !p->key)) { v->lost++; unsent = "lost"; }	/* as a camera does when nobody takes its pictures */
	v->broken = unsent != NULL;	/* it sends none that builds on one that it did not send */
	if (unsent) { note(v, now, unsent); return; }
	note(v, now, v->n_error ? "error" : v->n_trunc ? "truncated" : "taken");
	int k = (v->qh + v->qn) % 8;
	if (v->q[k].cap < n + MOST_STAMP + 2) v->q[k].p = realloc(v->q[k].p, v->q[k].cap = n + MOST_STAMP + 65536);
	uint8_t *w = v->q[k].p;
	w[0] = 2; w[1] = 0x80 | 0x02 | (v->fid ^= 1);
	if (v->n_error) { v->n_error--; w[1] |= 0x40; }
	else if (v->n_trunc) { v->n_trunc--; n = p->head > n / 2 ? p->head : n / 2; }
	memcpy(w + 2, p->p, p->head);
	if (v->stamp) stamped = stamp(w + 2 + p->head, m->format, v->name, v->seq, now);
	memcpy(w + 2 + p->head + stamped, p->p + p->head, n - p->head);
	v->q[k].n = n + stamped + 2; v->qn++;
	pump(v);
}
static void negotiate(struct dev *v, uint8_t *p)
{
	int nformat = !!count(v, MJPEG) + !!count(v, H264), best = 0;
	uint32_t want = get32(p + 4), gap = ~0u;
	if (p[2] < 1 || p[2] > nformat) p[2] = 1;
	if (p[3] < 1 || p[3] > count(v, format_of(v, p[2]))) p[3] = 1;
	for (int i = 0; i < v->nfps; i++) { uint32_t x = 10000000 / v->fps[i], g = x > want ? x - want : want - x; if (g < gap) gap = g, best = i; }
	if (!want) best = 0;
	put32(p + 4, 10000000 / v->fps[best]);
	memset(p + 8, 0, 10);
	uint32_t largest = (uint32_t)mode_of(v, p)->w * mode_of(v, p)->h * 2;
	put32(p + 18, largest); put32(p + 22, largest + 512);
}

/* ---- serial --------------------------------------------------------------- */
static void acm_feed(struct dev *v)
{
	while (v->elen && v->in_head) {
		struct urb *u = pop(&v->in_head, &v->in_tail);
		size_t n = v->elen < u->len ? v->elen : u->len;
		DONE(v, u, v->eb, n);
		memmove(v->eb, v->eb + n, v->elen -= n);
		free(u);
	}
}
static void acm_out(struct dev *v, const uint8_t *p, size_t n)
{
	if (v->frozen) return;
	if (v->echo) { if (n > sizeof v->eb - v->elen) n = sizeof v->eb - v->elen; memcpy(v->eb + v->elen, p, n); v->elen += n; acm_feed(v); return; }
	while (n) { ssize_t r = write(v->master, p, n); if (r <= 0) { if (errno == EINTR) continue; return; } p += r; n -= r; }
}

/* ---- control transfers ---------------------------------------------------- */
static int control(struct dev *v, const uint8_t *s, const uint8_t *out, size_t outlen, uint8_t *b)
{
	int type = s[0], req = s[1], val = s[2] | s[3] << 8, idx = s[4] | s[5] << 8, n = -1;
	if (type == 0x80 && req == 6) switch (val >> 8) {
	case 1:
		d = b; D(18, 18, 1, 0, 2, v->kind == CAM ? 0xef : 0xef, 2, 1, 64, 0, 0, 0, 0, 0, 1, 1, 2, v->serial[0] ? 3 : 0, 1);
		put16(b + 8, v->vid); put16(b + 10, v->pid); return 18;
	case 2: memcpy(b, v->config, v->configlen); return v->configlen;
	case 3: {
		const char *t[] = { NULL, v->vendor, v->product, v->serial };
		int i = val & 255;
		if (i == 0) { memcpy(b, "\4\3\11\4", 4); return 4; }
		if (i > 3 || !t[i][0]) return -1;
		for (n = 0; t[i][n]; n++) put16(b + 2 + 2 * n, (uint8_t)t[i][n]);
		b[0] = 2 + 2 * n; b[1] = 3; return b[0]; }
	default: return -1;
	}
	if ((type & 0x60) == 0) {	/* the other standard requests */
		if (req == 0) { b[0] = b[1] = 0; return 2; }
		if (req == 8) { b[0] = 1; return 1; }
		if (req == 10) { b[0] = 0; return 1; }
		if (v->kind == CAM && req == 1 && type == 2) { arm(v, 0); v->qn = v->bufpos = 0; }	/* how Linux ends a bulk stream */
		return 0;
	}
	if (v->kind == CAM && (type & 0x1f) == 1 && (idx & 255) == 1) {
		uint8_t *p = (val >> 8) == 1 ? v->probe : (val >> 8) == 2 ? v->commit : NULL;
		if (!p) return -1;
		switch (req) {
		case 0x01:
			if (outlen > 26) outlen = 26;
			memcpy(p, out, outlen); negotiate(v, p);
			if (p == v->commit) {
				struct mode *m = mode_of(v, p);
				v->qn = v->bufpos = v->broken = 0;
				if (m->format == H264) v->next = v->seq = (v->seq + m->npic - 1) / m->npic * m->npic;	/* from the first picture on */
				arm(v, 1);
			}
			return 0;
		case 0x81: case 0x82: case 0x83: case 0x87:
			memcpy(b, p, 26);
			if (req != 0x81) { if (req != 0x82 && req != 0x83) b[3] = 0; negotiate(v, b); }
			return 26;
		case 0x85: put16(b, 26); return 2;
		case 0x86: b[0] = 3; return 1;
		}
		return -1;
	}
	if (v->kind == CAM && (type & 0x1f) == 1 && (idx & 255) == 0) {
		uint64_t before = least_frame_ns(v->values);
		n = control_unit(v->name, v->values, &v->error, idx >> 8, val >> 8, req, out, outlen, b);
		if (v->armed && before != least_frame_ns(v->values)) arm(v, 1);
		return n;
	}
	if (v->kind == ACM && (type & 0x60) == 0x20) switch (req) {
	case 0x20: memcpy(v->line, out, outlen < 7 ? outlen : 7); say("%s line %u", v->name, get32(v->line)); return 0;
	case 0x21: memcpy(b, v->line, 7); return 7;
	case 0x22: case 0x23: return 0;
	}
	return -1;
}

static void unplug(struct dev *v, const char *why);
static void serve(struct dev *v)	/* one request from the kernel */
{
	uint32_t h[12];
	static uint8_t out[1 << 20], in[4096];
	if (recvall(v->sock, h, 48)) { unplug(v, "closed by the kernel"); return; }
	uint32_t cmd = ntohl(h[0]), seq = ntohl(h[1]), dir = ntohl(h[3]), ep = ntohl(h[4]), len = ntohl(h[6]);
	if (cmd == 2) {
		int hit = cut(&v->in_head, &v->in_tail, ntohl(h[5])) || cut(&v->intr_head, &v->intr_tail, ntohl(h[5]));
		uint32_t r[12] = { htonl(4), htonl(seq), 0, 0, 0, htonl(hit ? -ECONNRESET : 0) };
		sendall(v->sock, r, 48);
		return;
	}
	if (cmd != 1 || len > sizeof out) { unplug(v, "protocol error"); return; }
	if (!dir && len && recvall(v->sock, out, len)) { unplug(v, "closed by the kernel"); return; }
	if (ep == 0) {
		int n = control(v, (uint8_t *)&h[10], out, dir ? 0 : len, in);
		if (n < 0) reply(v, 3, seq, -EPIPE, NULL, 0, 0);
		else if (dir) { if ((uint32_t)n > len) n = len; reply(v, 3, seq, 0, in, n, n); }
		else reply(v, 3, seq, 0, NULL, 0, len);
		return;
	}
	if (!dir) { acm_out(v, out, len); reply(v, 3, seq, 0, NULL, 0, len); return; }
	struct urb *u = calloc(1, sizeof *u);
	u->seq = seq; u->len = len;
	if (ep == 3) { *v->intr_tail = u; v->intr_tail = &u->next; return; }
	*v->in_tail = u; v->in_tail = &u->next;
	if (v->kind == CAM) { if (!v->armed) arm(v, 1); pump(v); }
	else acm_feed(v);
}

/* ---- plugging ------------------------------------------------------------- */
static int port_free(int port)
{
	char l[256]; int p, st, ok = 0;
	FILE *f = fopen(VHCI "status", "r");
	if (!f) die("no %sstatus: modprobe vhci_hcd", VHCI);
	while (fgets(l, sizeof l, f)) if (sscanf(l, "%*s %d %d", &p, &st) == 2 && p == port) ok = st == 4;
	fclose(f);
	return ok;
}
static void plug(struct dev *v)
{
	int s[2], f, n; char c[64];
	if (v->sock >= 0) return;
	for (n = 0; n < 500 && !port_free(v->port); n++) usleep(10000);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s)) die("socketpair: %s", strerror(errno));
	n = 4 << 20; setsockopt(s[0], SOL_SOCKET, SO_SNDBUFFORCE, &n, sizeof n); setsockopt(s[1], SOL_SOCKET, SO_SNDBUFFORCE, &n, sizeof n);
	v->sock = s[0];
	if (v->kind == CAM) reset_controls(v->name, v->values);
	f = open(VHCI "attach", O_WRONLY);
	n = snprintf(c, sizeof c, "%d %d %d 3", v->port, s[1], 0x10001 + v->port);
	if (f < 0 || write(f, c, n) != n) die("attach %s: %s", v->name, strerror(errno));
	close(f); close(s[1]);
	say("%s plugged mono_ns=%llu", v->name, (unsigned long long)mono());
}
static void unplug(struct dev *v, const char *why)
{
	if (v->sock < 0) return;
	shutdown(v->sock, SHUT_RDWR); close(v->sock); v->sock = -1;
	flushq(&v->in_head, &v->in_tail); flushq(&v->intr_head, &v->intr_tail);
	if (v->kind == CAM) { arm(v, 0); v->qn = v->bufpos = 0; memset(v->probe, 0, 26); memset(v->commit, 0, 26); negotiate(v, v->probe); negotiate(v, v->commit); }
	v->elen = 0;
	say("%s unplugged mono_ns=%llu (%s)", v->name, (unsigned long long)mono(), why);
}

static void command(char *l)
{
	char c[32] = "", n[64] = ""; unsigned k = 1; int hit = 0;
	int a = sscanf(l, "%31s %63s %u", c, n, &k);
	if (a < 1) return;
	if (!strcmp(c, "quit")) { for (int i = 0; i < ndev; i++) unplug(&dev[i], "quit"); exit(0); }
	for (int i = 0; i < ndev; i++) {
		struct dev *v = &dev[i];
		if (!strcmp(c, "stat")) { hit = 1; say("stat %s plugged=%d seq=%u sent=%u lost=%u waiting=%d", v->name, v->sock >= 0, v->seq, v->sent, v->lost, !!v->in_head); continue; }
		if (strcmp(n, v->name) && strcmp(n, "all")) continue;
		hit = 1;
		if (!strcmp(c, "plug")) plug(v);
		else if (!strcmp(c, "unplug")) unplug(v, "command");
		else if (!strcmp(c, "freeze") || !strcmp(c, "thaw")) {
			v->frozen = c[0] == 'f';
			say("%s %s mono_ns=%llu", v->name, v->frozen ? "frozen" : "thawed", (unsigned long long)mono());
		}
		else if (!strcmp(c, "error")) v->n_error = k;
		else if (!strcmp(c, "truncate")) v->n_trunc = k;
		else if (!strcmp(c, "drop")) v->n_drop = k;
		else if (!strcmp(c, "rate")) { v->rate = k; if (v->armed) arm(v, 1); }
		else hit = 0;
	}
	if (!hit) say("not understood: %s", l);
}
static int lines(int fd)
{
	static char b[2][4096]; static size_t n[2]; int k = fd != 0; char *e;
	ssize_t r = read(fd, b[k] + n[k], sizeof b[k] - 1 - n[k]);
	if (r <= 0) return r;
	b[k][n[k] += r] = 0;
	while ((e = strchr(b[k], '\n'))) { *e = 0; command(b[k]); memmove(b[k], e + 1, n[k] = strlen(e + 1)); b[k][n[k]] = 0; }
	if (n[k] == sizeof b[k] - 1) n[k] = 0;
	return 1;
}

static void parse(char *arg)
{
	struct dev *v = &dev[ndev]; char *t, *e, *sv;
	if (ndev == MAXDEV) die("at most %d devices", MAXDEV);
	v->kind = !strncmp(arg, "cam:", 4) ? CAM : !strncmp(arg, "acm:", 4) ? ACM : (die("device? %s", arg), CAM);
	v->port = ndev++; v->sock = v->timer = v->master = -1; v->stamp = 1; v->depth = 3; v->fps[0] = 30; v->nfps = 1;
	v->in_tail = &v->in_head; v->intr_tail = &v->intr_head;
	put32(v->line, 115200); v->line[6] = 8;
	v->vid = v->kind == CAM ? 0x0bda : 0x1a86; v->pid = v->kind == CAM ? 0x5842 : 0x55d3;
	strcpy(v->vendor, "fakeusb"); strcpy(v->product, v->kind == CAM ? "USB Camera" : "USB Single Serial");
	t = strtok_r(arg + 4, ",", &sv);
	snprintf(v->name, sizeof v->name, "%s", t ? t : "?"); strcpy(v->serial, v->name);
	while ((t = strtok_r(NULL, ",", &sv))) {
		int w, h, o = 0; unsigned a, b;
		if (sscanf(t, "id=%x:%x", &a, &b) == 2) v->vid = a, v->pid = b;
		else if (!strncmp(t, "serial=", 7)) snprintf(v->serial, sizeof v->serial, "%s", t + 7);
		else if (!strncmp(t, "product=", 8)) snprintf(v->product, sizeof v->product, "%s", t + 8);
		else if (!strncmp(t, "vendor=", 7)) snprintf(v->vendor, sizeof v->vendor, "%s", t + 7);
		else if (!strncmp(t, "fps=", 4)) { for (v->nfps = 0, e = t + 3; e && v->nfps < MAXFPS; e = strchr(e + 1, '/')) if ((v->fps[v->nfps++] = atoi(e + 1)) < 1) die("fps? %s", t); }
		else if (!strcmp(t, "nostamp")) v->stamp = 0;
		else if (!strncmp(t, "depth=", 6)) { if ((v->depth = atoi(t + 6)) < 1 || v->depth > 8) die("depth=1..8"); }
		else if (!strcmp(t, "off")) v->off = 1;
		else if (!strcmp(t, "echo") && v->kind == ACM) v->echo = 1;
		else if (!strncmp(t, "pty=", 4) && v->kind == ACM) snprintf(v->link, sizeof v->link, "%s", t + 4);
		else if (v->kind == CAM && v->nmode < MAXMODE && sscanf(e = t + 5 * !strncmp(t, "h264:", 5), "%dx%d=%n", &w, &h, &o) == 2 && o) {
			struct mode *m = &v->mode[v->nmode++];
			*m = (struct mode){ .w = w, .h = h, .format = e == t ? MJPEG : H264 };
			load(m, e + o);
		}
		else die("option? %s", t);
	}
	if (v->kind == CAM) {
		if (!v->nmode) die("%s: no WxH=FILE", v->name);
		v->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
		negotiate(v, v->probe); negotiate(v, v->commit);
	} else if (v->link[0]) {
		struct termios tio;
		v->master = posix_openpt(O_RDWR | O_NOCTTY);
		if (v->master < 0 || grantpt(v->master) || unlockpt(v->master)) die("pty: %s", strerror(errno));
		v->slave = open(ptsname(v->master), O_RDWR | O_NOCTTY);	/* kept: the pty survives its users */
		tcgetattr(v->slave, &tio); cfmakeraw(&tio); tcsetattr(v->slave, TCSANOW, &tio);
		unlink(v->link);
		if (symlink(ptsname(v->master), v->link)) die("%s: %s", v->link, strerror(errno));
	} else if (!v->echo) die("%s: pty=PATH or echo", v->name);
	describe(v);
}

int main(int argc, char **argv)
{
	int i, ctl = -1, in = -1, o; struct stat st, nul;
	while ((o = getopt(argc, argv, "c:p:s:")) != -1) {
		if (o == 'p' || o == 's') { if (!(*(o == 'p' ? &pictures : &settings) = fopen(optarg, "w"))) die("%s: %s", optarg, strerror(errno)); continue; }
		if (o != 'c') return 2;
		mkfifo(optarg, 0666);
		if ((ctl = open(optarg, O_RDWR)) < 0) die("%s: %s", optarg, strerror(errno));
	}
	signal(SIGPIPE, SIG_IGN);
	if (optind == argc) die("no device; see the head of fakeusb.c");
	for (i = optind; i < argc; i++) parse(argv[i]);
	if (!fstat(0, &st) && !isatty(0) && !(S_ISCHR(st.st_mode) && !stat("/dev/null", &nul) && st.st_rdev == nul.st_rdev)) in = 0;
	for (i = 0; i < ndev; i++) if (!dev[i].off) plug(&dev[i]);
	say("ready");
	for (;;) {
		struct pollfd p[3 * MAXDEV + 2]; int who[3 * MAXDEV + 2], n = 0;
#define ADD(f, w) do { if ((f) >= 0) { p[n] = (struct pollfd){ .fd = (f), .events = POLLIN }; who[n++] = (w); } } while (0)
		ADD(ctl, -1); ADD(in, -2);
		for (i = 0; i < ndev; i++) {
			ADD(dev[i].timer, 3 * i); ADD(dev[i].sock, 3 * i + 1);
			if (dev[i].kind == ACM && dev[i].elen < sizeof dev[i].eb / 2) ADD(dev[i].master, 3 * i + 2);
		}
		if (poll(p, n, -1) < 0) { if (errno == EINTR) continue; die("poll: %s", strerror(errno)); }
		for (i = 0; i < n; i++) {
			struct dev *v; uint64_t x; ssize_t r;
			if (!p[i].revents) continue;
			if (who[i] == -1) { lines(ctl); break; }
			if (who[i] == -2) { if (lines(0) <= 0) in = -1; break; }
			v = &dev[who[i] / 3];
			switch (who[i] % 3) {
			case 0: if (read(v->timer, &x, 8) == 8) { while (x-- > 1) { v->seq++; v->next++; v->lost++; v->broken = 1; note(v, mono(), "lost"); } tick(v); } break;
			case 1: if (v->sock == p[i].fd) serve(v); break;
			case 2:
				r = read(v->master, v->eb + v->elen, sizeof v->eb - v->elen);
				if (r > 0 && v->sock >= 0 && !v->frozen) { v->elen += r; acm_feed(v); }
				break;
			}
		}
	}
}
