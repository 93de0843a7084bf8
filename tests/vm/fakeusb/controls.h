/*
 * The image controls of a camera: a camera terminal and a processing unit, as webcams have them. Values are kept while
 * the camera is plugged in, and are the defaults again when it is plugged in anew. Where an automatic mode governs a
 * control, setting that is refused, as cameras do; in manual mode an exposure longer than a frame makes frames that long.
 * With -s FILE there is a line for each value that the computer sets, and for each plug, flushed:
 *   NAME MONO_NS CONTROL VALUE | NAME MONO_NS CONTROL VALUE refused | NAME MONO_NS plugged
 */
enum { TERMINAL = 1, PROCESSING = 3 };
enum { AE_MODE, EXPOSURE, FOCUS, FOCUS_AUTO, GAIN, POWER_LINE, WHITE_BALANCE, WHITE_BALANCE_AUTO, NCONTROL };
enum { AE_MANUAL = 1, AE_APERTURE_PRIORITY = 8 };

/* 'res' of the exposure mode is the set of modes that there are. 'governor': the control whose automatic mode governs it. */
static const struct { const char *name; uint8_t unit, selector, size; int min, max, res, initial, governor; } controls[NCONTROL] = {
	[AE_MODE] = { "auto_exposure", TERMINAL, 2, 1, 1, 8, AE_MANUAL | AE_APERTURE_PRIORITY, AE_APERTURE_PRIORITY, -1 },
	[EXPOSURE] = { "exposure_time_absolute", TERMINAL, 4, 4, 1, 5000, 1, 157, AE_MODE },	/* in 100 us */
	[FOCUS] = { "focus_absolute", TERMINAL, 6, 2, 0, 250, 5, 0, FOCUS_AUTO },
	[FOCUS_AUTO] = { "focus_automatic_continuous", TERMINAL, 8, 1, 0, 1, 1, 1, -1 },
	[GAIN] = { "gain", PROCESSING, 4, 2, 0, 255, 1, 64, -1 },
	[POWER_LINE] = { "power_line_frequency", PROCESSING, 5, 1, 0, 2, 1, 2, -1 },	/* 60 Hz */
	[WHITE_BALANCE] = { "white_balance_temperature", PROCESSING, 10, 2, 2800, 6500, 10, 4600, WHITE_BALANCE_AUTO },
	[WHITE_BALANCE_AUTO] = { "white_balance_automatic", PROCESSING, 11, 1, 0, 1, 1, 1, -1 },
};
/* Bits of the controls in the descriptors of their units. */
static const uint8_t terminal_bits[3] = { 1 << 1 | 1 << 3 | 1 << 5, 0, 1 << 1 };
static const uint8_t processing_bits[2] = { 1 << 6, 1 << 1 | 1 << 2 | 1 << 4 };

static FILE *settings;
static void note_setting(const char *camera, const char *words)
{
	if (settings) { fprintf(settings, "%s %llu %s\n", camera, (unsigned long long)mono(), words); fflush(settings); }
}
static void reset_controls(const char *camera, int *values)
{
	for (int i = 0; i < NCONTROL; i++) values[i] = controls[i].initial;
	note_setting(camera, "plugged");
}
static int is_automatic(const int *values, int governor)
{
	return governor >= 0 && (governor == AE_MODE ? values[governor] != AE_MANUAL : values[governor]);
}
/* How long a frame takes at least, in ns. */
static uint64_t least_frame_ns(const int *values)
{
	return values[AE_MODE] == AE_MANUAL ? values[EXPOSURE] * 100000ull : 0;
}
static int is_possible(const int *values, int i, int value)
{
	if (i == AE_MODE) return value == AE_MANUAL || value == AE_APERTURE_PRIORITY;
	return value >= controls[i].min && value <= controls[i].max && !is_automatic(values, controls[i].governor);
}
/* A request to a unit; the length of the answer in 'b', or -1: refused, and 'error' says why in UVC's numbers. */
static int control_unit(const char *camera, int *values, uint8_t *error, int unit, int selector, int req, const uint8_t *out, size_t outlen, uint8_t *b)
{
	if (unit == 0 && selector == 2 && req == 0x81) { b[0] = *error; return 1; }
	int i = 0, value = 0;
	while (i < NCONTROL && (controls[i].unit != unit || controls[i].selector != selector)) i++;
	*error = 6;	/* no such control */
	if (i == NCONTROL) return -1;
	int size = controls[i].size;
	*error = 0;
	switch (req) {
	case 0x01:
		for (size_t k = 0; k < outlen && k < 4; k++) value |= out[k] << 8 * k;
		char words[96];
		int possible = is_possible(values, i, value);
		snprintf(words, sizeof words, "%s %d%s", controls[i].name, value, possible ? "" : " refused");
		note_setting(camera, words);
		if (!possible) { *error = is_automatic(values, controls[i].governor) ? 2 : 4; return -1; }	/* wrong state, out of range */
		values[i] = value;
		return 0;
	case 0x81: value = values[i]; break;
	case 0x82: value = controls[i].min; break;
	case 0x83: value = controls[i].max; break;
	case 0x84: value = controls[i].res; break;
	case 0x85: put16(b, size); return 2;
	case 0x86: b[0] = 3; return 1;	/* can be read and set */
	case 0x87: value = controls[i].initial; break;
	default: *error = 7; return -1;
	}
	for (int k = 0; k < size; k++) b[k] = value >> 8 * k;
	return size;
}
