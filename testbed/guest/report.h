/* SPDX-License-Identifier: GPL-2.0 */
/* Results as "key value" lines; the last one is the verdict. */
#ifndef MN_REPORT_H
#define MN_REPORT_H

void report_to(int fd);
void report_open(const char *tty);
void report(const char *key, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void report_number(const char *prefix, const char *key, long long value);
void report_end(void);

/* What to do after a failing verdict; never returns. */
extern void (*report_quit)(int status);
void fail(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));
void pass(void);
/* One sentence, and the end of a program that a job runs: the verdict is init's. */
void report_error(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));

#endif
