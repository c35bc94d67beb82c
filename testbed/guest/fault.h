/* SPDX-License-Identifier: GPL-2.0 */
/* What guests go through beside swapping, and who of them may not survive it. */
#ifndef MN_FAULT_H
#define MN_FAULT_H

/* How large swap has to be: @megabytes, unless it is to run full. */
long fault_swap_mb(long megabytes);
/* Before the first guest starts: makes the cgroups. */
void fault_begin(void);
/* In the process that becomes guest @number. */
void fault_enter(int number);
/* Is it that guest's part to be killed? */
int fault_kills(int number);
/* Now and then while guests run: kills guest 0, process @pid, once memory is short. */
void fault_strike(int pid);
/* That guest has ended; fails unless it was killed the way it had to be. */
void fault_killed(int number, int status);
/* After the last guest has ended. */
void fault_report(void);

#endif
