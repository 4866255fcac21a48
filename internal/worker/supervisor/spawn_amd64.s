//go:build !portable

#include "textflag.h"

// func clone(flags, stack uintptr, b *block, entry uintptr) (pid, errno uintptr)
//
// The new process shares the memory of its parent, so it continues on a stack
// of its own, which has room for a frame above the address given. It calls
// entry(b), with the registers as a Go function expects them: the argument in
// AX, zero in X15, g (of which a nosplit function makes no use) in R14.
TEXT ·clone(SB), NOSPLIT, $0-48
	MOVQ	flags+0(FP), DI
	MOVQ	stack+8(FP), SI
	MOVQ	b+16(FP), R12
	MOVQ	entry+24(FP), R13
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX	// clone
	SYSCALL
	TESTQ	AX, AX
	JZ	child
	CMPQ	AX, $0xfffffffffffff001
	JCC	failed
	MOVQ	AX, pid+32(FP)
	MOVQ	$0, errno+40(FP)
	RET
failed:
	NEGQ	AX
	MOVQ	$-1, pid+32(FP)
	MOVQ	AX, errno+40(FP)
	RET
child:
	XORL	BP, BP
	XORPS	X15, X15
	MOVQ	R12, AX
	CALL	R13
	INT	$3	// entry never returns
