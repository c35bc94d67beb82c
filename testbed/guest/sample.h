/* SPDX-License-Identifier: GPL-2.0 */
/* What the picture of a run shows: a few numbers, once a second. */
#ifndef MN_SAMPLE_H
#define MN_SAMPLE_H

/* Is there to be a picture, and is it time for the next one? */
int sample_due(void);
/* Reports it; both numbers count from the beginning of the run. */
void sample_take(long long pages_done, long long notifications);

#endif
