/* Work that must not hold up VPP's main loop: what a push is made of.
 *
 *   API handler ─┐            control thread            main thread, margay-jobs
 *   CLI command ─┴► post ──► work: read, hash, engine ──► carry: put in place ──► finish: reply
 *        (the command sleeps meanwhile, the main loop runs on)
 *
 * Jobs are worked and finished in the order they were posted. Only work() knows which dataplane is
 * meant: jobs before it in the queue may open or swap one. work.c's `current` and `beside` are the
 * control thread's own; margay_core_running() is the main thread's.
 *
 * Limits: 1,024 jobs at a time. A client that is gone gets no reply, but what it had begun is
 * carried out. */
#ifndef MARGAY_JOBS_H
#define MARGAY_JOBS_H
#include "margay.h"
#include "control.h"

#define MARGAY_JOBS_MAX	 1024
#define MARGAY_NO_CLIENT (~0u)

/* A dataplane and what VPP knows of it beside. */
typedef struct
{
  margay_dataplane *dataplane;
  char file[256];
  u8 sha256[32];
  u32 workers, pages;
  u8 huge_pages;
  u32 client; /* who opened it */
  /* Binds carried out, by sw_if_index; of an earlier incarnation they are void. The main's. */
  u32 endpoints[MARGAY_INTERFACES_MAX];
  u32 incarnations[MARGAY_INTERFACES_MAX];
} margay_core_t;

/* Bytes that belong to nobody's heap: giving back many of them takes a while, so the control
 * thread does it. */
typedef struct
{
  u8 *data;
  size_t length, mapped;
} margay_bytes_t;

/* work.c, on any thread: 0 or an errno */
int margay_bytes_map (margay_bytes_t *bytes, size_t length);
void margay_bytes_unmap (margay_bytes_t *bytes);

typedef struct margay_job
{
  margay_post post;
  struct margay_job *next;
  int (*work) (struct margay_job *);	/* control thread: 0 or a VNET_API_ERROR, with why */
  void (*carry) (struct margay_job *);	/* main thread, where work answered 0 */
  void (*finish) (struct margay_job *); /* main thread; the job ends with it */

  /* What is asked. */
  u32 client, context; /* of the API */
  u16 reply;	       /* message number of the reply */
  char file[256];      /* read by work, where there are no bytes yet */
  margay_bytes_t bytes;
  u8 sha256[32]; /* that the bytes must have; zeros = any */
  u32 slot, kind, generation, sw_if_index, endpoint, incarnation, family;
  margay_options options; /* of a core to open */
  u32 threads;		  /* VPP's: it needs as many workers */
  u8 beside;

  /* What came of it. */
  i32 retval;
  u32 error, record, detail, taken;
  char why[512];
  margay_core_t *core;	   /* whose job it was */
  margay_core_t *replaced; /* by a swap */
  struct margay_status *status;
  u8 awaited, is_finished; /* a command waits, and frees it */
} margay_job_t;

/* jobs.c. `carry` may be 0. */
margay_job_t *margay_job_new (int (*work) (margay_job_t *), void (*carry) (margay_job_t *));
void margay_job_free (margay_job_t *job);
/* Nonzero where there are too many: then the job is the caller's still, with retval and why. */
int margay_job_post (margay_job_t *job);
/* For a command: posts, sleeps until it is done. The job stays the caller's. */
clib_error_t *margay_job_await (vlib_main_t *vm, margay_job_t *job);
int margay_jobs_waiting (void);
void margay_jobs_wake (void);
void margay_control_cpus (clib_bitmap_t *cpus);
format_function_t format_margay_control_cpus;

/* config.c: the job that startup.conf asks for, once the main loop runs */
void margay_startup (void);

/* work.c: what there is to do, on the control thread */
int margay_work_open (margay_job_t *job);
int margay_work_stage (margay_job_t *job);
int margay_work_module (margay_job_t *job);
int margay_work_publish (margay_job_t *job);
int margay_work_bind (margay_job_t *job);
int margay_work_restore (margay_job_t *job);
int margay_work_swap (margay_job_t *job);
int margay_work_discard (margay_job_t *job);
int margay_work_status (margay_job_t *job); /* of the one beside */
int margay_work_read (margay_job_t *job);   /* a file into bytes */
int margay_work_write (margay_job_t *job);  /* bytes into a file, which is whole or the old one */
int margay_is_beside (void);
int margay_work_free (margay_job_t *job);  /* gives its bytes back */
int margay_job_fail (margay_job_t *job, i32 retval, const char *format, ...)
  __attribute__ ((format (printf, 3, 4)));

/* core.c: the running one, on the main thread */
margay_core_t *margay_core_running (void);
void margay_carry_open (margay_job_t *job);
void margay_carry_swap (margay_job_t *job);
void margay_carry_bind (margay_job_t *job);
/* Tells a binding job what to bind; else a VNET_API_ERROR, with why. */
int margay_bind_prepare (margay_job_t *job, u32 sw_if_index, u32 endpoint);
void margay_carry_restore (margay_job_t *job);
void margay_carry_discard (margay_job_t *job);
void margay_client_gone (u32 client);

/* saved.c: session records, on the main thread */
#define MARGAY_SAVE_BYTES (32u << 10)
/* Copies live ones from *cursor on, visiting at most so many; *cursor becomes ~0 at the end. */
u32 margay_save_stretch (u32 family, u32 *cursor, u32 visits, u8 *to, u32 room);
/* Gives a restoring job its records; else a VNET_API_ERROR, with why. */
int margay_restore_prepare (margay_job_t *job, u32 family, u32 layout_version, const u8 *records,
			    u32 length);

/* cli.c: for commands; and the trace, for its message */
clib_error_t *margay_check_core (void);
/* The next word of the input, a file's name, into the job. */
clib_error_t *margay_file_name (unformat_input_t *input, margay_job_t *job);
void margay_trace_set (vlib_main_t *vm, u32 packets);

/* upload.c */
int margay_upload_add (u32 client, u32 upload, u32 offset, u32 total, const u8 *data, u32 length,
		       u32 *received, char why[256]);
/* Hands a whole upload over; else a VNET_API_ERROR, with why. */
int margay_upload_take (u32 client, u32 upload, margay_bytes_t *bytes, char why[256]);
/* All of a client's, or of all clients (MARGAY_NO_CLIENT); how many. */
u32 margay_uploads_abandon (u32 client);
void margay_uploads_show (vlib_main_t *vm);

#endif
