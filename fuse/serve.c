/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/serve.h"

#include <errno.h>
#include <string.h>

#include "fuse/extension.h"
#include "fuse/extra.h"
#include "fuse/policy.h"
#include "fuse/validate.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/probes.h"

int exec_init(struct exec *x, struct life *life)
{
    int ret = request_init(&x->r);

    if (ret < 0)
        return ret;
    x->life = life;
    life_register(life, &x->pass);
    return 0;
}

void exec_fini(struct exec *x)
{
    request_fini(&x->r);
}

static void refuse(struct request *r, int err)
{
    if (err != -ENOSYS)
        log_limited(LOG_LEVEL_WARN,
                    "fuse: opcode %u (%s), %u bytes: malformed request: %d",
                    r->hdr.opcode, validate_opcode_name(r->hdr.opcode),
                    r->hdr.len, err);
    if (!validate_no_reply(r->hdr.opcode))
        request_send_error(r, -err);
}

/* Inside the gate: have the operation done, by libfuse or without it. */
static void run_op(struct exec *x, struct fuse_session *se)
{
    struct request *r = &x->r;
    pt_raw_fn *raw = pt_raw_op(r->hdr.opcode);
    int ret = extension_take(r, x->agreed);

    if (unlikely(ret < 0)) {
        refuse(r, ret);
    } else if (likely(raw)) {
        request_set_current(r);
        ret = raw(life_fs(x->life), r);
        if (ret < 0)
            request_send_error(r, -ret);
        request_set_current(NULL);
    } else {
        session_process(se, r);
    }
}

static void interrupt(struct exec *x, const struct request *r)
{
    struct fuse_interrupt_in in;

    memcpy(&in, r->arg + sizeof(struct fuse_in_header), sizeof(in));
    pt_fs_interrupt(life_fs(x->life), in.unique);
}

/* Return: false when the thread was abandoned. */
static bool run(struct exec *x, uint32_t ring)
{
    struct request *r = &x->r;
    struct fuse_session *se;

    switch (r->hdr.opcode) {
    case FUSE_INIT:
        life_begin(x->life, r, ring);
        return true;
    case FUSE_DESTROY:
        life_end(x->life);
        request_send_error(r, 0);
        return true;
    case FUSE_INTERRUPT:
        interrupt(x, r);
        if (r->chain.writable_bytes >= sizeof(struct fuse_out_header))
            request_send_error(r, 0);
        return true;
    default:
        break;
    }
    se = life_enter(x->life, &x->pass, ring, &x->agreed);
    if (!se) {
        if (life_is_abandoned(&x->pass))
            return false;
        if (!validate_no_reply(r->hdr.opcode))
            request_send_error(r, EIO); /* not mounted */
        return true;
    }
    run_op(x, se);
    return life_leave(&x->pass);
}

int serve_request(struct exec *x, const struct vring *v, uint32_t ring,
                  uint16_t head, uint32_t *used_len)
{
    struct request *r = &x->r;
    int ret = chain_walk(&r->chain, v, head);

    if (ret < 0)
        return ret;
    ret = request_load(r);
    if (ret == -EBADMSG) {
        log_limited(LOG_LEVEL_WARN,
                    "fuse: ring %u: request of %llu bytes: shorter than its "
                    "header",
                    ring, (unsigned long long)r->chain.readable_bytes);
        *used_len = 0;
        return 0;
    }
    if (ret == 0)
        ret = validate_request(r);
    PROBE3(req_validate, ring, r->hdr.opcode, ret);
    if (ret < 0)
        refuse(r, ret);
    else if (unlikely(policy_is_slow(r)))
        return SERVE_DEFERRED;
    else if (!run(x, ring))
        return SERVE_ABANDONED;
    if (unlikely(r->deferred))
        return SERVE_DEFERRED;
    if (unlikely(r->begun))
        return SERVE_BEGUN;
    if (r->later)
        return SERVE_DETACHED;
    PROBE3(req_reply, ring, head, r->hdr.opcode);
    *used_len = r->used_len;
    return 0;
}

int serve_later(struct exec *x, const struct vring *v, uint16_t head,
                const struct fuse_in_header *hdr, int err, uint32_t *used_len)
{
    struct request *r = &x->r;
    int ret = chain_walk(&r->chain, v, head);

    if (ret < 0)
        return ret;
    request_again(r, hdr);
    request_send_error(r, err);
    PROBE3(req_reply, atomic_load(&x->pass.ring), head, hdr->opcode);
    *used_len = r->used_len;
    return 0;
}

int serve_cancelled(struct exec *x, const struct vring *v, uint16_t head,
                    uint32_t *used_len)
{
    struct request *r = &x->r;
    int ret = chain_walk(&r->chain, v, head);

    if (ret < 0)
        return ret;
    if (request_load(r) == 0 && !validate_no_reply(r->hdr.opcode))
        request_send_error(r, EINTR);
    log_warn("fuse: %s: hung in the host's file system: answered with EINTR",
             validate_opcode_name(r->hdr.opcode));
    *used_len = r->used_len;
    return 0;
}
