package deps

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// deepest is how far below a folder its removal goes, with one open file for each
// level. What lies deeper is moved up first.
const deepest = 64

// RemoveAll removes a folder with all that is in it: however deep that is, and
// also if whoever filled it took away the right to do so. It follows no links,
// whoever may still be at work in it.
func RemoveAll(dir string) error {
	top, err := openFolder(unix.AT_FDCWD, dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open a folder to remove it: %w", err)
	}
	defer top.Close()
	r := remover{top: top}
	for more := true; more && err == nil; more = r.moved {
		r.moved = false
		err = r.empty(top, 0)
	}
	if err == nil {
		err = unix.Rmdir(dir)
	}
	if err != nil {
		return fmt.Errorf("remove a folder: %w", err)
	}
	return nil
}

type remover struct {
	top   *os.File
	moved bool // something deep is in top now
}

// empty removes what is in a folder, and goes on after an error.
func (r *remover) empty(d *os.File, depth int) error {
	if _, err := d.Seek(0, 0); err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	for _, name := range names {
		if e := r.remove(d, name, depth); e != nil && !errors.Is(e, unix.ENOENT) && err == nil {
			err = e
		}
	}
	return err
}

func (r *remover) remove(d *os.File, name string, depth int) error {
	at := int(d.Fd())
	if err := unix.Unlinkat(at, name, 0); !errors.Is(err, unix.EISDIR) {
		return err
	}
	child, err := openFolder(at, name)
	if err != nil {
		return err
	}
	defer child.Close()
	if depth == deepest {
		r.moved = true
		return unix.Renameat(at, name, int(r.top.Fd()), rand.Text())
	}
	if err := r.empty(child, depth+1); err != nil {
		return err
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}

// openFolder opens a folder, and sees to it that its owner may change it.
func openFolder(at int, name string) (*os.File, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, flags|unix.O_RDONLY, 0)
	if errors.Is(err, unix.EACCES) {
		var path int
		if path, err = unix.Openat(at, name, flags|unix.O_PATH, 0); err != nil {
			return nil, err
		}
		defer unix.Close(path)
		self := fmt.Sprintf("/proc/self/fd/%d", path) // the folder itself, whatever has its name now
		if err = unix.Chmod(self, 0o700); err == nil {
			fd, err = unix.Open(self, unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_RDONLY, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(fd, 0o700) // if it may not, its removal says so
	}
	return os.NewFile(uintptr(fd), name), nil
}
