// SPDX-License-Identifier: GPL-2.0
/*
 * Runs rows of the table in the guest and writes a line of JSON for each figure
 * to standard output; tests/bench/run starts it and makes something of them.
 *
 *	memview-bench --mode time|icount [--runs N] [--only NAME]... [--list]
 *
 * First {"plan": figures, "kernel": release}; then {"name", "variant", "unit", "contenders":
 * [{"name", "values": [one for each run]}]}, the view first, or {"name",
 * "variant", "absent": reason}; at last {"end": true}. A line {"start": name}
 * precedes what takes time.
 */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define MAX_RUNS	99
#define MAX_ONLY	64

struct options {
	unsigned int mode;
	unsigned int runs;
	const char *only[MAX_ONLY];
	unsigned int nr_only;
	bool list;
};

static const struct contender *contender(const struct bench *b, unsigned int i)
{
	return &b->rivals[i - 1];
}

static unsigned int nr_contenders(const struct bench *b)
{
	unsigned int n = 1;

	while (n <= MAX_RIVALS && contender(b, n)->cost)
		n++;
	return n;
}

static unsigned int nr_figures(const struct bench *b)
{
	unsigned int n = 0;

	while (n < MAX_FIGURES && b->figures[n].per)
		n++;
	return n;
}

struct order {
	const struct bench *bench;
	unsigned int contender;
};

static void run_cost(const void *arg, double *values)
{
	const struct order *order = arg;
	const struct bench *b = order->bench;

	if (order->contender)
		contender(b, order->contender)->cost(b, values);
	else
		b->view(b, values);
}

typedef double results[MAX_RIVALS + 1][MAX_RUNS][MAX_FIGURES];

/*
 * The first round warms up and does not count. Each round begins with another
 * contender.
 */
static void measure(const struct bench *b, const struct options *options,
		    results values)
{
	unsigned int nr = nr_contenders(b), round, i;
	unsigned int runs = options->runs;
	struct peer processes[MAX_RIVALS + 1];
	double warm_up[MAX_FIGURES];

	for (i = 0; b->keep && i < nr; i++)
		peer_start(&processes[i]);
	for (round = 0; round <= runs; round++) {
		for (i = 0; i < nr; i++) {
			struct order order = { b, (round + i) % nr };
			struct peer *process = &processes[order.contender];

			if (!b->keep)
				peer_start(process);
			peer_post(process, run_cost, &order, sizeof(order));
			peer_wait(process, round ?
				  values[order.contender][round - 1] : warm_up);
			if (!b->keep)
				peer_stop(process);
		}
	}
	for (i = 0; b->keep && i < nr; i++)
		peer_stop(&processes[i]);
}

static void print_name(const struct bench *b, unsigned int figure)
{
	printf("{\"name\": \"%s\", \"variant\": \"%s\"", b->name,
	       b->figures[figure].variant);
}

static void print_values(const struct bench *b, unsigned int figure,
			 const struct options *options, results values)
{
	const char *per = b->figures[figure].per;
	unsigned int i, run;

	print_name(b, figure);
	printf(", \"unit\": \"%s%s\", \"contenders\": [",
	       *per != '/' ? "" : options->mode == BY_TIME ? "ns" : "instructions",
	       per);
	for (i = 0; i < nr_contenders(b); i++) {
		printf("%s{\"name\": \"%s\", \"values\": [", i ? ", " : "",
		       i ? contender(b, i)->name : "view");
		for (run = 0; run < options->runs; run++)
			printf("%s%.3f", run ? ", " : "", values[i][run][figure]);
		printf("]}");
	}
	printf("]}\n");
}

static void run_bench(const struct bench *b, const struct options *options)
{
	static results values;
	const char *missing = NULL;
	unsigned int figure;

	printf("{\"start\": \"%s\"}\n", b->name);
	if (b->missing)
		missing = b->missing();
	if (!missing) {
		memset(values, 0, sizeof(values));
		if (b->shared)
			fill_shared_file(b->shared);
		if (b->setup)
			b->setup(b);
		measure(b, options, values);
		if (b->cleanup)
			b->cleanup();
	}
	for (figure = 0; figure < nr_figures(b); figure++) {
		if (!missing) {
			print_values(b, figure, options, values);
			continue;
		}
		print_name(b, figure);
		printf(", \"absent\": \"%s\"}\n", missing);
	}
}

static bool chosen(const struct bench *b, const struct options *options)
{
	unsigned int i;

	for (i = 0; i < options->nr_only; i++)
		if (!strcmp(options->only[i], b->name))
			return true;
	return !options->nr_only;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "runs", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ "list", no_argument, NULL, 'l' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			options->mode = !strcmp(optarg, "time") ? BY_TIME :
					!strcmp(optarg, "icount") ? BY_ICOUNT : 0;
			break;
		case 'r':
			options->runs = atoi(optarg);
			break;
		case 'o':
			if (options->nr_only < MAX_ONLY)
				options->only[options->nr_only++] = optarg;
			break;
		case 'l':
			options->list = true;
			break;
		default:
			exit(2);
		}
	}
	if ((!options->mode && !options->list) || options->runs < 1 ||
	    options->runs > MAX_RUNS || optind != argc)
		errx(2, "usage: --mode time|icount [--runs N] [--only NAME]... | --list");
}

int main(int argc, char **argv)
{
	struct options options = { .runs = 5 };
	struct utsname system;
	unsigned int plan = 0;
	size_t i;

	parse(argc, argv, &options);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (options.list) {
		for (i = 0; i < bench_count; i++)
			if (!i || strcmp(bench_table[i].name, bench_table[i - 1].name))
				printf("%s\n", bench_table[i].name);
		return 0;
	}
	for (i = 0; i < bench_count; i++)
		if (chosen(&bench_table[i], &options))
			plan += nr_figures(&bench_table[i]);
	uname(&system);
	printf("{\"plan\": %u, \"kernel\": \"%s\"}\n", plan, system.release);
	for (i = 0; i < bench_count; i++)
		if (chosen(&bench_table[i], &options))
			run_bench(&bench_table[i], &options);
	printf("{\"end\": true}\n");
	return 0;
}
