/* SPDX-License-Identifier: GPL-2.0 */
/* Named sums: what the kernel counted while the job ran. */
#ifndef MN_COUNTER_H
#define MN_COUNTER_H

struct counters {
	int count;
	struct counter {
		char name[64];
		long long value;
	} entry[256];
};

void counter_add(struct counters *set, const char *name, long long value);
long long counter_get(const struct counters *set, const char *name);
/* Reports each as "<prefix>.<name> <value>". */
void counter_report(const struct counters *set, const char *prefix);

/* Adds every file of directory @dir that is a single number. */
void directory_counters(struct counters *set, const char *dir);
/* The same of the VMs that process @pid created. */
void kvm_counters(struct counters *set, int pid);
/* Adds what debugfs tells of the MMU notifiers of process @pid. */
void subscriber_counters(struct counters *set, int pid);
/* What /proc/vmstat counted since vmstat_begin(): all of it, or one counter. */
void vmstat_begin(void);
void vmstat_report(const char *prefix);
long long vmstat_since(const char *name);
/* Time of the job, and how much of it the CPUs were idle. */
void time_begin(void);
void time_report(void);

#endif
