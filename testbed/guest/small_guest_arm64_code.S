/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest code: EL1, addresses mapped one to one, no stack, no interrupts. Position
 * independent. One entry is one pass over the pages of this vCPU.
 * x0 block of the vCPU, x1 page, x2 offset, w3 expected word, w4 new word, w5 word
 * found, w6 scratch, x7 doorbell.
 */
#include "small_guest.h"

	.section .rodata
	.balign	4
	.globl sg_code, sg_code_end, sg_entry_verify, sg_entry_fill, sg_entry_read

sg_code:
sg_entry_verify:
	ldr	w1, [x0, #SG_START]
.Lverify_page:
	ldr	w4, [x0, #SG_FACTOR]
	mul	w4, w4, w1
	ldr	w6, [x0, #SG_OLD_KEY]
	eor	w3, w4, w6
	ldr	w6, [x0, #SG_NEW_KEY]
	eor	w4, w4, w6
	mov	x2, xzr
.Lverify_word:
	ldr	w5, [x1, x2]
	cmp	w5, w3
	b.eq	.Lequal
	str	w3, [x7, #SG_MISMATCH]
.Lequal:
	str	w4, [x1, x2]
	add	x2, x2, #4
	tst	x2, #(SG_RUN_BYTES - 1)
	b.ne	.Lverify_word
	add	w3, w3, #1
	add	w4, w4, #1
	cmp	x2, #4096
	b.ne	.Lverify_word

	ldr	w6, [x0, #SG_STRIDE]
	add	w1, w1, w6
	ldr	w6, [x0, #SG_END]
	cmp	w1, w6
	b.lo	.Lin_range
	sub	w1, w1, w6
	ldr	w6, [x0, #SG_START]
	add	w1, w1, w6
.Lin_range:
	ldr	w6, [x0, #SG_LEFT]
	subs	w6, w6, #1
	str	w6, [x0, #SG_LEFT]
	b.eq	.Ldone
	tst	w6, #(SG_PROGRESS_PAGES - 1)
	b.ne	.Lverify_page
	str	w6, [x7, #SG_PROGRESS]
	b	.Lverify_page

sg_entry_fill:
	ldr	w1, [x0, #SG_START]
.Lfill_page:
	ldr	w4, [x0, #SG_FACTOR]
	mul	w4, w4, w1
	ldr	w6, [x0, #SG_NEW_KEY]
	eor	w4, w4, w6
	mov	x2, xzr
.Lfill_word:
	str	w4, [x1, x2]
	add	x2, x2, #4
	tst	x2, #(SG_RUN_BYTES - 1)
	b.ne	.Lfill_word
	add	w4, w4, #1
	cmp	x2, #4096
	b.ne	.Lfill_word
	add	x1, x1, #4096
	ldr	w6, [x0, #SG_LEFT]
	subs	w6, w6, #1
	str	w6, [x0, #SG_LEFT]
	b.eq	.Ldone
	tst	w6, #(SG_PROGRESS_PAGES - 1)
	b.ne	.Lfill_page
	str	w6, [x7, #SG_PROGRESS]
	b	.Lfill_page
.Ldone:
	str	wzr, [x7, #SG_DONE]
	b	.

/* Reads the word at SG_START again and again, and tells it. */
sg_entry_read:
	ldr	w1, [x0, #SG_START]
	ldr	w5, [x1]
	str	w5, [x7, #SG_DONE]
	b	sg_entry_read
sg_code_end:
	.section .note.GNU-stack, "", @progbits
