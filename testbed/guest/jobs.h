/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MN_JOBS_H
#define MN_JOBS_H

/* Runs the job of that name to its end; fails for an unknown name. */
void job_run(const char *name);

#endif
