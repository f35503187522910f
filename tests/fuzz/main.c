// SPDX-License-Identifier: GPL-2.0
/*
 * The loop of the fuzzer: make an input of what is known to be interesting, run
 * it, and keep it when it went where none has been before.
 *
 * As test_fuzz it replays the inputs that are kept in the tree, which reach much
 * of the driver, as a test.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_QUEUE	4096
#define MAX_POINTS	8192	/* addresses that the driver can report */
#define EDGE_BITS	18
#define LAST		8	/* inputs that are kept in case the kernel dies */
#define PROGRESS_SECONDS 10
#define REPLAYS		3	/* of each input, for lanes that run together */

#define CORPUS		"tests/fuzz/corpus"

struct entry {
	struct program program;
	uint8_t points[MAX_POINTS / 8];
};

static struct entry *queue[MAX_QUEUE];
static unsigned int nr_queue;

static uint64_t points[MAX_POINTS];	/* hashed by address */
static unsigned int nr_points;
static uint8_t edges[1 << EDGE_BITS];
static unsigned int nr_edges;

static struct {
	uint64_t seed;
	unsigned int seconds;
	const char *corpus[8];
	unsigned int nr_corpus;
	const char *out;
	const char *findings;
	bool replay;
} options = { .seconds = 60 };

static uint64_t random_state;
static unsigned long runs, timeouts;

static void usage(FILE *to)
{
	fputs("usage: fuzz [OPTION...]\n"
	      "       fuzz --replay FILE...\n"
	      "\n"
	      "Fuzzes /dev/memory-view, in a guest, as root. On a kernel with KCOV the\n"
	      "coverage of the driver guides it; on one without, chance alone. Ends at the\n"
	      "first report in the kernel log, or when a process does not die.\n"
	      "\n"
	      "  --seconds N     how long (default 60; 0: only what --corpus has)\n"
	      "  --seed N        the same decisions again (default: the time)\n"
	      "  --corpus DIR    inputs to begin with; can be given several times\n"
	      "  --out DIR       in the end, the fewest inputs that reach all that was reached\n"
	      "  --findings DIR  the input that caused a report, as report; and while it\n"
	      "                  runs the last ones, as last-0 to last-7, should the kernel die\n"
	      "  --replay        run the files, three times each, and nothing else\n"
	      "  --help\n"
	      "\n"
	      "exit status: 0 nothing found, 1 something found, 2 it cannot run\n", to);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- Coverage --------------------------------------------------------- */

/* A number for each address; the last one is for all that do not fit. */
static unsigned int point_of(uint64_t pc)
{
	uint64_t state = pc;
	unsigned int i = random_next(&state) % MAX_POINTS;

	for (unsigned int n = 0; n < MAX_POINTS; n++, i = (i + 1) % MAX_POINTS) {
		if (points[i] == pc)
			return i;
		if (!points[i]) {
			points[i] = pc;
			return i;
		}
	}
	return MAX_POINTS - 1;
}

/* Takes in what the run reached; true if anything was new. */
static bool collect(struct entry *entry)
{
	static uint8_t seen[MAX_POINTS / 8];
	bool fresh = false;

	memset(entry->points, 0, sizeof(entry->points));
	for (int lane = 0; lane < NR_LANES; lane++) {
		uint64_t nr, before = 0;

		if (!kcov[lane])
			continue;
		nr = kcov[lane][0];
		if (nr >= KCOV_WORDS)
			nr = KCOV_WORDS - 1;
		for (uint64_t i = 1; i <= nr; i++) {
			uint64_t pc = kcov[lane][i];
			uint64_t state = pc ^ before << 20;
			uint32_t edge = random_next(&state) >> (64 - EDGE_BITS);
			unsigned int point = point_of(pc);

			before = pc;
			entry->points[point / 8] |= 1 << point % 8;
			if (!(seen[point / 8] >> point % 8 & 1)) {
				seen[point / 8] |= 1 << point % 8;
				nr_points++;
				fresh = true;
			}
			if (!edges[edge]) {
				edges[edge] = 1;
				nr_edges++;
				fresh = true;
			}
		}
	}
	return fresh;
}

static void keep(const struct entry *entry)
{
	unsigned int i = nr_queue;

	if (nr_queue == MAX_QUEUE)
		i = random_below(&random_state, MAX_QUEUE);
	else
		nr_queue++;
	if (!queue[i])
		queue[i] = malloc(sizeof(*entry));
	if (!queue[i])
		abort();
	*queue[i] = *entry;
}

/* ---- Files -------------------------------------------------------------- */

static bool save(const char *dir, const char *name, const struct program *p,
		 const char *comment)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "we");
	if (!file)
		return false;
	program_write(p, file);
	if (comment && comment[0])
		fprintf(file, "# %.100s\n", comment);
	return !fclose(file);
}

static bool load(struct program *p, const char *path)
{
	FILE *file = fopen(path, "re");
	bool ok = file && program_read(p, file);

	if (file)
		fclose(file);
	return ok;
}

static unsigned int count_bits(const uint8_t *bits, const uint8_t *without)
{
	unsigned int n = 0;

	for (size_t i = 0; i < MAX_POINTS / 8; i++)
		n += __builtin_popcount(bits[i] & ~without[i]);
	return n;
}

/* The inputs are named by what they are, so that the same one has one name. */
static void name_of(const struct program *p, char *name, size_t size)
{
	uint64_t hash = p->together;

	for (unsigned int i = 0; i < p->nr; i++) {
		uint64_t op;

		memcpy(&op, &p->ops[i], sizeof(op));
		hash ^= op;
		hash = random_next(&hash);
	}
	snprintf(name, size, "%016llx", (unsigned long long)hash);
}

/* Greedily: always the input that adds most. */
static void save_corpus(void)
{
	uint8_t have[MAX_POINTS / 8] = { 0 };
	unsigned int nr = 0;
	char name[32];

	if (!options.out)
		return;
	mkdir(options.out, 0777);
	for (;;) {
		unsigned int best = 0, most = 0;

		for (unsigned int i = 0; i < nr_queue; i++) {
			unsigned int n = count_bits(queue[i]->points, have);

			if (n > most) {
				most = n;
				best = i;
			}
		}
		if (!most)
			break;
		for (size_t i = 0; i < sizeof(have); i++)
			have[i] |= queue[best]->points[i];
		name_of(&queue[best]->program, name, sizeof(name));
		save(options.out, name, &queue[best]->program, NULL);
		nr++;
	}
	printf("%u inputs reach all %u points: in %s\n", nr, nr_points, options.out);
}

/* ---- Running ---------------------------------------------------------- */

/* True: nothing found. */
static bool execute(struct entry *entry, bool *fresh)
{
	char report[1024], name[16];
	enum run_result result;

	if (options.findings) {
		snprintf(name, sizeof(name), "last-%lu", runs % LAST);
		save(options.findings, name, &entry->program, NULL);
	}
	result = run_program(&entry->program, report, sizeof(report));
	runs++;
	*fresh = collect(entry);
	if (result == RUN_DONE)
		return true;
	timeouts += result == RUN_TIMEOUT;
	printf("FOUND after %lu runs: %s\n", runs, report);
	program_write(&entry->program, stdout);
	if (options.findings)
		save(options.findings, "report", &entry->program, report);
	return false;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Paths of the files in a directory, sorted; their number, or -1. */
static int list_dir(const char *dir, char ***paths, int nr)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int first = nr;

	if (!d)
		return -1;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		*paths = realloc(*paths, (nr + 1) * sizeof(**paths));
		if (!*paths || asprintf(&(*paths)[nr], "%s/%s", dir, e->d_name) < 0)
			abort();
		nr++;
	}
	closedir(d);
	if (nr > first)
		qsort(*paths + first, nr - first, sizeof(**paths), compare_names);
	return nr;
}

static bool run_corpus(void)
{
	static struct entry entry;
	char **paths = NULL;
	bool fresh;
	int nr = 0;

	for (unsigned int i = 0; i < options.nr_corpus; i++) {
		int n = list_dir(options.corpus[i], &paths, nr);

		if (n < 0) {
			fprintf(stderr, "%s: %s\n", options.corpus[i], strerror(errno));
			exit(2);
		}
		nr = n;
	}
	for (int i = 0; i < nr; i++) {
		if (!load(&entry.program, paths[i])) {
			fprintf(stderr, "%s is no input\n", paths[i]);
			exit(2);
		}
		if (!execute(&entry, &fresh))
			return false;
		keep(&entry);
		free(paths[i]);
	}
	free(paths);
	return true;
}

static void progress(double seconds)
{
	printf("%5.0f s: %lu runs (%.0f/s), %u inputs, %u points, %u edges\n",
	       seconds, runs, (double)runs / (seconds > 0 ? seconds : 1), nr_queue,
	       nr_points, nr_edges);
	fflush(stdout);
}

static bool fuzz(void)
{
	static struct entry entry;
	double start = now(), said = start;
	bool fresh;

	if (!run_corpus())
		return false;
	while (now() - start < options.seconds) {
		struct entry *base, *other;

		if (!nr_queue || random_below(&random_state, 12) == 0) {
			program_generate(&entry.program, &random_state);
		} else {
			/* The latest have been tried least. */
			base = queue[random_below(&random_state, 3) ?
				     random_below(&random_state, nr_queue) :
				     nr_queue - 1 - random_below(&random_state,
								 nr_queue / 8 + 1)];
			other = queue[random_below(&random_state, nr_queue)];
			entry.program = base->program;
			program_mutate(&entry.program, &other->program, &random_state);
		}
		if (!execute(&entry, &fresh))
			return false;
		if (fresh)
			keep(&entry);
		if (now() - said >= PROGRESS_SECONDS) {
			progress(now() - start);
			said = now();
		}
	}
	progress(now() - start);
	return true;
}

static bool replay(const char *path)
{
	static struct entry entry;
	bool fresh;

	if (!load(&entry.program, path)) {
		printf("# %s is no input\n", path);
		return false;
	}
	for (int i = 0; i < REPLAYS; i++) {
		if (!execute(&entry, &fresh))
			return false;
	}
	return true;
}

/* Speaks TAP, for `make check`. */
static int test_main(void)
{
	char **paths = NULL;
	int nr = list_dir(CORPUS, &paths, 0);
	int failed = 0;

	if (nr <= 0) {
		puts("1..1\nnot ok 1 - inputs are in " CORPUS);
		return 1;
	}
	printf("1..%d\n", nr);
	for (int i = 0; i < nr; i++) {
		bool ok = replay(paths[i]);

		failed += !ok;
		printf("%sok %d - %s\n", ok ? "" : "not ", i + 1, paths[i]);
		fflush(stdout);
		free(paths[i]);
	}
	free(paths);
	return failed != 0;
}

static unsigned long long number(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "%s is no number\n", text);
		exit(2);
	}
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "corpus", required_argument, NULL, 'c' },
		{ "out", required_argument, NULL, 'o' },
		{ "findings", required_argument, NULL, 'f' },
		{ "replay", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	options.seed = (uint64_t)time(NULL);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			options.seconds = number(optarg);
			break;
		case 'r':
			options.seed = number(optarg);
			break;
		case 'c':
			if (options.nr_corpus == 8)
				exit(2);
			options.corpus[options.nr_corpus++] = optarg;
			break;
		case 'o':
			options.out = optarg;
			break;
		case 'f':
			options.findings = optarg;
			break;
		case 'p':
			options.replay = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (options.replay == (optind == argc)) {
		usage(stderr);
		exit(2);
	}
}

static bool is_test(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return !strcmp(slash ? slash + 1 : argv0, "test_fuzz");
}

int main(int argc, char **argv)
{
	bool test = is_test(argv[0]);
	bool ok = true;

	if (!test)
		parse(argc, argv);
	if (geteuid() || access("/dev/memory-view", R_OK | W_OK)) {
		fprintf(stderr, "needs root and /dev/memory-view: run it in the guest\n");
		return 2;
	}
	if (!run_prepare() || !ops_prepare()) {
		perror("preparing");
		return 2;
	}
	if (test)
		return test_main();

	random_state = options.seed;
	printf("seed %llu, %s\n", (unsigned long long)options.seed,
	       kcov[0] ? "guided by coverage" : "no KCOV: not guided");
	if (options.replay) {
		for (int i = optind; i < argc && ok; i++) {
			ok = replay(argv[i]);
			printf("%s: %s\n", argv[i], ok ? "nothing found" : "found");
		}
		return !ok;
	}
	ok = fuzz();
	save_corpus();
	return !ok;
}
