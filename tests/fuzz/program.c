// SPDX-License-Identifier: GPL-2.0
/*
 * Inputs: their text form, generation and mutation. In text, each operation is a
 * line: lane, name, arguments. A line "together" is before the first of those
 * that do not take turns.
 */
#include "fuzz.h"

#include <string.h>

uint64_t random_next(uint64_t *state)
{
	/* splitmix64 */
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

void program_write(const struct program *p, FILE *file)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		const struct op *op = &p->ops[i];

		if (i == p->together)
			fputs("together\n", file);
		fprintf(file, "%u %-10s", op->lane, op_types[op->code].name);
		for (int a = 0; a < NR_ARGS; a++)
			fprintf(file, " %u", op->arg[a]);
		fputc('\n', file);
	}
}

bool program_read(struct program *p, FILE *file)
{
	char line[128], name[16];

	memset(p, 0, sizeof(*p));
	p->together = MAX_OPS;
	while (fgets(line, sizeof(line), file)) {
		struct op *op = &p->ops[p->nr];
		unsigned int lane, arg[NR_ARGS];
		int code;

		if (line[0] == '#')
			continue;
		if (!strcmp(line, "together\n")) {
			p->together = p->nr;
			continue;
		}
		if (p->nr == MAX_OPS ||
		    sscanf(line, "%u %15s %u %u %u %u %u %u", &lane, name,
			   &arg[0], &arg[1], &arg[2], &arg[3], &arg[4], &arg[5]) != 8)
			return false;
		code = op_find(name);
		if (code < 0 || lane >= NR_LANES)
			return false;
		op->code = code;
		op->lane = lane;
		for (int a = 0; a < NR_ARGS; a++)
			op->arg[a] = arg[a];
		p->nr++;
	}
	if (p->together > p->nr)
		p->together = p->nr;
	return p->nr;
}

static unsigned int random_code(uint64_t *random)
{
	unsigned int sum = 0, n;

	for (unsigned int i = 0; i < nr_op_types; i++)
		sum += op_types[i].weight;
	n = random_below(random, sum);
	for (unsigned int i = 0; ; i++) {
		if (n < op_types[i].weight)
			return i;
		n -= op_types[i].weight;
	}
}

/* Small numbers mean what is common. */
static uint8_t random_arg(uint64_t *random)
{
	switch (random_below(random, 8)) {
	case 0:
		return random_next(random);
	case 1:
	case 2:
		return random_below(random, 64);
	default:
		return random_below(random, 8);
	}
}

static void random_op(struct op *op, uint64_t *random)
{
	op->code = random_code(random);
	op->lane = random_below(random, NR_LANES);
	for (int a = 0; a < NR_ARGS; a++)
		op->arg[a] = random_arg(random);
}

static void append(struct program *p, unsigned int lane, const char *name,
		   uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t e, uint8_t f)
{
	p->ops[p->nr++] = (struct op){
		.code = op_find(name), .lane = lane, .arg = { a, b, c, d, e, f },
	};
}

/* A view with something in it, mapped in both processes; then anything. */
void program_generate(struct program *p, uint64_t *random)
{
	unsigned int nr = 6 + random_below(random, 12);
	unsigned int lane = random_below(random, NR_LANES);
	uint8_t file = random_below(random, NR_FILES);

	memset(p, 0, sizeof(*p));
	append(p, lane, "open", 0, 0, 0, 0, 0, 0);
	append(p, lane, "map", 0, file, 0, 0, random_below(random, 32),
	       2 + random_below(random, 30));
	append(p, 0, "mmap", 0, 0, 7, 0, 0, 0);
	append(p, 2, "mmap", 0, 0, 7, 0, 0, 0);
	p->together = p->nr;
	while (p->nr < nr)
		random_op(&p->ops[p->nr++], random);
	if (random_below(random, 3))
		p->together = nr;
}

/* Makes room for an operation before @i. */
static bool open_gap(struct program *p, unsigned int i)
{
	if (p->nr == MAX_OPS)
		return false;
	memmove(&p->ops[i + 1], &p->ops[i], (p->nr - i) * sizeof(p->ops[0]));
	p->nr++;
	if (p->together > i)
		p->together++;
	return true;
}

static void mutate_once(struct program *p, const struct program *other,
			uint64_t *random)
{
	unsigned int i = random_below(random, p->nr);
	unsigned int from, n;

	switch (random_below(random, 10)) {
	case 0:
	case 1:		/* insert */
		if (open_gap(p, i))
			random_op(&p->ops[i], random);
		return;
	case 2:		/* remove */
		if (p->nr == 1)
			return;
		p->nr--;
		memmove(&p->ops[i], &p->ops[i + 1], (p->nr - i) * sizeof(p->ops[0]));
		if (p->together > i)
			p->together--;
		return;
	case 3:		/* repeat */
		open_gap(p, i);
		return;
	case 4:		/* another order */
		n = random_below(random, p->nr);
		{
			struct op op = p->ops[i];

			p->ops[i] = p->ops[n];
			p->ops[n] = op;
		}
		return;
	case 5:		/* the end of another one */
		from = random_below(random, other->nr);
		for (n = 0; i + n < MAX_OPS && from + n < other->nr; n++)
			p->ops[i + n] = other->ops[from + n];
		p->nr = i + n;
		if (p->together > p->nr)
			p->together = p->nr;
		return;
	case 6:
		p->ops[i].lane = random_below(random, NR_LANES);
		return;
	case 7:
		if (random_below(random, 4) == 0)
			p->together = p->together < p->nr ? p->nr : i;
		/* fall through */
	default:
		p->ops[i].arg[random_below(random, NR_ARGS)] = random_arg(random);
	}
}

void program_mutate(struct program *p, const struct program *other,
		    uint64_t *random)
{
	unsigned int times = 1 + random_below(random, 6);

	while (times--)
		mutate_once(p, other, random);
}
