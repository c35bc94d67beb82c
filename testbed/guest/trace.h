/* SPDX-License-Identifier: GPL-2.0 */
/* Counts by kind, from histogram triggers on trace events. */
#ifndef MN_TRACE_H
#define MN_TRACE_H

/* "group/event[:key],...": one histogram for each event. */
void trace_events(const char *list);
/* "function,...": counts calls of any kernel function by a kprobe. */
void trace_functions(const char *list);
void trace_report(void);

#endif
