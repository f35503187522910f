// SPDX-License-Identifier: GPL-2.0
/*
 * A small VMM against an unmodified qemu-storage-daemon: what a vhost-user
 * back-end can touch today, and what through a memory view.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acts.h"
#include "image.h"
#include "memview.h"
#include "report.h"
#include "vmm.h"

#define DEFAULT_IMAGE_SIZE	(64ULL << 20)

enum { EXIT_HELD = 0, EXIT_NOT_HELD = 1, EXIT_USAGE = 2 };

struct options {
	const char *image;
	uint64_t size;
	bool plain;
	bool only[NR_ACTS];
	bool some_only;
};

/* What there is to remove, also when a signal ends the demo. */
static char dir[80];
static char default_image[100];
static struct stage stage = { .image_fd = -1 };

static void usage(FILE *to)
{
	unsigned int i;

	fprintf(to,
		"Usage: memview-vhost-demo [OPTION]...\n"
		"Run disk I/O between a small VMM and an unmodified qemu-storage-daemon, and\n"
		"show what the daemon can touch: through a plain memfd, and through a memory\n"
		"view. Needs /dev/memory-view, except for --plain and for act 1.\n"
		"\n"
		"  -i, --image FILE   the disk image: made, and left there; default: a temporary\n"
		"                     one in $TMPDIR, or /var/tmp\n"
		"  -s, --size SIZE    of the image in bytes, or with suffix M or G; default 64M,\n"
		"                     at least 40M\n"
		"  -o, --only ACT     run this act only (1 to %u); may be given several times\n"
		"  -p, --plain        use no memory view at all: shows what happens without\n"
		"  -q, --quiet        print only what fails\n"
		"  -t, --tap          print the Test Anything Protocol, a test per act\n"
		"  -v, --verbose      print every vhost-user message, too\n"
		"  -h, --help         print this\n"
		"\n"
		"Acts:\n", NR_ACTS);
	for (i = 1; i <= NR_ACTS; i++)
		fprintf(to, "  %u  %s\n", i, act_title(i, false));
	fprintf(to, "\nExit status: 0 if every act held, 1 if not, 2 for wrong usage.\n");
}

static void __attribute__((noreturn, format(printf, 1, 2))) usage_error(const char *fmt, ...)
{
	va_list args;

	fputs("memview-vhost-demo: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("\nTry --help.\n", stderr);
	exit(EXIT_USAGE);
}

static uint64_t parse_size(const char *text)
{
	unsigned long long size;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	size = strtoull(text, &end, 10);
	if (*end == 'M' || *end == 'G')
		shift = *end++ == 'M' ? 20 : 30;
	if (errno || end == text || *end || *text == '-' || size > (uint64_t)INT64_MAX >> shift)
		usage_error("not a size: %s", text);
	size <<= shift;
	if (size < MIN_IMAGE_SIZE || size % BLK_SECTOR)
		usage_error("the image needs %llu MiB at least, and whole sectors",
			    MIN_IMAGE_SIZE >> 20);
	return size;
}

static unsigned int parse_act(const char *text)
{
	char *end;
	unsigned long act = strtoul(text, &end, 10);

	if (end == text || *end || act < 1 || act > NR_ACTS)
		usage_error("no such act: %s", text);
	return act;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{ "image", required_argument, NULL, 'i' },
		{ "size", required_argument, NULL, 's' },
		{ "only", required_argument, NULL, 'o' },
		{ "plain", no_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "tap", no_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "i:s:o:pqtvh", longs, NULL)) >= 0) {
		switch (opt) {
		case 'i':
			options->image = optarg;
			break;
		case 's':
			options->size = parse_size(optarg);
			break;
		case 'o':
			options->only[parse_act(optarg) - 1] = true;
			options->some_only = true;
			break;
		case 'p':
			options->plain = true;
			break;
		case 'q':
			report.quiet = true;
			break;
		case 't':
			report.tap = true;
			break;
		case 'v':
			report.verbose = true;
			break;
		case 'h':
			usage(stdout);
			exit(EXIT_HELD);
		default:
			fputs("Try --help.\n", stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc)
		usage_error("unexpected argument: %s", argv[optind]);
}

static void clean_up(void)
{
	backend_stop(&stage.backend);
	if (*default_image)
		unlink(default_image);
	if (*dir)
		rmdir(dir);
}

/* Async-signal-safe part of clean_up(); the back-end dies with us. */
static void on_signal(int number)
{
	if (*stage.backend.socket) {
		unlink(stage.backend.socket);
		unlink(stage.backend.log);
	}
	if (*default_image)
		unlink(default_image);
	if (*dir)
		rmdir(dir);
	signal(number, SIG_DFL);
	raise(number);
}

static int __attribute__((format(printf, 1, 2))) cannot(const char *fmt, ...)
{
	va_list args;

	fputs("memview-vhost-demo: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	if (report.tap)
		puts("Bail out!");
	return -1;
}

static int need_device(void)
{
	struct memview *view;
	int ret = memview_open(&view);

	if (ret)
		return cannot("cannot open %s: %s%s", MEMVIEW_DEVICE, strerror(-ret),
			      ret == -ENOENT ? " (module not loaded? --plain does without)" : "");
	memview_close(view);
	return 0;
}

static int set_up(const struct options *options)
{
	const char *tmp = getenv("TMPDIR");
	char version[200];
	int ret;

	ret = backend_version(version, sizeof(version));
	if (ret)
		return cannot("cannot run %s: %s (Debian has it in qemu-system-common)",
			      BACKEND_PROGRAM, strerror(-ret));
	ret = snprintf(dir, sizeof(dir), "%s/memview-demo-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	if (ret >= (int)sizeof(dir)) {
		*dir = '\0';
		return cannot("TMPDIR is too long: a socket is made there");
	}
	if (!mkdtemp(dir)) {
		ret = errno;
		*dir = '\0';
		return cannot("cannot make a directory in %s: %s", tmp && *tmp ? tmp : "/var/tmp",
			      strerror(ret));
	}
	stage.dir = dir;
	stage.plain = options->plain;
	stage.image = options->image;
	stage.image_size = options->size;
	if (!stage.image) {
		snprintf(default_image, sizeof(default_image), "%s/disk.img", dir);
		stage.image = default_image;
	}
	stage.image_fd = image_create(stage.image, stage.image_size);
	if (stage.image_fd < 0)
		return cannot("cannot make %s: %s%s", stage.image, strerror(-stage.image_fd),
			      stage.image_fd == -EEXIST ? " (it would be overwritten)" : "");
	say("back-end: unmodified %s", version);
	say("image: %s, %" PRIu64 " MiB; guest RAM: memfd of %llu MiB", stage.image,
	    stage.image_size >> 20, GUEST_RAM_SIZE >> 20);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .size = DEFAULT_IMAGE_SIZE };
	struct sigaction action = { .sa_handler = on_signal };
	unsigned int i, run = 0, held = 0;
	bool view = false;
	uint64_t start = now_ns();

	parse(argc, argv, &options);
	for (i = 1; i <= NR_ACTS; i++) {
		options.only[i - 1] |= !options.some_only;
		run += options.only[i - 1];
		/* Act 1 is the one without a view in any case. */
		view |= options.only[i - 1] && i > 1 && !options.plain;
	}
	if (view && need_device())
		return EXIT_NOT_HELD;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	if (report.tap)
		printf("1..%u\n", run);
	if (set_up(&options)) {
		clean_up();
		return EXIT_NOT_HELD;
	}
	for (i = 1; i <= NR_ACTS; i++)
		if (options.only[i - 1])
			held += act_run(&stage, i);
	clean_up();
	close(stage.image_fd);
	if (!report.quiet)
		printf("%s%u of %u acts held, in %.1f s\n", report.tap ? "# " : "\n", held, run,
		       (now_ns() - start) / 1e9);
	return held == run ? EXIT_HELD : EXIT_NOT_HELD;
}
