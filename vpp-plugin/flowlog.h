/* Where judged packets are told to those who listen. */
#ifndef MARGAY_FLOWLOG_H
#define MARGAY_FLOWLOG_H
#include "margay.h"
static_always_inline void
margay_log_flow (margay_thread_t *mt, vlib_buffer_t *b, const margay_slot *slot, const u8 *window,
		 const u32 *stages, int is_ip6)
{
}
#endif
