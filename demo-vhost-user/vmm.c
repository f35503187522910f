// SPDX-License-Identifier: GPL-2.0
#include "vmm.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "memview.h"
#include "report.h"
#include "vhost_user.h"

#define BIT(n)	(1ULL << (n))

#define NEEDED_FEATURES \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VIRTIO_BLK_F_FLUSH))
#define NEEDED_PROTOCOL_FEATURES \
	(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_USER_PROTOCOL_F_CONFIG))

static int call(struct vmm *vmm, struct vhost_user_msg *msg)
{
	uint32_t request = msg->request;
	int ret = vhost_user_call(vmm->sock, msg, VMM_TIMEOUT_MS);

	vmm->messages++;
	detail("vhost-user %s: %s", vhost_user_request_name(request),
	       ret ? strerror(-ret) : "ok");
	if (ret)
		trouble("vhost-user %s: %s", vhost_user_request_name(request), strerror(-ret));
	return ret;
}

static int get_u64(struct vmm *vmm, uint32_t request, uint64_t *value)
{
	struct vhost_user_msg msg = { .request = request };
	int ret = call(vmm, &msg);

	*value = msg.payload.u64;
	return ret;
}

static int set_u64(struct vmm *vmm, uint32_t request, uint64_t value, bool need_reply)
{
	struct vhost_user_msg msg = {
		.request = request,
		.need_reply = need_reply,
		.payload.u64 = value,
	};

	return call(vmm, &msg);
}

static int set_fd(struct vmm *vmm, uint32_t request, int fd)
{
	struct vhost_user_msg msg = {
		.request = request,
		.need_reply = true,
		.payload.u64 = 0,
		.fds = { fd },
		.nr_fds = 1,
	};

	return call(vmm, &msg);
}

static int set_state(struct vmm *vmm, uint32_t request, uint32_t num)
{
	struct vhost_user_msg msg = {
		.request = request,
		.need_reply = true,
		.payload.state = { .index = 0, .num = num },
	};

	return call(vmm, &msg);
}

static int negotiate(struct vmm *vmm)
{
	uint64_t features, protocol_features;
	struct vhost_user_msg owner = { .request = VHOST_USER_SET_OWNER };
	int ret = call(vmm, &owner);

	if (!ret)
		ret = get_u64(vmm, VHOST_USER_GET_FEATURES, &features);
	if (ret)
		return ret;
	if ((features & NEEDED_FEATURES) != NEEDED_FEATURES || features & BIT(VIRTIO_BLK_F_RO)) {
		trouble("the back-end lacks features: 0x%llx", (unsigned long long)features);
		return -ENOTSUP;
	}
	ret = get_u64(vmm, VHOST_USER_GET_PROTOCOL_FEATURES, &protocol_features);
	if (ret)
		return ret;
	if ((protocol_features & NEEDED_PROTOCOL_FEATURES) != NEEDED_PROTOCOL_FEATURES) {
		trouble("the back-end lacks protocol features: 0x%llx",
			(unsigned long long)protocol_features);
		return -ENOTSUP;
	}
	/* Only from here on does the back-end know NEED_REPLY. */
	ret = set_u64(vmm, VHOST_USER_SET_PROTOCOL_FEATURES, NEEDED_PROTOCOL_FEATURES, false);
	if (!ret)
		ret = set_u64(vmm, VHOST_USER_SET_FEATURES, NEEDED_FEATURES, true);
	return ret;
}

static int read_capacity(struct vmm *vmm)
{
	struct vhost_user_msg msg = {
		.request = VHOST_USER_GET_CONFIG,
		.payload.config = { .offset = 0, .size = sizeof(uint64_t) },
	};
	uint64_t capacity;
	int ret = call(vmm, &msg);

	if (ret)
		return ret;
	memcpy(&capacity, msg.payload.config.bytes, sizeof(capacity));
	vmm->sectors = le64toh(capacity);
	return 0;
}

static int share_memory(struct vmm *vmm)
{
	struct vhost_user_msg msg = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.need_reply = true,
		.payload.mem = {
			.nr_regions = 1,
			.regions[0] = {
				.guest_addr = 0,
				.size = vmm->mem.size,
				.user_addr = (uintptr_t)vmm->mem.base,
				.mmap_offset = 0,
			},
		},
		.fds = { vmm->mem.share_fd },
		.nr_fds = 1,
	};

	return call(vmm, &msg);
}

static int start_ring(struct vmm *vmm)
{
	uintptr_t base = (uintptr_t)vmm->mem.base;
	struct vhost_user_msg addr = {
		.request = VHOST_USER_SET_VRING_ADDR,
		.need_reply = true,
		.payload.addr = {
			.desc = base + GUEST_DESC,
			.avail = base + GUEST_AVAIL,
			.used = base + GUEST_USED,
		},
	};
	int ret;

	ret = set_state(vmm, VHOST_USER_SET_VRING_NUM, BLK_QUEUE_SIZE);
	if (!ret)
		ret = set_state(vmm, VHOST_USER_SET_VRING_BASE, 0);
	if (!ret)
		ret = call(vmm, &addr);
	if (!ret)
		ret = set_fd(vmm, VHOST_USER_SET_VRING_CALL, vmm->blk.call_fd);
	if (!ret)
		ret = set_fd(vmm, VHOST_USER_SET_VRING_KICK, vmm->blk.kick_fd);
	if (!ret)
		ret = set_state(vmm, VHOST_USER_SET_VRING_ENABLE, 1);
	return ret;
}

static int lend(struct guest_memory *mem)
{
	int ret;

	ret = guest_memory_lend(mem, 0, GUEST_READ_ONLY_END, MEMVIEW_READ);
	if (!ret)
		ret = guest_memory_lend(mem, GUEST_READ_ONLY_END,
					GUEST_READ_WRITE_END - GUEST_READ_ONLY_END,
					MEMVIEW_READ | MEMVIEW_WRITE);
	if (!ret)
		ret = guest_memory_lend(mem, GUEST_BUFFERS, GUEST_BUFFERS_SIZE,
					MEMVIEW_READ | MEMVIEW_WRITE);
	return ret;
}

int vmm_start(struct vmm *vmm, struct backend *backend, bool plain)
{
	struct blk *blk = &vmm->blk;
	int ret;

	*vmm = (struct vmm) { .sock = -1, .blk = { .kick_fd = -1, .call_fd = -1 } };
	ret = guest_memory_open(&vmm->mem, GUEST_RAM_SIZE, plain);
	if (ret) {
		trouble("no guest RAM%s: %s", plain ? "" : " in a memory view", strerror(-ret));
		goto fail;
	}
	ret = lend(&vmm->mem);
	if (ret) {
		trouble("cannot map guest RAM into the view: %s", strerror(-ret));
		goto fail;
	}
	blk->mem = &vmm->mem;
	blk->headers = GUEST_HEADERS;
	blk->statuses = GUEST_STATUSES;
	virtqueue_init(&blk->vq, BLK_QUEUE_SIZE, guest_ptr(&vmm->mem, GUEST_DESC),
		       guest_ptr(&vmm->mem, GUEST_AVAIL), guest_ptr(&vmm->mem, GUEST_USED));
	blk->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	blk->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (blk->kick_fd < 0 || blk->call_fd < 0) {
		ret = -errno;
		trouble("no eventfd: %s", strerror(-ret));
		goto fail;
	}
	vmm->sock = backend_connect(backend, VMM_TIMEOUT_MS);
	if (vmm->sock < 0) {
		ret = vmm->sock;
		trouble("cannot connect to the back-end: %s",
			ret == -ECHILD ? "it has ended" : strerror(-ret));
		goto fail;
	}
	blk->sock = vmm->sock;
	ret = negotiate(vmm);
	if (!ret)
		ret = read_capacity(vmm);
	if (!ret)
		ret = share_memory(vmm);
	if (!ret)
		ret = start_ring(vmm);
	if (!ret)
		return 0;
fail:
	vmm_stop(vmm);
	return ret;
}

void vmm_stop(struct vmm *vmm)
{
	struct vhost_user_msg msg = {
		.request = VHOST_USER_GET_VRING_BASE,
		.payload.state = { .index = 0 },
	};

	if (vmm->sock >= 0) {
		/* A back-end that is gone, or was never set up, may refuse. */
		vhost_user_call(vmm->sock, &msg, VMM_TIMEOUT_MS);
		close(vmm->sock);
	}
	if (vmm->blk.kick_fd >= 0)
		close(vmm->blk.kick_fd);
	if (vmm->blk.call_fd >= 0)
		close(vmm->blk.call_fd);
	guest_memory_close(&vmm->mem);
	vmm->sock = -1;
	vmm->blk.kick_fd = -1;
	vmm->blk.call_fd = -1;
}
