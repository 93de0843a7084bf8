/*
 * What a camera shows: pictures from a file, sent in a loop, each with a stamp of its own.
 * MJPEG: concatenated JPEGs; the stamp is a comment right after the first two bytes.
 * H.264: an Annex B stream whose access units begin with a delimiter (ffmpeg -bsf:v h264_metadata=aud=insert) and whose
 * first one is an IDR picture with its parameter sets; the stamp is a user data message (SEI) behind the delimiter.
 */
enum format { MJPEG, H264 };

/* The stamp goes behind the first 'head' bytes. A picture that is no key picture builds on the one before. */
struct pic { uint8_t *p; size_t n, head; int key; };
struct mode { int w, h; enum format format; struct pic *pic; size_t npic; };

static void add_picture(struct mode *m, uint8_t *p, size_t n, size_t head, int key)
{
	m->pic = realloc(m->pic, (m->npic + 1) * sizeof *m->pic);
	m->pic[m->npic++] = (struct pic){ p, n, head, key };
}
static void load_jpegs(struct mode *m, uint8_t *b, size_t n)
{
	for (size_t i = 0, start = 0; i + 1 < n; i++) {
		if (b[i] == 0xff && b[i + 1] == 0xd8) start = i;
		if (b[i] == 0xff && b[i + 1] == 0xd9) add_picture(m, b + start, i + 2 - start, 2, 1);
	}
}
/* The next start code at or after 'i', with its leading zero if it has four bytes; 'n' where there is none. */
static size_t start_code(const uint8_t *b, size_t n, size_t i)
{
	for (; i + 3 < n; i++)
		if (!b[i] && !b[i + 1] && (b[i + 2] == 1 || (!b[i + 2] && i + 4 < n && b[i + 3] == 1))) return i;
	return n;
}
static int nal_type(const uint8_t *b, size_t i) { return b[i + (b[i + 2] == 1 ? 3 : 4)] & 31; }
static void load_h264(struct mode *m, uint8_t *b, size_t n)
{
	size_t unit = n, head = 0;	/* the access unit in hand, and where its second NAL unit begins */
	int key = 0;
	for (size_t i = start_code(b, n, 0); i < n; i = start_code(b, n, i + 4)) {
		if (nal_type(b, i) == 9) {
			if (unit < n) add_picture(m, b + unit, i - unit, head - unit, key);
			unit = i, head = 0, key = 0;
		} else if (unit < n && !head) head = i;
		key |= nal_type(b, i) == 5;
	}
	if (unit < n && head) add_picture(m, b + unit, n - unit, head - unit, key);
}
static void load(struct mode *m, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	if (!f || fstat(fileno(f), &st)) die("%s: %s", path, strerror(errno));
	uint8_t *b = malloc(st.st_size + 1);
	size_t n = fread(b, 1, st.st_size, f);
	fclose(f);
	if (m->format == H264) load_h264(m, b, n); else load_jpegs(m, b, n);
	if (!m->npic) die("%s: no %s picture", path, m->format == H264 ? "H.264" : "JPEG");
}

#define MOST_STAMP 256
/* Writes the stamp with all that a decoder wants around it; returns its length. */
static size_t stamp(uint8_t *to, enum format format, const char *name, uint32_t seq, uint64_t mono_ns)
{
	static const uint8_t uuid[17] = "recorder-fakeusb";
	char text[128];
	size_t n = snprintf(text, sizeof text, "fakeusb %s seq=%010u mono_ns=%020llu", name, seq, (unsigned long long)mono_ns);
	uint8_t *w = to;
	if (format == H264) {
		static const uint8_t sei[6] = { 0, 0, 0, 1, 6, 5 };	/* user data, unregistered */
		memcpy(w, sei, 6); w[6] = 16 + n; memcpy(w + 7, uuid, 16); w += 23;
	} else {
		w[0] = 0xff; w[1] = 0xfe; w[2] = (n + 2) >> 8; w[3] = n + 2; w += 4;
	}
	memcpy(w, text, n); w += n;
	if (format == H264) *w++ = 0x80;
	return w - to;
}
