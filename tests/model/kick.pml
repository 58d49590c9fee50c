/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No kick is lost, no stop is early: one ring, from the front-end's socket to
 * the guest's memory.  README.md says what is checked, and which function each
 * step stands for; the names in the comments here are those functions.
 *
 * Whole steps of one process that nobody else can look into are one step here
 * (d_step); everything shared is read and written one step at a time.
 *
 *   -DALLOW=n     what the front-end may do beside starting the ring: a sum of
 *                 the MAY_ bits; -DOPS=n how often in all (it may do less)
 *   -DWARM        the guest waits until the ring has been started once
 *   -DREQS=n      requests the guest makes, whenever it likes
 *   -DPOOL        a request may be worked on by a thread of the pool
 *   -DTAKE        with POOL, instead: a thread may lose its ring in a request
 *   -DWAITS       a request may wait for a lock, which is granted some time
 *   -DNAP         the thread may nap, unarmed, before it sleeps for good
 *   -DPOLL        the thread looks on for a while before it arms
 *   -DEVENT_IDX   the driver suppresses kicks by index, not by flag
 *   -DLIVENESS    the ltl formula instead of the judge
 *   -DMUTANT_*    break it on purpose; -DNO_DRAIN_ASSERT: and look only at
 *                 what comes of it
 */
#ifndef ALLOW
#define ALLOW 0
#endif
#ifndef OPS
#define OPS 0
#endif
#ifndef REQS
#define REQS 2
#endif
/* Messages the front-end may be ahead of control: it reads as late as that. */
#ifndef AHEAD
#define AHEAD 3
#endif

#define MAY_DISABLE 1
#define MAY_SWAP    2
#define MAY_MEMORY  4
#define MAY_STOP    8
#define MAY_RESET   16
#define may(what)   (ops > 0 && (ALLOW & what))

/* enum vring_cfg_flag */
#define STARTED 1
#define ENABLED 2
#define SERVED  3 /* served(): both */

mtype = { SET_MEM_TABLE, SET_VRING_KICK, SET_VRING_ENABLE, SET_VRING_BASE,
          GET_VRING_BASE, RESET_DEVICE };
mtype = { IPC_MEM_SET, IPC_RING_KICK, IPC_SYNC, IPC_SYNC_ALL, IPC_RESET };

chan sock = [AHEAD] of { mtype, byte, bool }; /* argument, wants a reply */
chan reply = [1] of { byte };
chan cmd = [1] of { mtype, byte };
chan ack = [1] of { byte };

/* Guest memory: the ring.  Requests are counted, not told apart: they are
 * taken in order, and a count of used above avail would show. */
byte avail, used;
#ifdef EVENT_IDX
byte avail_event;
#define wants_kick (avail_event == avail - 1)
#else
bool no_notify;
#define wants_kick (!no_notify)
#endif

/* The kick eventfds by number: only whether the counter is zero matters.
 * kickfd is where the guest's notifications go. */
bool kick[4 + OPS];
byte kickfd;

/* The cfg page's slot: the count, and two words that can be torn apart. */
byte seq;
byte w_bits, w_start_gen, w_base, w_tag; /* w_tag, w_tag2: seq of the publish */
byte w_kick_gen, w_mem_gen, w_tag2;
bool wake;

/* The run page's row. */
byte applied, run_last;

/* Of struct device, under its lock. */
byte mail_kick; /* newest kick fd delivered */
byte mm, mm_before;

/* The pool: handed to it, and on the queue's list of finished jobs. */
byte submitted, finished;
byte job_mem;

#ifdef TAKE
/* enum life_place; LEFT: outside, its job not yet on the list. */
#define OUTSIDE 0
#define INSIDE  1
#define TAKEN   2
#define LEFT    3
byte place[2], t_mem[2];
byte cur;    /* whose ring it is */
bool taking; /* takeover.lock */
#endif

#ifdef WAITS
/* Requests that wait in the host's kernel; granted, on the queue's list and in
 * the thread's hands; all of them that this start knows of. */
byte waits, granted, ready, n_waiting;
#endif

/* What was promised, and how far everyone is: looked at by assertions only,
 * but for paused and in_kick, which stop the driver for a reset. */
bool quiet;        /* the reply to a stop is out */
byte mem_min;      /* older tables' memory is gone: the reply is out */
bool fe_done, guest_done, in_kick;
#ifdef WARM
bool paused = true;
#else
bool paused;
#endif


/* Each store to guest memory: none after a stop's reply, none outside of the
 * newest table after a memory change's. */
inline guest_write(mem)
{
    assert(!quiet);
    assert(mem >= mem_min && mem > 0)
}

/* ---- guest driver ---- */

inline guest_next()
{
    d_step { in_kick = false; n++; guest_done = (n == REQS) }
}

proctype guest()
{
    byte n;

    do
    :: n < REQS ->
        atomic { !paused -> in_kick = true; avail++ };
        /* the driver's barrier: Promela's memory is in order */
        if
        :: wants_kick -> atomic { kick[kickfd] = true; guest_next() }
        :: else -> guest_next()
        fi
    :: else -> break
    od
}

/* ---- front-end ---- */

/* It moves the guest's notifications first and tells of the new fd after. */
inline fe_kick()
{
    d_step { quiet = false; fd++; kickfd = fd };
    sock ! SET_VRING_KICK, fd, false;
    is_started = true
}

inline fe_enable()
{
    quiet = false;
    sock ! SET_VRING_ENABLE, 1, false;
    is_enabled = true
}

proctype front_end()
{
    bool is_started, is_enabled;
    byte ops = OPS, fd, mem = 1, base;

    sock ! SET_MEM_TABLE, mem, false;
#ifdef WARM
    fe_kick();
    sock ! SET_VRING_ENABLE, 1, true;
    reply ? _;
    is_enabled = true;
    paused = false;
#endif
    do
    :: !is_started -> fe_kick()
    :: !is_enabled -> fe_enable()
    :: ops > 0 -> ops = 0
    :: is_started && is_enabled && ops == 0 -> break

    :: may(MAY_DISABLE) && is_enabled ->
        ops--;
        is_enabled = false;
        if
        :: sock ! SET_VRING_ENABLE, 0, false
        :: sock ! SET_VRING_ENABLE, 0, true; reply ? _
        fi
    :: may(MAY_SWAP) && is_started -> ops--; fe_kick()
    :: may(MAY_MEMORY) ->
        ops--;
        mem++;
        sock ! SET_MEM_TABLE, mem, true;
        reply ? _
    :: may(MAY_STOP) && is_started ->
        ops--;
        sock ! GET_VRING_BASE, 0, true;
        reply ? base;
        is_started = false;
        sock ! SET_VRING_BASE, base, false;
        base = 0
    :: may(MAY_RESET) ->
        ops--;
        atomic { !in_kick -> paused = true }
        sock ! RESET_DEVICE, 0, true;
        reply ? _;
        /* the driver sets its ring up anew, and may use it at once */
        atomic {
            is_started = false;
            is_enabled = false;
            avail = 0;
            used = 0;
#ifdef EVENT_IDX
            avail_event = 0;
#else
            no_notify = false;
#endif
            paused = false
        }
    od;
    fe_done = true
}

/* ---- control process ---- */

/* voids(): work begun under the slot as it was would be wrong under this. */
#define voids(b) ((w_bits & STARTED) && \
                  ((w_bits & ~(b) & SERVED) || w_mem_gen != mem_gen))

/* vring_slot_publish() */
inline slot_publish()
{
#ifndef MUTANT_NO_ODD_STORE
    seq++;
#endif
    d_step {
        w_bits = bits;
        w_start_gen = start_gen;
        w_base = base;
        w_tag++
    };
    d_step { w_kick_gen = kick_gen; w_mem_gen = mem_gen; w_tag2++ };
#ifdef MUTANT_NO_ODD_STORE
    seq++;
#endif
    seq++
}

/* vu_ring_publish(): publish first, wake second. */
inline publish(b)
{
    d_step { unsynced = unsynced || voids(b); bits = b };
#ifdef MUTANT_WAKE_BEFORE_PUBLISH
    wake = true;
    slot_publish()
#else
    slot_publish();
    wake = true
#endif
}

/* vu_ring_try_start() */
inline try_start()
{
    if
    :: kicked && mem_gen > 0 -> start_gen++; publish(bits | STARTED)
    :: else
    fi
}

/* vu_call() */
inline call(type, arg)
{
    cmd ! type, arg;
    ack ? _
}

/* vu_quiesce(RING): sync_ring() */
inline quiesce()
{
    if
    :: unsynced ->
        cmd ! IPC_SYNC, seq;
        ack ? a;
        d_step {
            unsynced = false;
            if
            :: !(bits & STARTED) -> base = a
            :: else
            fi
        }
    :: else
    fi
}

/* finish(): the reply goes out, and what it promises holds from here on. */
inline answer(value, is_quiet)
{
    atomic {
        if
        :: want ->
            quiet = is_quiet;
            want = false;
            reply ! value
        :: else
        fi
    }
}

proctype control()
{
    byte bits, base, start_gen, kick_gen, mem_gen, a;
    bool kicked, unsynced, want;

    xr sock;
    xs reply;
    xs cmd;
    xr ack;

end_serve: /* serve() */
    do
    :: sock ? SET_VRING_KICK, a, want -> /* on_set_vring_kick() */
        kicked = true;
#ifdef MUTANT_PUBLISH_BEFORE_ACK
        kick_gen = a;
        if
        :: bits & STARTED -> publish(bits)
        :: else -> try_start()
        fi;
        call(IPC_RING_KICK, a)
#else
        call(IPC_RING_KICK, a); /* hand_over() */
        kick_gen = a;
        if
        :: bits & STARTED -> publish(bits)
        :: else -> try_start()
        fi
#endif

    :: sock ? SET_VRING_ENABLE, a, want -> /* on_set_vring_enable() */
#ifdef MUTANT_REPLY_BEFORE_PUBLISH
        answer(0, a == 0);
#endif
        if
        :: a -> publish(bits | ENABLED)
        :: else -> publish(bits & ~ENABLED)
        fi;
#ifdef MUTANT_REPLY_BEFORE_SYNC
        answer(0, a == 0);
#endif
        quiesce();
        answer(0, !(bits & ENABLED)) /* a is the acknowledgement's by now */

    :: sock ? SET_MEM_TABLE, a, want -> /* on_set_mem_table() */
#ifdef MUTANT_MEM_PUBLISH_BEFORE_ACK
        mem_gen = a;
        if /* republish() */
        :: bits & STARTED -> publish(bits)
        :: else -> try_start()
        fi;
        call(IPC_MEM_SET, a); /* change_table() */
#else
        call(IPC_MEM_SET, a); /* change_table() */
        mem_gen = a;
        if /* republish() */
        :: bits & STARTED -> publish(bits)
        :: else -> try_start()
        fi;
#endif
        call(IPC_SYNC_ALL, 0); /* sync_all(): c->mem_unsynced */
        atomic {
            unsynced = false;
            mem_min = (want -> mem_gen : mem_min);
            answer(0, quiet)
        }

    :: sock ? GET_VRING_BASE, _, want -> /* on_get_vring_base() */
        kicked = false;
        if
        :: bits & STARTED -> publish(bits & ~STARTED)
        :: else
        fi;
        quiesce();
        /* final: nothing is in flight, and the driver is told the truth */
#ifdef WAITS
        /* (After a reset what waited is forgotten with the next start.) */
        assert(base == used || base == used + n_waiting);
#else
        assert(base == used);
#endif
        answer(base, true) /* answer_get_vring_base() */

    :: sock ? SET_VRING_BASE, base, want /* on_set_vring_base() */

    :: sock ? RESET_DEVICE, _, want -> /* on_reset_device() */
        kicked = false;
        if /* vu_stop_all() */
        :: bits & STARTED -> publish(bits & ~STARTED)
        :: else
        fi;
        quiesce();
        call(IPC_RESET, 0);
        d_step { base = 0; kick_gen = 0 };
        publish(0); /* ring_reset() */
        answer(0, true)
    od
}

/* ---- request process, main thread ---- */

proctype request_main()
{
    byte a;

    xr cmd;
    xs ack;

end_recv: /* fuse_device_run() */
    do
    :: cmd ? IPC_RING_KICK, a -> /* on_ring_fd(): the mail box */
        mail_kick = a;
        ack ! 0
    :: cmd ? IPC_MEM_SET, a -> /* stage_mm() */
        d_step { mm_before = mm; mm = a };
        ack ! 0
    :: cmd ? IPC_SYNC, a -> /* on_sync() */
#ifndef MUTANT_SYNC_NO_WAIT
        applied >= a; /* wait_applied() */
#endif
        ack ! run_last
    :: cmd ? IPC_SYNC_ALL, _ ->
        a = seq & ~1; /* published_seq() */
#ifndef MUTANT_SYNC_NO_WAIT
        applied >= a;
#endif
        mm_before = 0;
        ack ! 0
    :: cmd ? IPC_RESET, _ -> ack ! 0 /* life_end() */
    od
}

/* ---- request process, the ring's thread ---- */

/* complete(), vring_push() */
inline push()
{
    d_step { guest_write(mem); used++; in_flight-- }
}

#ifdef WAITS
#ifdef MUTANT_ANSWER_AT_REST
#define may_answer (mem > 0)
#else
#define may_answer live
#endif
/* later_reap(): those that were granted their lock are answered while the ring
 * is live, and kept while it is not. */
inline later_reap()
{
    if
    :: n_waiting > 0 ->
        d_step { ready = ready + granted; granted = 0 }; /* take_done() */
        do
        :: ready > 0 && may_answer ->
            d_step { guest_write(mem); used++; ready--; n_waiting-- }
        :: else -> break
        od
    :: else
    fi
}

/* later_adopt(): nobody is at work on it any more. */
inline later_adopt()
{
    d_step { in_flight--; n_waiting++; waits++ }
}

/* later_started(): does the ring go on where it stood?  Both calls are within
 * a d_step. */
inline later_started(was)
{
    if
#ifndef MUTANT_KEEP_ALWAYS
#ifdef MUTANT_FORGET_ALWAYS
    :: n_waiting > 0 ->
#else
    :: n_waiting > 0 && !(last == was && used + n_waiting == last) ->
#endif
        waits = 0; granted = 0; ready = 0; n_waiting = 0
#endif
    :: else
    fi
}
#endif

/* queue_reap(): finished jobs go back on the ring. */
inline reap()
{
#ifdef WAITS
    later_reap()
#else
#ifdef POOL
    if
    :: finished > 0 ->
        d_step { n = finished; finished = 0 }; /* under done_lock */
        do
        :: n > 0 -> push(); n--
        :: else -> break
        od
    :: else
    fi
#else
    skip
#endif
#endif
}

/* wait_in_flight(): a finished job may have told of itself by a wake that was
 * taken already, so the list is looked at before the wait. */
inline wait_in_flight()
{
    do
    :: in_flight == 0 -> break
    :: else ->
#ifdef MUTANT_WAIT_BEFORE_REAP
        wake -> wake = false;
        reap()
#else
        reap();
        if
        :: in_flight > 0 -> wake -> wake = false
        :: else
        fi
#endif
    od
}

/* voids_in_flight() */
#define voids_now ((t_bits == SERVED && r_bits != SERVED) || \
                   start_gen != r_start_gen || t_mem_gen != r_mem_gen)

/* apply() */
inline apply()
{
    d_step { /* take_fds(): device_take_fd() under the lock */
        if
        :: kick_gen != r_kick_gen ->
            /* fds first, publish second */
            assert(r_kick_gen <= mail_kick);
            kick_gen = r_kick_gen;
            kick[fd] = false; /* closed: nobody counts there any more */
            /* a newer one may have taken its place: its publish follows */
            fd = (mail_kick == r_kick_gen -> r_kick_gen : 0)
        :: else
        fi
    };
    d_step {
        if
        :: r_bits & STARTED -> /* attach(): device_take_mm() */
            assert(r_mem_gen <= mm);
            mem = ((r_mem_gen == mm || r_mem_gen == mm_before) -> r_mem_gen
                                                                : 0);
            if
            :: start_gen != r_start_gen ->
#ifdef WAITS
                n = last;
#endif
                last = r_base;
                start_gen = (mem -> r_start_gen : start_gen);
#ifdef WAITS
                if
                :: mem > 0 -> later_started(n)
                :: else
                fi;
                n = 0
#endif
            :: else
            fi
        :: else -> /* detach() */
            mem = 0;
            if
            :: start_gen != r_start_gen ->
                start_gen = r_start_gen;
                last = r_base
            :: else
            fi
        fi;
        t_bits = r_bits;
        t_mem_gen = r_mem_gen;
        t_seq = s;
        live = (t_bits == SERVED && mem > 0);
        run_last = last
    };
    applied = t_seq /* tell_run(), device_tell_applied() */
}

/* vring_slot_read() and all of queue_refresh(): ends with the newest slot
 * applied, or with readable false when a publish is under way. */
inline refresh()
{
    readable = true;
    do
    :: seq == t_seq -> looked = true; break /* vring_slot_changed() */
    :: else ->
        s = seq;
        if
        :: s & 1 -> readable = false; break /* -EAGAIN: tried in vain */
        :: else
        fi;
        d_step {
            r_bits = w_bits;
            r_start_gen = w_start_gen;
            r_base = w_base;
            r_tag = w_tag
        };
        d_step {
            r_kick_gen = w_kick_gen;
            r_mem_gen = w_mem_gen;
            r_tag2 = w_tag2
        };
        if
        :: seq == s ->
            /* a snapshot is whole */
            assert(r_tag == r_tag2);
            looked = true;
            if
#ifndef MUTANT_NO_WAIT_IN_FLIGHT
            :: in_flight > 0 && voids_now -> wait_in_flight()
#endif
            :: else -> apply()
            fi
        :: else
        fi;
        atomic {
            r_bits = 0; r_start_gen = 0; r_base = 0; r_tag = 0;
            r_kick_gen = 0; r_mem_gen = 0; r_tag2 = 0; s = 0
        }
    od;
    s = 0
}

inline disarm() /* vring_disarm() */
{
#ifndef EVENT_IDX
    d_step { guest_write(mem); no_notify = true }
#else
    skip
#endif
}

inline arm_store()
{
    d_step {
        guest_write(mem);
#ifdef EVENT_IDX
        avail_event = last
#else
        no_notify = false
#endif
    }
}

/* vring_arm(): more = there is something to take after all */
inline arm()
{
#ifdef MUTANT_ARM_NO_BARRIER
    /* what a store that is overtaken by the load after it comes to */
    more = (avail != last);
    arm_store()
#else
    arm_store();
#ifdef MUTANT_ARM_NO_RECHECK
    more = false
#else
    more = (avail != last)
#endif
#endif
}

#ifdef POLL
/* poll_ring(): for as long as it likes; a request, another slot or a job that
 * the pool has done ends it. */
inline poll_ring()
{
#ifdef MUTANT_POLL_BLIND
    avail != last -> more = true
#else
    if
    :: avail != last -> more = true
    :: seq != t_seq -> more = true
#ifdef POOL
    :: finished > 0 -> more = true
#endif
    :: true
    fi
#endif
}

inline arm_at_last()
{
    if
    :: more
#ifdef MUTANT_POLL_UNARMED
    :: else
#else
    :: else -> arm()
#endif
    fi
}

inline reap_polled() { reap() }
#else
inline reap_polled() { skip }
#endif

/* queue_ran_dry(): armed, or with a nap to come. */
inline ran_dry()
{
#ifdef POLL
    poll_ring();
    arm_at_last()
#else
#ifdef NAP
    if
    :: fresh -> fresh = false; napping = true
    :: fresh = false; arm()
    fi
#else
    arm()
#endif
#endif
}

#ifdef NAP
#define naps napping
inline nap_served() { fresh = true }
inline nap_over() { napping = false }
#else
#define naps false
inline nap_served() { skip }
inline nap_over() { skip }
#endif

/* A nap is a sleep that always ends. */
#ifdef MUTANT_NAP_FOR_EVER
#define nap_ends false
#else
#define nap_ends naps
#endif

/* queue_serve(); again = true: not empty, the slot has changed */
inline serve()
{
    again = false;
    disarm();
    do
    :: seq != t_seq -> again = true; break /* vring_slot_changed() */
    :: else ->
        /* vring_pop(): a load, from memory that must still be there */
        assert(mem >= mem_min);
        if
        :: avail == last ->
            ran_dry();
            if
            :: more -> more = false; disarm(); reap_polled()
            :: else -> break
            fi
        :: else ->
            assert(avail > last);
            d_step { last++; in_flight++; run_last = last; nap_served() };
#ifdef TAKE
            d_step { /* life_enter() */
                mine = cur;
                t_mem[mine] = mem;
                place[mine] = INSIDE
            };
            (place[mine] == OUTSIDE || cur != mine);
            if
            :: cur == mine -> push(); reap()
            :: else -> again = true; break /* another thread, at the top */
            fi
#else
#ifdef POOL
            if /* serve_head() */
            :: d_step { job_mem = mem; submitted++ } /* pool_submit() */
            :: push()
            fi;
            reap()
#else
#ifdef WAITS
            if
            :: push()
            :: later_adopt()
            fi;
            reap()
#else
            push() /* serve_head(): after the reply's bytes */
#endif
#endif
#endif
        fi
    od
}

/* drain_kick(): k was seen readable. */
inline drain_kick()
{
    if
    :: readable && live && fd == k ->
        assert(looked && t_bits == SERVED);
        kick[k] = false;
        kick_seen()
    :: else
    fi
}

#ifdef MUTANT_DRAIN_BEFORE_CHECK
/* The daemon that hung OVMF: the counter is read whenever it is not zero, and
 * only then the slot looked at. */
#define polls_kick (fd > 0 && !naps)
inline drain_unchecked()
{
#ifndef NO_DRAIN_ASSERT
    assert(looked && t_bits == SERVED);
#endif
    kick[k] = false;
    kick_seen();
    k = 0
}
#else
#define polls_kick (live && readable && fd > 0 && !naps)
inline drain_unchecked()
{
    skip
}
#endif

#ifdef MUTANT_NO_RESCAN
/* The ring is looked at after a kick, and for nothing else. */
#define must_scan kicked
inline kick_seen() { kicked = live }
inline rest() { kicked = false }
#else
#define must_scan true
inline kick_seen() { skip }
inline rest() { skip }
#endif

proctype ring_thread()
{
    byte t_seq, t_bits, t_mem_gen, start_gen, kick_gen, last, in_flight;
    byte mem, fd, k, s, n;
    byte r_bits, r_start_gen, r_base, r_tag, r_kick_gen, r_mem_gen, r_tag2;
    bool live, readable, again, more, woken;
    bool looked; /* at the slot, since the kick was seen */
#ifdef NAP
    bool fresh; /* served something since the ring was last empty */
    bool napping;
#endif
#ifdef MUTANT_NO_RESCAN
    bool kicked;
#endif
#ifdef TAKE
    byte mine;
#endif

    do /* queue_work() */
    ::  refresh();
        if
        :: k > 0 -> drain_kick(); k = 0
        :: else
        fi;
        reap();
        if
        :: readable && live && must_scan -> serve()
        :: else -> again = false
        fi;
        if
        :: again
        :: else -> /* queue_sleep() */
            rest();
            assert(k == 0);
end_sleep:
            /* ppoll(): the wake fd always, the kick fd while live and armed */
            atomic {
                wake || (polls_kick && kick[fd]) || nap_ends;
                woken = wake;
                k = (polls_kick && kick[fd] -> fd : 0);
                looked = (k > 0 -> false : looked);
                nap_over()
            };
            if
            :: woken -> wake = false; woken = false /* read(q->wake_fd) */
            :: else
            fi;
            if
            :: k > 0 -> drain_unchecked()
            :: else
            fi
        fi
    od
}

/* ---- request process, threads that may lose their ring ---- */

#ifdef TAKE
/* What a request does in its thread; ring_thread is the ring's role, whoever
 * has it. */
proctype request(byte me)
{
    bool first;

end_idle:
    do
    :: place[me] == INSIDE || place[me] == TAKEN ->
        guest_write(t_mem[me]); /* the reply's bytes */
        if /* life_leave() */
        :: atomic { place[me] == INSIDE -> place[me] = OUTSIDE }
        :: atomic { place[me] == TAKEN -> place[me] = LEFT };
            !taking; /* takeover_settle() */
#ifdef MUTANT_TAKEN_PUSHES
            d_step { guest_write(t_mem[me]); used++ };
#else
            d_step { first = (finished == 0); finished++ };
            if
            :: first -> wake = true
            :: else
            fi;
            first = false;
#endif
            place[me] = OUTSIDE /* idle */
        fi
    od
}

/* take() in fuse/takeover.c: a glance at the ring, and a thread that is idle
 * (pool_take_idle()). */
proctype takeover()
{
end_look:
    do
    :: place[cur] == INSIDE && place[1 - cur] == OUTSIDE ->
#ifdef MUTANT_TAKE_BLINDLY
        d_step { taking = true; place[cur] = TAKEN };
#else
        atomic {
            if
            :: place[cur] == INSIDE -> taking = true; place[cur] = TAKEN
            :: else
            fi
        };
#endif
        d_step {
            if
            :: taking -> cur = 1 - cur; taking = false
            :: else
            fi
        }
    od
}
#endif

/* ---- request process, a thread of the pool ---- */

#ifdef POOL
proctype worker()
{
    bool first;

end_idle:
    do
    :: atomic { submitted > 0 -> submitted-- };
        guest_write(job_mem); /* the reply's bytes */
        d_step { first = (finished == 0); finished++ }; /* queue_job_done() */
        if
        :: first -> wake = true
        :: else
        fi;
        first = false
    od
}
#endif

/* ---- request process, threads that wait for locks ---- */

#ifdef WAITS
proctype grant()
{
    bool first;

end_idle:
    do
    :: atomic {
            waits > 0 -> /* post() */
            waits--;
            first = (granted == 0);
            granted++
        };
        if
#ifndef MUTANT_GRANT_NO_WAKE
        :: first -> wake = true
#endif
        :: else
        fi;
        first = false
    od
}
#endif

/* ---- what must come of it ---- */

#ifdef LIVENESS
ltl served { <> [] (fe_done && guest_done && used == avail) }
#else
/* Nobody can move: all that was asked is answered.  (Who still waits for a
 * reply then is an invalid end state of its own.) */
proctype judge()
{
    timeout -> assert(used == avail || !fe_done || !guest_done)
}
#endif

init {
    atomic {
        run guest();
        run front_end();
        run control();
        run request_main();
        run ring_thread();
#ifdef TAKE
        run request(0);
        run request(1);
        run takeover();
#else
#ifdef POOL
        run worker();
#endif
#endif
#ifdef WAITS
        run grant();
#endif
#ifndef LIVENESS
        run judge()
#endif
    }
}
