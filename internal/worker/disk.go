package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// diskEvery is how often the folders of running jobs are measured. What a job
	// can write meanwhile is how far it may exceed its bound.
	diskEvery = 500 * time.Millisecond
	// mostFiles bounds the files of a job's folder, each of which costs an inode.
	mostFiles = 200_000
)

// diskLoop ends jobs whose folder holds more than it may. The kernel bounds one
// file alone; quotas would need a file system that has them.
func (w *Worker) diskLoop() {
	for wait(w.life, diskEvery); w.life.Err() == nil; wait(w.life, diskEvery) {
		w.trim(time.Now())
		for h, dir := range w.folders(time.Now().Add(-diskEvery)) {
			bytes, files := usage(dir, w.cfg.DiskBytes)
			if bytes <= w.cfg.DiskBytes && files <= mostFiles {
				continue
			}
			w.mu.Lock()
			w.stopOne(h, Stop{Name: FailureDisk, Reason: fmt.Sprintf(
				"The job's folder held more than it may (%d MiB, %d files) and the job was ended.", w.cfg.DiskBytes>>20, mostFiles,
			)})
			w.mu.Unlock()
		}
	}
}

// folders returns the folders of jobs that were launched before an instant.
func (w *Worker) folders(before time.Time) map[*held]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list map[*held]string
	for _, h := range w.held {
		if h.dir != "" && !h.done && h.stop == nil && h.launched && h.launchedAt.Before(before) {
			if list == nil {
				list = make(map[*held]string)
			}
			list[h] = h.dir
		}
	}
	return list
}

// usage adds up what a folder holds; it stops when that is more than most. What
// vanishes meanwhile does not count. What is so deep that no path leads to it
// counts as too much, since it cannot be measured.
func usage(dir string, most int64) (bytes int64, files int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			files++
			info, err = d.Info()
		}
		if errors.Is(err, syscall.ENAMETOOLONG) {
			files = mostFiles + 1
			return fs.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // it is gone, or the job has shut itself out of it
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += st.Blocks * 512
		}
		if bytes > most || files > mostFiles {
			return fs.SkipAll
		}
		return nil
	})
	return bytes, files
}
