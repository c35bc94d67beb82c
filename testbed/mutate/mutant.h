/* SPDX-License-Identifier: GPL-2.0 */
/* For the copy of the kernel whose hooks can be taken out one at a time. */
#ifndef _LINUX_MUTANT_H
#define _LINUX_MUTANT_H

#include <linux/types.h>

/* Whether this hook is the one that is taken out now. */
bool mutant_taken_out(unsigned int site);

#endif
