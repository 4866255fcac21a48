package supervisor

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock keeps a job from reaching other processes through signals and
// abstract sockets. Where there are no walls it also bounds the files that the
// job may touch.

const (
	landlockVersion   = 1 << 0 // asks for the version
	landlockPathBelow = 1

	scopeAbstractSocket = 1 << 0
	scopeSignal         = 1 << 1
	scopesSince         = 6 // version of Landlock

	mayRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	mayAll   = 1<<13 - 1 // of version 1
	mayTouch = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// rulesetAttr is struct landlock_ruleset_attr; older kernels know its beginning.
type rulesetAttr struct {
	fs, net, scoped uint64
}

// landlockABI returns the version of Landlock; 0: there is none.
func landlockABI() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, landlockVersion)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// handled is what a ruleset of this version may say about files.
func handled(abi int) uint64 {
	h := uint64(mayAll)
	for i, bit := range []uint64{
		unix.LANDLOCK_ACCESS_FS_REFER,     // since 2
		unix.LANDLOCK_ACCESS_FS_TRUNCATE,  // since 3
		0,                                 // 4 is about networks
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, // since 5
	} {
		if abi >= i+2 {
			h |= bit
		}
	}
	return h
}

// newRuleset makes a ruleset; with files it bounds those that a job may touch.
func newRuleset(abi int, files bool) (int, error) {
	var a rulesetAttr
	size := unsafe.Sizeof(a.fs)
	if files {
		a.fs = handled(abi)
	}
	if abi >= scopesSince {
		a.scoped, size = scopeAbstractSocket|scopeSignal, unsafe.Sizeof(a)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&a)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("make a Landlock ruleset: %w", errno)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

// allow lets jobs of a ruleset do something below a path; what does not exist is left out.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= mayTouch | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	a := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), landlockPathBelow, uintptr(unsafe.Pointer(&a)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("allow %s: %w", path, errno)
	}
	return nil
}

// rulesetFor makes the ruleset of one job without walls.
func (p *process) rulesetFor(dir string, shares []string) (int, error) {
	all := handled(p.mode.Landlock)
	fd, err := newRuleset(p.mode.Landlock, true)
	if err != nil {
		return -1, err
	}
	read := append(append([]string{"/proc"}, systemDirs...), p.mode.Read...)
	for _, name := range systemFiles {
		read = append(read, "/etc/"+name)
	}
	for _, path := range read {
		err = firstOf(err, allow(fd, path, mayRead))
	}
	for _, name := range deviceFiles {
		err = firstOf(err, allow(fd, "/dev/"+name, mayTouch))
	}
	if _, ok := below(p.mode.Jobs, dir); ok {
		err = firstOf(err, allow(fd, dir, all))
	}
	for _, share := range shares {
		access := uint64(mayRead)
		if share[0] == 'w' {
			access = all
		}
		err = firstOf(err, allow(fd, share[1:], access))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
