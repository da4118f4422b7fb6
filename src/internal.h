/* SPDX-License-Identifier: MIT
 *
 * internal.h - the structs of the core and the prototypes that its files share,
 * grouped by file from the bottom layer up. No file calls one of a layer above.
 *
 * Invariants:
 *   - A task is new, ready, running, parked on exactly one wait, or done. The
 *     runtime anchors it until it is done: `threads[slot]` holds the coroutine,
 *     whose first frame holds the Task object.
 *   - Completing a future, waking a task and running a turn allocate nothing, so
 *     they cannot fail.
 *   - `rt->current` is the running task, the root, or NULL in a loop callback.
 */
#ifndef NEAP_INTERNAL_H
#define NEAP_INTERNAL_H

#include "neap.h"

#include <lauxlib.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "compat.h"

#define neap__container_of(ptr, type, member)                                  \
  ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#if defined(__GNUC__)
#define NEAP__LIKELY(x) __builtin_expect(!!(x), 1)
#define NEAP__UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define NEAP__LIKELY(x) (x)
#define NEAP__UNLIKELY(x) (x)
#endif

typedef struct neap__loop neap__loop;
typedef struct neap__future neap__future;
typedef struct neap__watcher neap__watcher;
typedef struct neap__timer neap__timer;
typedef struct neap__handle neap__handle;
typedef struct neap__lost neap__lost;
typedef struct neap__site neap__site;
typedef struct neap__signal neap__signal;
typedef struct neap__disposition neap__disposition;
typedef struct neap__deadline neap__deadline; /* timeout.c */
typedef struct neap__teller neap__teller;
typedef struct neap__stray neap__stray; /* process.c */
typedef struct neap__file neap__file;   /* file.c */

/* ---- structs ------------------------------------------------------------- */

/* What stands in a loop's ready list. */
typedef struct neap__item {
  struct neap__item *next;
  unsigned char kind;
  unsigned char queued;
  uint32_t
      maker; /* of a task: low bits of the id of who made it; 0: the root */
} neap__item;

/* Kinds of items: a task, a loop callback, or C code of ours that has to keep its
 * place among them (a time-out cancels where asyncio's callback would). */
enum { NEAP__TASK, NEAP__HANDLE, NEAP__CALL };

/* `run` runs no Lua code. At the close of its loop it runs as well: look at
 * loop->closed. */
typedef struct neap__call {
  neap__item item;
  void (*run)(struct neap__call *call);
} neap__call;

/* Somebody to tell when a future is done. `notify` runs no Lua. */
struct neap__watcher {
  neap__watcher *next, *prev; /* ring; NULL when not watching */
  void (*notify)(neap__watcher *watcher, neap__future *future);
};

/* A deadline. Its place in the heap is kept here, so that it can be taken out. */
struct neap__timer {
  void (*fire)(neap__timer *timer);
  uint32_t index; /* 1 and up in the heap; 0 when not armed */
};

/* How a wait uses its private words: for one of these three, and `object`, what is
 * waited for, or NULL: a future where NEAP__ON_FUTURE is set, otherwise a struct that
 * begins with its tag. An internal wait with an object has its finish called without
 * a Lua state when its task is closed by force. */
typedef struct neap__link {
  union {
    neap__watcher watcher;
    neap__timer timer;
    struct {
      neap_wait *next, *prev;
    } queue;
  };
  void *object;
} __attribute__((may_alias)) neap__link;
_Static_assert(sizeof(neap__link) <= sizeof(((neap_wait *)0)->link),
               "neap_wait.link is too small");

/* Bits of neap_wait.flags. */
enum {
  NEAP__WOKEN = 1,       /* has its status; the task is in the ready list */
  NEAP__ABORTING = 2,    /* abort said that the wake is still to come */
  NEAP__INTERNAL = 4,    /* only tasks and deadlines can wake it, no handle */
  NEAP__SHARED = 8,      /* armed for another thread */
  NEAP__ORPHAN = 16,     /* its task is gone; the wake must only release */
  NEAP__QUEUED = 64,     /* linked in a wait queue */
  NEAP__FORWARDED = 128, /* the cancellation went on to what it waits for */
  NEAP__ON_FUTURE = 256, /* `object` is a future */
  NEAP__ON_IO = 512,     /* the task's own wait, for what `object` does: io.h */
};

/* A further answer of our own aborts: the cancellation went on to a future,
 * whose end will wake the task, with whatever it ended. */
#define NEAP__ABORT_FORWARDED ((neap_aborted)2)

enum neap__state {
  NEAP__PENDING,
  NEAP__RETURNED,
  NEAP__RAISED,
  NEAP__CANCELLED,
};

/* The part that Future and Task share. User value 1 is the outcome: one result,
 * a table of several (with n), or the error. User value 2 is a table of what few
 * need: name, traceback, or nil. */
struct neap__future {
  unsigned char is_task;
  unsigned char state;
  unsigned char quiet; /* an error of it counts as seen */
  int nresults;
  union {
    neap__watcher *first; /* pending: ring of watchers, in order of arrival */
    neap__lost
        *lost; /* done: tells when an error is never looked at, or NULL */
  };
  neap__loop *loop;
};
#define NEAP__OUTCOME 1
#define NEAP__EXTRA 2
#define NEAP__CONTEXT 3 /* of a task; only once ContextVars are in use */

struct neap_task {
  neap__future future;
  neap__item item;
  lua_State *co;          /* NULL for the root and for finished tasks */
  struct CallInfo *body;  /* frame that holds the Task object, once started */
  neap_wait *wait;        /* parked on, or NULL */
  neap_wait own;          /* for waits that need no memory of their own */
  const neap__site *site; /* where it was created */
  neap__deadline *deadlines; /* of the time-outs it is inside of */
  neap_task *cancel_next;    /* while neap__cancel works off its list */
  uint64_t cancel_mark;      /* 1 + the number of its latest list */
  uint64_t id;
  int64_t since; /* ns of the loop's `now` when it parked last */
  uint32_t slot;
  uint32_t raises; /* how often a cancellation was raised in it */
  int cancelling;
  unsigned char started;
  union {
    struct {
      unsigned char must_cancel; /* raise at the next resume */
      unsigned char watched;     /* by rt->sentry */
    };
    uint16_t attention; /* one of the two */
  };
  unsigned char swallowed; /* raise again at the next wait */
  bool seen : 1;           /* Lua code may hold the coroutine */
  bool on_path : 1;        /* what it waits for is being cancelled */
  bool ring : 1;           /* and that waits for the task itself */
  bool look : 1;           /* it is in that list to be looked at only */
  bool told : 1;           /* to end, by another thread */
};

/* A task's cancellations when it entered a block: see neap__before_block. */
typedef struct neap__before {
  int cancelling;
  uint32_t raises;
  unsigned char swallowed, must_cancel;
} neap__before;

/* An error that nobody has looked at yet. Not memory of Lua's: it stays valid when a
 * finalizer could not run because memory was short. */
struct neap__lost {
  neap__lost *next, *prev; /* ring of the runtime */
  neap__future *future;    /* perhaps collected: see NEAP__R_LOST */
  neap__loop *loop;        /* of the future */
};

/* A loop callback: what call_soon and its kin return. User value 1 is the function,
 * the arguments follow, and then its context. */
struct neap__handle {
  neap__item item;
  neap__timer timer;
  neap__watcher watcher; /* of a done-callback */
  neap__loop *loop;
  neap_runtime *rt;
  const neap__site *site;
  double when;
  uint32_t slot;
  int nargs;      /* NEAP__STOPS: no function, it stops the loop */
  unsigned again; /* how often it is to run once more */
  unsigned char cancelled;
  unsigned char keeps; /* its anchor, as it may run again */
};
#define NEAP__STOPS (-1)

/* A place in a program: where a task was created. Interned, never freed. */
struct neap__site {
  struct neap__site *next;
  int line;
  char source[LUA_IDSIZE];
};

typedef struct neap__waitq {
  neap_wait *head, *tail;
} neap__waitq;

#define NEAP__SITE_CACHE 32

typedef struct neap__entry {
  int64_t when; /* ns */
  uint64_t seq;
  neap__timer *timer;
} neap__entry;

struct neap__loop {
  neap_runtime *rt;
  neap__loop *next; /* all loops of the runtime */
  uv_loop_t *uv;
  uv_loop_t own;
  uv_timer_t timer;     /* the one libuv timer for all deadlines */
  uv_async_t async;     /* wakes from other threads, interrupts */
  uv_prepare_t prepare; /* these three only on a lent loop, for an embedder */
  uv_check_t check;     /* who calls uv_run himself */
  uv_idle_t idle;
  int open_handles;
  neap__item *head, *tail; /* ready list */
  size_t nready;
  neap__entry *heap; /* 4-ary, [0] is the soonest */
  uint32_t heap_len, heap_cap;
  uint64_t heap_seq;
  uint32_t serial;   /* of this use of the struct */
  int64_t last_poll; /* ticks */
  int64_t now;       /* ns of the clock at the last look at deadlines */
  size_t nexternal;  /* parked waits that a handle or thread ends */
  size_t nshared;    /* waits armed for other threads */
  size_t nremote;    /* what other threads do for it, and else keeps it */
  struct neap__mailbox *mailbox; /* how others reach it, or NULL */
  uv_poll_t bell;                /* wakes it for mails, where has_bell */
  struct neap__mail *mail;       /* to be delivered */
  neap__call mail_call;          /* when that is */
  struct neap__job *sent, *running_jobs; /* rings */
  size_t ntasks;                         /* not done */
  uv_mutex_t mutex;                      /* guards `shared` */
  neap_wait *shared;
  neap__signal *signals; /* that it listens for */
  unsigned nhandlers;    /* of signals */
  struct neap__io *ios;  /* ring of open handles of our modules */
  /* Called when what was ready has run, or NULL. Runs no Lua. */
  void (*after_turn)(neap__loop *loop);
  struct neap__stream *dirty; /* streams to be flushed then */
  char *slab;                 /* into which streams read */
  struct neap__poll *
      *polls; /* watched descriptor -> what watches it, or NULL */
  size_t npolls;
  struct neap__poll *fresh_polls; /* that the system has not been told of */
  void (*before_poll)(neap__loop *loop); /* or NULL */
  struct neap__resolver *resolvers;      /* channels of c-ares */
  struct neap__query *resolve_line;      /* names that wait for a thread */
  unsigned nresolving;                   /* those that have one */
  double slow;                           /* seconds; slow_callback_duration */
  neap__waitq settlers; /* want to know when nothing is ready */
  bool awaited;         /* somebody waits for the end of its run */
  bool due_soon;        /* a deadline was armed that is due about now */
  bool has_bell;
  bool look_stuck;     /* a thread that it has started may be stuck */
  unsigned char looks; /* how often that is to be asked again soon */
  bool lent, closed, running, stopping, debug, in_turn;
  bool ending; /* is about to be closed: takes no more threads */
  bool known;  /* other threads may have a handle of it */
  bool spare;  /* closed to the end: the struct may be used again */
};

/* What Lua has of a loop. */
typedef struct neap__loop_object {
  neap__loop *loop; /* NULL: not made, or closed */
} neap__loop_object;

/* One coroutine inside which another runs, entered through our coroutine.resume. */
typedef struct neap__link_co {
  struct neap__link_co *prev;
  lua_State *co;
  lua_State *from;
  const char *by; /* what closes `co`, or NULL */
  bool blocked;   /* somewhere below, Lua cannot yield */
} neap__link_co;

typedef struct neap__free_co {
  lua_State *co;
  uint32_t slot;
} neap__free_co;

enum neap__kind {
  NEAP__K_TASK,
  NEAP__K_FUTURE,
  NEAP__K_HANDLE,
  NEAP__K_LOOP,
  NEAP__K_LOST,
  NEAP__K_LOCK,
  NEAP__K_EVENT,
  NEAP__K_CONDITION,
  NEAP__K_SEMAPHORE,
  NEAP__K_LOAD,
  NEAP__K_GATHER,
  NEAP__K_COMPLETION,
  NEAP__K_WAITFOR,
  NEAP__K_TIMEOUT,
  NEAP__K_GROUP,
  NEAP__K_BARRIER,
  NEAP__K_QUEUE,
  NEAP__K_CONTEXTVAR,
  NEAP__K_TOKEN,
  NEAP__K_GATE,
  NEAP__K_TASKS,
  NEAP__K_STREAM,
  NEAP__K_LISTENER,
  NEAP__K_UDP,
  NEAP__K_TLS, /* a context */
  NEAP__K_FILE,
  NEAP__K_FSWATCH,
  NEAP__K_PROCESS,
  NEAP__K_SIGNALS,
  NEAP__K_TTYMODE,
  NEAP__K_POLL,
  NEAP__K_QUERY,  /* for the addresses of a name */
  NEAP__K_REMOTE, /* a loop of another runtime */
  NEAP__K_CHANNEL,
  NEAP__K_BUFFER,
  NEAP__K_THREAD,
  NEAP__K_POOL,
  NEAP__K_CODE, /* of a pool's jobs */
  NEAP__KINDS
};

/* What reports tell of a wait by its object; see describe.c. Each may be NULL. */
struct neap__teller {
  /* Pushes what is waited for: "<Lock locked>". [-0, +1, m] */
  void (*push)(lua_State *L, const void *object);
  /* Who has to let go of it: the id of a task, NEAP__NOBODY or NEAP__CALLBACK. */
  uint64_t (*holder)(const void *object);
  const char *by; /* how that is said; NULL: "held by" */
  /* The next of the futures that are waited for and not done, or NULL. *cursor is 0
   * at first, and the function's to change. */
  const neap__future *(*child)(const void *object, size_t *cursor);
};
#define NEAP__NOBODY UINT64_MAX
#define NEAP__CALLBACK (UINT64_MAX - 1)

/* What stands before memory of neap__block_new. */
typedef struct neap__block {
  struct neap__block *next, *prev;
  size_t size, align;
} neap__block;

/* How the processor's counter runs against the clock: see neap__now_near. */
typedef struct neap__pace {
  uint64_t ticks; /* when the clock was read last */
  int64_t ns;
  uint64_t window; /* ticks for which that may be reckoned from; 0: not yet */
  uint64_t mult;   /* ns << 32 for a tick */
  uint64_t first_ticks; /* where the present measuring began */
  int64_t first_ns;
} neap__pace;

/* The waits of one task are counted, to cancel it at one of them: neap.test. */
typedef struct neap__sentry {
  neap_task *task; /* for comparing */
  uint32_t count, at;
  bool on_wake; /* when it was woken, otherwise when it parks */
  bool hit;
  const char *name; /* of the wait that was hit */
  const neap__site *site;
} neap__sentry;

/* Calls that other threads have asked for: callthread.c. */
typedef struct neap__posts {
  struct neap__call_post *head, *tail; /* guarded by the runtime's mutex */
  bool refused;                        /* also */
  struct neap__call_post *taken;       /* in front of these */
  atomic_size_t n;                     /* of both lists */
} neap__posts;

struct neap_runtime {
  lua_State *L; /* the main thread */
  neap_task *current;
  neap_task root;
  neap__loop *loop;    /* the current one; NULL until it is needed */
  neap__loop *running; /* the one whose turns run, or NULL */
  neap__loop *loops;
  neap__disposition *dispositions; /* of signals that loops handle */
  neap__link_co *chain;
  const lua_State
      *kept; /* whose frames NEAP__R_INNER has all of; for comparing */
  struct neap__load *loads;    /* modules that are being loaded */
  const void *mt[NEAP__KINDS]; /* identity of the metatables */
  int mt_ref[NEAP__KINDS];     /* where the registry has them */
  /* how reports tell of them; NULL: not at all */
  const neap__teller *tellers[NEAP__KINDS];
  /* anchors */
  neap_task **slots; /* slot -> task; NULL for what is no task */
  uint32_t nslots, slot_cap;
  uint32_t *free_slots;
  uint32_t nfree_slots;
  neap__free_co *pool; /* coroutines to be used again */
  uint32_t npool, pool_cap;
  neap__lost lost; /* head of the ring */
  neap__site **sites;
  uint32_t nsites;
  const neap__site *site_cache[NEAP__SITE_CACHE];
  uint64_t last_id;
  neap__deadline *free_deadlines;
  neap__block *blocks;
  neap__stray *strays; /* children that outlived their loop */
  neap__file *files;
  uint64_t last_deadline;
  uint32_t last_loop;
  uint32_t callback;      /* slot of the Handle that runs, or 0 */
  neap_task *cancel_list; /* what neap__cancel has still to do */
  uint64_t cancel_mark;   /* how many lists there were */
  uint32_t looks;         /* tasks of this one that are only looked at */
  unsigned no_standard;   /* bit n: the program has no descriptor n (0 to 2) */
  /* interrupts */
  _Atomic(uv_async_t *)
      async;         /* wakes the loop that runs, or the current one */
  bool catch_sigint; /* as a module of a host that is not ours */
  pthread_t thread;
  struct sigaction host_sigint;
  uv_mutex_t mutex; /* guards the life of what `async` points to */
  neap__posts posts;
  atomic_int interrupt; /* 0, or the signal */
  atomic_bool stop;
  atomic_int insisted;      /* how often another thread has interrupted it */
  lua_State *volatile busy; /* where Lua code runs, for a debug hook, or NULL */
  atomic_bool dump;         /* the task trees are to be written to the log */
  lua_State *hook_L;        /* there */
  lua_Hook hook;            /* the program's own, while ours is in its place */
  int hook_mask, hook_count;
  lua_CFunction lua_error, lua_assert; /* Lua's own, which ours replace */
  neap__pace pace;
  /* for tests */
  neap__sentry sentry;
  struct neap__watchdog *watchdog; /* NULL until there is one */
  struct neap__tls *tls;           /* OpenSSL, once it is used */
  struct neap__packer *packer;  /* what pack.c keeps between calls, or NULL */
  struct neap__thread *threads; /* that it has started */
  uint32_t ncodes;              /* in NEAP__R_CODE */
  struct neap__thread *self; /* the thread that it is the runtime of, or NULL */
  const char *stopped_in;    /* where the root waited when it was stopped */
  int64_t virtual_now;       /* ns, while `frozen` */
  char *bulk;                /* see reader.h; NULL until much has come */
  bool bulk_lent;            /* to a reader */
  uint32_t linger;           /* ms that a closed stream has; 0: as usual */
  int64_t ahead;    /* ns by which earlier jumps put us before the system */
  uint64_t shuffle; /* state of the generator; 0: first come first served */
  lua_Integer seed; /* it began with this one */
  neap__item **shuffled;
  uint32_t shuffled_cap;
  bool frozen; /* the clock stands still */
  bool jumps;  /* to the next deadline, when nothing else can happen */
  bool noting; /* what is made that can be held is put into NEAP__R_NOTED */
  /* memory */
  lua_Alloc alloc;
  void *alloc_ud;
  struct neap__arena *arena;
  lua_Alloc base_alloc; /* what `alloc` asks when there is a limit */
  void *base_ud;
  size_t used, limit;
  bool warn, warn_goes_on;
  int showing;     /* groups of errors within each other */
  int shown;       /* errors of them, in one text */
  uint32_t ncalls; /* of the root, by neap_call, that have ended */
  /* names */
  struct neap__cares *cares; /* its functions; NULL: not there */
  bool cares_tried;          /* to load it */
  bool no_cares;             /* libuv is to do it */
  /* hooks */
  neap_log log;
  neap_unhandled unhandled;
  void (*exit)(void *ud);
  void *ud;
  double grace;
  uv_loop_t *lent_uv;
  bool lent_L, had_unhandled, shut, closing, gc_stress;
  bool root_turn;            /* the root's place in the ready list has come */
  bool finishing;            /* a loop's tasks were cancelled, to end */
  bool any_seen;             /* some task's coroutine was given to Lua code */
  bool exiting;              /* SystemExit was raised in the root */
  bool deadlock;             /* why the root's wait ends */
  bool tracing;              /* time-outs note where they were made */
  bool contexts;             /* a ContextVar was set */
  bool no_sigpipe;           /* it was looked after */
  bool debug;                /* new loops are in debug mode */
  struct {                   /* the step that is watched in debug mode */
    int64_t start, limit;    /* ns of the real clock */
    const neap__site *began; /* where the task went on, or NULL */
    const neap__site *held;  /* where it was past the limit, or NULL */
    bool armed;
  } watch;
};

/* ---- error.c: error objects and classes ---------------------------------- */

enum neap__class {
  NEAP__ERROR,
  NEAP__CANCELLEDERROR,
  NEAP__TIMEOUTERROR,
  NEAP__INVALIDSTATEERROR,
  NEAP__QUEUEEMPTY,
  NEAP__QUEUEFULL,
  NEAP__QUEUESHUTDOWN,
  NEAP__BROKENBARRIERERROR,
  NEAP__INCOMPLETEREADERROR,
  NEAP__LIMITOVERRUNERROR,
  NEAP__OSERROR,
  NEAP__DEADLOCKERROR,
  NEAP__KEYBOARDINTERRUPT,
  NEAP__EXCEPTIONGROUP,
  NEAP__BROKENEXECUTOR,
  NEAP__SYSTEMEXIT, /* internal: what os.exit and SIGTERM raise */
  NEAP__CLASSES
};

/* Makes the classes; fills the module table at the top. [-0, +0, m] */
void neap__error_open(lua_State *L, neap_runtime *rt);
/* Pushes a new error object, its message the value on top (nil: none). [-1, +1, m] */
void neap__error_new(lua_State *L, enum neap__class class);
/* Raises one with a formatted message. */
int neap__raise(lua_State *L, enum neap__class class, const char *format, ...);
/* Whether the value is an instance of the class or of a subclass. Never raises. */
bool neap__error_is(lua_State *L, int index, enum neap__class class);
/* Whether the value is an error object of any class. */
bool neap__error_test(lua_State *L, int index);

/* ---- errorgroup.c: several errors in one ------------------------------------ */

/* Adds the errors of the group at 1, each on a line of its own, to the text on top;
 * leaves it alone when 1 is no group. [-1, +1, m] */
void neap__list_errors(lua_State *L);
/* Pushes the tracebacks of the errors of the group at `index`, to follow its own; ""
 * when it is none. [-0, +1, m] */
void neap__push_group_traces(lua_State *L, int index);
/* ExceptionGroup(message, errors): a lua_CFunction. */
int neap__new_group_error(lua_State *L);

/* ---- traceback.c: where things are, and the texts of reports -------------- */

/* Whether a source is that of a Lua file of ours. */
bool neap__is_own_source(const char *source);
/* The place of the Lua function at `level` or the next one above that has a line; not
 * in a file of ours, if possible. */
const neap__site *neap__site_at(lua_State *L, neap_runtime *rt, int level);
void neap__sites_free(neap_runtime *rt);
/* Message handler for tasks and the root: keeps the traceback of this error. */
int neap__on_error(lua_State *L);
/* Pushes and forgets the traceback that neap__on_error kept for the error on top, or
 * nil. [-0, +1, m] */
void neap__take_traceback(lua_State *L, neap_runtime *rt);
/* Says that the error on top of L was raised inside something that ended, whose
 * traceback is the string below it, which it removes. [-1, +0, m] */
void neap__note_inner(lua_State *L, neap_runtime *rt);
/* Pushes the frames of `co`, which ended with an error: for note_inner. [-0, +1, m] */
void neap__push_dead_stack(lua_State *L, lua_State *co);
/* Pushes the frames of the coroutine `co` and those inside it, each on a line that
 * begins with "\n\t"; of_task: without that of the task's body. Of the caller's own
 * coroutine `skip` frames are left out. [-0, +1, m] */
void neap__push_frames(lua_State *L, lua_State *co, bool of_task, int skip);
/* Pushes where a pending task is. [-0, +1, m] */
void neap__push_stack(lua_State *L, neap_task *task);
/* For a message handler whose protected call will raise the error at index 1 again:
 * keeps the whole of its traceback for the next one. [-0, +0, m] */
void neap__keep_traceback(lua_State *L, neap_runtime *rt);
/* Forgets it: the error was caught. */
void neap__forget_inner(lua_State *L, neap_runtime *rt);
/* Pushes a value as one line of text, calling its __tostring. Does not raise but for
 * memory. [-0, +1, m] */
void neap__push_text(lua_State *L, int index);
/* Pushes the name of the C function, at `level` or further out, that no yield can
 * pass. [-0, +1, m] */
void neap__push_culprit(lua_State *L, int level);

/* ---- clock.c: time, and the heap of deadlines ----------------------------- */

/* ns of the loop's clock. */
static inline int64_t neap__now(const neap_runtime *rt) {
  return NEAP__UNLIKELY(rt->frozen) ? rt->virtual_now
                                    : (int64_t)uv_hrtime() + rt->ahead;
}
/* ns from seconds, rounded up, saturating. */
static inline int64_t neap__to_ns(double seconds) {
  if (!(seconds > 0)) return 0;
  if (seconds >= 4e9) return (int64_t)4e18;
  double exact = seconds * 1e9;
  int64_t ns = (int64_t)exact;
  return ns + ((double)ns < exact);
}

/* The time `seconds` after `now`, saturating. */
static inline int64_t neap__after(int64_t now, double seconds) {
  int64_t ns = neap__to_ns(seconds);
  return NEAP__UNLIKELY(now > INT64_MAX - ns) ? INT64_MAX : now + ns;
}
/* The same to within a microsecond or so, in half the time: for what is armed from
 * now on by the hundred thousand. */
int64_t neap__now_near(neap_runtime *rt);
/* Makes room, so that the next arming cannot fail; raises for memory. */
void neap__timer_reserve(lua_State *L, neap__loop *loop);
/* `now` is the clock, for who just read it anyway. */
void neap__timer_arm(neap__loop *loop, neap__timer *timer, int64_t when,
                     int64_t now);
void neap__timer_disarm(neap__loop *loop, neap__timer *timer);
/* Fires what is due; returns the ns until the next deadline, or -1. */
int64_t neap__timer_run(neap__loop *loop);

/* ---- sched.c: ready list, one turn ---------------------------------------- */

void neap__ready(neap__loop *loop, neap__item *item);
/* Takes it out again, if it is there. Walks the list. */
void neap__unready(neap__loop *loop, neap__item *item);
/* Runs what is ready and nothing else, for a loop that others drive. */
void neap__turn_ready(neap__loop *loop, lua_State *L);
/* Runs what was ready, then polls, waiting at most `wait` ns (-1: no limit). */
void neap__turn(neap__loop *loop, lua_State *L, int64_t wait);
/* Whether something can still happen without outside help. */
bool neap__alive(neap__loop *loop);
/* stuck.c: whether others have a handle of the loop, which is `known`. */
bool neap__has_handles(const neap__loop *loop);
/* Whether callbacks may come that nobody waits for: of signals, or from other threads. */
static inline bool neap__may_hear(const neap__loop *loop) {
  return loop->nhandlers > 0 || (loop->known && neap__has_handles(loop));
}
/* Whether something could still wake who waits: that, or one of those. */
static inline bool neap__may_wake(neap__loop *loop) {
  return neap__may_hear(loop) || neap__alive(loop);
}
/* Whether the loop keeps libuv going although nothing but signals can come. */
void neap__hold(neap__loop *loop, bool hold);
/* ns that a poll may wait now; -1: no limit. */
int64_t neap__patience(neap__loop *loop);

/* ---- callthread.c: calls from other threads --------------------------------------- */

/* Whether there are any to be made. */
static inline bool neap__posted(const neap_runtime *rt) {
  return atomic_load(&rt->posts.n) != 0;
}
/* Makes those that are there, in a turn. [-0, +0, -] */
void neap__posts_run(neap__loop *loop, lua_State *L);
/* The same outside of turns, at shutdown; after the last time none are taken. */
void neap__posts_flush(neap_runtime *rt, bool last);

/* ---- debug.c: debug mode --------------------------------------------------------- */

void neap__debug_open(lua_State *L, neap_runtime *rt);
/* Watches the item, which is about to run: its coroutine, its object being pushed; or
 * NULL. Raises nothing. */
lua_State *neap__debug_begin(neap__loop *loop, neap__item *item, lua_State *L);
/* A coroutine is resumed inside a step that is watched. [-0, +0, -] */
void neap__debug_enter(lua_State *co);
/* It ran: removes the object, reports it when that took long. Raises nothing. */
void neap__debug_end(neap__loop *loop, neap__item *item, lua_State *L,
                     lua_State *co);

/* ---- blocking.c: calls of Lua's own library that hold the loop ----------- */

/* Puts functions that tell of that in debug mode in the place of Lua's own, where that
 * has not been done. [-0, +0, m] */
void neap__blocking_watch(lua_State *L);

/* ---- shuffle.c: another order for what is ready --------------------------- */

/* Permutes the tasks of the ready list among their places. */
void neap__shuffle(neap__loop *loop);
void neap__shuffle_free(neap_runtime *rt);
/* Pushes a line for reports that names the seed, or "". [-0, +1, m] */
void neap__push_seed(lua_State *L, const neap_runtime *rt);

/* ---- wait.c: park, wake, the root ------------------------------------------- */

/* neap_park for those who know the runtime. */
int neap__park(neap_runtime *rt, lua_State *L, neap_wait *wait);
/* Lets all that is ready go first: for a task, not the root. Its frame's arguments
 * but the first are the results. */
int neap__yield(neap_runtime *rt, lua_State *L, const char *name);
/* Prepares the running task's own wait. */
neap_wait *neap__own_wait(neap_runtime *rt, neap_abort abort,
                          neap_finish finish, const char *name);
/* Raises unless the caller may wait; raises a swallowed cancellation again. */
void neap__check_park_slow(neap_runtime *rt, lua_State *L, const char *name,
                           bool waits);
/* Raises unless the caller may wait, and nothing else: for waits that a swallowed
 * cancellation does not concern. */
void neap__check_place(neap_runtime *rt, lua_State *L, const char *name);
/* Raises the interrupt that is pending. [-0, +0, v] */
void neap__check_interrupt(lua_State *L, neap_runtime *rt);
/* In the root: raises what ended its wait early (an interrupt, a deadlock, stop()),
 * if something did. For a finish that would not raise the cancellation. */
void neap__check_stopped(lua_State *L, neap_runtime *rt);
/* What other threads woke. */
void neap__take_shared(neap__loop *loop);
/* The task's coroutine is closed by force: lets go of its wait. */
void neap__orphan(neap_task *task);

/* ---- cancel.c: cancelling tasks and what they wait for ------------------------ */

/* Raises the task's own cancellation. */
int neap__raise_cancelled(lua_State *L, neap_runtime *rt);
/* Cancels a task and, without recursion, what it awaits. The message is at
 * `message` of L; 0 (and then L may be NULL): none. False when it was done.
 * [-0, +0, -] */
bool neap__cancel(neap_task *task, lua_State *L, int message);
/* For aborts: the child is to be cancelled as well, before those pushed earlier. */
void neap__cancel_push(neap_runtime *rt, neap_task *task);
/* The same for one that is not cancelled: whether it waits for one that is. */
void neap__cancel_look(neap_runtime *rt, neap_task *task);
/* Works off what was pushed by an abort that was called by itself. */
void neap__cancel_flush(neap_runtime *rt);
/* The running task was cancelled before it began the wait that it is parked on now.
 * [-0, +0, -] */
void neap__cancel_parked(lua_State *L, neap_task *task);
/* A CancelledError is about to be raised in the task. */
void neap__note_raised(neap_task *task);

/* ---- watchdog.c: a time-out for the root, in real time ---------------------- */

/* What rt->interrupt holds when it is over: no signal. */
#define NEAP__OVERDUE (-1)
/* Raises the TimeoutError, in the root. [-0, +0, v] */
int neap__raise_overdue(lua_State *L, neap_runtime *rt);
void neap__watchdog_free(neap_runtime *rt);
/* watchdog(seconds or nil) */
int neap__l_watchdog(lua_State *L);

/* ---- leftover.c: what a test left behind ------------------------------------- */

/* Adds its functions to the module at the top. [-0, +0, m] */
void neap__leftover_open(lua_State *L, neap_runtime *rt);
/* See neap__note_made. [-0, +0, m] */
void neap__note_slow(lua_State *L, neap_runtime *rt);

/* ---- rawfd.c: descriptors, for tests ------------------------------------------ */

/* Adds its functions to the module at the top. [-0, +0, m] */
void neap__rawfd_open(lua_State *L, neap_runtime *rt);

/* ---- waitq.c: FIFO of waits ------------------------------------------------ */

void neap__waitq_push(neap__waitq *queue, neap_wait *wait);
void neap__waitq_remove(neap__waitq *queue, neap_wait *wait);
/* Takes out and wakes the first; NULL when the queue is empty. */
neap_wait *neap__waitq_wake(neap__waitq *queue, int status);

/* ---- require.c: modules --------------------------------------------------- */

void neap__require_open(lua_State *L, neap_runtime *rt);
/* Puts our require in its place, also where somebody took it away. */
void neap__require_install(lua_State *L, neap_runtime *rt);
bool neap__is_require(lua_CFunction f);
/* `co` ended with an error: what it was loading is no longer being loaded. */
void neap__loads_died(neap_runtime *rt, lua_State *co);

/* ---- raise.c: error, assert ------------------------------------------------ */

/* Puts ours in the place of Lua's own. [-0, +0, m] */
void neap__raise_open(lua_State *L, neap_runtime *rt);

/* ---- coro.c: coroutine.*, pcall, xpcall ------------------------------------ */

void neap__coro_open(lua_State *L, neap_runtime *rt);
/* Whether our functions are in place. */
bool neap__coro_installed(lua_State *L);
/* An error was caught by something that began when `raises` was the task's count of
 * raised cancellations. */
void neap__caught(lua_State *L, neap_runtime *rt, uint32_t raises);
static inline uint32_t neap__raises_now(const neap_runtime *rt) {
  return rt->current != NULL ? rt->current->raises : 0;
}
/* Whether a C function is one that lets a yield pass. */
bool neap__lets_pass(lua_CFunction f);
/* The coroutine that runs inside `co`, whose innermost frame is one of our resume or
 * wrap; NULL if there is none. [-0, +0, -] */
lua_State *neap__inner_coroutine(lua_State *co);

/* ---- pcall.c: neap.pcall, neap.xpcall --------------------------------------- */

void neap__pcall_open(lua_State *L, neap_runtime *rt);
/* Whether a C function is one of them, or stands for a handler of xpcall's. */
bool neap__is_protected(lua_CFunction f);

/* ---- context.c: ContextVar --------------------------------------------------- */

void neap__context_open(lua_State *L, neap_runtime *rt);
/* Gives the Task or Handle on top, which is being made, a copy of the context of what
 * runs, as its user value n. [-0, +0, m] */
void neap__copy_context(lua_State *L, neap_runtime *rt, int n);
/* The Task at index 1 is done. [-0, +0, m] */
void neap__drop_context(lua_State *L);

/* ---- anchor.c, future.c, task.c ------------------------------------------------------- */

extern const luaL_Reg neap__future_methods[]; /* Task has them too */
void neap__future_open(lua_State *L, neap_runtime *rt);
/* Pushes a new Future. [-0, +1, m] */
neap__future *neap__future_new(lua_State *L, neap_runtime *rt,
                               neap__loop *loop);
void neap__watch(neap__future *future, neap__watcher *watcher);
void neap__unwatch(neap__future *future, neap__watcher *watcher);
/* Schedules the handle when the future is done, now if it is. */
void neap__watch_callback(neap__future *future, neap__handle *handle);
/* Ends a future; the outcome is in its user value already. Tells the watchers. */
void neap__complete(neap__future *future, enum neap__state state);
/* Marks the error of the future on top of the stack as not looked at. [-0, +0, m] */
void neap__track_lost(lua_State *L, neap_runtime *rt, neap__future *future);
/* Somebody looked at it. */
void neap__seen(neap__future *future);
/* Pushes the CancelledError of the cancelled future at `index`. [-0, +1, m] */
void neap__push_cancelled(lua_State *L, int index);
/* Pushes the results of the done future at `index`, or raises its error. */
int neap__take(lua_State *L, neap_runtime *rt, int index);
/* For aborts: passes a cancellation on to a future or task. */
void neap__cancel_future(neap_runtime *rt, neap__future *future);
/* The Future or Task at `index`, or NULL. */
neap__future *neap__test_future(lua_State *L, neap_runtime *rt, int index);
neap__future *neap__check_future(lua_State *L, neap_runtime *rt, int index);
/* Raises unless the running task may wait for this future. `how`: "await" */
void neap__check_here(lua_State *L, neap_runtime *rt,
                      const neap__future *future, const char *how);
/* Waits for the pending future at index 1; for the end of a C function. */
int neap__await(lua_State *L, neap_runtime *rt, neap__future *future);
void neap__report_lost(lua_State *L, neap_runtime *rt, neap__loop *loop);
void neap__lost_free(neap_runtime *rt);

void neap__task_open(lua_State *L, neap_runtime *rt);
/* Makes a task of the function or unstarted coroutine below `nargs` arguments, and
 * pushes it in their place. [-(nargs + 1), +1, m] */
neap_task *neap__spawn(lua_State *L, neap_runtime *rt, neap__loop *loop,
                       int nargs, int level);
/* Raises an argument error for `arg` when the value at `index` is no awaitable. */
void neap__check_awaitable(lua_State *L, neap_runtime *rt, int index, int arg);
/* Replaces the awaitable below `nargs` arguments by a Task or Future. Raises an
 * argument error for `arg` when it is none. [-(nargs + 1), +1, m] */
neap__future *neap__ensure_future(lua_State *L, neap_runtime *rt,
                                  neap__loop *loop, int nargs, int arg);
/* After a resume that did not park the task: it has ended, or must. */
void neap__step_end(neap_task *task, lua_State *from, int status);
/* Takes back the task that was made last, before anything else happened. */
void neap__unspawn(neap_task *task, lua_State *L);
void neap__push_task(lua_State *L, neap_task *task);
/* Closes the coroutine of a task that would not end. */
void neap__task_destroy(neap_task *task, lua_State *L);
/* Pushes the task's name, "Task-1" or as given. [-0, +1, m] */
void neap__push_name(lua_State *L, neap_task *task);
/* Pushes user value EXTRA of the future at `index`, made when missing. [-0, +1, m] */
void neap__push_extra(lua_State *L, int index);
/* Zeroed memory for what others point to and an object has: Lua drops a finalizer for
 * which there is no memory, and then only the runtime's end frees it. [-0, +0, m] */
void *neap__block_new(lua_State *L, neap_runtime *rt, size_t size);
/* The same, NULL when there is none: needs no Lua state. */
void *neap__block_try(neap_runtime *rt, size_t size);
void neap__block_free(neap_runtime *rt, void *memory);
void neap__blocks_free(neap_runtime *rt);
/* Whether the task with this number is at this address and not done; the address
 * may be stale. */
bool neap__is_pending(const neap_runtime *rt, const neap_task *task,
                      uint32_t slot, uint64_t id);
uint32_t neap__anchor(lua_State *L, neap_runtime *rt); /* [-1, +0, m] */
void neap__unanchor(lua_State *L, neap_runtime *rt, uint32_t slot);
/* The same, while the task is being made: `co` will be its coroutine. */
void neap__note_seen(lua_State *L, neap_runtime *rt, lua_State *co,
                     neap_task *task);
/* Lua code may hold the task's coroutine from now on. [-0, +0, m] */
void neap__mark_seen(lua_State *L, neap_task *task);
/* Whether `co` was a task's own and Lua code got to see it. [-0, +0, -] */
bool neap__is_of_task(lua_State *L, const neap_runtime *rt, lua_State *co);
/* Whether `co` is the coroutine of a task that has not started. */
bool neap__is_body(lua_State *co);
/* Whether it is that of a task, started or not. */
bool neap__runs_body(lua_State *co);
/* task:uncancel(): how many cancellations remain. */
int neap__uncancel(neap_task *task);
/* What a block that may cancel its task remembers of the time before. */
static inline neap__before neap__before_block(const neap_task *task) {
  return (neap__before){task->cancelling, task->raises, task->swallowed,
                        task->must_cancel};
}
/* Takes back the cancellation by which such a block ended itself. True when no other
 * came meanwhile: then the task is as it was before. */
bool neap__take_back(neap_task *task, const neap__before *before);
/* For qsort of neap_task *: oldest first. */
int neap__compare_ids(const void *a, const void *b);
/* Pushes a userdata with the *n pending tasks of the loop (NULL: of all loops), oldest
 * first. [-0, +1, m] */
neap_task **neap__list_tasks(lua_State *L, neap_runtime *rt,
                             const neap__loop *loop, size_t *n);
/* Pushes the list of the loop's pending tasks, oldest first. [-0, +1, m] */
void neap__push_tasks(lua_State *L, neap__loop *loop);

/* ---- describe.c: what a task waits for ------------------------------------------------- */

/* All pending tasks of a runtime at one moment, for a report. */
typedef struct neap__scene {
  neap_runtime *rt;
  neap_task **tasks; /* oldest first */
  size_t n;
} neap__scene;

/* lua_pcall for one result while no finalizer runs, which could end a task that the
 * scene knows. */
int neap__pcall_quiet(lua_State *L, int nargs);
/* Pushes what keeps the scene. [-0, +1, m] */
void neap__scene_init(lua_State *L, neap_runtime *rt, neap__scene *scene);
/* Index in the scene of the task with this id, or scene->n. */
size_t neap__scene_find(const neap__scene *scene, uint64_t id);
/* Says how waits for objects of a kind are told. */
void neap__set_teller(neap_runtime *rt, enum neap__kind kind,
                      const neap__teller *teller);
/* Pushes `Task-3 "name"`, or "the main chunk". [-0, +1, m] */
void neap__push_label(lua_State *L, neap_task *task);
/* Whether it waits, and nothing has woken it yet. */
bool neap__is_stuck(const neap_task *task);
/* The next of those (tasks, the root) who have to do something before the task can go
 * on, or NULL. *cursor is 0 at first. */
neap_task *neap__next_blocker(const neap__scene *scene, const neap_task *task,
                              size_t *cursor);
/* Pushes ` for <Lock locked> held by Task-2`, or "". [-0, +1, m] */
void neap__push_target(lua_State *L, const neap__scene *scene,
                       const neap_task *task);
/* Pushes "Task-1 awaits Task-2", where `next` is one of its blockers. [-0, +1, m] */
void neap__push_blocked(lua_State *L, const neap__scene *scene, neap_task *task,
                        neap_task *next);
/* Pushes the one line of a report: who, where, for what. [-0, +1, m] */
void neap__push_stuck(lua_State *L, const neap__scene *scene, neap_task *task);
/* Where its frames are (and in the coroutines inside). */
static inline lua_State *neap__stack_of(const neap_runtime *rt,
                                        const neap_task *task) {
  return task == &rt->root ? rt->L : task->co;
}

/* ---- deadlock.c: when nothing can happen any more ------------------------------------- */

/* Pushes the DeadlockError that lists the loop's tasks. [-0, +1, m] */
void neap__push_deadlock(lua_State *L, neap__loop *loop);

/* ---- dump.c: the task tree ------------------------------------------------------------ */

void neap__dump_open(lua_State *L, neap_runtime *rt);
/* loop:dump() */
int neap__l_dump(lua_State *L);
/* Gives the list of tasks on top a text: their tree. [-0, +0, m] */
void neap__dump_list(lua_State *L, neap_runtime *rt);
/* Writes the trees of all loops to the log: somebody asked for them. Raises nothing. */
void neap__dump_log(neap_runtime *rt, lua_State *L);

/* ---- handle.c, loop.c, eventloop.c ------------------------------------------------------- */

void neap__handle_open(lua_State *L, neap_runtime *rt);
/* Raises an argument error when `arg` cannot be called. */
void neap__check_callback(lua_State *L, int arg);
/* Makes a Handle of the function below `nargs` arguments. [-(nargs + 1), +1, m] */
neap__handle *neap__handle_new(lua_State *L, neap_runtime *rt, neap__loop *loop,
                               int nargs);
void neap__handle_run(neap__handle *handle, lua_State *L);

void neap__loop_open(lua_State *L, neap_runtime *rt);
/* The running loop, or else the current one, made on first use. */
neap__loop *neap__the_loop(lua_State *L, neap_runtime *rt);
/* The loop at index 1; raises when it is closed. [-0, +0, v] */
neap__loop *neap__check_loop(lua_State *L, neap_runtime *rt);
/* Pushes the Loop object. [-0, +1, m] */
void neap__push_loop(lua_State *L, neap__loop *loop);
/* Makes a loop; `lent` may be NULL. 0 or a UV_E* code. */
int neap__loop_init(neap_runtime *rt, uv_loop_t *lent, neap__loop **out);
/* Runs turns until `until` (may be NULL) is done, stop() or an interrupt. Returns 0,
 * UV_EINTR, or NEAP_EDEADLK when nothing can happen any more. Raises nothing. `waits`:
 * somebody waits for its end, so a signal may be what he waits for. */
int neap__loop_drive(neap__loop *loop, lua_State *L, const neap__future *until,
                     bool waits);
/* Cancels the tasks and runs turns until they have ended or the grace is over. */
void neap__loop_finish(neap__loop *loop, lua_State *L);
/* Closes what is left, reports it, and the loop. The number of tasks that were
 * closed by force. [-0, +0, m] */
int neap__loop_close(neap__loop *loop, lua_State *L);
void neap__loops_free(neap_runtime *rt);
/* On a lent loop that others run: keeps it going exactly while we have work. */
void neap__loop_rearm(neap__loop *loop);
/* On a lent loop that we run ourselves: takes that back, or polls would not wait. */
void neap__loop_disarm(neap__loop *loop);
void neap__set_running(neap_runtime *rt, neap__loop *loop);
void neap__forget_async(neap_runtime *rt, const uv_async_t *async);
/* This loop, or none, is the current one. */
void neap__set_current(neap_runtime *rt, neap__loop *loop);
/* Wakes the loop that runs, or else the current one; under rt->mutex, or from a signal
 * handler in the runtime's thread. */
void neap__wake_async(neap_runtime *rt);

/* ---- signal.c: handlers of signals; ear.h ---------------------------------------------- */

void neap__signal_open(lua_State *L, neap_runtime *rt);
/* The number of the signal at `arg`: "SIGTERM" or 15. [-0, +0, v] */
int neap__check_signal(lua_State *L, int arg);
/* The name of a signal, or "signal 40" in `buffer`. */
const char *neap__signal_name(int number, char *buffer, size_t size);
/* Whether a loop of the runtime listens for it. */
bool neap__signal_taken(neap_runtime *rt, int number);
/* Nobody hears a signal on the loop any more. [-0, +0, -] */
void neap__signals_close(neap__loop *loop, lua_State *L);
/* Of the module "neap.core.test". */
int neap__l_signal_of(lua_State *L);
int neap__l_drop_signal(lua_State *L);

/* ---- poll.c: readiness of descriptors -------------------------------------------- */

void neap__poll_open(lua_State *L, neap_runtime *rt);
/* Removes the loop's callbacks. [-0, +0, -] */
void neap__polls_close(neap__loop *loop, lua_State *L);
/* Once all handles are closed. */
void neap__polls_free(neap__loop *loop);
/* Of the module "neap.core.test". */
int neap__l_drop_poll(lua_State *L);

/* ---- process.c: child processes -------------------------------------------------- */

/* The loop is being closed: ends its children and waits for that, at most as long as
 * each may take. */
void neap__processes_end(neap__loop *loop);
/* Forgets those that outlived their loops. */
void neap__strays_free(neap_runtime *rt);

/* ---- file.c: open files ------------------------------------------------------------ */

/* What was written to them reaches the system. */
void neap__files_flush(neap_runtime *rt);

/* ---- ttymode.c: modes of terminals ----------------------------------------------- */

/* Takes back what the runtime has changed. */
void neap__tty_restore(const neap_runtime *rt);

/* ---- report.c: exception handlers, what the developer gets to read ------------ */

/* Calls the loop's exception handler with the context table on top. [-1, +0, m] */
void neap__call_handler(lua_State *L, neap__loop *loop);
/* The same for an error: its value below the top, traceback or nil on top, and the
 * object at `object` under `key`. [-2, +0, m] */
void neap__report(lua_State *L, neap__loop *loop, const char *message,
                  const char *key, int object);
/* The default handler's text and consequences. Context on top. [-1, +0, m] */
void neap__default_handler(lua_State *L, neap__loop *loop);

/* ---- runtime.c, run.c -------------------------------------------------------------- */

void *neap__alloc(neap_runtime *rt, void *ptr, size_t osize, size_t nsize);
/* Text for the log hook. */
void neap__log_text(neap_runtime *rt, const char *text, size_t length);
/* Pushes the loop's report to the hooks. */
void neap__unhandled(neap_runtime *rt, const char *message, const char *report);
/* A value of the registry that belongs to this runtime: keys are our addresses. */
enum neap__reg {
  NEAP__R_THREADS, /* slot -> coroutine or other anchored value */
  NEAP__R_TRACE,   /* {error, traceback} of the latest error */
  NEAP__R_INNER, /* {error, traceback} of an error that came out of something */
  NEAP__R_CLASSES,  /* class number -> class */
  NEAP__R_LOOPS,    /* loop pointer -> Loop object */
  NEAP__R_LOST,     /* future pointer -> future whose error nobody saw; weak */
  NEAP__R_SEEN,     /* coroutines of tasks that Lua code saw; weak keys */
  NEAP__R_GUARD,    /* ends the runtime when a lent state closes */
  NEAP__R_MODULE,   /* the module table */
  NEAP__R_REPORT,   /* the string that neap_report gave last */
  NEAP__R_DUMP,     /* the string that neap_dump gave last */
  NEAP__R_ROOT,     /* what a task has as its extra, for the root */
  NEAP__R_HELD,     /* traceback of a step that takes long */
  NEAP__R_CONTEXT,  /* the root's context, or false */
  NEAP__R_DEADLOCK, /* the DeadlockError that the root is about to raise */
  NEAP__R_NOTED,    /* list of what was made while rt->noting */
  NEAP__R_SHARED,   /* pointer -> the object of a shared thing; weak */
  NEAP__R_CODE,     /* code -> the function, once it was unpacked here */
  NEAP__R_NAMES,    /* value -> its name; name -> value: see names.c */
  NEAP__REGS
};
void neap__reg_get(lua_State *L, enum neap__reg which); /* [-0, +1, -] */
void neap__reg_set(lua_State *L, enum neap__reg which); /* [-1, +0, m] */
/* A lua_CFunction: require "neap" -> the module. */
int neap__module(lua_State *L);
/* The current loop, made if needed; NULL when it cannot be. Raises nothing. */
neap__loop *neap__current_loop(neap_runtime *rt);
/* Makes require find the packed files and what is below. [-0, +0, m] */
void neap__embed_install(lua_State *L);
/* Modules that only our own Lua files require: lua_CFunctions. */
int neap__open_testing(lua_State *L);
int neap__open_net(lua_State *L);
int neap__open_udp(lua_State *L);
int neap__open_worker(lua_State *L);
int neap__open_dns(lua_State *L);
int neap__open_tls(lua_State *L);
int neap__open_fs(lua_State *L);
int neap__open_process(lua_State *L);
int neap__open_signals(lua_State *L);
int neap__open_tty(lua_State *L);
int neap__open_thread(lua_State *L);
int neap__open_channel(lua_State *L);
int neap__open_buffer(lua_State *L);
int neap__open_pool(lua_State *L);
int neap__open_packet(lua_State *L);
void neap__tls_free(neap_runtime *rt); /* tlsapi.c */

/* ---- sigint.c ---------------------------------------------------------------- */

/* Takes SIGINT for as long as a loop runs, for a runtime with `catch_sigint`. */
void neap__sigint_catch(neap_runtime *rt);
void neap__sigint_release(neap_runtime *rt);

/* ---- options.c --------------------------------------------------------------- */

/* Raises unless there is nothing or a table at the argument `index`, with none but the
 * options in `names` (ends with NULL). Gives whether there is a table. [-0, +0, v] */
bool neap__options(lua_State *L, int index, const char *where,
                   const char *const *names);

/* ---- modules ----------------------------------------------------------------- */

void neap__timer_open(lua_State *L, neap_runtime *rt);
void neap__gather_open(lua_State *L, neap_runtime *rt);
/* Replaces the list of n awaitables at 1 by a new list of futures, starting what is
 * none yet; nothing starts when one of them is no awaitable. [-0, +0, v] */
void neap__make_futures(lua_State *L, neap_runtime *rt, bool listed, int n,
                        const char *how);
void neap__completion_open(lua_State *L, neap_runtime *rt);
void neap__waitfor_open(lua_State *L, neap_runtime *rt);
void neap__group_open(lua_State *L, neap_runtime *rt);
void neap__timeout_open(lua_State *L, neap_runtime *rt);
/* Adds the places of the task's time-outs since `serial` to the list on top, as text.
 * [-0, +0, m] */
void neap__deadlines_list(lua_State *L, const neap_task *task, uint64_t serial);
/* The task has ended, and with it its time-outs. */
void neap__deadlines_drop(neap_task *task);
/* Those that were made after the one with this serial. */
void neap__deadlines_drop_since(neap_task *task, uint64_t serial);
void neap__deadlines_free(neap_runtime *rt);
void neap__lock_open(lua_State *L, neap_runtime *rt);
void neap__event_open(lua_State *L, neap_runtime *rt);
void neap__condition_open(lua_State *L, neap_runtime *rt);
void neap__semaphore_open(lua_State *L, neap_runtime *rt);
void neap__barrier_open(lua_State *L, neap_runtime *rt);
void neap__queue_open(lua_State *L, neap_runtime *rt);
void neap__threadsafe_open(lua_State *L, neap_runtime *rt); /* remote.c */

/* ---- small helpers ------------------------------------------------------------ */

/* The runtime of the running C function: its first upvalue. */
static inline neap_runtime *neap__rt(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* The object on top, which somebody can hold, was made. [-0, +0, m] */
static inline void neap__note_made(lua_State *L, neap_runtime *rt) {
  if (NEAP__UNLIKELY(rt->noting)) neap__note_slow(L, rt);
}

/* Pushes what our C functions have as their first upvalue. [-0, +1, -] */
void neap__push_self(lua_State *L, neap_runtime *rt);
/* Functions with the runtime as upvalue into the table on top. [-0, +0, m] */
void neap__set_funcs(lua_State *L, neap_runtime *rt, const luaL_Reg *funcs);
/* Pushes a new metatable of a kind of objects, with __name, __index and methods;
 * it is kept in the registry. [-0, +1, m] */
void neap__new_class(lua_State *L, neap_runtime *rt, enum neap__kind kind,
                     const char *name, const luaL_Reg *methods);
/* Pushes the metatable. [-0, +1, -] */
static inline void neap__push_class(lua_State *L, const neap_runtime *rt,
                                    enum neap__kind kind) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->mt_ref[kind]);
}
void *neap__check(lua_State *L, neap_runtime *rt, int index,
                  enum neap__kind kind, const char *name);

/* Primitives begin with a tag, an address in their runtime: telling them by it takes
 * a third of the time that comparing metatables does. */
static inline const void *neap__tag(const neap_runtime *rt,
                                    enum neap__kind kind) {
  return &rt->mt[kind];
}

/* The primitive at `index`; raises when it is something else. [-0, +0, v] */
static inline void *neap__check_tagged(lua_State *L, neap_runtime *rt,
                                       int index, enum neap__kind kind,
                                       const char *name) {
  const void *const *p = lua_touserdata(L, index);
  if (NEAP__UNLIKELY(p == NULL || lua_rawlen(L, index) < sizeof *p ||
                     *p != neap__tag(rt, kind)))
    luaL_typeerror(L, index, name);
  return (void *)(uintptr_t)p;
}

/* The object at `index` when it is of this kind, or NULL. [-0, +0, -] */
static inline neap__link *neap__link_of(neap_wait *wait) {
  return (neap__link *)(void *)wait->link;
}

static inline void *neap__test(lua_State *L, const neap_runtime *rt, int index,
                               enum neap__kind kind) {
  void *p = lua_touserdata(L, index);
  if (p == NULL || !lua_getmetatable(L, index)) return NULL;
  const void *mt = lua_topointer(L, -1);
  lua_pop(L, 1);
  return mt == rt->mt[kind] ? p : NULL;
}

/* May the caller wait? Raises if not. For calls that wait for certain. */
static inline void neap__check_park(neap_runtime *rt, lua_State *L,
                                    const char *name) {
  neap_task *task = rt->current;
  if (NEAP__LIKELY(task != NULL && L == task->co && !task->swallowed &&
                   lua_isyieldable(L)))
    return;
  neap__check_park_slow(rt, L, name, true);
}

/* For calls that may find nothing to wait for: a swallowed cancellation is raised. */
static inline void neap__check_again(neap_runtime *rt, lua_State *L,
                                     const char *name) {
  neap_task *task = rt->current;
  if (NEAP__UNLIKELY(task != NULL && task->swallowed))
    neap__check_park_slow(rt, L, name, false);
}

#endif
