// SPDX-License-Identifier: GPL-2.0
/*
 * The controller unmaps what the driver has mapped in it, or puts something
 * else there. Peers lose the pages, and never see what has come in their place.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lane.h"

/* Each leaves some mappings behind, of which a process has 65530. */
#define MAX_TAMPERS	400
/* Segments that have the same page: writable or not, lost or not yet. */
#define MAX_SOURCES	8
#define MAX_PIECES	(MAX_SOURCES * MAX_VICTIMS)

/* A part of the driver's mapping. */
struct piece {
	char *addr;
	size_t len;
	struct controller *controller;
	const struct victim *victim;
	char *foreign;		/* what must stay as it is; or NULL */
	char *moved;		/* where it is now; or NULL */
};

struct pieces {
	struct piece pieces[MAX_PIECES];
	unsigned int nr;
};

static void add_piece(struct pieces *pieces, struct lane *lane,
		      const struct victim *victim, char *source)
{
	size_t len = file_unit(victim->file);
	char *addr = (char *)((uintptr_t)source & ~(len - 1));

	for (unsigned int i = 0; i < pieces->nr; i++)
		if (pieces->pieces[i].addr == addr)
			return;
	pieces->pieces[pieces->nr++] = (struct piece){
		.addr = addr, .len = len, .controller = lane->controller,
		.victim = victim,
	};
}

/*
 * A kernel with lockdep may say that it split a mapping of huge pages without a
 * lock: 6.1 looks for the lock before it takes it, whoever splits.
 */
static bool may_replace(const struct victim *victim)
{
	return victim->file != FILE_HUGE || access("/proc/lockdep", F_OK);
}

/* False if there are others, or may be. */
static bool find_pieces(struct lane *lane, struct pieces *pieces)
{
	pieces->nr = 0;
	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		char *sources[MAX_SOURCES];
		unsigned int nr = victim_sources(lane, &lane->victims[i],
						 sources, MAX_SOURCES);

		if (nr == MAX_SOURCES || !may_replace(&lane->victims[i]))
			return false;
		for (unsigned int j = 0; j < nr; j++)
			add_piece(pieces, lane, &lane->victims[i],
				  sources[j]);
	}
	return true;
}

static char *map_at(const struct piece *piece, int prot, int flags, int fd,
		    unsigned long offset)
{
	char *addr = mmap(piece->addr, piece->len, prot, flags, fd, offset);

	if (addr == MAP_FAILED)
		fail("mapping over a source", errno);
	return addr;
}

/* Nothing else is to get there while the driver believes that it is its own. */
static void plug(const struct piece *piece)
{
	map_at(piece, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
	       MAP_FIXED, -1, 0);
}

static void put_anonymous(struct piece *piece)
{
	piece->foreign = map_at(piece, PROT_READ | PROT_WRITE, MAP_PRIVATE |
				MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* The same page of the same file, but a copy. */
static void put_private(struct piece *piece)
{
	int file = piece->victim->file;

	if (file == FILE_HUGE)
		return put_anonymous(piece);
	piece->foreign = map_at(piece, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_FIXED, files[file],
				file_offset(file, piece->victim->page));
}

static void put_other_file(struct piece *piece)
{
	int fd = memfd_create("foreign", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, piece->len))
		fail("memfd_create", errno);
	piece->foreign = map_at(piece, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
}

/* Pages go with a mapping that is moved, and the driver does not see where. */
static void move(struct piece *piece)
{
	/* Huge pages go to aligned places only. */
	size_t room = 2 * piece->len;
	char *to, *at;

	/* Or another lane's call has the driver map a source in the hole. */
	pthread_rwlock_wrlock(&piece->controller->places);
	to = mmap(NULL, room, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (to == MAP_FAILED)
		fail("mmap", errno);
	at = (char *)(((uintptr_t)to + piece->len - 1) & ~(piece->len - 1));
	if (mremap(piece->addr, piece->len, piece->len,
		   MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
		fail("moving a source", errno);
	plug(piece);
	pthread_rwlock_unlock(&piece->controller->places);
	piece->moved = to;
}

static void replace_pieces(struct lane *lane, struct pieces *pieces, uint64_t word)
{
	static void (*const ways[])(struct piece *) = {
		put_anonymous, put_private, put_other_file, move,
	};
	unsigned int way = random_below(&lane->random, 1 + sizeof(ways) /
					sizeof(ways[0]));

	for (unsigned int i = 0; i < pieces->nr; i++) {
		struct piece *piece = &pieces->pieces[i];

		if (way)
			ways[way - 1](piece);
		else
			plug(piece);
		if (piece->foreign)
			fill((uint64_t *)piece->foreign, PAGE_WORDS, word);
	}
}

static void compare_pieces(const struct pieces *pieces, uint64_t word)
{
	uint64_t wanted[PAGE_WORDS];

	fill(wanted, PAGE_WORDS, word);
	for (unsigned int i = 0; i < pieces->nr; i++)
		if (pieces->pieces[i].foreign)
			compare("what is in the place of a source written", -1, i,
				(uint64_t *)pieces->pieces[i].foreign, wanted);
}

static void clean_pieces(struct pieces *pieces)
{
	for (unsigned int i = 0; i < pieces->nr; i++) {
		const struct piece *piece = &pieces->pieces[i];

		if (piece->foreign)
			plug(piece);
		if (piece->moved)
			munmap(piece->moved, 2 * piece->len);
	}
}

/* Who uses sources as such has finished when this returns, and nobody begins. */
static void set_tampered(struct controller *controller)
{
	pthread_rwlock_wrlock(&controller->sources);
	controller->tampered = true;
	pthread_rwlock_unlock(&controller->sources);
}

void op_tamper(struct lane *lane)
{
	struct controller *controller = lane->controller;
	uint64_t word = word_of(TAG_FOREIGN, lane->number);
	struct pieces pieces;
	bool all;

	if (atomic_fetch_add(&controller->tampers, 1) >= MAX_TAMPERS)
		return op_unmap(lane);
	set_tampered(controller);

	/* No view may be revoked, or the driver unmaps its mappings itself. */
	pthread_rwlock_rdlock(&controller->sources);
	all = find_pieces(lane, &pieces);
	if (all)
		replace_pieces(lane, &pieces, word);
	pthread_rwlock_unlock(&controller->sources);
	if (!all)
		return op_unmap(lane);

	/* Peers can reach neither the pages nor what is there instead. */
	secrets(lane);
	compare_pieces(&pieces, word);
	clean_pieces(&pieces);
	count_add(N_TAMPER, 1);
	/* So that they are mapped again, by a source that is one. */
	unmap_span(lane, &lane->span);
	unmap_victims(lane);
}
