/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MN_SWAP_H
#define MN_SWAP_H

/* kind: zram, disk (/dev/vda) or none; megabytes is zram's size. */
void swap_start(const char *kind, long megabytes);

#endif
