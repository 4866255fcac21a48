package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The walls: every job has a root of its own, in which it sees
//
//	/job            its folder, which it may write; /tmp leads into it
//	/usr, /bin, …   the system's programs and what they need of /etc, read-only
//	/proc           its own processes
//	/dev            null, zero, full, random, urandom
//	what a command or the worker names beside it
//
// and nothing else of the machine. The supervisor makes that root once, moves
// into it, and keeps what jobs get pieces of in a folder over which each init
// mounts another before the job begins:
//
//	/.stage/jobs    the folders of the worker's jobs
//	/.stage/r0, w0  the first shared folder, read-only and writable; r1, w1, …
//	/.stage/proc    the machine's /proc: without one in sight the kernel lets a
//	                user namespace mount none
//
// That root is mounted in another, empty one, and the supervisor changes into it
// with chroot: to whoever is in such a place the kernel refuses user namespaces,
// in which a job would find rights anew. It takes a right to leave it.
const (
	jobDir     = "/job"
	stage      = "/.stage"
	stageJobs  = stage + "/jobs"
	rootFolder = ".root" // in the folder of the jobs: where the root is made
	innerRoot  = "/r"    // where the root of the jobs is in the outer one
)

// JobDir is where a job behind walls finds its folder.
const JobDir = jobDir

// systemDirs are seen by every job, as far as they exist.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// systemFiles are what programs need of /etc: no file of it holds a secret.
var systemFiles = []string{
	"alternatives", "ca-certificates", "ca-certificates.conf", "gai.conf", "group", "host.conf", "hosts", "ld.so.cache",
	"ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki", "protocols",
	"python3", "python3.11", "resolv.conf", "services", "ssl", "timezone",
}

var deviceFiles = []string{"null", "zero", "full", "random", "urandom"}

// makeRoot builds the root in the supervisor's own mount namespace and moves
// into it.
func makeRoot(m *mode) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	outer := filepath.Join(m.Jobs, rootFolder)
	root := outer + innerRoot
	if err := mountRoot(outer, "mode=755,size=64k,nr_inodes=4"); err != nil {
		return err
	}
	// Unbindable: the folder of the jobs, in which it stands, is about to be bound.
	if err := unix.Mount("", outer, "", unix.MS_UNBINDABLE, ""); err != nil {
		return fmt.Errorf("set the root apart: %w", err)
	}
	if err := mountRoot(root, "mode=755,size=16m,nr_inodes=65536"); err != nil {
		return err
	}
	r := rootMaker{root: root}
	r.system()
	r.etc()
	r.devices()
	for _, dir := range []string{"/proc", jobDir, stage, "/var"} {
		r.dir(dir)
	}
	for _, path := range m.Read {
		r.bind(path, path, true)
	}
	r.stage(m)
	for _, link := range []string{"/tmp", "/dev/shm", "/var/tmp"} {
		if _, err := os.Lstat(root + link); err != nil { // else something that is shown stands in it
			r.link(jobDir+"/tmp", link)
		}
	}
	if r.err != nil {
		return r.err
	}
	if err := moveInto(outer); err != nil {
		return err
	}
	if err := unix.Chroot(innerRoot); err != nil {
		return fmt.Errorf("enter the inner root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the inner root: %w", err)
	}
	return os.Remove(stageJobs + "/" + rootFolder)
}

func mountRoot(path, options string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make the root: %w", err)
	}
	if err := unix.Mount("root", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	return nil
}

// moveInto makes a folder the root and lets go of the old one.
func moveInto(root string) error {
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	return unix.Chdir("/")
}

// rootMaker puts things into a root; after an error it does nothing.
type rootMaker struct {
	root string
	err  error
}

func (r *rootMaker) keep(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("make the root: %w", err)
	}
}

func (r *rootMaker) dir(path string) {
	if r.err == nil {
		r.keep(os.MkdirAll(r.root+path, 0o755))
	}
}

func (r *rootMaker) link(to, path string) {
	if r.err == nil {
		r.keep(os.Symlink(to, r.root+path))
	}
}

// bind shows a file or folder at a path of the root; what does not exist is left out.
func (r *rootMaker) bind(source, path string, readOnly bool) {
	if r.err != nil {
		return
	}
	info, err := os.Stat(source)
	if err != nil {
		return
	}
	target := r.root + path
	if info.IsDir() {
		r.dir(path)
	} else {
		r.dir(filepath.Dir(path))
		if r.err == nil {
			r.keep(os.WriteFile(target, nil, 0o644))
		}
	}
	if r.err != nil {
		return
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		r.keep(fmt.Errorf("show %s: %w", source, err))
		return
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if !info.IsDir() && info.Mode()&fs.ModeDevice != 0 {
		attr.Attr_set = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attr); err != nil {
		r.keep(fmt.Errorf("bound %s: %w", source, err))
	}
}

func (r *rootMaker) system() {
	for _, path := range systemDirs {
		if to, err := os.Readlink(path); err == nil {
			r.link(to, path)
			continue
		}
		r.bind(path, path, true)
	}
}

func (r *rootMaker) etc() {
	r.dir("/etc")
	for _, name := range systemFiles {
		path := "/etc/" + name
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if info.IsDir() {
			r.bind(path, path, true)
			continue
		}
		// A copy: it costs no mount, of which each job has to have all.
		text, err := os.ReadFile(path)
		if err == nil && r.err == nil {
			r.keep(os.WriteFile(r.root+path, text, 0o644))
		}
	}
}

func (r *rootMaker) devices() {
	r.dir("/dev")
	for _, name := range deviceFiles {
		r.bind("/dev/"+name, "/dev/"+name, false)
	}
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		r.link("/proc/self/fd"+to, "/dev/"+name)
	}
}

func (r *rootMaker) stage(m *mode) {
	if r.err != nil {
		return
	}
	if err := unix.Mount("stage", r.root+stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700,size=1m"); err != nil {
		r.keep(fmt.Errorf("mount the stage: %w", err))
		return
	}
	r.bind(m.Jobs, stageJobs, false)
	r.bind("/proc", stage+"/proc", true)
	for i, path := range m.Shared {
		r.dir(path)
		r.bind(path, stagedAt('r', i), true)
		r.bind(path, stagedAt('w', i), false)
	}
}

func stagedAt(kind rune, i int) string { return fmt.Sprintf("%s/%c%d", stage, kind, i) }

// below returns the path of path relative to a folder that holds it.
func below(dir, path string) (string, bool) {
	rel, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/")
	if !ok || rel == "" || strings.Contains("/"+rel+"/", "/../") {
		return "", false
	}
	return rel, true
}

var errOutside = errors.New("a path that a job shall see is in no shared folder")

// planWalls writes down what an init does to have the job see its own things
// alone. The mount points of shared paths are made here: the root is everybody's.
func (p *process) planWalls(pl *plan, dir string, shares []string) error {
	pl.mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
	if rel, ok := below(p.mode.Jobs, dir); ok {
		pl.mount(stageJobs+"/"+rel, jobDir, "", unix.MS_BIND)
	}
	for _, share := range shares {
		source, err := p.staged(share)
		if err != nil {
			return err
		}
		pl.mount(source, share[1:], "", unix.MS_BIND|unix.MS_REC)
	}
	// Taking the stage away instead would have the kernel wait for all processors.
	pl.mount("/dev", stage, "", unix.MS_BIND)
	pl.mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
	return nil
}

// staged returns where a shared path ("r" or "w" and the path) is on the stage,
// and makes its mount point.
func (p *process) staged(share string) (string, error) {
	path := share[1:]
	for i, base := range p.mode.Shared {
		rel, ok := below(base, path)
		if !ok && path != base {
			continue
		}
		source := filepath.Join(stagedAt(rune(share[0]), i), rel)
		info, err := os.Stat(source)
		if err != nil {
			return "", err
		}
		if info.IsDir() {
			return source, os.MkdirAll(path, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return "", err
		}
		return source, f.Close()
	}
	return "", fmt.Errorf("%w: %s", errOutside, path)
}

// own gives a job's folder, and what its worker put into it, to the job's user.
func (p *process) own(dir string, uid int) error {
	rel, ok := below(p.mode.Jobs, dir)
	if !ok {
		return nil
	}
	return chownTree(stageJobs+"/"+rel, uid)
}

// chownTree does not follow links. The tree is the worker's work: no job has
// been there yet.
func chownTree(path string, uid int) error {
	if err := unix.Lchown(path, uid, uid); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path + "/" + e.Name()
		if e.IsDir() {
			err = chownTree(name, uid)
		} else {
			err = unix.Lchown(name, uid, uid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// firstUser returns the first of the numbers that the jobs of this supervisor
// run under, far above those of people and services.
func firstUser() int {
	const base, each, many = 1_000_000_000, 10_000, 100_000
	return base + os.Getpid()%many*each
}

// userOf returns the number that the jobs of a block run under; 0: the supervisor's own.
func (p *process) userOf(b *block) int {
	if !p.mode.OwnUser {
		return 0
	}
	return p.firstUser + int(b.index)%10_000
}
